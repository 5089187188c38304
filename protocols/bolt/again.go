package bolt

import "bdtnode/protocols"

// Certified reports that the block has a certified header: own messages for it and all before it need not be kept.
func (m *Machine) Certified(b *Block) Step {
	var st Step
	top := min(baseSlot(m.cfg.Epoch, b), baseSlot(m.cfg.Epoch, m.base))
	for s := m.floor + 1; s <= top; s++ {
		if m.slots[s] != nil {
			m.forget(&st, s)
		}
	}
	m.floor = max(m.floor, top)
	return st
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
