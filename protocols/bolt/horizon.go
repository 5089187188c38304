package bolt

import "bdtnode/protocols"

// Horizon is the slots of an epoch that a replica can use messages of at one moment. It never changes.
type Horizon struct {
	floor   uint64 // nothing of slots up to it
	settled uint64 // no Vote of slots up to it
	top     uint64 // beyond it, nothing yet
	slots   uint64 // of the epoch
	wanting bool   // some block was asked for, whatever its slot
}

// Horizon is the present one.
func (m *Machine) Horizon() Horizon {
	have := baseSlot(m.cfg.Epoch, m.base)
	return Horizon{floor: m.floor, settled: m.settled(have), top: have + window, slots: m.cfg.Slots, wanting: len(m.wants) > 0}
}

// Sees judges a message of the epoch by its slot alone.
func (h *Horizon) Sees(m protocols.Message) protocols.Relevance {
	var slot uint64
	var wanted bool
	switch x := m.(type) {
	case *Propose:
		slot, wanted = x.Block.Slot, h.wanting
	case *Vote:
		slot = x.Slot
		if slot <= h.settled {
			return protocols.Useless
		}
	case *Commit:
		slot = x.Slot
	default:
		return protocols.Useful
	}
	switch {
	case slot <= h.floor || slot > h.slots:
		return protocols.Useless
	case slot > h.top && !wanted:
		return protocols.Ahead
	}
	return protocols.Useful
}
