package bolt

import "bdtnode/protocols"

// Certified is called when block b has a certified header. It deletes the own messages for b and all blocks before it,
// except in slots that settled excludes.
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

// settled is the highest slot, up to top, such that the other replicas need nothing more from this replica in it or any
// slot before it. A slot in which this replica voted and has no QC yet is kept, with all later ones, as long as it is among
// the last slots of a window: f Byzantine VOTEs and the own VOTE make a certified header here that no other replica may
// have, and the others may still need this replica's Finalize.
func (m *Machine) settled(top uint64) uint64 {
	for s := max(m.floor, top-min(top, window)) + 1; s <= top && !m.left; s++ {
		if x := m.slots[s]; x != nil && x.vote != nil && x.finalize == nil {
			return s - 1
		}
	}
	return top
}

// forget deletes a slot from memory and disk.
func (m *Machine) forget(st *Step, s uint64) {
	delete(m.slots, s)
	for _, key := range [][]byte{proposalKey(m.cfg.Epoch, s), voteKey(m.cfg.Epoch, s), finalizeKey(m.cfg.Epoch, s)} {
		st.Record(key, nil)
	}
}

// Resend sends a peer again all own messages for slots that are not forgotten.
func (m *Machine) Resend(to protocols.Index) Step {
	var st Step
	for s := m.floor + 1; s <= baseSlot(m.cfg.Epoch, m.base)+window; s++ {
		x := m.slots[s]
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
