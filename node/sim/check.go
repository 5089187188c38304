package sim

import (
	"bdtnode/ledger"
	"bdtnode/node/driver"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/certify"
)

// checks are the guarantees, each in its own file. The run reports events to them, and each examines the events of its
// guarantee. They observe honest replicas only, because a Byzantine replica may do anything.
type checks struct {
	s            *cluster
	agreement    agreement
	signing      signing
	leaving      leaving
	tossing      tossing
	acking       acking
	durability   durability
	certificates certificates
	blame        blame
	bounds       bounds
	promises     promises
	identity     identity
}

func newChecks(s *cluster) *checks {
	return &checks{
		s:            s,
		agreement:    newAgreement(s),
		signing:      newSigning(s),
		leaving:      newLeaving(s),
		tossing:      newTossing(s),
		acking:       newAcking(s),
		durability:   newDurability(s),
		certificates: newCertificates(s),
		blame:        blame{s: s},
		bounds:       newBounds(s),
		promises:     newPromises(s),
		identity:     newIdentity(s),
	}
}

// stepped: a core returned a step.
func (c *checks) stepped(n *node, st *replica.Step) {
	if n.adversary == nil {
		c.agreement.stepped(n, st)
		c.bounds.stepped(n, st)
		c.leaving.stepped(n, st)
		c.tossing.stepped(n, st)
		c.acking.stepped(n, st)
	}
}

// blamed: a replica reported another one as faulty.
func (c *checks) blamed(n *node, f protocols.Fault) {
	if n.adversary == nil {
		c.blame.blamed(n, f)
	}
}

// synced: the records of these steps are on disk and survive every crash.
func (c *checks) synced(n *node, group []driver.Action) {
	if n.adversary == nil {
		c.durability.synced(n, group)
	}
}

// sent: a message of an honest replica is sent.
func (c *checks) sent(n *node, m protocols.Message) {
	c.signing.sent(n, m)
	c.leaving.told(n, m)
	c.acking.sent(n, m)
}

// resent: messages that a core sends to a peer that connects.
func (c *checks) resent(n *node, st *replica.Step) {
	if n.adversary == nil && n.core.Standing().Running {
		c.signing.resent(n, st)
	}
}

// passed: a receiver found a message valid.
func (c *checks) passed(n *node, from protocols.Index, p packet, m protocols.Message) {
	if n.guards() {
		c.identity.passed(n, from, m)
	}
	if n.adversary == nil {
		c.blame.passed(n, from, p, m)
		if !n.core.Standing().Running {
			return // it ignores all other messages
		}
		c.certificates.passed(n, m)
		c.tossing.passed(n, from, m)
		c.acking.passed(n, m)
	}
}

// refused: a receiver refused a message.
func (c *checks) refused(n *node, from protocols.Index, err error) {
	if n.adversary == nil {
		c.blame.refuse(n, from, err)
	}
}

// carried: this number of messages is on one link.
func (c *checks) carried(i, j, count int) { c.bounds.carried(i, j, count) }

// adopted: a replica took certified blocks without having asked for them.
func (c *checks) adopted(n *node, from protocols.Index, blocks uint64) {
	if n.adversary == nil {
		c.bounds.adopted(n, from, blocks)
	}
}

// overBudget: a replica counted more messages of a kind from another one than its budget allows.
func (c *checks) overBudget(n, sender *node, kind protocols.Kind) {
	if n.adversary == nil && sender.adversary == nil {
		c.s.fail("bounds", "honest replica %d sends replica %d more messages of kind %#x than its budget", sender.id, n.id, uint8(kind))
	}
}

// certified: a header has its certificate.
func (c *checks) certified(n *node, x *certify.Certified) {
	if n.adversary == nil {
		c.certificates.certified(n, x)
	}
}

// executed: the effects of a block are in the ledger.
func (c *checks) executed(n *node, in *ledger.CommittedBlock, b *ledger.Block) {
	if n.adversary == nil {
		c.agreement.executed(n, b)
		c.s.settling.executed(n, in, b)
		c.durability.executed(n, b)
		c.bounds.executed(n, b)
	}
}

// crashed: a node crashed.
func (c *checks) crashed(n *node) {
	c.durability.crashes++
	c.leaving.crashed(n)
	c.tossing.crashed(n)
}

// started: a node started.
func (c *checks) started(n *node) {
	if n.guards() {
		c.identity.started(n)
	}
	if n.adversary == nil {
		c.durability.started(n)
		c.acking.started(n)
		c.promises.kept(n)
	}
}

// end: the run is over.
func (c *checks) end() {
	if lack := c.unsettled(); lack != "" {
		c.s.fail("liveness", "%v after the faults stopped: %s", c.s.world.cfg.Settle, lack)
		return
	}
	for _, l := range c.s.cfg.Liars {
		if a, ok := l.Adversary.(*SecondProcess); ok {
			a.ended(c.s)
		}
	}
	for _, n := range c.s.honest() {
		c.durability.ended(n)
		c.promises.ended(n)
		c.value(n)
	}
}
