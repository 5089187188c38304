package check

import (
	"fmt"
	"testing"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/internal/wire"
	"bdtnode/ledger"
	"bdtnode/node/driver"
	"bdtnode/node/replica"
	"bdtnode/node/sim/network"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/certify"
	toss "bdtnode/protocols/coin"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/mvba"
)

// TestAgreement: honest replicas commit one block at a height, on top of the committed one, and execute it to one header.
func TestAgreement(t *testing.T) {
	f := newFixture(t, 1)
	s, n := f.one()
	one, two := s.block(t, bolt.Block{Epoch: 1, Slot: 1, Height: 1}), s.block(t, bolt.Block{Epoch: 1, Slot: 1, Height: 1, TimeMS: 1})
	s.records(n[0], commit(one))
	s.records(n[1], commit(one))
	s.records(n[byzantine], commit(two))
	f.holds("one block, and another one of a Byzantine replica")
	s.records(n[1], commit(two))
	f.violates("agreement", "two blocks at a height")

	f = newFixture(t, 1)
	s, n = f.one()
	s.records(n[0], commit(one), commit(s.block(t, bolt.Block{Epoch: 1, Slot: 2, Height: 2, Parent: one.Digest()})))
	f.holds("a block that extends its parent")
	s.records(n[0], commit(s.block(t, bolt.Block{Epoch: 1, Slot: 3, Height: 3, Parent: one.Digest()})))
	f.violates("agreement", "a block that extends the block before its parent")
	s.records(n[0], protocols.Record{Key: bdt.CommitKey(4), Value: []byte("?")})
	f.violates("agreement", "a record that is no block")

	f = newFixture(t, 1)
	s, n = f.one()
	s.records(n[0], commit(one))
	s.Synced(n[0], []driver.Action{{Step: replica.Step{Persist: []protocols.Record{commit(one)}}}})
	s.Synced(n[1], []driver.Action{{Step: replica.Step{Persist: []protocols.Record{commit(one)}}}})
	executed := func(of *bolt.Block, header digest.Digest) *ledger.Block {
		return &ledger.Block{Header: ledger.Header{Height: 1, Block: of.Digest()}, HeaderDigest: header}
	}
	s.Executed(n[0], &ledger.CommittedBlock{}, executed(one, other(1)))
	s.Executed(n[1], &ledger.CommittedBlock{}, executed(one, other(1)))
	f.holds("one header")
	s.Executed(n[1], &ledger.CommittedBlock{}, executed(one, other(2)))
	f.violates("agreement", "two headers at a height")
	s.Executed(n[0], &ledger.CommittedBlock{}, executed(two, other(2)))
	f.violates("agreement", "a block that is not the committed one is executed")
}

// TestCertificates: certified and committed positions of a lane are on one chain, a slot has one QC, and a certificate of a
// header verifies and is of the executed one.
func TestCertificates(t *testing.T) {
	f := newFixture(t, 1)
	s, n := f.one()
	first, fork := f.batch(s, 1, 1, digest.Digest{}, 1), f.batch(s, 1, 1, digest.Digest{}, 2)
	second := f.batch(s, 1, 2, first.Digest(), 3)
	certified := func(b *lanes.Batch) *lanes.TipCertificate { return &lanes.TipCertificate{Lane: b.Lane, Tip: b.Tip()} }
	pass := func(m protocols.Message) { s.Passed(n[0], 1, network.Packet{}, m) }
	pass(second)
	pass(certified(second))
	pass(certified(first))
	f.holds("two positions on a chain")
	pass(certified(fork))
	f.violates("certificates", "a position that a later certified one does not extend")
	f = newFixture(t, 1)
	s, n = f.one()
	pass(certified(fork))
	cut := make(lanes.Cut, replicas)
	cut[1] = first.Tip()
	s.records(n[0], commit(s.block(t, bolt.Block{Epoch: 1, Slot: 1, Height: 1, Cut: cut})))
	f.violates("certificates", "a block orders another batch than the certified one")

	f = newFixture(t, 1)
	s, n = f.one()
	s.steps(n[0], &bolt.Finalize{Epoch: 1, Slot: 1, Digest: other(1)})
	s.steps(n[1], &bolt.Finalize{Epoch: 1, Slot: 1, Digest: other(1)}, &bolt.Finalize{Epoch: 1, Slot: 2, Digest: other(2)})
	f.holds("one QC for each slot")
	s.steps(n[2], &bolt.Finalize{Epoch: 1, Slot: 1, Digest: other(2)})
	f.violates("certificates", "two QCs for a slot")

	header := func(d digest.Digest, signers int) *certify.Certified {
		return &certify.Certified{Height: 1, Header: d, Certificate: f.certificate(s, signers, certify.Statement(s.Committee, 1, d), d)}
	}
	s.Certified(n[0], header(other(1), 2))
	f.holds("f+1 signers")
	s.Certified(n[0], header(other(1), 1))
	f.violates("certificates", "f signers")
	bad := header(other(1), 2)
	bad.Header = other(2)
	s.Certified(n[0], bad)
	f.violates("certificates", "signatures of another header")
	s.agreement.headers[1] = other(1)
	s.Certified(n[0], header(other(2), 2))
	f.violates("certificates", "a header that no replica executed")
}

