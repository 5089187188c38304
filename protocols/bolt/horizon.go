package bolt

import "bdtnode/protocols"

// Horizon is a snapshot of the slots of an epoch for which a replica can use messages. It never changes.
type Horizon struct {
	floor   uint64 // messages of slots up to it are useless
	settled uint64 // Votes of slots up to it are useless
	top     uint64 // messages of slots above it cannot be used yet
	slots   uint64 // last slot of the epoch
	wanting bool   // a block is requested, of any slot
}

// Horizon takes the current snapshot.
func (m *Machine) Horizon() Horizon {
	have := m.slots.committed
	return Horizon{floor: m.slots.floor, settled: m.slots.settled(have, m.left), top: have + window, slots: m.cfg.Slots, wanting: len(m.wants.open) > 0}
}

// Relevance decides by its slot alone whether a replica can use a message of the epoch.
func (h *Horizon) Relevance(m protocols.Message) protocols.Relevance {
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
	case *Finalize:
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
