package lanes

import (
	"slices"

	"bdtnode/protocols"
)

// Horizon is a snapshot of the parts of the lanes that a replica can use. It never changes, so other goroutines may read it
// while the machine continues.
type Horizon struct {
	self  protocols.Index
	lanes *[]laneHorizon // equal if the lanes have not changed, so that snapshots can be compared
}

type laneHorizon struct {
	base, ordered, certified uint64
	room                     int   // bytes above ordered that are stored without a request
	asked                    []Tip // requested positions, if room is too small for some batch
	forked                   bool
	frozen                   bool
	frozenAt                 uint64
}

// equal reports whether two are the same, and no position is requested in either.
func (h *laneHorizon) equal(x *laneHorizon) bool {
	return h.base == x.base && h.ordered == x.ordered && h.certified == x.certified && h.room == x.room && h.forked == x.forked &&
		h.frozen == x.frozen && h.frozenAt == x.frozenAt && h.asked == nil && x.asked == nil
}

// Horizon takes the current snapshot. As long as the lanes do not change, snapshots share their memory.
func (m *Machine) Horizon() Horizon {
	now := m.horizon.scratch[:0]
	for _, l := range m.lanes {
		now = append(now, laneHorizon{
			base: l.base.Seq, ordered: l.ordered.Seq, certified: l.certified.Seq, room: l.limit - l.bytes.held,
			forked: l.certifiedOnly, frozen: l.frozen, frozenAt: l.frozenAt,
		})
	}
	m.horizon.scratch = now
	for at, w := range m.wants.open {
		if x := &now[at.Lane]; w.named && x.room < MaxPayload+MaxOverhead {
			x.asked = append(x.asked, at.Tip)
		}
	}
	if last := m.horizon.last; last == nil || !slices.EqualFunc(now, *last, func(a, b laneHorizon) bool { return a.equal(&b) }) {
		changed := slices.Clone(now)
		m.horizon.last = &changed
	}
	return Horizon{m.cfg.Self, m.horizon.last}
}

// Relevance decides whether a replica can use a message. It reads only the numbers and digests in the message and
// verifies nothing.
func (h *Horizon) Relevance(from protocols.Index, m protocols.Message) protocols.Relevance {
	switch x := m.(type) {
	case *Batch:
		return h.batch(from, x)
	case *Ack:
		if own := h.at(h.self); x.Lane != h.self || x.Tip.Seq <= max(own.ordered, own.certified) {
			return protocols.Useless
		}
	case *TipCertificate:
		if l := h.at(x.Lane); l == nil || x.Tip.Seq <= l.base || x.Tip.Seq == l.certified {
			return protocols.Useless
		}
	case *Conflict:
		if l := h.at(x.Lane); l == nil || l.forked || x.Seq <= l.base || x.Seq > l.ordered+maxGrowth {
			return protocols.Useless
		}
	}
	return protocols.Useful
}

func (h *Horizon) batch(from protocols.Index, x *Batch) protocols.Relevance {
	l := h.at(x.Lane)
	switch {
	case l == nil || x.Seq <= l.base || l.frozen && x.Seq > l.frozenAt:
		return protocols.Useless
	case x.Seq <= l.ordered || x.Seq <= l.ordered+maxGrowth && (int(x.Size) <= l.room || slices.Contains(l.asked, x.Tip())):
		return protocols.Useful
	case from != x.Lane:
		return protocols.Useless // the owner has it and is asked for it
	}
	return protocols.Ahead
}

func (h *Horizon) at(lane protocols.Index) *laneHorizon {
	if int(lane) >= len(*h.lanes) {
		return nil
	}
	return &(*h.lanes)[lane]
}

// HandleAhead is called for a batch from its owner that was beyond the window when it arrived and was dropped unverified.
// The machine requests it when the window has moved, or at once if the window has moved since.
func (m *Machine) HandleAhead(owner protocols.Index, seq uint64) Step {
	var st Step
	l := m.lanes[owner]
	switch {
	case l.frozen || seq <= l.base.Seq:
	case seq <= l.ordered.Seq+maxGrowth && l.bytes.held <= m.cfg.Window:
		st.Send(owner, &Fetch{Lane: owner, After: l.tip.Seq})
	default:
		l.refused = true
	}
	return st
}