// TestSigning: a replica sends one value for each place, also when it has crashed in between.
func TestSigning(t *testing.T) {
	f := newFixture(t, 1)
	s, n := f.one()
	at := mvba.At{Instance: mvba.Instance{Epoch: 1, Kind: 1}, Round: 1}
	for name, value := range map[string]func(k int) protocols.Message{
		"batch": func(k int) protocols.Message { return f.batch(s, 0, 1, digest.Digest{}, k) },
		"ack":   func(k int) protocols.Message { return &lanes.Ack{Lane: 1, Tip: lanes.Tip{Seq: 1, Digest: other(k)}} },
		"proposal": func(k int) protocols.Message {
			return &bolt.Propose{Block: s.block(t, bolt.Block{Epoch: 1, Slot: 1, Height: 1, TimeMS: uint64(k)})}
		},
		"vote":     func(k int) protocols.Message { return &bolt.Vote{Epoch: 1, Slot: 1, Digest: other(k)} },
		"Finalize": func(k int) protocols.Message { return &bolt.Finalize{Epoch: 1, Slot: 1, Digest: other(k)} },
		"VOTE":     func(k int) protocols.Message { return &certify.VOTE{Height: 1, Header: other(k)} },
		"Status": func(k int) protocols.Message {
			return &bdt.Status{Claim: bdt.Claim{Epoch: 1, TimeMS: uint64(k), Cut: make(lanes.Cut, replicas), Inbound: make(lanes.Cut, 1)}}
		},
		"input":  func(k int) protocols.Message { return &mvba.Proposal{At: at, Digest: other(k)} },
		"echo":   func(k int) protocols.Message { return &mvba.Echo{At: at, Broadcaster: 2, Digest: other(k)} },
		"accept": func(k int) protocols.Message { return &mvba.Accept{At: at, Broadcaster: 2, Digest: other(k)} },
		"pre-vote": func(k int) protocols.Message {
			return &mvba.PreVote{At: at, Leader: protocols.Index(k), Digest: other(1)}
		},
		"mvba vote": func(k int) protocols.Message { return &mvba.Vote{At: at, Leader: 1, Digest: other(k)} },
	} {
		s.Sent(n[0], value(1))
		s.Sent(n[1], value(2))
		s.Crashed(n[0])
		s.Started(n[0])
		s.Sent(n[0], value(1))
		s.signing.sent(n[0], value(1))
		if name == "batch" { // of lane 0; replica 1 only passed it on
			s.Sent(n[1], value(1))
		}
		f.failed = nil // the acknowledgements of the two acks are another check's
		s.signing.sent(n[0], value(1))
		f.holds(name + " again")
		s.signing.sent(n[0], value(2))
		f.violates("signing", "another "+name)
	}
}

