package bdt

import (
	"math"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/mvba"
)

// TestSift: useless messages are recognised before verification, and messages that are ahead are recorded, so that they are
// requested when they can be accepted.
func TestSift(t *testing.T) {
	s := newShard(t, 4)
	for _, x := range []string{"a", "b", "c"} {
		s.append(1, x)
	}
	m := s.machines[0] // leads epoch 1, of which 3 slots are committed
	d := digest.Of("d")
	tip := func(seq uint64) lanes.Tip { return lanes.Tip{Seq: seq, Digest: d} }
	batch := func(lane protocols.Index, seq uint64) *lanes.Batch {
		h := lanes.Header{Lane: lane, Seq: seq, Parent: d, Count: 1}
		return lanes.NewBatch(s.c, s.scheme.Signer(uint64(lane)), h, []byte("x"))
	}
	status := func(epoch uint64) *Status { return &Status{Claim: Claim{Epoch: epoch}} }
	at := func(epoch uint64) mvba.At { return mvba.At{Instance: instance(epoch), Round: 1} }
	m.current.statuses[2] = status(1)
	h := m.Horizon()
	for _, x := range []struct {
		name string
		m    protocols.Message
		want protocols.Relevance
	}{
		{"a batch in the window", batch(3, 512), protocols.Useful},
		{"a batch beyond the window", batch(3, 513), protocols.Ahead},
		{"a batch beyond the window, from another than the owner", batch(2, 513), protocols.Useless},
		{"a batch far beyond the window", batch(3, math.MaxUint64), protocols.Ahead},
		{"an ack of another lane", &lanes.Ack{Lane: 1, Tip: tip(9)}, protocols.Useless},
		{"an ack of an unknown lane", &lanes.Ack{Lane: 99, Tip: tip(9)}, protocols.Useless},
		{"an ack", &lanes.Ack{Lane: 0, Tip: tip(1)}, protocols.Useful},
		{"a certificate of an unknown lane", &lanes.TipCertificate{Lane: 99, Tip: tip(1)}, protocols.Useless},
		{"a conflict far ahead", &lanes.Conflict{SignedHeader: batch(3, 513).SignedHeader}, protocols.Useless},
		{"a vote of a committed slot", &bolt.Vote{Epoch: 1, Slot: 3, Digest: d}, protocols.Useless},
		{"a vote of the next slot", &bolt.Vote{Epoch: 1, Slot: 4, Digest: d}, protocols.Useful},
		{"a vote of a slot far ahead", &bolt.Vote{Epoch: 1, Slot: 400, Digest: d}, protocols.Ahead},
		{"a Finalize beyond the last slot", &bolt.Finalize{Epoch: 1, Slot: EpochSlots + 1, Digest: d}, protocols.Useless},
		{"a vote of the next epoch", &bolt.Vote{Epoch: 2, Slot: 1, Digest: d}, protocols.Useful},
		{"a vote of the epoch after the next", &bolt.Vote{Epoch: 3, Slot: 1, Digest: d}, protocols.Ahead},
		{"a Status", status(1), protocols.Useful},
		{"a Status of the next epoch", status(2), protocols.Useful},
		{"a Status of an epoch far ahead", status(1 << 40), protocols.Ahead},
		{"an agreement far ahead", &mvba.Proposal{At: at(3)}, protocols.Ahead},
		{"an agreement", &mvba.Proposal{At: at(1)}, protocols.Useful},
	} {
		got := h.Relevance(3, x.m)
		if got != x.want {
			t.Errorf("%s: relevance %d, want %d", x.name, got, x.want)
		}
		if got == protocols.Ahead {
			m.HandleAhead(t0, 3, AheadOf(x.m))
		}
	}
	if h.Relevance(2, status(1)) != protocols.Useless {
		t.Error("a second Status of a replica is not useless")
	}
	if again := m.future.again(3); !again.Has(3) {
		t.Error("a message that was ahead is not recorded")
	}
}

// TestRelevanceOfEnded: messages of an epoch are useless when a block after the epoch is certified. All messages ever sent are
// sent again, and shard.checkUseless checks that useless ones change nothing.
func TestRelevanceOfEnded(t *testing.T) {
	s := newShard(t, 4, func(s *shard) { s.slots = 1 })
	for _, x := range []string{"a", "b", "c", "d"} {
		s.append(1, x)
		for i, m := range s.machines {
			for m.chain.executed < m.chain.base.Height {
				s.apply(protocols.Index(i), m.Executed(s.now, m.chain.executed+1))
			}
			s.apply(protocols.Index(i), m.Certified(m.chain.base.Height))
		}
		s.pass(maxPatience)
		s.queue, s.carried = append(s.queue, s.carried...), nil
		s.deliverAll()
	}
	m := s.machines[0]
	if m.current.number < 3 {
		t.Fatalf("epoch %d", m.current.number)
	}
	if s.unused == 0 {
		t.Error("no message is useless")
	}
	h := m.Horizon()
	for _, x := range []protocols.Message{
		&bolt.Propose{Block: &bolt.Block{Epoch: 1, Slot: 1}}, &bolt.Vote{Epoch: m.current.number - 1, Slot: 1}, &Status{Claim: Claim{Epoch: 1}},
	} {
		if h.Relevance(1, x) != protocols.Useless {
			t.Errorf("a %T of an ended epoch is not useless", x)
		}
	}
}
