package bolt

import "bdtnode/protocols"

// Certified is called when block b has a certified header. It deletes the own messages for b and all blocks before it,
// except in slots that settled excludes.
func (m *Machine) Certified(b *Block) Step {
	var st Step
	m.slots.forgetUpTo(&st, m.slots.settled(min(baseSlot(m.cfg.Epoch, b), m.slots.committed), m.left))
	return st
}

// Resend sends a peer again all own messages for slots that are not forgotten.
func (m *Machine) Resend(to protocols.Index) Step {
	var st Step
	for s := m.slots.floor + 1; s <= m.slots.committed+window; s++ {
		x := m.slots.kept[s]
		if x == nil {
			continue
		}
		if to == m.cfg.Leader {
			x.conflictSent = false
		}
		if x.proposal != nil && m.cfg.Self == m.cfg.Leader {
			st.Send(to, x.proposal)
		}
		if x.vote != nil {
			st.Send(to, x.vote)
		}
		if x.finalize != nil {
			st.Send(to, x.finalize)
		}
	}
	return st
}
