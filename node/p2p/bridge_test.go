package p2p

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"bdtnode/protocols"
)

// start starts all replicas of the given shards, each with the first one of all as its bootstrap address; set changes
// each configuration.
func (w *testNetwork) start(t *testing.T, set ...func(*node)) (shards [][]*node) {
	t.Helper()
	var bootstrap []string
	for s, members := range w.members {
		shards = append(shards, nil)
		for i := range members {
			d := start(t, w.config(s, i, bootstrap...), set...)
			shards[s] = append(shards[s], d)
			if bootstrap == nil {
				bootstrap = d.Addrs()[:1]
			}
		}
	}
	for _, members := range shards {
		mesh(members...)
	}
	for _, d := range slices.Concat(shards...) {
		for s := range shards {
			want := len(shards[s])
			if uint16(s) == d.cfg.Shard {
				want--
			}
			d.eventually("the other shards", func() bool { return len(d.Reachable(uint16(s))) == want })
		}
	}
	return shards
}

// All members of a small network are connected to each other, found through one address, and answer requests.
func TestRequestsAcrossShards(t *testing.T) {
	w := newTestNetwork(t, 4, 4, 4)
	shards := w.start(t, func(d *node) {
		d.serve = func(_ context.Context, shard uint16, from protocols.Index, request []byte, w func([]byte) error) error {
			for _, f := range [][]byte{fmt.Appendf(nil, "%d/%d asked %s", shard, from, request), make([]byte, 1<<20)} {
				if err := w(f); err != nil {
					return err
				}
			}
			return nil
		}
	})
	for _, d := range slices.Concat(shards...) {
		// A peer that dialled announces its listen addresses shortly after the connection.
		d.eventually("the addresses of all members", func() bool {
			return !slices.ContainsFunc(d.Peers(), func(p PeerInfo) bool { return !p.Connected || len(p.Addrs) == 0 })
		})
	}
	asker := shards[1][2]
	for s, members := range shards {
		for i := range members {
			var got [][]byte
			ctx, cancel := testContext(t)
			err := asker.Request(ctx, uint16(s), protocols.Index(i), []byte("this"), 2<<20, func(f []byte) error { got = append(got, f); return nil })
			cancel()
			if s == 1 && i == 2 {
				if !errors.Is(err, ErrNotConnected) {
					t.Errorf("request to itself: %v", err)
				}
				continue
			}
			if err != nil || len(got) != 2 || string(got[0]) != "1/2 asked this" || len(got[1]) != 1<<20 {
				t.Errorf("%d/%d answered %.40q, %v", s, i, bytes.Join(got, nil), err)
			}
		}
	}
	shards[0][3].stop()
	asker.eventually("the disconnect", func() bool { return len(asker.Reachable(0)) == 3 })
	ctx, cancel := testContext(t)
	defer cancel()
	if err := asker.Request(ctx, 0, 3, []byte("this"), 1, nil); !errors.Is(err, ErrNotConnected) {
		t.Errorf("request to a stopped replica: %v", err)
	}
	if slices.Contains(asker.Reachable(0), 3) || asker.Peers()[3].Connected {
		t.Error("a stopped replica counts as connected")
	}
}

// A peer of another shard is dropped and banned like one of the own shard, and connects again by itself.
func TestOtherShardIsBanned(t *testing.T) {
	w := newTestNetwork(t, 4, 4)
	a := start(t, func() Config { c := w.config(0, 0); c.Limits.MaxPenalty = 300 * time.Millisecond; return c }())
	b := start(t, w.config(1, 0, a.Addrs()[0]))
	a.eventually("a connection", func() bool { return len(a.Reachable(1)) == 1 })
	m := a.shards[1][0]
	m.drop(violation{errors.New("a test")})
	m.drop(violation{errors.New("more of the same")})
	if a.host.Network().Connectedness(m.id) != 0 || a.refusal(m.id) == "" {
		t.Error("the peer was not banned")
	}
	if got := a.Stats().Dropped; got != 1 {
		t.Errorf("dropped %d times, want once", got)
	}
	for _, x := range []struct {
		d     *node
		shard uint16
	}{{a, 1}, {b, 0}} {
		x.d.eventually("a connection after the ban", func() bool { return len(x.d.Reachable(x.shard)) == 1 })
	}
}