// TestResending: a replica sends its votes and Finalize messages of slots that are not certified to each peer that connects.
func TestResending(t *testing.T) {
	f := newFixture(t, 1)
	s, n := f.one()
	b := s.block(t, bolt.Block{Epoch: 1, Slot: 1, Height: 1})
	vote, final := &bolt.Vote{Epoch: 1, Slot: 1, Digest: b.Digest()}, &bolt.Finalize{Epoch: 1, Slot: 1, Digest: b.Digest()}
	s.Sent(n[1], &bolt.Propose{Leader: 1, Block: b})
	s.Sent(n[0], vote)
	s.Sent(n[0], final)
	n[0].status.Epoch = 1
	resent := func(messages ...protocols.Message) {
		var st replica.Step
		for _, m := range messages {
			st.Send(2, m)
		}
		s.Resent(n[0], &st)
	}
	resent(vote, final)
	f.holds("both messages again")
	resent(vote)
	f.violates("signing", "no Finalize")
	resent()
	f.violates("signing", "nothing")
	n[0].running = false
	resent()
	f.holds("a replica that may not sign")
	n[0].running, n[0].status.Certified = true, 1
	resent()
	f.holds("a certified height")
}

// TestLeaving: a replica makes no message for an epoch that it left, unless a crash lost a Status that it had not sent.
func TestLeaving(t *testing.T) {
	status := &bdt.Status{Claim: bdt.Claim{Epoch: 1, Cut: make(lanes.Cut, replicas), Inbound: make(lanes.Cut, 1)}}
	vote := func(epoch, slot uint64) protocols.Message {
		return &bolt.Vote{Epoch: epoch, Slot: slot, Digest: other(1)}
	}
	f := newFixture(t, 1)
	s, n := f.one()
	s.steps(n[0], vote(1, 1))
	s.steps(n[0], status)
	s.steps(n[0], vote(1, 1), vote(2, 1))
	s.steps(n[1], vote(1, 2))
	f.holds("an earlier vote again, one of the next epoch, and one of another replica")
	for _, m := range []protocols.Message{
		vote(1, 2), &bolt.Finalize{Epoch: 1, Slot: 1, Digest: other(1)},
		&bolt.Propose{Leader: 0, Block: s.block(t, bolt.Block{Epoch: 1, Slot: 9, Height: 9})},
	} {
		s.steps(n[0], m)
		f.violates("leaving", fmt.Sprintf("%T", m))
	}
	s.Crashed(n[0])
	s.steps(n[0], vote(1, 3))
	f.holds("the Status was lost in a crash")
	s.steps(n[0], status)
	s.Sent(n[0], status)
	s.Crashed(n[0])
	s.steps(n[0], vote(1, 4))
	f.violates("leaving", "the Status was sent before the crash")
}

// TestTossing: a replica releases its share of the coin with n-f complete broadcasts, and signs no new broadcast once it
// knows the coin.
func TestTossing(t *testing.T) {
	at := mvba.At{Instance: mvba.Instance{Epoch: 1, Kind: 1}, Round: 1}
	name := toss.Name{Epoch: 1, Kind: 1, Round: 1}
	f := newFixture(t, 1)
	s, n := f.one()
	for _, x := range n {
		x.status.Epoch = 1
	}
	finish := func(who int, from protocols.Index) { s.Passed(n[who], from, network.Packet{}, &mvba.Finish{At: at}) }
	finish(0, 1)
	finish(0, 1)
	finish(0, 2)
	s.steps(n[0], &toss.Release{Name: name})
	f.violates("tossing", "a share with two complete broadcasts")
	finish(0, 3)
	s.steps(n[0], &toss.Release{Name: name})
	f.holds("a share with three")

	echo := func(of protocols.Index) protocols.Message {
		return &mvba.Echo{At: at, Broadcaster: of, Digest: other(1)}
	}
	s.steps(n[0], echo(1))
	s.Passed(n[0], 1, network.Packet{}, &toss.Release{Name: name})
	s.Passed(n[0], 1, network.Packet{}, &toss.Release{Name: name})
	s.steps(n[0], echo(2))
	f.holds("the shares of one holder")
	s.Passed(n[0], 2, network.Packet{}, &toss.Release{Name: name})
	s.steps(n[0], echo(1))
	f.holds("an echo from before the coin again")
	s.steps(n[0], echo(3))
	f.violates("tossing", "an echo with the coin of f+1 shares")
	s.steps(n[0], &mvba.Accept{At: at, Broadcaster: 1, Digest: other(1)})
	f.violates("tossing", "an accept with the coin")
	s.Crashed(n[0])
	s.steps(n[0], echo(0))
	f.holds("a crash forgot the coin")
	s.Passed(n[1], 0, network.Packet{}, &toss.Relay{Name: name})
	s.steps(n[1], echo(1))
	f.violates("tossing", "an echo with the coin of a relay")
}

