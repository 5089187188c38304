package sim

// vouchMutants are bugs in the knowledge about the signatures of batches.
func vouchMutants() []mutant {
	const machine = "protocols/vouch/machine.go"
	return []mutant{
		{"f vouches suffice", "bad signatures", "signatures agreement invariant", []edit{
			{machine, "b.vouched.Len() < m.cfg.Committee.WeakQuorum()", "b.vouched.Len() < m.cfg.Committee.F()"},
		}},
		{"a vouch is counted twice", "bad signatures", "signatures agreement invariant", []edit{
			{machine, "	vouched  protocols.Set // with the owner, once the batch is held\n", "	vouched  protocols.Set // with the owner, once the batch is held\n	times    int\n"},
			{machine, "	if !b.vouched.Add(from) {\n		return\n	}\n", "	b.times++\n	b.vouched.Add(from)\n"},
			{machine, "	b.vouched.Add(r.Lane)\n", "	b.times++\n	b.vouched.Add(r.Lane)\n"},
			{machine, "b.vouched.Len() < m.cfg.Committee.WeakQuorum()", "b.times < m.cfg.Committee.WeakQuorum()"},
		}},
		{"a vouch for another digest counts", "bad signatures", "signatures agreement invariant", []edit{
			{machine, "	b := m.batches[r]\n	switch {\n	case r.Tip.Seq <= l.executed", "	b := m.batches[r]\n	for x, other := range m.batches {\n		if b == nil && x.Lane == r.Lane && x.Tip.Seq == r.Tip.Seq && other.held {\n			b, r = other, x\n		}\n	}\n	switch {\n	case r.Tip.Seq <= l.executed"},
		}},
		{"a batch is bad by hearsay", "poor vouches", "signatures agreement invariant blame", []edit{
			{machine, "	b := m.batches[r]\n	switch {\n	case r.Tip.Seq <= l.executed", "	b := m.batches[r]\n	for x, other := range m.batches {\n		if x != r && x.Lane == r.Lane && x.Tip.Seq == r.Tip.Seq && other.held && other.known == Unknown {\n			other.known = Bad\n			st.Emit(Output{Bad: &x})\n		}\n	}\n	switch {\n	case r.Tip.Seq <= l.executed"},
		}},
		{"the header of a trusted block is not compared", "bad signatures", "agreement signatures invariant", []edit{
			{"node/execution/execute.go", "	in.Expect = expect\n", ""},
		}},
		{"a bad batch is executed", "bad signatures", "signatures agreement invariant", []edit{
			{"node/replica/vouching.go", "		case known == vouch.Bad:\n			bad = append(bad, r)\n", "		case known == vouch.Bad:\n"},
		}},
		{"no later rank checks", "poor vouches", "liveness", []edit{
			{machine, "	m.waiting[r] = b\n	m.next = ", "	_ = "},
		}},
	}
}
