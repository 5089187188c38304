// Package check has the checks of a simulated run: the guarantees of design §2, each in a file of its own.
//
// The nodes report events, and each check examines the events of its guarantee. The checks observe honest replicas
// only, because a Byzantine replica may do anything. They change nothing in the run but to end it.
package check

import (
	"fmt"

	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/node/driver"
	"bdtnode/node/replica"
	"bdtnode/node/sim/adversary"
	"bdtnode/node/sim/clock"
	"bdtnode/node/sim/network"
	"bdtnode/node/sim/observe"
	"bdtnode/node/sim/trace"
	"bdtnode/protocols"
	"bdtnode/protocols/certify"
	"bdtnode/shard/settlement"
)

// Network has the checks of a run.
type Network struct {
	Shards []*Shard

	clock    *clock.Clock
	peers    *settlement.Network
	fail     func(check, detail string)
	settling settling
	// cancelling is the check of CLs.
	cancelling cancelling
	answers    answers
	payloads   payloads
}

// NewNetwork is the checks of a network without shards. It calls fail with each violation.
func NewNetwork(c *clock.Clock, peers *settlement.Network, fail func(check, detail string)) *Network {
	w := &Network{clock: c, peers: peers, fail: fail}
	w.settling, w.cancelling, w.answers = newSettling(w), newCancelling(w), newAnswers(w)
	w.payloads = newPayloads(w)
	return w
}

// Facts are the facts of a shard that its checks need.
type Facts struct {
	Number      uint16
	Replicas    int
	Places      int    // number of nodes: twins are two
	Slots       uint64 // of an epoch; 0 is the usual number
	Committee   *protocols.Committee
	Scheme      sig.Scheme
	Trace       trace.Shard
	Hostile     adversary.Hostile // nil if at most f replicas are Byzantine
	Allocations []ledger.Allocation
}

// Shard has the checks of a shard.
type Shard struct {
	Facts
	Nodes []observe.Replica // by place

	clock        *clock.Clock
	network      *Network
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
	signatures   signatures
}

var _ observe.Shard = (*Shard)(nil)

// Add adds the next shard. Its nodes must be set before it runs.
func (w *Network) Add(f Facts) *Shard {
	s := &Shard{Facts: f, clock: w.clock, network: w}
	s.agreement = newAgreement(s)
	s.signing = newSigning(s)
	s.leaving = newLeaving(s)
	s.tossing = newTossing(s)
	s.acking = newAcking(s)
	s.durability = newDurability(s)
	s.certificates = newCertificates(s)
	s.blame = blame{s: s}
	s.bounds = newBounds(s)
	s.promises = newPromises(s)
	s.identity = newIdentity(s)
	s.signatures = signatures{s: s}
	w.Shards = append(w.Shards, s)
	w.settling.add()
	return s
}

// Fail records a violation in a shard. The first one ends the run.
func (s *Shard) Fail(check, format string, args ...any) {
	detail := fmt.Sprintf(format, args...)
	if len(s.network.Shards) > 1 {
		detail = fmt.Sprintf("shard %d: %s", s.Number, detail)
	}
	s.network.fail(check, detail)
}

// honest lists the replicas that are neither Byzantine nor down for good.
func (s *Shard) honest() []observe.Replica {
	var out []observe.Replica
	for _, n := range s.Nodes {
		if n.Honest() && !n.Dead() {
			out = append(out, n)
		}
	}
	return out
}

// isHostile reports whether more than f of the shard's replicas are Byzantine.
func (s *Shard) isHostile() bool { return s.Hostile != nil }

// hostile is the set of hostile shards.
func (w *Network) hostile() (set ledger.ShardSet) {
	for _, s := range w.Shards {
		if s.isHostile() {
			set = set.With(s.Number)
		}
	}
	return set
}

// involved reports whether a transaction involves a hostile shard.
func (w *Network) involved(tx *ledger.Tx) bool {
	return tx.Shards(w.peers.Home).All()&w.hostile() != 0
}

// of is the checks of a node's shard.
func (w *Network) of(n observe.Replica) *Shard { return w.Shards[n.Shard()] }

// Stepped implements [observe.Shard].
func (s *Shard) Stepped(n observe.Replica, st *replica.Step) {
	if n.Honest() {
		s.agreement.stepped(n, st)
		s.bounds.stepped(n, st)
		s.leaving.stepped(n, st)
		s.tossing.stepped(n, st)
		s.acking.stepped(n, st)
		s.network.cancelling.stepped(n, st)
	}
}

// Looked implements [observe.Shard].
func (s *Shard) Looked(n observe.Replica) { s.identity.looked(n) }

