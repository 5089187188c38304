package sim

// networkMutants are bugs in the settlement between shards. The search of one without a story is the sweep.
func networkMutants() []mutant {
	const (
		sweep     = ""
		inbound   = "protocols/inbound/machine.go"
		rules     = "shard/settlement/rules.go"
		lds       = "shard/settlement/ld.go"
		exchange  = "shard/xshard/machine.go"
		transfers = "ledger/transfers.go"
		records   = "ledger/records.go"
		cancels   = "ledger/cancel.go"
		ofDriver  = "node/driver/cancel.go"
		machine   = "protocols/cancel/machine.go"
	)
	return []mutant{
		{"LDs of a block are applied newest first", sweep, "channels", []edit{{inbound, "		slices.Reverse(rev)\n", ""}}},
		{"LDs are applied twice", sweep, "channels", []edit{
			{"node/replica/store.go", "in.Deliveries = append(in.Deliveries, x)", "in.Deliveries = append(in.Deliveries, x, x)"},
		}},
		{"SIGNs are counted by message", sweep, "invariant", []edit{
			{inbound, "	if x := c.signs[s.Tip.Seq]; x != nil && x.signers.Has(from) {\n		return\n	}\n", ""},
			{inbound, "	if t.Add(from, s.Signature) && t.Len() ==", "	if !t.Add(from, s.Signature) || t.Len() =="},
			{inbound, "x != nil && x.tallies[t.Digest] != nil && x.tallies[t.Digest].Len() >= m.cfg.Committee.WeakQuorum()", "x != nil && x.certified == t.Digest"},
		}},
		{"a replica that does not publish at once never checks for arrival", sweep, "liveness", []edit{
			{exchange, "		o.at, o.pause = now.Add(firstCheck), firstCheck\n	}\n	return st", "	}\n	return st"},
		}},
		{"the answer of one replica ends the checks for arrival", "silent to other shards", "liveness", []edit{
			{exchange, "held[len(held)-m.cfg.Committees[destination].Quorum()]", "held[len(held)-1]"},
		}},
		{"LDs lost in a crash are not requested", "outages", "liveness", []edit{
			{exchange, " || i.exhausted.Len() < m.cfg.Committees[source].WeakQuorum()", ""},
		}},
		{"a request for LDs never moves on", sweep, "liveness", []edit{
			{"node/replica/store.go", "size < maxChainBytes; {\n		d, err", "size < 1; {\n		d, err"}, // no bug by itself
			{inbound, "m.want(now, uint16(i), t, prev[i].Seq, 0", "m.want(now, uint16(i), cut[i], prev[i].Seq, 0"},
			{"protocols/inbound/fetch.go", "	t, lacks := m.chans[source].lacking(t, after)\n	if !lacks {\n		return\n	}\n", ""},
			{"protocols/inbound/fetch.go", "	if !lacks || m.wants[Ref{w.Source, t}] != nil {", "	if _ = lacks; true {"},
		}},
		{"certificates of applied LDs are waited for", sweep, "liveness", []edit{
			{exchange, "	o.known = max(o.known, o.acked) // an acknowledged LD need not be certified here\n", ""},
			{"node/driver/exchange.go", "max(x.machine.Known(c.Peer), c.Acked)", "x.machine.Known(c.Peer)"},
		}},
		{"REJECTED is given from a batch", sweep, "verdicts", []edit{
			{rules, "			s.LeaveOut(tx, refusal, missing)\n", "			_ = missing\n			return giveVerdict(s, s.Records.Open(tx), ledger.VerdictRejected, refusal.Reason)\n"},
		}},
		{"a verdict is forgotten before the transaction expires", "conflicts", "verdicts", []edit{
			{rules, "r.Part.Complete() && (!r.Shards.Inputs.Has(s.Shard()) || s.TimeMS() > r.Tx.ExpiryMS)", "r.Part.Complete()"},
		}},
		{"a record is forgotten before all had their say", sweep, "channels", []edit{
			{rules, "r.Part.Complete() && (!r.Shards", "r.Part.Stage > ledger.StageEscrow && (!r.Shards"},
		}},
		{"escrow stays after a rejection in another shard", sweep, "value", []edit{
			{rules, "	case stage == ledger.StageEscrow && rejection != nil:\n		err = s.ReturnEscrow(r, rejection.Reason)\n", ""},
		}},
		{"one SPENT is enough to settle", sweep, "atomicity", []edit{
			{rules, "stage <= ledger.StageEscrow && r.Part.AllSpent()", "stage <= ledger.StageEscrow && rejection == nil"},
		}},
		{"every shard burns the fee", sweep, "value", []edit{
			{transfers, "	if s.cfg.isHome(r.Tx.owners[0]) {\n		s.sums.burned += r.Tx.Fee", "	{\n		s.sums.burned += r.Tx.Fee"},
		}},
		{"a header's certificate is not verified", sweep, "blame", []edit{
			{lds, "		checks = known.AppendUnknown(checks, txs)\n", "		checks = known.AppendUnknown(nil, txs)\n"},
		}},
		{"LDs are known as verified by their deliveries", sweep, "blame", []edit{
			{"node/replica/verified.go", `digest.Of("bdt/LD-encoding/1", m.Raw)`, "m.Digest"},
			// Copies in gossip are dropped before the check, which the bug would skip.
			{"node/driver/exchange.go", "	if !x.arriving.begin(m.Digest) {\n		return ErrHeld\n	}\n", "	if m != nil {\n		return x.Take(ld)\n	}\n"},
		}},
		{"a closed record is none", "hostile", "verdicts liveness", []edit{
			{rules, "	return past != nil, err // a record closes with the verdicts of all", "	return false, err"},
			{rules, "	past, err := s.Records.Closed(id)", "	_, err := s.Records.Closed(id)"},
			{records, "	if s.records[tx.id] != nil {", "	if r := s.records[tx.id]; r != nil && r.Part.Open {"},
		}},
		{"a second verdict on an open record is ignored", "hostile", "liveness", []edit{
			{rules, "	if said, err := hasGivenVerdict(s, r, e.Tx.ID(), source); said || err != nil {", "	if r != nil && r.Part.Of(source).Verdict != 0 {\n		return \"\", nil\n	}\n	if said, err := hasGivenVerdict(s, r, e.Tx.ID(), source); said || err != nil {"},
		}},
		{"two LDs under one number are not noticed", "hostile", "liveness", []edit{
			{"node/replica/evidence.go", "	return settlement.Contradict(n, ld, x.Content), nil", "	_ = ld\n	return nil, nil"},
		}},
		{"evidence is not put into a batch", "hostile", "liveness", []edit{
			{"node/replica/evidence.go", "	case p != nil:\n		return &ledger.RawNotice{Kind: ledger.KindEvidence, Content: p.content}\n", "	case p != nil:\n		return nil\n"},
		}},
		{"evidence that is ordered freezes nothing", "hostile", "liveness", []edit{
			{"shard/settlement/evidence.go", "func (e *Evidence) Execute(s *ledger.BlockState) error {\n", "func (e *Evidence) Execute(s *ledger.BlockState) error {\n	return nil\n"},
		}},
		{"the guard of a shard's word counts escrow", "a slow channel", "channels", []edit{
			{"ledger/sums.go", "bits.Add64(s.unspent+s.burned, made, 0)", "bits.Add64(s.unspent+s.burned+s.escrow, made, 0)"},
		}},
		{"a path is not verified", sweep, "blame evidence", []edit{
			{lds, "	case !l.Path.Verify(l.Header.Outbox, d.Digest(), int(l.Index), int(l.Count)):", "	case false:"},
		}},
		{"a CL closes the record", "cancellations", "atomicity channels verdicts", []edit{
			{rules, "	return s.CancelEscrow(r, source)\n", "	s.Records.SetVerdict(r, source, ledger.VerdictRejected, ledger.ReasonConsumed)\n	return resolve(s, r)\n"},
		}},
		{"f CL_Ms suffice", "cancellations", "blame cancelling", []edit{
			{machine, "o.tally.Len() >= m.committee.WeakQuorum()", "o.tally.Len() >= m.committee.F()"},
			{"protocols/cancel/cancel.go", "c.SignatureChecks(&x.Certificate, c.WeakQuorum(), ", "c.SignatureChecks(&x.Certificate, c.F(), "},
		}},
		{"CL_Ms are counted by message", "cancellations", "blame cancelling", []edit{
			{machine, "	asked   bool\n", "	asked   bool\n	calls   int\n"},
			{machine, "	if !o.tally.Add(from, x.Signature) {\n		return\n	}\n	if o.tally.Len() >= m.committee.WeakQuorum() {", "	o.tally.Add(from, x.Signature)\n	if o.calls++; o.calls >= m.committee.WeakQuorum() {"},
		}},
		{"a signer of a certificate counts twice", "cancellations", "blame cancelling", []edit{
			{"protocols/certificate.go", "if i <= last || i >= MaxReplicas {", "if i < last || i >= MaxReplicas {"},
		}},
		{"a CL of a shard that is no input", "hostile to others", "blame", []edit{
			{"shard/settlement/cl.go", "	case !p.Inputs.Has(c.Source) || p.Inside(c.Source):", "	case p.Inside(c.Source):"},
		}},
		{"a CL of which another one is known is not verified", "cancellations", "blame", []edit{
			{ofDriver, "known != nil && known.Equal(cl)", "known != nil"},
		}},
		{"an answer of one foreign replica is believed", sweep, "promises", []edit{
			{"node/foreign/ask.go", "Need: c.WeakQuorum(), Items: 1", "Need: 1, Items: 1"},
		}},
		{"one CL of a transaction is kept, whichever its source", "cancelled by two", "liveness", []edit{
			{ofDriver, "	if of(cls, cl.Source) != nil {", "	if len(cls) > 0 {"},
		}},
		{"a CL is taken in a shard that is not involved", "cancellations", "blame", []edit{
			{ofDriver, "cl.Source == own || !cl.Tx.Shards(x.cfg.Network.Home).All().Has(own)", "cl.Source == own"},
		}},
		{"CL_M for a transaction of which a peer states it", "cancellations", "cancelling", []edit{
			{ofDriver, "		if refusal == nil {\n			continue\n		}\n", "		_ = refusal\n"},
		}},
		{"CL_M for an unknown input", "cancellations", "cancelling", []edit{
			{cancels, "r != nil && r.Final() {", "r != nil {"},
		}},
		{"CL_M for a transaction that the shard has SPENT", "cancellations", "cancelling", []edit{
			{cancels, "known || err != nil {", "known && err != nil {"},
		}},
		{"CL_M after the expiry", "cancellations and expiries", "cancelling", []edit{
			{cancels, "h.TimeMS > tx.ExpiryMS {", "h.TimeMS > tx.ExpiryMS && false {"},
		}},
		{"escrow that a CL returned is returned again", "cancellations", "invariant value", []edit{
			{rules, "	case stage == ledger.StageEscrow && rejection != nil:\n		err = s.ReturnEscrow", "	case (stage == ledger.StageEscrow || stage == ledger.StageReturned) && rejection != nil:\n		err = s.ReturnEscrow"},
		}},
		{"an LD of another destination is taken", "cancellations", "blame channels", []edit{
			{"node/replica/verified.go", "to != c.Shard() {", "false && to != c.Shard() {"},
		}},
	}
}
