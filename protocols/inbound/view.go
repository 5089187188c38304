package inbound

import "bdtnode/protocols"

// maxGaps is the largest number of ranges in [View.Gaps].
const maxGaps = 16

// View is a snapshot of the channel from one shard, for operators. Numbers are those of LDs; 0 means none.
type View struct {
	Source   uint16            `json:"source"`
	Executed uint64            `json:"executed"`  // last one applied here
	Ordered  uint64            `json:"ordered"`   // last one in a committed block
	Signed   uint64            `json:"signed"`    // all up to it are here, and this replica signed them
	Top      uint64            `json:"certified"` // highest one that f+1 replicas signed
	Highest  uint64            `json:"highest"`   // highest one that is here
	Held     int               `json:"held"`      // number of LDs that are here and not applied
	Bytes    int               `json:"bytes"`     // of those above Ordered
	Wanted   int               `json:"wanted"`    // requests of LDs that a cut names
	Gaps     []Gap             `json:"gaps"`      // numbers between Signed and the highest known one that are not here, at most 16 ranges
	SignedBy []protocols.Index `json:"signed_by"` // replicas that signed the first number above Ordered
}

// Gap is a range of numbers of LDs.
type Gap struct {
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}

// Inspect takes a snapshot of the channels from all other shards.
func (m *Machine) Inspect() []View {
	out := make([]View, 0, len(m.chans))
	for s, c := range m.chans {
		if uint16(s) == m.cfg.Committee.Shard() {
			continue
		}
		v := View{
			Source: uint16(s), Executed: c.base.Seq, Ordered: c.ordered.Seq, Signed: c.signed.Seq, Top: c.top,
			Held: len(c.held), Bytes: c.ahead, Gaps: []Gap{}, SignedBy: []protocols.Index{},
		}
		for n := range c.byNum {
			v.Highest = max(v.Highest, n)
		}
		for at := range m.wants {
			if at.Source == v.Source {
				v.Wanted++
			}
		}
		if x := c.signs[c.ordered.Seq+1]; x != nil {
			v.SignedBy = x.signers.Members()
		}
		for n := c.signed.Seq + 1; n <= min(max(v.Highest, v.Top), c.ordered.Seq+Window) && len(v.Gaps) < maxGaps; n++ {
			if len(c.byNum[n]) > 0 {
				continue
			}
			if k := len(v.Gaps); k > 0 && v.Gaps[k-1].To == n-1 {
				v.Gaps[k-1].To = n
			} else {
				v.Gaps = append(v.Gaps, Gap{n, n})
			}
		}
		out = append(out, v)
	}
	return out
}
