package adversary

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/node/replica"
	"bdtnode/node/sim/clock"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/certify"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
)

// same reports whether two messages have one encoding.
func same(a, b protocols.Message) bool {
	return string(replica.Encode(a)) == string(replica.Encode(b))
}

func includes(list []protocols.Message, m protocols.Message) bool {
	return slices.ContainsFunc(list, func(x protocols.Message) bool { return same(x, m) })
}

// TestSilent: no message leaves.
func TestSilent(t *testing.T) {
	s := newStage(t)
	for _, m := range []protocols.Message{s.vote(1), s.batch(1), &replica.Ping{}} {
		if taken, _ := s.replace(&Silent{}, 0, m); len(taken) > 0 {
			t.Errorf("%T leaves", m)
		}
	}
}

// TestWithholding: messages of the chosen kinds do not reach f of the others, and all other messages do. After a while it
// chooses other replicas.
func TestWithholding(t *testing.T) {
	s := newStage(t)
	a := &Withholding{Votes: true, Each: time.Second}
	var victims protocols.Set
	for range replicas - 1 {
		missing := 0
		for to := range protocols.Index(replicas) {
			if to == self {
				continue
			}
			vote, _ := s.replace(a, to, s.vote(1))
			batch, _ := s.replace(a, to, s.batch(1))
			if len(vote) != len(batch) {
				t.Errorf("replica %d gets %d votes and %d batches", to, len(vote), len(batch))
			}
			if proposal, _ := s.replace(a, to, s.propose(1)); len(proposal) != 1 {
				t.Errorf("replica %d gets %d proposals", to, len(proposal))
			}
			if len(vote) == 0 {
				missing++
				victims.Add(to)
			}
		}
		if missing > s.view.Committee.F() {
			t.Errorf("%d replicas do not get the votes", missing)
		}
		s.now = s.now.Add(time.Second)
	}
	if victims.Len() < 2 {
		t.Errorf("only %v did not get votes", victims.Members())
	}
	if got := a.Counts(); got["votes"] == 0 || got["batches"] != got["votes"] || len(got) != 2 {
		t.Errorf("counts %v", got)
	}
}

// TestEquivocatingLeader: for some slots two parts of the others get different blocks, both signed, and the replica votes
// for both.
func TestEquivocatingLeader(t *testing.T) {
	s := newStage(t)
	a := &EquivocatingLeader{}
	two, votes := 0, 0
	for slot := uint64(1); slot <= 60; slot++ {
		m := s.propose(slot)
		blocks := make(map[digest.Digest]protocols.Set)
		for to := range protocols.Index(replicas) {
			taken, _ := s.replace(a, to, m)
			for _, x := range taken {
				d := x.(*bolt.Propose).Block.Digest()
				set := blocks[d]
				set.Add(to)
				blocks[d] = set
			}
		}
		if len(blocks) > 2 {
			t.Fatalf("%d blocks for slot %d", len(blocks), slot)
		}
		if len(blocks) < 2 {
			continue
		}
		two++
		taken, _ := s.replace(a, 1, s.view.signVote(1, slot, m.Block.Digest()))
		for _, x := range taken {
			if d := x.(*bolt.Vote).Digest; d != m.Block.Digest() {
				votes++
				if _, shown := blocks[d]; !shown {
					t.Errorf("a vote for a block that was not proposed")
				}
			}
		}
	}
	if two < 10 || votes != two {
		t.Errorf("two blocks in %d of 60 slots, and %d votes for the second", two, votes)
	}
}

