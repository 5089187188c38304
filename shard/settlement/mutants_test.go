package settlement

import (
	"testing"

	"bdtnode/ledger"
)

// Each type has the rules of settlement with one rule weakened. The exploration must find a violated guarantee for
// each.

// rejectsFromBatch gives REJECTED to a transaction of a batch, although no other shard has sent a verdict on it.
type rejectsFromBatch struct{ Rules }

func (m rejectsFromBatch) Ordered(s *ledger.BlockState, tx *ledger.Tx) error {
	r, err := s.Records.Get(tx.ID())
	if err != nil || r != nil {
		return err
	}
	refusal, _, err := s.CheckInputs(tx)
	if err != nil || refusal == nil {
		return m.Rules.Ordered(s, tx)
	}
	r = s.Records.Open(tx)
	if err := giveVerdict(s, r, ledger.VerdictRejected, refusal.Reason); err != nil {
		return err
	}
	return resolve(s, r)
}

// forgetsEarly closes complete records although the transaction has not expired.
type forgetsEarly struct{ Rules }

func (m forgetsEarly) Ordered(s *ledger.BlockState, tx *ledger.Tx) error {
	return closing(s, tx, m.Rules.Ordered(s, tx))
}

func (m forgetsEarly) Delivered(s *ledger.BlockState, x *ledger.Delivery) error {
	err := m.Rules.Delivered(s, x)
	for i := range x.Entries {
		err = closing(s, x.Entries[i].Tx, err)
	}
	return err
}

func (forgetsEarly) VerdictSent(s *ledger.BlockState, r *ledger.Record) error {
	if r.Part.Complete() {
		s.Records.Close(r)
	}
	return nil
}

func closing(s *ledger.BlockState, tx *ledger.Tx, err error) error {
	if r, _ := s.Records.Get(tx.ID()); err == nil && r != nil && r.Part.Complete() && r.Part.Unsent == 0 {
		s.Records.Close(r)
	}
	return err
}

// anyNumber applies a delivery with any number and any previous delivery, and does not check closed records.
type anyNumber struct{ Rules }

func (m anyNumber) Delivered(s *ledger.BlockState, x *ledger.Delivery) error {
	for i := range x.Entries {
		e := &x.Entries[i]
		r, err := s.Records.Get(e.Tx.ID())
		switch {
		case err != nil:
			return err
		case r == nil:
			r = s.Records.Open(e.Tx)
		case r.Part.Of(x.Source).Verdict != 0:
			continue
		}
		s.Records.SetVerdict(r, x.Source, e.Verdict, e.Reason)
		if own := r.Part.Of(s.Shard()); own != nil && own.Verdict == 0 {
			err = answer(s, r)
		}
		if err == nil {
			err = resolve(s, r)
		}
		if err != nil {
			return err
		}
	}
	if c := s.Channels.Get(x.Source); x.Number == c.Applied+1 && x.Previous == c.AppliedDigest {
		s.Channels.Apply(x)
	}
	return nil
}

// settlesAtOnce settles when the verdict of one other shard is SPENT.
type settlesAtOnce struct{ Rules }

func (m settlesAtOnce) Delivered(s *ledger.BlockState, x *ledger.Delivery) error {
	err := m.Rules.Delivered(s, x)
	for i := range x.Entries {
		r, _ := s.Records.Get(x.Entries[i].Tx.ID())
		if err == nil && r != nil && r.Part.Stage <= ledger.StageEscrow && r.Part.Rejection() == nil {
			err = s.Settle(r)
		}
	}
	return err
}

// keepsEscrow never returns escrow.
type keepsEscrow struct{ Rules }

func (m keepsEscrow) Delivered(s *ledger.BlockState, x *ledger.Delivery) error {
	for i := range x.Entries {
		e := &x.Entries[i]
		if r, _ := s.Records.Get(e.Tx.ID()); r != nil && r.Part.Of(x.Source).Verdict == 0 && r.Part.Stage == ledger.StageEscrow && e.Verdict == ledger.VerdictRejected {
			s.Records.SetVerdict(r, x.Source, e.Verdict, e.Reason)
		}
	}
	return m.Rules.Delivered(s, x)
}

// silent never gives a verdict upon a delivery: a delivery only closes records.
type silent struct{ Rules }

func (m silent) Delivered(s *ledger.BlockState, x *ledger.Delivery) error {
	for i := range x.Entries {
		e := &x.Entries[i]
		r, _ := s.Records.Get(e.Tx.ID())
		if r == nil {
			r = s.Records.Open(e.Tx)
		}
		s.Records.SetVerdict(r, x.Source, e.Verdict, e.Reason)
		if err := resolve(s, r); err != nil {
			return err
		}
	}
	s.Channels.Apply(x)
	return nil
}

// neverForgets closes no record.
type neverForgets struct{ Rules }

func (neverForgets) Expired(*ledger.BlockState, *ledger.Record) error { return nil }

func (neverForgets) VerdictSent(*ledger.BlockState, *ledger.Record) error { return nil }

// TestWeakenedRulesAreFound explores weakened rules until a guarantee is violated. Old deliveries are replayed too.
func TestWeakenedRulesAreFound(t *testing.T) {
	s := Standard()
	two := masks{0b110, 0b001} // inputs in 1 and 2, output in 0
	three := masks{0b111, 0b1} // inputs everywhere
	for name, sc := range map[string]*scenario{
		"rejects from a batch": makeScenario(rejectsFromBatch{s}, "one", twoTimes, true, two),
		"forgets early":        makeScenario(forgetsEarly{s}, "dep", twoTimes, false, masks{0b001, 0b010}, masks{0b110, 0b001}),
		"applies any number":   replaying(makeScenario(anyNumber{s}, "one", twoTimes, true, two)),
		"settles at once":      makeScenario(settlesAtOnce{s}, "one", twoTimes, true, three),
		"does not roll back":   makeScenario(keepsEscrow{s}, "one", twoTimes, true, two),
		"does not answer":      makeScenario(silent{s}, "one", twoTimes, true, two),
		"never forgets":        makeScenario(neverForgets{s}, "one", twoTimes, false, two),
	} {
		t.Run(name, func(t *testing.T) {
			n, err := sc.explore(20_000)
			if err == nil {
				t.Fatalf("no violation found in %d states", n)
			}
			t.Logf("%d states: %v", n, err)
		})
	}
	t.Run("unchanged rules with replays", func(t *testing.T) {
		if n, err := replaying(makeScenario(s, "one", twoTimes, true, two)).explore(1 << 30); err != nil {
			t.Fatalf("%d states: %v", n, err)
		}
	})
}
