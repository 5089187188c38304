package p2p

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/goleak"

	"bdtnode/internal/digest"
	"bdtnode/protocols"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// patience bounds a wait for an event that must happen. It does not measure speed.
const patience = 30 * time.Second

// testNetwork contains the identities and the members of a test network.
type testNetwork struct {
	network digest.Digest
	keys    [][]crypto.PrivKey
	members [][]string
}

func newTestNetwork(t *testing.T, sizes ...int) *testNetwork {
	t.Helper()
	w := &testNetwork{network: digest.Of("test/network", []byte(t.Name()))}
	for _, size := range sizes {
		var keys []crypto.PrivKey
		var ids []string
		for range size {
			key, _, err := crypto.GenerateEd25519Key(rand.Reader)
			must(t, err)
			id, err := peer.IDFromPrivateKey(key)
			must(t, err)
			keys, ids = append(keys, key), append(ids, id.String())
		}
		w.keys, w.members = append(w.keys, keys), append(w.members, ids)
	}
	return w
}

// config is the configuration of a node that listens on a free port of the loopback.
func (w *testNetwork) config(shard, i int, bootstrap ...string) Config {
	return Config{
		Identity: w.keys[shard][i], Network: w.network, Shard: uint16(shard), Self: protocols.Index(i),
		Members: w.members, Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Bootstrap: bootstrap,
		Limits: Limits{MaxBackoff: 500 * time.Millisecond},
	}
}

// node is a running Net with a handler that records its calls.
type node struct {
	*Net
	t    *testing.T
	stop func()

	mu        sync.Mutex
	changed   chan struct{}
	got       map[string][][]byte // frames by peer and class
	connects  map[protocols.Index]int
	connected map[protocols.Index]bool
	wrong     []string // calls in a wrong order
	heard     []string // gossip received

	receive func(from protocols.Index, class Class, frame []byte) error
	judge   func(data []byte) Verdict
	serve   func(ctx context.Context, shard uint16, from protocols.Index, request []byte, w func([]byte) error) error
}

// start runs a node until the test ends or its stop is called.
func start(t *testing.T, cfg Config, set ...func(*node)) *node {
	t.Helper()
	d := &node{t: t, changed: make(chan struct{}), got: make(map[string][][]byte),
		connects: make(map[protocols.Index]int), connected: make(map[protocols.Index]bool)}
	for _, f := range set {
		f(d)
	}
	var err error
	d.Net, err = New(cfg)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Net.Run(ctx, d) }()
	d.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run of replica %d: %v", cfg.Self, err)
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		for i, up := range d.connected {
			if up {
				t.Errorf("replica %d: Disconnected was not called for %d", cfg.Self, i)
			}
		}
		for _, w := range d.wrong {
			t.Errorf("replica %d: %s", cfg.Self, w)
		}
	})
	t.Cleanup(d.stop)
	select {
	case <-d.Started():
	case err := <-done:
		done <- nil
		t.Fatalf("replica %d did not start: %v", cfg.Self, err)
	case <-time.After(patience):
		t.Fatalf("replica %d did not start", cfg.Self)
	}
	return d
}

func flow(from protocols.Index, class Class) string { return fmt.Sprintf("%d %s", from, class) }

func (d *node) change(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
	close(d.changed)
	d.changed = make(chan struct{})
}

// await waits until f, called under the lock, returns true.
func (d *node) await(what string, f func() bool) {
	d.t.Helper()
	limit := time.After(patience)
	for {
		d.mu.Lock()
		ok, changed := f(), d.changed
		d.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-limit:
			d.t.Fatalf("replica %d: timeout waiting for %s; connected %v, peers %+v", d.cfg.Self, what, d.connects, d.Peers())
		}
	}
}

// awaitPeers waits for sessions with all of the given replicas.
func (d *node) awaitPeers(peers ...*node) {
	d.t.Helper()
	for _, p := range peers {
		if p != d {
			d.await(fmt.Sprintf("replica %d", p.cfg.Self), func() bool { return d.connected[p.cfg.Self] })
		}
	}
}

func mesh(nodes ...*node) {
	for _, d := range nodes {
		d.t.Helper()
		d.awaitPeers(nodes...)
	}
}

func (d *node) frames(from protocols.Index, class Class) [][]byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.got[flow(from, class)]
}

func (d *node) Receive(from protocols.Index, class Class, frame []byte) error {
	if d.receive != nil {
		if err := d.receive(from, class, frame); err != nil {
			return err
		}
	}
	d.change(func() {
		if !d.connected[from] {
			d.wrong = append(d.wrong, fmt.Sprintf("frame of %d outside a session", from))
		}
		d.got[flow(from, class)] = append(d.got[flow(from, class)], frame)
	})
	return nil
}

func (d *node) Connected(i protocols.Index) {
	d.change(func() { d.connects[i]++; d.connected[i] = true })
}

func (d *node) Disconnected(i protocols.Index) {
	d.change(func() {
		if !d.connected[i] {
			d.wrong = append(d.wrong, fmt.Sprintf("%d disconnected twice", i))
		}
		d.connected[i] = false
	})
}

func (d *node) Serve(ctx context.Context, shard uint16, from protocols.Index, request []byte, w func([]byte) error) error {
	if d.serve == nil {
		return errors.New("no request is served")
	}
	return d.serve(ctx, shard, from, request, w)
}

func (d *node) Gossip(data []byte) Verdict {
	verdict := Accept
	if d.judge != nil {
		verdict = d.judge(data)
	}
	d.change(func() { d.heard = append(d.heard, string(data)) })
	return verdict
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func tempFile(t *testing.T) string { return filepath.Join(t.TempDir(), "addresses.json") }

func testContext(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithTimeout(context.Background(), patience)
}

// eventually polls a condition without a callback.
func (d *node) eventually(what string, f func() bool) {
	d.t.Helper()
	for began := time.Now(); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > patience {
			d.t.Fatalf("replica %d: timeout waiting for %s", d.cfg.Self, what)
		}
	}
}

func decode(t *testing.T, s string) peer.ID {
	t.Helper()
	id, err := peer.Decode(s)
	must(t, err)
	return id
}

// lines is a log that tests can read.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) put(level, msg string, fields []any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, level+" "+msg+" "+fmt.Sprint(fields...))
}

func (l *lines) Debugw(msg string, fields ...any) { l.put("debug", msg, fields) }
func (l *lines) Infow(msg string, fields ...any)  { l.put("info", msg, fields) }
func (l *lines) Warnw(msg string, fields ...any)  { l.put("warn", msg, fields) }
func (l *lines) Errorw(msg string, fields ...any) { l.put("error", msg, fields) }

// have reports whether there is a line with all of these texts.
func (l *lines) have(texts ...string) bool { return l.count(texts...) > 0 }

// count is the number of lines with all of these texts.
func (l *lines) count(texts ...string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, line := range l.all {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
			n++
		}
	}
	return n
}