// Blamed implements [observe.Shard].
func (s *Shard) Blamed(n observe.Replica, f protocols.Fault) {
	if n.Honest() {
		s.blame.blamed(n, f)
	}
}

// Synced implements [observe.Shard].
func (s *Shard) Synced(n observe.Replica, group []driver.Action) {
	if n.Honest() {
		s.durability.synced(n, group)
	}
}

// Sent implements [observe.Shard].
func (s *Shard) Sent(n observe.Replica, m protocols.Message) {
	s.signing.sent(n, m)
	s.leaving.sent(n, m)
	s.acking.sent(n, m)
}

// SentGuarded implements [observe.Shard].
func (s *Shard) SentGuarded(n observe.Replica, m protocols.Message) { s.identity.sent(n, m) }

// Resent implements [observe.Shard].
func (s *Shard) Resent(n observe.Replica, st *replica.Step) {
	if n.Honest() && n.Running() {
		s.signing.resent(n, st)
	}
}

// Passed implements [observe.Shard].
func (s *Shard) Passed(n observe.Replica, from protocols.Index, p network.Packet, m protocols.Message) {
	if n.Guarded() {
		s.identity.passed(n, from, m)
	}
	if n.Honest() {
		s.blame.passed(n, from, p, m)
		if !n.Running() {
			return // it ignores all other messages
		}
		s.certificates.passed(n, m)
		s.tossing.passed(n, from, m)
		s.acking.passed(n, m)
	}
}

// Refused implements [observe.Shard].
func (s *Shard) Refused(n observe.Replica, from protocols.Index, err error) {
	if n.Honest() {
		s.blame.refuse(n, from, err)
	}
}

// Carried implements [observe.Shard].
func (s *Shard) Carried(from, to, count int) { s.bounds.carried(from, to, count) }

// Adopted implements [observe.Shard].
func (s *Shard) Adopted(n observe.Replica, from protocols.Index, blocks uint64) {
	if n.Honest() {
		s.bounds.adopted(n, from, blocks)
	}
}

// OverBudget implements [observe.Shard].
func (s *Shard) OverBudget(n, sender observe.Replica, kind protocols.Kind) {
	if n.Honest() && sender.Honest() {
		s.Fail("bounds", "honest replica %d sends replica %d more messages of kind %#x than its budget", sender.ID(), n.ID(), uint8(kind))
	}
}

// Certified implements [observe.Shard].
func (s *Shard) Certified(n observe.Replica, x *certify.Certified) {
	if n.Honest() {
		s.certificates.certified(n, x)
	}
}

// Batched implements [observe.Shard].
func (s *Shard) Batched(n observe.Replica, txs []*ledger.Tx) { s.promises.batched(n, txs) }

// Executed implements [observe.Shard].
func (s *Shard) Executed(n observe.Replica, in *ledger.CommittedBlock, b *ledger.Block) {
	if n.Honest() {
		s.agreement.executed(n, b)
		s.signatures.executed(n, in)
		s.network.settling.executed(n, in, b)
		s.network.payloads.executed(n, in, b)
		s.durability.executed(b)
		s.bounds.executed(n, b)
	}
}

// Crashed implements [observe.Shard].
func (s *Shard) Crashed(n observe.Replica) {
	s.durability.crashes++
	s.leaving.crashed(n)
	s.tossing.crashed(n)
}

// Started implements [observe.Shard].
func (s *Shard) Started(n observe.Replica) {
	if n.Guarded() {
		s.identity.started(n)
	}
	if n.Honest() {
		s.durability.started(n)
		s.acking.started(n)
		s.promises.kept(n)
	}
}

// Lost implements [observe.Shard].
func (s *Shard) Lost(n observe.Replica, why *replica.Lost) { s.identity.lost(n, why) }

// Newer implements [observe.Shard].
func (s *Shard) Newer(n observe.Replica) func(votes bool) bool {
	before := s.identity.signed[n.ID()]
	return func(votes bool) bool { return s.identity.later(n, before, votes) }
}

// RefusedLD implements [observe.Network].
func (w *Network) RefusedLD(n, from observe.Replica, err error) { w.settling.refused(n, from, err) }

// TookLD implements [observe.Network].
func (w *Network) TookLD(n, from observe.Replica, p network.Packet, ld *settlement.LD) {
	w.settling.took(n, from, p, ld)
}

// TookCL implements [observe.Network].
func (w *Network) TookCL(n, from observe.Replica, p network.Packet, cl *settlement.CL) {
	w.cancelling.took(n, from, p, cl)
}

// Accused implements [observe.Network].
func (w *Network) Accused(n observe.Replica, e *settlement.Evidence) {
	if !w.Shards[e.Source()].isHostile() {
		w.of(n).Fail("evidence", "an honest shard is accused: %v", e)
	}
}