// The number of connections to another shard, and the order of dials.
func TestBridges(t *testing.T) {
	for _, x := range []struct {
		sizes []int
		want  int // expected connections to shard 1
	}{
		{[]int{4, 4}, 4}, {[]int{32, 32}, 32}, {[]int{4, 60}, 60},
		{[]int{61, 4}, 4}, {[]int{60, 7}, 4}, {[]int{54, 11}, 6}, {[]int{49, 16}, 8},
	} {
		w := newTestNetwork(t, x.sizes...)
		cfg := w.config(0, 3)
		n, err := New(cfg)
		must(t, err)
		b := n.bridges[0]
		if b.want != x.want {
			t.Errorf("%v: %d wanted, want %d", x.sizes, b.want, x.want)
		}
		size := x.sizes[1]
		if f := (size - 1) / 3; b.want <= f {
			t.Errorf("%v: all %d may be Byzantine", x.sizes, b.want)
		}
		if got, want := b.tries[0].index, protocols.Index(3%size); got != want {
			t.Errorf("%v: replica %d first, want %d", x.sizes, got, want)
		}
		// Members are dialled up to the wanted number, a few at a time, and not too early.
		now := time.Now().Add(time.Minute)
		up := 0
		for {
			dials, _ := b.due(now, 0)
			if len(dials) > bridgeDials {
				t.Fatalf("%v: %d dials at a time", x.sizes, len(dials))
			}
			if len(dials) == 0 {
				break
			}
			for _, d := range dials {
				d.up = true
				up++
			}
		}
		if up != x.want {
			t.Errorf("%v: %d dialled, want %d", x.sizes, up, x.want)
		}
		// Two dials fail. Other members are dialled at once if there are any, otherwise the failed ones later.
		first, second := b.tries[0], b.tries[1]
		for _, d := range []*try{first, second} {
			d.up = false
			d.fail(now)
		}
		dials, next := b.due(now, 0)
		if spare := min(size-x.want, 2); len(dials) != spare || slices.Contains(dials, first) || slices.Contains(dials, second) {
			t.Errorf("%v: %d dialled instead of two that failed, want %d", x.sizes, len(dials), spare)
		} else if spare == 0 && !next.After(now) {
			t.Errorf("%v: failed ones are dialled at %v", x.sizes, next)
		}
		// No further member is dialled while these dials last.
		for _, d := range dials {
			d.dialling = true
		}
		if more, _ := b.due(now, len(dials)); len(more) != 0 {
			t.Errorf("%v: %d further dials", x.sizes, len(more))
		}
		// No member is dialled twice at the same time.
		for _, d := range b.tries {
			d.up, d.dialling, d.next = false, false, now
		}
		first.dialling = true
		if dials, _ := b.due(now, 1); len(dials) != bridgeDials-1 || slices.Contains(dials, first) {
			t.Errorf("%v: %d further dials beside one, the same member again: %v", x.sizes, len(dials), slices.Contains(dials, first))
		}
		// Banned members are not dialled.
		for _, d := range b.tries {
			d.up, d.dialling, d.until = false, false, now.Add(time.Second)
		}
		if dials, next := b.due(now, 0); len(dials) != 0 || !next.After(now) {
			t.Errorf("%v: %d banned members are dialled, next at %v", x.sizes, len(dials), next)
		}
	}
}

// A peer that closes each connection at once is dialled more and more rarely, up to a bound. A peer that closes it
// later is dialled again at once.
func TestFlappingPeer(t *testing.T) {
	w := newTestNetwork(t, 4, 4)
	d := start(t, w.config(0, 0))
	b := newBridge(d.Net, d.shards[1]) // a shard of its own as the other one; no replica of it runs
	x := b.tries[0]
	now, last := time.Now(), time.Duration(0)
	for range 40 {
		x.up, x.since = true, now.Add(-settledAfter/2)
		b.look(now)
		if x.up || x.backoff < last || !x.next.After(now) {
			t.Fatalf("pause of %v after a pause of %v, next at %v", x.backoff, last, x.next)
		}
		last = x.backoff
	}
	if limit := bridgePatience * d.cfg.Limits.MaxBackoff; last != limit {
		t.Errorf("the longest pause is %v, want %v", last, limit)
	}
	x.up, x.since = true, now.Add(-2*settledAfter)
	b.look(now)
	if x.backoff != 0 || x.next.After(now.Add(2*secondDialler)) {
		t.Errorf("after a longer connection: pause of %v, next %v later", x.backoff, x.next.Sub(now))
	}
}
