package lanes

import "bdtnode/protocols"

// Bad is called when a batch of a lane, with a number, has a bad signature. From then on this replica acknowledges and
// proposes no batch of the lane, for ever, since no honest owner makes such a batch. It still votes for cuts of other
// leaders with batches of the lane: a slot without a quorum would stand until the epoch ends, and the bad batch contributes
// nothing when its block is executed. The acknowledgements that such a vote implies are recorded, and not sent.
func (m *Machine) Bad(lane protocols.Index, seq uint64) Step {
	var st Step
	l := m.lanes[lane]
	if l.bad {
		return st
	}
	l.bad = true
	st.Record(markKey(lane), l.marks())
	st.Blame(lane, "made batch %d of its lane with a bad signature", seq)
	return st
}

// BadLanes is the set of the lanes for which Bad was called.
func (m *Machine) BadLanes() (bad protocols.Set) {
	for i, l := range m.lanes {
		if l.bad {
			bad.Add(protocols.Index(i))
		}
	}
	return bad
}

// Header is the header of a held batch above the executed position, nil if it is not held.
func (m *Machine) Header(r Ref) *SignedHeader {
	if h := m.lanes[r.Lane].entries[r.Tip.Digest]; h != nil && h.Seq == r.Tip.Seq {
		return h
	}
	return nil
}

// HeldBatches lists all held batches above the executed positions, by lane and number.
func (m *Machine) HeldBatches() []Ref {
	var out []Ref
	for i, l := range m.lanes {
		for seq := l.base.Seq + 1; seq <= l.ordered.Seq+maxGrowth; seq++ {
			for _, d := range l.bySeq[seq] {
				out = append(out, Ref{protocols.Index(i), Tip{seq, d}})
			}
		}
	}
	return out
}
