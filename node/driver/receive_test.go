package driver

import (
	"slices"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/certify"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
	"bdtnode/shard/settlement"
)

// TestPassBoundsOnePeer: of a flood of requests by one peer a bounded number passes, each refused frame pauses the
// stream, the host gets the exact count of refused frames, and the frames of another peer pass without a pause.
func TestPassBoundsOnePeer(t *testing.T) {
	b := newBench(t)
	frame := []byte{byte(lanes.KindFetch), 0, 0}
	const frames = 10_000
	refused := uint64(0)
	for range frames {
		take, wait := b.d.Pass(1, frame)
		if !take {
			refused++
			if wait <= 0 {
				t.Fatal("a refused frame does not pause the stream")
			}
		} else if wait != 0 {
			t.Fatal("a frame within the budget pauses the stream")
		}
	}
	if refused < frames/2 || refused == frames {
		t.Errorf("%d of %d frames of one instant are refused", refused, frames)
	}
	if got := b.host.exceeding[1]; got != (Exceeding{Frames: refused}) {
		t.Errorf("the host has %+v, want %d frames", got, refused)
	}
	if take, wait := b.d.Pass(2, frame); !take || wait != 0 {
		t.Error("the flood of one peer refuses or pauses the frame of another")
	}
	if _, told := b.host.exceeding[2]; told {
		t.Error("a peer within its budget is reported")
	}
}

// TestPassLetsAnswersIn: a History passes once for each request that was sent to its sender, and to no other peer.
func TestPassLetsAnswersIn(t *testing.T) {
	history := []byte{byte(replica.KindHistory)}
	passed := func(b *bench, from protocols.Index) (n int) {
		for range 10 {
			if take, _ := b.d.Pass(from, history); take {
				n++
			}
		}
		return n
	}
	b := newBench(t)
	if passed(b, 1) != 0 {
		t.Error("an answer without a request passes")
	}
	if got := b.host.exceeding[1]; got != (Exceeding{Answers: 10}) {
		t.Errorf("the host has %+v, want 10 answers", got)
	}
	b.send(1, &replica.Request{})
	if got := [2]int{passed(b, 1), passed(b, 2)}; got != [2]int{1, 0} {
		t.Errorf("after a request to peer 1, the peers 1 and 2 have %v answers passed", got)
	}
	b.send(protocols.Everyone, &replica.Request{})
	if got := [3]int{passed(b, 1), passed(b, 2), passed(b, 3)}; got != [3]int{1, 1, 1} {
		t.Errorf("after a request to all, the peers have %v answers passed", got)
	}
	if len(b.host.sent) != 2 {
		t.Errorf("%d messages are sent, want both requests", len(b.host.sent))
	}
}

// TestCheckGood: a good batch is verified, with its sender, and its payload is in memory for execution.
func TestCheckGood(t *testing.T) {
	b := newBench(t)
	x := b.batch(1, 1, 1, payload())
	v, err := b.d.Check(1, replica.Encode(x))
	if err != nil || v.IsZero() || v.From() != 1 || v.Message().(*lanes.Batch).Digest() != x.Digest() {
		t.Fatalf("%+v, %v", v, err)
	}
	p, err := b.d.execution.Payload(lanes.Ref{Lane: 1, Tip: x.Tip()})
	if err != nil || p.Len() != 1 {
		t.Errorf("the payload of a verified batch: %v", err)
	}
	if _, err := b.d.execution.Payload(lanes.Ref{Lane: 1, Tip: lanes.Tip{Seq: 1, Digest: digest.Of("other")}}); err == nil {
		t.Error("the payload of a batch that is nowhere has no error")
	}
}

// TestCheckFaults: a frame that no honest replica sends is an error and gives no message.
func TestCheckFaults(t *testing.T) {
	b := newBench(t)
	good := replica.Encode(b.batch(1, 1, 1, payload()))
	signature := lanes.NewBatch(b.committee, b.signers[2], lanes.Header{Lane: 1, Seq: 1, Count: 1}, payload())
	for name, frame := range map[string][]byte{
		"empty":                 {},
		"unknown kind":          {0xff, 1, 2, 3},
		"truncated":             good[:len(good)-1],
		"longer":                append(slices.Clone(good), 0),
		"signer is another":     replica.Encode(signature),
		"malformed payload":     replica.Encode(b.batch(1, 1, 1, []byte{1, 2, 3})),
		"false count":           replica.Encode(b.batch(1, 1, 2, payload())),
		"lane beyond the shard": replica.Encode(&lanes.Fetch{Lane: replicas, Tip: lanes.Tip{Seq: 1, Digest: digest.Of("x")}}),
	} {
		if v, err := b.d.Check(1, frame); err == nil || !v.IsZero() {
			t.Errorf("%s: error %v, message %+v", name, err, v.Message())
		}
	}
	if len(b.host.faults) > 0 {
		t.Errorf("a fault is reported twice: %+v", b.host.faults)
	}
}

