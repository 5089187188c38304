package replica

import (
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/votes"
)

// Horizon is what a core can use at one moment. It never changes: readers on other goroutines ask it before they verify
// anything, while the core goes on.
type Horizon struct {
	bdt       bdt.Horizon
	certified uint64
}

// Horizon is the present one.
func (c *Core) Horizon() *Horizon {
	return &Horizon{bdt: c.bdt.Horizon(), certified: c.votes.CertifiedHeight()}
}

// Sift says what is to be done with a decoded message: the message itself, to verify it ([Verify]) and hand it to the
// core; or a [bdt.Beyond], which needs no verification, in its place; or nil, nothing. Of the n signatures on a block or
// header those that come behind the quorum are a good part of all there is to verify.
func (h *Horizon) Sift(from protocols.Index, m protocols.Message) protocols.Message {
	if v, ok := m.(*votes.VOTE); ok && v.Height <= h.certified {
		return nil
	}
	return h.bdt.Sift(from, m)
}
