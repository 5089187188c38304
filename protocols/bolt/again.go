package bolt

import "bdtnode/protocols"

// Certified reports that the block has a certified header: own messages for it and all before it need not be kept.
func (m *Machine) Certified(b *Block) Step {
	var st Step
	top := m.settled(min(baseSlot(m.cfg.Epoch, b), baseSlot(m.cfg.Epoch, m.base)))
	for s := m.floor + 1; s <= top; s++ {
		if m.slots[s] != nil {
			m.forget(&st, s)
		}
	}
	m.floor = max(m.floor, top)
	return st
}

// settled is the highest slot up to top below which the others need nothing of this replica that it still may give: a slot
// that it voted in and has no QC of is kept for some time, since f Byzantine VOTEs and the own one make a certified header
// here that nobody else has.
func (m *Machine) settled(top uint64) uint64 {
	for s := max(m.floor, top-min(top, window)) + 1; s <= top && !m.left; s++ {
		if x := m.slots[s]; x != nil && x.vote != nil && x.commit == nil {
			return s - 1
		}
	}
	return top
}

func (m *Machine) forget(st *Step, s uint64) {
	delete(m.slots, s)
	for _, key := range [][]byte{proposalKey(m.cfg.Epoch, s), voteKey(m.cfg.Epoch, s), commitKey(m.cfg.Epoch, s)} {
		st.Record(key, nil)
	}
}

// Resend gives a peer again all own messages whose heights are not certified.
func (m *Machine) Resend(to protocols.Index) Step {
	var st Step
	for s := m.floor + 1; s <= baseSlot(m.cfg.Epoch, m.base)+window; s++ {
		x := m.slots[s]
		if x == nil {
			continue
		}
		if to == m.cfg.Leader {
			x.objected = false
		}
		if x.proposal != nil && m.cfg.Self == m.cfg.Leader {
			st.Send(to, x.proposal)
		}
		if x.vote != nil {
			st.Send(to, x.vote)
		}
		if x.commit != nil {
			st.Send(to, x.commit)
		}
	}
	return st
}