// TestEquivocatingLane: for some numbers two parts of the others get different batches, both signed. A certificate of
// either is sent.
func TestEquivocatingLane(t *testing.T) {
	s := newStage(t)
	a := &EquivocatingLane{Every: true}
	two := 0
	for seq := uint64(1); seq <= 40; seq++ {
		m := s.batch(seq)
		batches := make(map[digest.Digest]bool)
		for to := range protocols.Index(replicas) {
			taken, _ := s.replace(a, to, m)
			for _, x := range taken {
				b := x.(*lanes.Batch)
				if b.Seq != seq || b.Lane != self {
					t.Fatalf("a batch of number %d", b.Seq)
				}
				batches[b.Digest()] = true
			}
		}
		if len(batches) == 2 {
			two++
		}
	}
	if two < 10 {
		t.Errorf("two batches for %d of 40 numbers", two)
	}
	tip := s.batch(50).Tip()
	for i := range protocols.Index(replicas) {
		if i == self {
			continue
		}
		v := *s.view
		v.Self, v.Signer = i, s.signer(0, i)
		a.Receive(s.view, i, v.signAck(self, tip))
	}
	if len(s.sent) != 1 {
		t.Fatalf("%d certificates", len(s.sent))
	}
	if _, err := s.receive(Unchanged(s.sent[0])[0]); err != nil {
		t.Errorf("the certificate does not verify: %v", err)
	}
}

// TestDoubleVoting: besides the correct signature, the replica sends one of another value for the same place.
func TestDoubleVoting(t *testing.T) {
	s := newStage(t)
	a := &DoubleVoting{}
	other := make(map[protocols.Kind]int)
	for k := range uint64(200) {
		tip := lanes.Tip{Seq: k + 1, Digest: digest.Of("tip")}
		header := digest.Of("header")
		for _, m := range []protocols.Message{
			s.vote(k + 1), &bolt.Finalize{Epoch: 1, Slot: k + 1, Digest: digest.Of("block")}, s.view.signAck(1, tip),
			&certify.VOTE{Height: k + 1, Header: header, Signature: s.view.Signer.Sign(certify.Statement(s.view.Committee, k+1, header))},
		} {
			taken, _ := s.replace(a, 0, m)
			if !includes(taken, m) {
				t.Fatalf("the correct %T is not sent", m)
			}
			for _, x := range taken {
				if x.Kind() == m.Kind() && !same(x, m) && !slices.ContainsFunc(a.old, func(y protocols.Message) bool { return same(x, y) }) {
					other[m.Kind()]++
				}
			}
		}
	}
	if len(other) != 4 {
		t.Errorf("other values by kind: %v", other)
	}
	if ping, _ := s.replace(a, 0, &replica.Ping{}); len(ping) != 1 {
		t.Error("a Ping is changed")
	}
}

// TestGarbage: the correct frame comes first, and after a share of them one that differs from it.
func TestGarbage(t *testing.T) {
	s := newStage(t)
	m := s.vote(1)
	bad := 0
	for range 1000 {
		out := (&Garbage{Rate: 0.3}).Replace(s.view, 0, m)
		if string(out[0].Frame) != string(replica.Encode(m)) || len(out) > 2 {
			t.Fatalf("%d frames", len(out))
		}
		if len(out) == 2 && string(out[1].Frame) != string(out[0].Frame) {
			bad++
		}
	}
	if bad < 200 || bad > 400 {
		t.Errorf("%d of 1000 frames are followed by garbage", bad)
	}
}

// TestForging: every forged frame is refused, and the correct message is sent.
func TestForging(t *testing.T) {
	s := newStage(t)
	reasons := make(map[string]int)
	for range 300 {
		m := s.vote(1)
		taken, forged := s.replace(&Forging{Rate: 1}, 0, m)
		if len(taken) != 1 || !same(taken[0], m) {
			t.Fatal("the correct vote is not sent alone")
		}
		for _, why := range forged {
			reasons[why]++
		}
	}
	if len(reasons) != 6 { // a forged history takes executed blocks
		t.Errorf("%d kinds of forgeries: %v", len(reasons), slices.Sorted(maps.Keys(reasons)))
	}
}

// TestRelabelling: a signature with another place is refused, for each type of message that carries one of others.
func TestRelabelling(t *testing.T) {
	s := newStage(t)
	header, tip := digest.Of("header"), lanes.Tip{Seq: 3, Digest: digest.Of("tip")}
	for _, m := range []protocols.Message{
		s.vote(1), s.view.signAck(1, tip),
		&certify.VOTE{Height: 1, Header: header, Signature: s.view.Signer.Sign(certify.Statement(s.view.Committee, 1, header))},
	} {
		for range 20 {
			taken, forged := s.replace(&Relabelling{Rate: 1}, 0, m)
			if len(taken) != 1 || !same(taken[0], m) || len(forged) != 1 {
				t.Fatalf("%T: %d messages, %d forged", m, len(taken), len(forged))
			}
		}
	}
	if taken, forged := s.replace(&Relabelling{Rate: 1}, 0, &replica.Ping{}); len(taken) != 1 || len(forged) > 0 {
		t.Error("a Ping is relabelled")
	}
}

