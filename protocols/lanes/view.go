package lanes

import "bdtnode/protocols"

// View is a snapshot of a lane, for operators. Numbers are those of batches; 0 means none.
type View struct {
	Lane      protocols.Index   `json:"lane"`
	Tip       uint64            `json:"tip"`       // highest acknowledged here
	Highest   uint64            `json:"highest"`   // highest one that is here
	Certified uint64            `json:"certified"` // highest with n-f acknowledgements
	Ordered   uint64            `json:"ordered"`   // in the last committed cut
	Executed  uint64            `json:"executed"`
	OpenBytes int               `json:"open_bytes"` // payload above Ordered that is here
	Behind    int               `json:"unexecuted_bytes"`
	Window    int               `json:"window_bytes"` // bound of OpenBytes for the owner; others take twice that
	Held      bool              `json:"held"`         // all batches between Ordered and Tip are here
	Wanted    int               `json:"wanted"`       // batches that were requested and are not here
	Forked    bool              `json:"suspected"`    // the owner signed two headers for one number: proposed with certificates only
	Frozen    bool              `json:"frozen"`       // nothing of it is executed any more
	FrozenAt  uint64            `json:"frozen_at"`    // last number that counts, if frozen
	Bad       bool              `json:"bad"`          // a batch has a bad signature: no acks and no proposals any more
	HoldMS    int64             `json:"hold_ms"`      // time for which this replica, as the leader, holds back uncertified tips
	Refused   bool              `json:"refused"`      // a batch beyond the window was refused, and is requested again later
	LackedBy  []protocols.Index `json:"lacked_by"`    // replicas that requested a batch above Ordered from this one
	AckedBy   []protocols.Index `json:"acked_by"`     // of the own lane: replicas that acknowledged the first uncertified batch
	Full      string            `json:"full"`         // of the own lane: the reason why it takes no batch, empty if it does
}

// Reasons why the own lane takes no batch.
const (
	FullFrozen  = "frozen"
	FullHeaders = "headers" // WindowHeaders batches are not ordered
	FullBytes   = "bytes"   // the window's bytes are not ordered
)

// Frozen is the set of the lanes of which nothing is executed any more.
func (m *Machine) Frozen() (frozen protocols.Set) {
	for i, l := range m.lanes {
		if l.frozen {
			frozen.Add(protocols.Index(i))
		}
	}
	return frozen
}

// Inspect takes a snapshot of all lanes.
func (m *Machine) Inspect(now protocols.Time) []View {
	wanted := make([]int, len(m.lanes))
	for at := range m.wants.open {
		wanted[at.Lane]++
	}
	out := make([]View, len(m.lanes))
	for i, l := range m.lanes {
		var lacking protocols.Set
		for peer := range l.lag.lacking {
			lacking.Add(peer)
		}
		v := View{
			Lane: protocols.Index(i), Tip: l.tip.Seq, Certified: l.certified.Seq, Ordered: l.ordered.Seq, Executed: l.base.Seq,
			OpenBytes: l.bytes.held, Behind: l.bytes.behind, Window: m.cfg.Window, Held: l.above(l.ordered, l.tip) == l.tip,
			Wanted: wanted[i], Forked: l.certifiedOnly, Frozen: l.frozen, FrozenAt: l.frozenAt, Bad: l.bad,
			HoldMS: l.lag.Hold(now).Milliseconds(), Refused: l.refused, LackedBy: lacking.Members(), AckedBy: []protocols.Index{},
		}
		for n := range l.bySeq {
			v.Highest = max(v.Highest, n)
		}
		if protocols.Index(i) == m.cfg.Self {
			if t := m.own.acks[max(l.certified.Seq, l.ordered.Seq)+1]; t != nil {
				signers := t.Signers()
				v.AckedBy = signers.Members()
			}
			v.Full = m.own.full(l, m.cfg.Window)
		}
		out[i] = v
	}
	return out
}
