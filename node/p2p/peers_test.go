package p2p

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"bdtnode/protocols"
)

// trio starts three connected replicas; set changes the configuration of each.
func trio(t *testing.T, set func(*Config), nodes ...func(*node)) (a, b, c *node) {
	t.Helper()
	w := newTestNetwork(t, 4)
	config := func(i int, bootstrap ...string) Config {
		cfg := w.config(0, i, bootstrap...)
		if set != nil {
			set(&cfg)
		}
		return cfg
	}
	a = start(t, config(0), nodes...)
	b = start(t, config(1, a.Addrs()[0]), nodes...)
	c = start(t, config(2, a.Addrs()[0]), nodes...)
	mesh(a, b, c)
	return a, b, c
}

// After a violation the peer is dropped and banned for a while, without further effects; then it may connect again.
func TestViolationDropsThePeer(t *testing.T) {
	overlong := func(class Class) []byte { return binary.BigEndian.AppendUint32(nil, uint32(class.MaxFrame()+1)) }
	for name, x := range map[string]struct {
		class Class
		raw   []byte
	}{
		"control frame too long":  {Control, overlong(Control)},
		"bulk frame too long":     {Bulk, overlong(Bulk)},
		"empty frame":             {Control, []byte{0, 0, 0, 0}},
		"handler refuses control": {Control, appendFrame(nil, []byte("garbage"))},
		"handler refuses bulk":    {Bulk, appendFrame(nil, []byte("garbage"))},
	} {
		t.Run(name, func(t *testing.T) {
			a, b, c := trio(t, func(cfg *Config) { cfg.Limits.MaxPenalty = 300 * time.Millisecond }, func(d *node) {
				d.receive = func(_ protocols.Index, _ Class, frame []byte) error {
					if string(frame) == "garbage" {
						return errors.New("not a message")
					}
					return nil
				}
			})
			// Simultaneous dials may still replace sessions, so the bytes are written to the current session until they
			// arrive.
			a.eventually("the drop", func() bool {
				if s := b.members[0].active.Load(); s != nil && a.Stats().Dropped == 0 {
					// A session that is just being replaced refuses the write; the next one takes it.
					_, _ = s.ends[x.class].stream.Write(x.raw)
				}
				return a.Stats().Dropped > 0
			})
			a.await("a session after the ban", func() bool { return a.connected[1] && a.connects[1] > 1 })
			b.await("a session after the ban", func() bool { return b.connected[0] && b.connects[0] > 1 })
			if got := a.Stats().Dropped; got != 1 {
				t.Errorf("%d drops, want 1", got)
			}
			if a.Stats().Dropped+b.Stats().Dropped+c.Stats().Dropped != 1 || !a.connected[2] || !c.connected[0] || !c.connected[1] {
				t.Errorf("others were affected: %v %v", a.connects, c.connects)
			}
		})
	}
}

// A banned peer gets no connection, whichever side dials.
func TestBan(t *testing.T) {
	a, b, _ := trio(t, func(cfg *Config) { cfg.Limits.MaxPenalty = time.Hour }, func(d *node) {
		d.receive = func(protocols.Index, Class, []byte) error { return errors.New("no") }
	})
	a.members[1].mu.Lock()
	a.members[1].strikes, a.members[1].until = 12, time.Now() // 4096 s without the limit
	a.members[1].mu.Unlock()
	b.Send(0, Control, []byte("x"))
	a.eventually("the drop", func() bool { return a.Stats().Dropped == 1 })
	a.eventually("refused attempts", func() bool { return a.Stats().Refused >= 2 })
	if a.members[1].active.Load() != nil {
		t.Error("there is a session")
	}
	a.members[1].mu.Lock()
	defer a.members[1].mu.Unlock()
	if left := time.Until(a.members[1].until); left > time.Hour || left < 50*time.Minute {
		t.Errorf("banned for %v more, want nearly an hour", left)
	}
}

// A peer that does not read loses its queue, and Connected is called when it reads again. Its other class and the other
// peers are not affected.
func TestOverflowRaisesConnectedAgain(t *testing.T) {
	gate := make(chan struct{})
	w := newTestNetwork(t, 4)
	a := start(t, func() Config { c := w.config(0, 0); c.Limits.BulkQueue = 1 << 20; return c }())
	b := start(t, w.config(0, 1, a.Addrs()[0]), func(d *node) {
		d.receive = func(_ protocols.Index, class Class, _ []byte) error {
			if class == Bulk {
				<-gate
			}
			return nil
		}
	})
	c := start(t, w.config(0, 2, a.Addrs()[0]))
	mesh(a, b, c)
	frame := make([]byte, 64<<10)
	sent := 0
	for ; a.Stats().Bulk.Lost == 0; sent++ {
		a.Send(1, Bulk, frame)
		a.Send(2, Bulk, frame)
		c.await("bulk", func() bool { return len(c.got[flow(0, Bulk)]) == sent+1 })
	}
	for i := range 100 {
		a.Send(1, Control, []byte{byte(i)})
	}
	b.await("control behind stuck bulk", func() bool { return len(b.got[flow(0, Control)]) == 100 })
	if a.connects[1] != 1 {
		t.Fatalf("%d times connected while stuck", a.connects[1])
	}
	close(gate)
	a.await("Connected after the overflow", func() bool { return a.connects[1] == 2 && a.connected[1] })
	a.Send(1, Bulk, []byte("again"))
	b.await("the frames sent again", func() bool {
		got := b.got[flow(0, Bulk)]
		return len(got) > 0 && string(got[len(got)-1]) == "again"
	})
	if b.connects[0] != 1 || c.connects[0] != 1 {
		t.Errorf("an overflow disconnected a peer: %v %v", b.connects, c.connects)
	}
	if got := len(b.frames(0, Bulk)); got >= sent {
		t.Errorf("%d of %d frames arrived, so nothing was dropped", got, sent)
	}
}