// TestFalseLeaving: with each vote comes a signed Status that claims that nothing was seen of the epoch.
func TestFalseLeaving(t *testing.T) {
	s := newStage(t)
	taken, _ := s.replace(&FalseLeaving{}, 0, s.vote(7))
	if len(taken) != 2 {
		t.Fatalf("%d messages", len(taken))
	}
	if x, ok := taken[1].(*bdt.Status); !ok || x.Slot != 0 || x.QC != nil || x.Epoch != 1 {
		t.Errorf("%+v", taken[1])
	}
}

// TestSilentToShards: no LD leaves the shard, and none is asked for.
func TestSilentToShards(t *testing.T) {
	s := newStage(t)
	a, ld := &SilentToShards{}, s.ld(0, 1, 1)
	if len(a.ReplaceLD(s.view, ld))+len(a.ReplaceCL(s.view, 1, nil)) > 0 {
		t.Error("an LD or a CL leaves")
	}
	if taken, _ := s.replace(a, 0, &replica.NewInbound(s.ld(1, 0, 1)).LD); len(taken) > 0 {
		t.Error("an LD reaches a replica of the shard")
	}
	if taken, _ := s.replace(a, 0, s.vote(1)); len(taken) != 1 {
		t.Error("a vote does not leave")
	}
	if next := a.Position(s.view, 3); next < 1<<60 {
		t.Errorf("it lacks LD %d", next)
	}
}

// TestFalseSIGN: it signs LDs that it does not hold, and a second one for the number of each that it signs.
func TestFalseSIGN(t *testing.T) {
	s := newStage(t)
	signed := make(map[digest.Digest]int)
	right := lanes.Tip{Seq: 1, Digest: digest.Of("an LD")}
	for range 200 {
		taken, _ := s.replace(&FalseSIGN{}, 0, s.view.signLD(1, right))
		if len(taken) != 2 {
			t.Fatalf("%d messages", len(taken))
		}
		for _, m := range taken {
			signed[m.(*inbound.SIGN).Tip.Digest]++
		}
	}
	if len(signed) < 2 || signed[right.Digest] < 200 {
		t.Errorf("signed %v", signed)
	}
	invented := 0
	for range 2000 {
		taken, _ := s.replace(&FalseSIGN{}, 0, &replica.Ping{})
		invented += len(taken) - 1
	}
	if invented == 0 {
		t.Error("it signs no LD without a cause")
	}
}

// TestTurns: each behaviour has its time, all receive, and counts are added.
func TestTurns(t *testing.T) {
	s := newStage(t)
	lane := &EquivocatingLane{}
	a := &Turns{Each: time.Second, Behaviours: []Behaviour{&Silent{}, &Withholding{Proposals: true}, lane}}
	sends := func(m protocols.Message) int {
		taken, _ := s.replace(a, 3, m)
		return len(taken)
	}
	if sends(&replica.Ping{}) != 0 {
		t.Error("the first behaviour is silent")
	}
	s.now = clock.Begin.Add(time.Second)
	if sends(&replica.Ping{}) != 1 || sends(s.propose(1)) != 0 {
		t.Error("the second behaviour withholds proposals")
	}
	if a.Receive(s.view, 1, s.view.signAck(self, lanes.Tip{Seq: 1})); len(lane.acks) != 1 {
		t.Error("a behaviour does not receive")
	}
	if got := CountsOf(a); got["proposals"] != 1 {
		t.Errorf("counts %v", got)
	}
	if s.now = clock.Begin.Add(3 * time.Second); sends(&replica.Ping{}) != 0 {
		t.Error("the turns do not repeat")
	}
	if got := Parts(a); len(got) != 3 || len(Parts(lane)) != 1 {
		t.Errorf("%d parts", len(got))
	}
	if text := a.String(); strings.Count(text, " and then ") != 2 {
		t.Error(text)
	}
}
