package driver

import (
	"testing"

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