// TestCheckPassedOn: a bad payload is a fault of the lane's owner. A replica that passes the batch on is reported, without
// an error that would end its stream, and the batch is dropped.
func TestCheckPassedOn(t *testing.T) {
	b := newBench(t)
	bad := replica.Encode(b.batch(1, 1, 2, payload()))
	if v, err := b.d.Check(2, bad); err != nil || !v.IsZero() {
		t.Errorf("error %v, message %+v", err, v.Message())
	}
	if len(b.host.faults) != 1 || b.host.faults[0].Peer != 2 {
		t.Errorf("reported: %+v, want peer 2", b.host.faults)
	}
}

// TestCheckUnneeded: a message without use is dropped unverified and is no fault, and an adversary of the simulator
// (TakeAll) verifies it. A batch beyond the window becomes a note that it is ahead.
func TestCheckUnneeded(t *testing.T) {
	useless := replica.Encode(&lanes.Ack{Lane: 2, Tip: lanes.Tip{Seq: 1, Digest: digest.Of("x")}}) // the lane of another replica
	b := newBench(t)
	if v, err := b.d.Check(1, useless); err != nil || !v.IsZero() {
		t.Errorf("error %v, message %+v", err, v.Message())
	}
	all := newBench(t, func(c *Config) { c.TakeAll = true })
	if _, err := all.d.Check(1, useless); err == nil {
		t.Error("with TakeAll, the missing signature of a useless message is not found")
	}
	v, err := b.d.Check(1, replica.Encode(b.batch(1, 1<<20, 1, payload())))
	if err != nil || v.IsZero() || v.Message() != nil || v.Ahead() == nil {
		t.Errorf("a batch beyond the window: error %v, %+v", err, v)
	}
}

// TestCheckRaisesHeights: a VOTE shows the height of its sender, and an older one does not lower it.
func TestCheckRaisesHeights(t *testing.T) {
	b := newBench(t)
	for _, height := range []uint64{5, 3} {
		d := digest.Of("header")
		vote := &certify.VOTE{Height: height, Header: d, Signature: b.signers[1].Sign(certify.Statement(b.committee, height, d))}
		if _, err := b.d.Check(1, replica.Encode(vote)); err != nil {
			t.Fatal(err)
		}
		if got := [2]uint64{b.d.PeerHeight(1), b.d.PeerHeight(2)}; got != [2]uint64{5, 0} {
			t.Errorf("after a VOTE for %d, the heights of peers 1 and 2 are %v", height, got)
		}
	}
}

// TestOffer: a good LD goes to the loop until the replica holds it. A bad LD is an error and never goes to the loop.
func TestOffer(t *testing.T) {
	b := newBench(t)
	foreign, certificate := b.ld(1), b.ld(1)
	foreign.Delivery.Source = 2
	certificate.Certificate.Signatures = slices.Clone(certificate.Certificate.Signatures)
	certificate.Certificate.Signatures[0][5] ^= 1
	for name, ld := range map[string]*settlement.LD{"shard that does not exist": foreign, "bad certificate": certificate} {
		if err := b.d.Offer(ld); err == nil || len(b.host.inbound) > 0 {
			t.Errorf("%s: error %v, %d LDs for the loop", name, err, len(b.host.inbound))
		}
	}
	offer := func(ld *settlement.LD) int {
		before := len(b.host.inbound)
		if err := b.d.Offer(ld); err != nil {
			t.Fatal(err)
		}
		return len(b.host.inbound) - before
	}
	for range 2 { // a copy before the loop has handled the first is no error
		if offer(b.ld(1)) != 1 {
			t.Fatal("a good LD is not for the loop")
		}
	}
	v := b.host.inbound[0]
	if _, ok := v.Message().(*replica.Inbound); !ok || v.From() != 0 {
		t.Fatalf("from %d: %+v", v.From(), v.Message())
	}
	b.d.Handle(v)
	b.d.Turn()
	if b.d.NextLD(1) != 2 {
		t.Fatalf("the next LD is %d, want 2", b.d.NextLD(1))
	}
	if offer(b.ld(1)) != 0 {
		t.Error("an LD that is held is for the loop again")
	}
	if err := b.d.Offer(certificate); err == nil {
		t.Error("a copy of a held LD with a bad certificate has no error")
	}
	if offer(b.ld(inbound.Window+1)) != 1 {
		t.Error("an LD far ahead is not for the loop")
	}
}
