package adversary

import (
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
)

// votes makes QCs of the votes that a behaviour has seen.
type votes map[bolt.Vote]*protocols.Tally

// count counts a vote. It returns the QC if this vote completes it, else nil.
func (x *votes) count(v *View, from protocols.Index, vote *bolt.Vote) *bolt.QC {
	at := bolt.Vote{Epoch: vote.Epoch, Slot: vote.Slot, Digest: vote.Digest}
	t := (*x)[at]
	if t == nil {
		if *x == nil || len(*x) > 1000 {
			*x = make(votes)
		}
		t = protocols.NewTally(vote.Digest)
		(*x)[at] = t
	}
	if !t.Add(from, vote.Signature) || t.Len() != v.Committee.Quorum() {
		return nil
	}
	return &bolt.QC{Epoch: vote.Epoch, Slot: vote.Slot, Digest: vote.Digest, Certificate: t.Certificate()}
}