// TestAcking: a replica acknowledges one header for each number of a lane, by acks and by votes, and none at or below the
// ordered position.
func TestAcking(t *testing.T) {
	f := newFixture(t, 1)
	s, n := f.one()
	key := func(seq uint64) []byte { return wire.AppendU64(wire.AppendU16([]byte("l/a"), 1), seq) }
	cut := make(lanes.Cut, replicas)
	cut[1] = lanes.Tip{Seq: 5, Digest: other(5)}
	s.records(n[0], protocols.Record{Key: key(5), Value: []byte("x")}, commit(s.block(t, bolt.Block{Epoch: 1, Slot: 1, Height: 1, Cut: cut})))
	s.records(n[0], protocols.Record{Key: key(6), Value: []byte("x")}, protocols.Record{Key: key(5)})
	s.records(n[1], protocols.Record{Key: key(5), Value: []byte("x")})
	f.holds("numbers above the ordered one, a deleted record, and a replica that has not committed")
	s.records(n[0], protocols.Record{Key: key(5), Value: []byte("x")})
	f.violates("acking", "the ordered number")

	s.records(n[0], protocols.Record{Key: key(5 + 2*lanes.WindowHeaders), Value: []byte("x")})
	s.records(n[1], protocols.Record{Key: key(2 * lanes.WindowHeaders), Value: []byte("x")})
	f.holds("the last number of the window")
	s.records(n[1], protocols.Record{Key: key(1 + 2*lanes.WindowHeaders), Value: []byte("x")})
	f.violates("acking", "a number beyond the window, without a commit")
	s.records(n[0], protocols.Record{Key: key(6 + 2*lanes.WindowHeaders), Value: []byte("x")})
	f.violates("acking", "a number beyond the window")

	ack := func(seq uint64, k int) protocols.Message {
		return &lanes.Ack{Lane: 1, Tip: lanes.Tip{Seq: seq, Digest: other(k)}}
	}
	s.acking.sent(n[0], ack(7, 1))
	s.acking.sent(n[0], ack(7, 1))
	s.acking.sent(n[0], ack(8, 2))
	s.acking.sent(n[1], ack(7, 2))
	f.holds("one ack for each number and replica")
	s.acking.sent(n[0], ack(7, 2))
	f.violates("acking", "two acks for a number")

	// A vote acknowledges every header from the tips of its block down to the tips of the parent.
	f = newFixture(t, 1)
	s, n = f.one()
	low := f.batch(s, 1, 1, digest.Digest{}, 1)
	high := f.batch(s, 1, 2, low.Digest(), 2)
	parent := s.block(t, bolt.Block{Epoch: 1, Slot: 1, Height: 1})
	cut = make(lanes.Cut, replicas)
	cut[1] = high.Tip()
	b := s.block(t, bolt.Block{Epoch: 1, Slot: 2, Height: 2, Parent: parent.Digest(), Cut: cut})
	for _, m := range []protocols.Message{low, high, &bolt.Propose{Leader: 1, Block: parent}, &bolt.Propose{Leader: 1, Block: b}} {
		s.Passed(n[0], 1, network.Packet{}, m)
	}
	vote := &bolt.Vote{Epoch: 1, Slot: 2, Digest: b.Digest()}
	var st replica.Step
	st.Record(wire.AppendU64(wire.AppendU64([]byte("b/p"), 1), 2), []byte("x"))
	st.Broadcast(vote)
	s.Stepped(n[0], &st)
	s.Sent(n[0], vote)
	s.acking.sent(n[0], &lanes.Ack{Lane: 1, Tip: low.Tip()})
	f.holds("an ack of a header that the vote acknowledges")
	s.acking.sent(n[0], &lanes.Ack{Lane: 1, Tip: lanes.Tip{Seq: 1, Digest: other(9)}})
	f.violates("acking", "an ack against the vote")
}