// A peer that reads nothing is disconnected after WriteTime, and gets a new session when it reads again.
func TestStuckReaderIsDisconnected(t *testing.T) {
	gate := make(chan struct{})
	w := newTestNetwork(t, 4)
	a := start(t, func() Config { c := w.config(0, 0); c.Limits.WriteTime = 200 * time.Millisecond; return c }())
	b := start(t, w.config(0, 1, a.Addrs()[0]), func(d *node) {
		d.receive = func(protocols.Index, Class, []byte) error { <-gate; return nil }
	})
	c := start(t, w.config(0, 2, a.Addrs()[0]))
	mesh(a, b, c)
	frame := make([]byte, 1<<20)
	for range 40 { // more than windows and buffers hold
		a.Send(1, Bulk, frame)
	}
	a.await("the disconnect", func() bool { return !a.connected[1] })
	a.Send(2, Bulk, frame)
	c.await("bulk", func() bool { return len(c.got[flow(0, Bulk)]) == 1 })
	close(gate)
	mesh(a, b, c)
	if c.connects[0] != 1 || a.Stats().Dropped != 0 {
		t.Errorf("others were affected, or the peer was banned: %v %+v", c.connects, a.Stats())
	}
}

// Both have the other's address and dial at the same time. With any resulting connections, there is one session, the
// same on both sides.
func TestSimultaneousDials(t *testing.T) {
	double := 0
	for round := range 8 {
		w := newTestNetwork(t, 4)
		a, b := start(t, w.config(0, 0)), start(t, w.config(0, 1))
		// Neither had the other's address; now both get it, at the same time.
		for _, x := range []struct{ d, p *node }{{a, b}, {b, a}} {
			x.d.book.reached(x.p.roster.self, x.p.host.Addrs())
		}
		a.members[1].signal()
		b.members[0].signal()
		mesh(a, b)
		if a.members[1].active.Load().id != b.members[0].active.Load().id {
			a.await("one session", func() bool { return a.members[1].active.Load().id == b.members[0].active.Load().id })
		}
		if len(a.host.Network().ConnsToPeer(b.roster.self)) > 1 {
			double++
		}
		for i := range 50 {
			a.Send(1, Control, []byte{byte(i)})
			b.Send(0, Bulk, []byte{byte(i)})
		}
		b.await("frames", func() bool { return len(b.got[flow(0, Control)]) == 50 })
		a.await("frames", func() bool { return len(a.got[flow(1, Bulk)]) == 50 })
		if a.connects[1] != 1 || b.connects[0] != 1 {
			t.Errorf("round %d: %d and %d sessions", round, a.connects[1], b.connects[0])
		}
		a.stop()
		b.stop()
	}
	t.Logf("%d of 8 rounds left two connections", double)
}

// A replica that restarts while its old connections still look alive replaces its old session, whichever side opens the
// streams.
func TestReturnBeforeTheOldConnectionDies(t *testing.T) {
	t.Parallel() // it waits
	for _, opens := range []bool{true, false} {
		t.Run(fmt.Sprintf("peer opens %v", opens), func(t *testing.T) {
			t.Parallel()
			w := newTestNetwork(t, 4)
			lower, higher := 0, 1
			for id := range 2 {
				if decode(t, w.members[0][id]) < decode(t, w.members[0][1-id]) {
					lower, higher = id, 1-id
				}
			}
			stays, returns := lower, higher
			if opens {
				stays, returns = higher, lower
			}
			a := start(t, w.config(0, stays))
			old := start(t, w.config(0, returns, a.Addrs()[0]))
			mesh(a, old)
			// The old process counts as dead, but its host still answers for it.
			i := protocols.Index(returns)
			fresh := newReturned(t, w, returns, a, old)
			a.await("the new session", func() bool { return a.connects[i] >= 2 && a.connected[i] })
			fresh.await("the new session", func() bool { return fresh.connected[protocols.Index(stays)] })
			a.eventually("a frame in the new session", func() bool {
				a.Send(i, Control, []byte("welcome"))
				return len(fresh.frames(protocols.Index(stays), Control)) > 0
			})
		})
	}
}

