package certify

import "bdtnode/protocols"

// maxHeightViews is the largest number of heights in a [View].
const maxHeightViews = 16

// View is a snapshot of the certification of headers, for operators.
type View struct {
	Executed  uint64       `json:"executed"`  // height up to which this replica has executed
	Certified uint64       `json:"certified"` // height up to which every header is certified and executed here
	Highest   []uint64     `json:"highest"`   // by replica: greatest height for which it sent a VOTE, 0 if none
	Heights   []HeightView `json:"heights"`   // the first heights above Certified, at most 16
}

// HeightView is a snapshot of a height whose header is not certified, or not executed here.
type HeightView struct {
	Height  uint64            `json:"height"`
	Own     bool              `json:"own"`      // the own VOTE is sent
	VotedBy []protocols.Index `json:"voted_by"` // replicas whose VOTE is here
	Done    bool              `json:"done"`     // it has a certificate
	Missing []protocols.Index `json:"missing"`  // replicas without a VOTE here
	Needed  int               `json:"needed"`   // number of further VOTEs that are needed
}

// Inspect takes a snapshot.
func (m *Machine) Inspect() View {
	v := View{Executed: m.executed, Certified: m.certified, Highest: append([]uint64{}, m.highest...), Heights: []HeightView{}}
	for h := m.certified + 1; h <= m.certified+maxHeightViews; h++ {
		x := m.heights[h]
		if x == nil {
			if h > m.executed {
				break
			}
			x = &height{}
		}
		most := 0
		for _, t := range x.tallies {
			most = max(most, t.Len())
		}
		y := HeightView{Height: h, Own: x.own != nil, VotedBy: x.voters.Members(), Done: !x.done.IsZero(), Missing: []protocols.Index{}}
		if !y.Done {
			y.Missing, y.Needed = x.voters.Others(m.committee.N()), m.committee.WeakQuorum()-most
		}
		v.Heights = append(v.Heights, y)
	}
	return v
}
