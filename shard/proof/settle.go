package proof

// shards lists the shards that the transaction involves, ascending.
func (t *Transaction) shards() []Shard {
	var spends, creates [MaxShards]bool
	for i := range t.Inputs {
		spends[t.Inputs[i].Shard] = true
	}
	for i := range t.Outputs {
		creates[t.Outputs[i].Shard] = true
	}
	var out []Shard
	for s := range uint16(MaxShards) {
		if spends[s] || creates[s] {
			out = append(out, Shard{Shard: s, Spends: spends[s], Creates: creates[s]})
		}
	}
	return out
}

// shard returns the entry of a shard, nil if the transaction does not involve it.
func (f *Finding) shard(s uint16) *Shard {
	for i := range f.Shards {
		if f.Shards[i].Shard == s {
			return &f.Shards[i]
		}
	}
	return nil
}

// Complete checks that the proof has all results in one shard that the transaction involves. The error is an [*Error].
func (f *Finding) Complete(shard uint16) error {
	s, inside := f.shard(shard), len(f.Shards) == 1
	if s == nil {
		return wrong(PartSettlement, "the transaction does not involve shard %d", shard)
	}
	if err := s.verdict(inside); err != nil {
		return err
	}
	return s.end(inside)
}

// settle checks that each shard has its verdict and its last result, and that all shards have the same. It sets the result.
func (f *Finding) settle() error {
	inside := len(f.Shards) == 1
	for i := range f.Shards {
		s := &f.Shards[i]
		if err := s.verdict(inside); err != nil {
			return err
		}
		if s.Spends && s.Results[0].Verdict == Rejected && f.Reason == 0 {
			f.Reason = s.Results[0].Reason
		}
	}
	for i := range f.Shards {
		s := &f.Shards[i]
		if err := s.end(inside); err != nil {
			return err
		}
		switch settled := s.last().Verdict == Settled; {
		case i == 0:
			f.Settled = settled
		case settled != f.Settled:
			return wrong(PartSettlement, "shard %d has it as %s, shard %d as %s: more than f replicas of a shard are Byzantine",
				f.Shards[0].Shard, f.Shards[0].last().Verdict, s.Shard, s.last().Verdict)
		}
	}
	if f.Settled != (f.Reason == 0) {
		return wrong(PartSettlement, "it is settled: %t, and an input shard rejected it: %t; more than f replicas of a shard are Byzantine", f.Settled, f.Reason != 0)
	}
	return nil
}

// verdict checks that an input shard has given its verdict, which is its first result.
func (s *Shard) verdict(inside bool) error {
	if !s.Spends {
		return nil
	}
	if len(s.Results) == 0 {
		return wrong(PartVerdicts, "the verdict of shard %d is missing, which has inputs of the transaction", s.Shard)
	}
	want := Spent
	if inside {
		want = Settled
	}
	if v := s.Results[0].Verdict; v != want && v != Rejected {
		return wrong(PartVerdicts, "the first result in shard %d is %s, want %s or %s", s.Shard, v, want, Rejected)
	}
	return nil
}

// end checks that the last result in the shard is final, and that it has none beside it and the verdict.
func (s *Shard) end(inside bool) error {
	var allowed bool
	switch {
	case len(s.Results) == 0:
	case !s.Spends:
		allowed = len(s.Results) == 1 && (s.Results[0].Verdict == Settled || s.Results[0].Verdict == Rejected)
	case inside || s.Results[0].Verdict == Rejected:
		allowed = len(s.Results) == 1
	default: // spent
		allowed = len(s.Results) == 2 && (s.Results[1].Verdict == Settled || s.Results[1].Verdict == Returned)
	}
	if !allowed {
		return wrong(PartSettlement, "the last result in shard %d is missing or impossible: it has %s", s.Shard, s.text())
	}
	return nil
}

func (s *Shard) last() *Recorded { return &s.Results[len(s.Results)-1] }

func (s *Shard) text() string {
	if len(s.Results) == 0 {
		return "none"
	}
	results := make([]Result, len(s.Results))
	for i := range results {
		results[i] = s.Results[i].Result
	}
	return verdictNames(results)
}