// A member that has reached its bound of connections, all of a process that died silently, gets a new one.
func TestReturnWhenAllPlacesAreTaken(t *testing.T) {
	w := newTestNetwork(t, 4)
	cfg := w.config(0, 0)
	cfg.Limits.ConnsPerMember = 1
	a := start(t, cfg)
	old := start(t, w.config(0, 1, a.Addrs()[0]))
	mesh(a, old)
	fresh := newReturned(t, w, 1, a, old)
	a.await("the new session", func() bool { return a.connects[1] > 1 && a.connected[1] })
	fresh.awaitPeers(a)
}

// newReturned starts a second process of replica i, while the first one cannot dial.
func newReturned(t *testing.T, w *testNetwork, i int, at, old *node) *node {
	t.Helper()
	m := old.shardMember(at.roster.self)
	m.mu.Lock()
	m.until = time.Now().Add(time.Hour)
	m.mu.Unlock()
	return start(t, w.config(0, i, at.Addrs()[0]))
}

func TestRequests(t *testing.T) {
	const large = 1 << 20
	frames := [][]byte{[]byte("one"), make([]byte, large), []byte("three")}
	frames[1][large-1] = 9
	a, b, _ := trio(t, func(cfg *Config) { cfg.Limits.ServeBytes = large + 100; cfg.Limits.Serving = 2 }, func(d *node) {
		d.serve = func(ctx context.Context, _ uint16, from protocols.Index, request []byte, w func([]byte) error) error {
			switch string(request) {
			case "nothing":
				return nil
			case "fail":
				must(t, w([]byte("part")))
				return errors.New("disk on fire")
			case "empty frame":
				return w(nil)
			case "too long":
				return w(make([]byte, MaxBulkFrame+1))
			case "too much":
				must(t, w(frames[1]))
				return w(make([]byte, 101))
			case "wait":
				<-ctx.Done()
				return context.Cause(ctx)
			}
			for _, f := range frames {
				if err := w(f); err != nil {
					return err
				}
			}
			return nil
		}
	})
	ask := func(to protocols.Index, request string) (got [][]byte, err error) {
		ctx, cancel := testContext(t)
		defer cancel()
		err = a.Request(ctx, 0, to, []byte(request), large+100, func(f []byte) error { got = append(got, f); return nil })
		return got, err
	}
	got, err := ask(1, "all")
	if err != nil || len(got) != 3 || string(got[2]) != "three" || len(got[1]) != large || got[1][large-1] != 9 {
		t.Fatalf("%d frames, %v", len(got), err)
	}
	if got, err := ask(1, "nothing"); err != nil || len(got) != 0 {
		t.Errorf("an empty answer: %d frames, %v", len(got), err)
	}
	for _, bad := range []string{"fail", "empty frame", "too long", "too much"} {
		if _, err := ask(1, bad); err == nil {
			t.Errorf("%s: an incomplete answer was returned without an error", bad)
		}
	}
	if _, err := ask(3, "all"); !errors.Is(err, ErrNotConnected) {
		t.Errorf("request to an absent replica: %v", err)
	}
	if _, err := ask(0, "all"); !errors.Is(err, ErrNotConnected) {
		t.Errorf("request to itself: %v", err)
	}
	if _, err := ask(1, ""); err == nil || !strings.Contains(err.Error(), "0 bytes") {
		t.Errorf("an empty request: %v", err)
	}
	enough := errors.New("enough")
	ctx, cancel := testContext(t)
	defer cancel()
	if err := a.Request(ctx, 0, 1, []byte("all"), large+100, func([]byte) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("refused by each: %v", err)
	}
	// Two are being served, so a third is refused; cancelling one makes a place free.
	serving := func() int64 { return b.answering.open.of(b.members[0]) }
	b.eventually("the end of the others", func() bool { return serving() == 0 })
	short, giveUp := context.WithCancel(ctx)
	ends := make(chan error, 2)
	for range 2 {
		go func() { ends <- a.Request(short, 0, 1, []byte("wait"), 1, nil) }()
	}
	b.eventually("two requests", func() bool { return serving() == 2 })
	if _, err := ask(1, "nothing"); !errors.Is(err, ErrBusy) {
		t.Errorf("a third request: %v", err)
	}
	giveUp()
	for range 2 {
		if err := <-ends; !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	}
	b.eventually("a free place", func() bool { return serving() == 0 }) // cancelled requests are not served until ServeTime
	if _, err := ask(1, "nothing"); err != nil {
		t.Errorf("after the cancellation: %v", err)
	}
	// A member that sends more requests than it may has its stream held for a while before it is reset.
	b.eventually("a free place", func() bool { return serving() == 0 }) // the end of an answer leaves before its place is free
	if !b.answering.open.take(b.members[0], 2) {
		t.Fatal("the places of the member are not free")
	}
	refused := make(chan error, 1)
	go func() { refused <- a.Request(ctx, 0, 1, []byte("nothing"), 1, nil) }()
	b.eventually("a held stream", func() bool { return b.refusing.of(b.members[0]) == 1 })
	if err := <-refused; err == nil {
		t.Error("a request without a place was answered")
	}
	b.eventually("no held stream", func() bool { return b.refusing.of(b.members[0]) == 0 })
	b.answering.open.give(b.members[0], 2)
	if a.connects[1] != 1 || b.Stats().Dropped != 0 {
		t.Error("a failed request ended a session")
	}
}
