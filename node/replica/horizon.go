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

// Horizon returns the present one. As long as it does not change, it is the same value.
func (c *Core) Horizon() *Horizon {
	now := Horizon{bdt: c.bdt.Horizon(), certified: c.certify.CertifiedHeight()}
	if c.horizon == nil || *c.horizon != now {
		changed := now // so that only a changed one is allocated
		c.horizon = &changed
	}
	return c.horizon
}

// Relevance decides about a decoded message before it is verified. A useful one is verified ([Verifier]) and given to the
// core. Of one that is ahead, the core gets the place alone ([NewAhead]). Of the n signatures on a block or header, those
// that arrive after the quorum are a large part of all signatures to verify.
func (h *Horizon) Relevance(from protocols.Index, m protocols.Message) protocols.Relevance {
	if v, ok := m.(*certify.VOTE); ok && v.Height <= h.certified {
		return protocols.Useless
	}
	return h.bdt.Relevance(from, m)
}
