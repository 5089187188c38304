package p2p

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"bdtnode/protocols"
)

// twoShards starts one replica of each of two shards, with a connection between them.
func twoShards(t *testing.T, change func(*Config), set ...func(*node)) (a, b *node) {
	t.Helper()
	w := newTestNetwork(t, 4, 4)
	cfg := w.config(0, 0)
	change(&cfg)
	a = start(t, cfg, set...)
	cfg = w.config(1, 0, a.Addrs()[0])
	change(&cfg)
	b = start(t, cfg, set...)
	a.eventually("a connection", func() bool { return len(a.Reachable(1)) == 1 && len(b.Reachable(0)) == 1 })
	return a, b
}

// An answer of 256 MiB is cancelled after the requested number of bytes, for any frame size, and the bytes held for it
// are released.
func TestLargeAnswerIsCancelled(t *testing.T) {
	for name, size := range map[string]int{"small frames": 10_000, "large frames": MaxBulkFrame} {
		a, b := twoShards(t, func(c *Config) {})
		// The peer has no bounds of its own.
		b.host.SetStreamHandler(fetchProtocol, func(s network.Stream) {
			defer s.Reset()
			e := newEnd(s, requestBuffer)
			if _, err := e.greeted(); err != nil || b.greet(s, 0) != nil {
				return
			}
			frame := appendFrame(nil, make([]byte, size))
			for sent := 0; sent < 256<<20; sent += size {
				if _, err := s.Write(frame); err != nil {
					return
				}
			}
			s.Write(appendLength(nil, 0))
		})
		ctx, cancel := testContext(t)
		got := 0
		err := a.Request(ctx, 1, 0, []byte("all"), 1<<20, func(f []byte) error { got += len(f); return nil })
		cancel()
		if err == nil || !strings.Contains(err.Error(), "more than 1048576 bytes") || got > 1<<20 {
			t.Errorf("%s: %d bytes of the answer were accepted, %v", name, got, err)
		}
		if held := a.asking.held.of(a.shards[1][0]); held != 0 {
			t.Errorf("%s: %d bytes are held after the request", name, held)
		}
		b.stop()
		a.stop()
	}
}

// This node refuses more requests to one peer than that peer would serve, and more bytes of answers than may be held.
func TestRequestsAreBounded(t *testing.T) {
	block := make(chan struct{})
	a, _ := twoShards(t, func(c *Config) { c.Limits.Serving, c.Limits.HeldBytes = 2, 100<<10 }, func(d *node) {
		d.serve = func(ctx context.Context, _ uint16, _ protocols.Index, request []byte, w func([]byte) error) error {
			if string(request) == "wait" {
				<-block
				return nil
			}
			return errors.Join(w(make([]byte, 60<<10)), w(make([]byte, 60<<10)))
		}
	})
	ctx, cancel := testContext(t)
	defer cancel()
	if err := a.Request(ctx, 1, 0, []byte("much"), 1<<20, func([]byte) error { return nil }); !errors.Is(err, errNoRoom) {
		t.Errorf("an answer of 120 KiB with a bound of 100: %v", err)
	}
	ends := make(chan error, 2)
	for range 2 {
		go func() { ends <- a.Request(ctx, 1, 0, []byte("wait"), 1, nil) }()
	}
	a.eventually("two requests", func() bool { return a.asking.open.of(a.shards[1][0]) == 2 })
	if err := a.Request(ctx, 1, 0, []byte("wait"), 1, nil); !errors.Is(err, ErrBusy) {
		t.Errorf("a third request: %v", err)
	}
	close(block)
	for range 2 {
		if err := <-ends; err != nil {
			t.Error(err)
		}
	}
}

// A peer of another shard opens 300 calls and reads no answer. It gets no more than its places and bytes. Another peer
// gets its answer meanwhile, and the calls end although the first peer reads nothing.
func TestUnreadAnswersAreBounded(t *testing.T) {
	const places, bytes, answer = 5, 2 << 20, 600 << 10 // more than a stream's window of 256 KiB, so that the write blocks
	var now, most, served atomic.Int64
	w := newTestNetwork(t, 4, 4, 4)
	cfg := w.config(0, 0)
	cfg.Limits.Serving, cfg.Limits.HeldBytes, cfg.Limits.WriteTime = places, bytes, time.Second
	a := start(t, cfg, func(d *node) {
		d.serve = func(_ context.Context, shard uint16, _ protocols.Index, _ []byte, w func([]byte) error) error {
			if shard == 2 {
				return w([]byte("here"))
			}
			served.Add(1)
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			return w(make([]byte, answer))
		}
	})
	b := start(t, w.config(1, 0, a.Addrs()[0]))
	c := start(t, w.config(2, 0, a.Addrs()[0]))
	a.eventually("connections", func() bool { return len(b.Reachable(0)) == 1 && len(c.Reachable(0)) == 1 })
	ctx, cancel := testContext(t)
	defer cancel()
	for range 300 {
		s, err := b.host.NewStream(ctx, a.roster.self, fetchProtocol)
		if err != nil {
			continue // libp2p's bound of streams for a peer is reached
		}
		defer s.Reset()
		if b.greet(s, 0) == nil {
			s.Write(appendFrame(nil, []byte("x")))
		}
		if held := a.answering.held.of(a.shards[1][0]); held > bytes {
			t.Fatalf("%d bytes are held for one peer", held)
		}
	}
	a.eventually("the first answers", func() bool { return served.Load() >= 3 })
	got := ""
	if err := c.Request(ctx, 0, 0, []byte("x"), 10, func(f []byte) error { got = string(f); return nil }); err != nil || got != "here" {
		t.Errorf("another peer got %q, %v", got, err)
	}
	a.eventually("the end of the calls", func() bool { return a.answering.open.of(a.shards[1][0]) == 0 })
	if most.Load() > places {
		t.Errorf("%d calls of one peer were served at a time", most.Load())
	}
	if held := a.answering.held.of(a.shards[1][0]); held != 0 {
		t.Errorf("%d bytes are held after the calls", held)
	}
}

// A peer sends requests as fast as it can. They are served at the rate of its budget, and none is lost.
func TestRequestsHaveABudget(t *testing.T) {
	const rate, requests = 1 << 20, 80
	a, b := twoShards(t, func(c *Config) { c.Limits.RequestRate = rate }, func(d *node) {
		d.serve = func(_ context.Context, _ uint16, _ protocols.Index, _ []byte, w func([]byte) error) error {
			return w([]byte("here"))
		}
	})
	ctx, cancel := testContext(t)
	defer cancel()
	request := make([]byte, 32<<10)
	burst := b.shards[0][0].asks.Burst()
	began := time.Now()
	for range requests {
		if err := a.Request(ctx, 1, 0, request, 100, func([]byte) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	least := time.Duration(requests*(len(request)+requestCost)-burst) * time.Second / rate
	if took := time.Since(began); took < least {
		t.Errorf("requests of %d bytes took %v, the budget allows them in %v", requests*len(request), took, least)
	}
}
