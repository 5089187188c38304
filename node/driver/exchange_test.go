package driver

import (
	"slices"
	"testing"

	"bdtnode/node/replica"
	"bdtnode/protocols/inbound"
	"bdtnode/shard/settlement"
	"bdtnode/shard/xshard"
)

// TestPlaces: one replica has a bounded number of requests of each kind in service. They take no places of other kinds,
// replicas or shards, and each Leave frees one place. A kind that does not exist has no place.
func TestPlaces(t *testing.T) {
	x := newBench(t).d.Exchange()
	peer := Peer{Shard: 1, Replica: 2}
	fill := func(p Peer, kind xshard.Kind) (n int) {
		for n < 100 && x.Enter(p, kind) == nil {
			n++
		}
		return n
	}
	for kind, want := range map[xshard.Kind]int{xshard.Fetch: 2, xshard.Position: 8, xshard.Give: 8, xshard.Pull: 2, xshard.Pull + 1: 0} {
		if n := fill(peer, kind); n != want {
			t.Errorf("kind %d has %d places, want %d", kind, n, want)
		}
	}
	for _, other := range []Peer{{Shard: 1, Replica: 3}, {Shard: 0, Replica: 2}} {
		if n := fill(other, xshard.Fetch); n != 2 {
			t.Errorf("%+v has %d places", other, n)
		}
	}
	x.Leave(peer, xshard.Fetch)
	if n := fill(peer, xshard.Fetch); n != 1 {
		t.Errorf("one request ended, and %d enter", n)
	}
	places := make(map[service]int)
	for s, n := range x.serving {
		places[s] = n
	}
	for s, n := range places {
		for range n {
			x.Leave(s.peer, s.kind)
		}
	}
	if len(x.serving) != 0 {
		t.Errorf("all requests ended, and %d entries are in memory", len(x.serving))
	}
}

// TestReceive: a replica may give LDs of its own shard only. The answer is the number of the first LD that is lacking after
// the given one, also before the loop has handled it.
func TestReceive(t *testing.T) {
	b := newBench(t)
	x := b.d.Exchange()
	if _, err := x.Receive(0, b.ld(1)); err == nil || len(b.host.inbound) > 0 {
		t.Errorf("an LD of another shard: error %v", err)
	}
	bad := b.ld(1)
	bad.Header.TimeMS++
	if _, err := x.Receive(1, bad); err == nil || len(b.host.inbound) > 0 {
		t.Errorf("an LD whose certificate is of another header: error %v", err)
	}
	if next, err := x.Receive(1, b.ld(1)); err != nil || next != 2 || len(b.host.inbound) != 1 {
		t.Errorf("next %d, error %v, %d LDs for the loop", next, err, len(b.host.inbound))
	}
	if x.Position(1) != 1 {
		t.Errorf("the position is %d before the loop has handled the LD", x.Position(1))
	}
}

// TestNothingToServe: without blocks there is no LD to publish or to serve.
func TestNothingToServe(t *testing.T) {
	x := newBench(t).d.Exchange()
	if p, err := x.Publish(); err != nil || len(p) > 0 {
		t.Errorf("publishes %v, error %v", p, err)
	}
	if err := x.Serve(1, 1, nil); err != nil {
		t.Error(err)
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
		if err := b.d.exchange.offer(ld); err == nil || len(b.host.inbound) > 0 {
			t.Errorf("%s: error %v, %d LDs for the loop", name, err, len(b.host.inbound))
		}
	}
	offer := func(ld *settlement.LD) int {
		before := len(b.host.inbound)
		if err := b.d.exchange.offer(ld); err != nil {
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
	if err := b.d.exchange.offer(certificate); err == nil {
		t.Error("a copy of a held LD with a bad certificate has no error")
	}
	if offer(b.ld(inbound.Window+1)) != 1 {
		t.Error("an LD far ahead is not for the loop")
	}
}
