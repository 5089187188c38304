package sim

import (
	"bdtnode/internal/digest"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/votes"
)

// certificates: every one that is made verifies, and there are never two for one place: one QC digest for a slot,
// one certified digest for a number of a lane, one certified header for a height.
type certificates struct {
	s    *Sim
	tips map[saying]digest.Digest
	qcs  map[saying]digest.Digest
}

func newCertificates(s *Sim) certificates {
	return certificates{s: s, tips: make(map[saying]digest.Digest), qcs: make(map[saying]digest.Digest)}
}

// passed is called with each message that was found in order: what it certifies is proved.
func (c *certificates) passed(n *node, m protocols.Message) {
	switch x := m.(type) {
	case *lanes.Batch:
		if x.Certificate != nil {
			c.tip(x.Certificate)
		}
	case *lanes.TipCertificate:
		c.tip(x)
	case *bolt.Propose:
		for _, t := range x.Certificates {
			c.tip(t)
		}
	}
}

func (c *certificates) tip(x *lanes.TipCertificate) {
	at := saying{lane: x.Lane, a: x.Tip.Seq}
	if have, ok := c.tips[at]; ok && have != x.Tip.Digest {
		c.s.fail("certificates", "number %d of lane %d is certified as %s and as %s", x.Tip.Seq, x.Lane, have.Short(), x.Tip.Digest.Short())
	}
	c.tips[at] = x.Tip.Digest
}

// committing is called with each Commit that an honest replica makes: it holds the QC.
func (c *certificates) committing(n *node, x *bolt.Commit) {
	at := saying{a: x.Epoch, b: x.Slot}
	if have, ok := c.qcs[at]; ok && have != x.Digest {
		c.s.fail("certificates", "slot %d has a QC for %s and, at replica %d, one for %s", x.Slot, have.Short(), n.id, x.Digest.Short())
	}
	c.qcs[at] = x.Digest
}

func (c *certificates) certified(n *node, x *votes.Certified) {
	items, err := x.Items(c.s.committee)
	if err != nil || !c.s.scheme.VerifyAll(items) {
		c.s.fail("certificates", "replica %d made a certificate of header %d that does not verify: %v", n.id, x.Height, err)
	}
	if have, ok := c.s.check.agreement.headers[x.Height]; ok && have != x.Header {
		c.s.fail("certificates", "replica %d has certified header %s at height %d, executed is %s", n.id, x.Header.Short(), x.Height, have.Short())
	}
}
