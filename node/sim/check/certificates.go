package check

import (
	"bdtnode/internal/digest"
	"bdtnode/node/sim/observe"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/certify"
	"bdtnode/protocols/lanes"
)

// certificates: every certificate that is made verifies, and no two exist for one place: one QC digest for a slot, one
// certified header for a height. The certified and committed positions of a lane lie on one chain.
type certificates struct {
	s       *Shard
	fixed   []map[uint64]digest.Digest // by lane: certified and committed positions, and all below them
	parents map[digest.Digest]lanes.Tip
	qcs     map[place]digest.Digest
}

func newCertificates(s *Shard) certificates {
	c := certificates{s: s, parents: make(map[digest.Digest]lanes.Tip), qcs: make(map[place]digest.Digest)}
	for range s.Replicas {
		c.fixed = append(c.fixed, make(map[uint64]digest.Digest))
	}
	return c
}

// passed is called with each message that a receiver found valid: its certificates are proved.
func (c *certificates) passed(n observe.Replica, m protocols.Message) {
	switch x := m.(type) {
	case *lanes.Batch:
		c.parents[x.Digest()] = lanes.Tip{Seq: x.Seq - 1, Digest: x.Parent}
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

func (c *certificates) tip(x *lanes.TipCertificate) { c.fix(x.Lane, x.Tip) }

// committed is called with each block that an honest replica commits.
func (c *certificates) committed(cut lanes.Cut) {
	for i, t := range cut {
		c.fix(protocols.Index(i), t)
	}
}

// fix records a position that is certified or committed, and all positions below it whose headers were seen.
func (c *certificates) fix(lane protocols.Index, t lanes.Tip) {
	for t.Seq > 0 {
		have, ok := c.fixed[lane][t.Seq]
		if ok && have != t.Digest {
			c.s.Fail("certificates", "number %d of lane %d is certified or committed, by itself or through a later one, as %s and as %s",
				t.Seq, lane, have.Short(), t.Digest.Short())
		}
		c.fixed[lane][t.Seq] = t.Digest
		parent, known := c.parents[t.Digest]
		if ok || !known {
			return
		}
		t = parent
	}
}

// finalizing is called with each Finalize that an honest replica makes: the replica holds the QC.
func (c *certificates) finalizing(n observe.Replica, x *bolt.Finalize) {
	at := place{a: x.Epoch, b: x.Slot}
	if have, ok := c.qcs[at]; ok && have != x.Digest {
		c.s.Fail("certificates", "slot %d has a QC for %s and, at replica %d, one for %s", x.Slot, have.Short(), n.ID(), x.Digest.Short())
	}
	c.qcs[at] = x.Digest
}

func (c *certificates) certified(n observe.Replica, x *certify.Certified) {
	items, err := x.SignatureChecks(c.s.Committee)
	if err != nil || !c.s.Scheme.VerifyAll(items) {
		c.s.Fail("certificates", "replica %d made a certificate of header %d that does not verify: %v", n.ID(), x.Height, err)
	}
	if have, ok := c.s.agreement.headers[x.Height]; ok && have != x.Header {
		c.s.Fail("certificates", "replica %d has certified header %s at height %d, executed is %s", n.ID(), x.Header.Short(), x.Height, have.Short())
	}
}
