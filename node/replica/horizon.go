package replica

import (
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/certify"
)

// Horizon describes the messages that a core can use at one moment. It is immutable: readers on other goroutines ask it
// before they verify a message, while the core continues.
type Horizon struct {
	bdt       bdt.Horizon
	certified uint64
}

// Horizon returns the present one.
func (c *Core) Horizon() *Horizon {
	return &Horizon{bdt: c.bdt.Horizon(), certified: c.certify.CertifiedHeight()}
}

// Sift returns the message itself if it must be verified ([Verifier]) and handed to the core; or, in its place, a
// [bdt.Beyond], which needs no verification; or nil if the message has no use. Of the n signatures on a block or
// header, those that arrive after the quorum are a large part of all signatures to verify.
func (h *Horizon) Sift(from protocols.Index, m protocols.Message) protocols.Message {
	if v, ok := m.(*certify.VOTE); ok && v.Height <= h.certified {
		return nil
	}
	return h.bdt.Sift(from, m)
}