// TestBounds: each bound is violated one above it.
func TestBounds(t *testing.T) {
	f := newFixture(t, 1)
	s, n := f.one()
	many := func(count int) {
		var st replica.Step
		for range count {
			st.Send(1, &replica.Request{})
		}
		s.Stepped(n[0], &st)
	}
	many(maxPeerSends)
	f.holds("most messages of a step")
	many(maxPeerSends + 1)
	f.violates("bounds", "one message more in a step")
	s.Carried(0, 1, maxOnLink)
	f.holds("most messages on a link")
	s.Carried(0, 1, maxOnLink+1)
	f.violates("bounds", "one message more on a link")
	s.OverBudget(n[0], n[byzantine], 1)
	f.holds("a Byzantine replica beyond its budget")
	s.OverBudget(n[0], n[1], 1)
	f.violates("bounds", "an honest replica beyond its budget")
	s.Adopted(n[0], 1, 1)
	f.violates("bounds", "blocks that the replica did not ask for")

	n[0].status.Committed = maxUnexecuted
	s.steps(n[0])
	f.holds("most blocks that are not executed")
	n[0].status.Committed++
	s.steps(n[0])
	f.violates("bounds", "one block more that is not executed")

	propose := func(height uint64) protocols.Message {
		return &bolt.Propose{Leader: 1, Block: s.block(t, bolt.Block{Epoch: 1, Slot: height, Height: height})}
	}
	s.steps(n[1], propose(bolt.Pipeline))
	f.holds("the last proposal of the pipeline")
	s.steps(n[1], propose(bolt.Pipeline+1))
	f.violates("bounds", "a proposal beyond the pipeline")
	far := s.block(t, bolt.Block{Epoch: 1, Slot: 99, Height: bolt.ExecutionLag + 1})
	s.signing.heights[far.Digest()] = far.Height
	s.steps(n[1], &bolt.Vote{Epoch: 1, Slot: 99, Digest: far.Digest()})
	f.violates("bounds", "a vote far ahead of execution")
	long := replica.Step{Reads: []protocols.Read{{To: 2, Range: lanes.BatchRange{Lane: 1, After: 1, Tip: lanes.Tip{Seq: 2*lanes.WindowHeaders + 2}}}}}
	s.Stepped(n[1], &long)
	f.violates("bounds", "more batches than two windows for a peer")
}

// TestStandstill: a replica that commits and does not certify, while f+1 others do, violates the bounds after a while.
func TestStandstill(t *testing.T) {
	for _, c := range []struct {
		name    string
		ahead   int  // others that certify more
		commits bool // the replica commits
		bad     bool
	}{{"others are ahead", 2, true, true}, {"one is ahead", 1, true, false}, {"it commits nothing either", 2, false, false}} {
		f := newFixture(t, 1)
		s, n := f.one()
		for i := range c.ahead {
			n[1+i].status.Certified = 9
			s.steps(n[1+i])
		}
		s.agreement.top = 9
		s.bounds.done[0] = 1000
		for end := f.clock.Now().Add(maxStandstill + time.Second); f.clock.Now() < end; {
			f.clock.Play(f.clock.Now().Add(maxPause/2), func(int) bool { return false })
			if c.commits {
				n[0].status.Committed++
			}
			s.steps(n[0])
		}
		if c.bad {
			f.violates("bounds", c.name)
		} else {
			f.holds(c.name)
		}
	}
}
