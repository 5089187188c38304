package p2p

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	madns "github.com/multiformats/go-multiaddr-dns"

	"bdtnode/internal/digest"
	"bdtnode/protocols"
)

// Each replica has one bootstrap address, and finds all others through it, on the loopback.
func TestFourReplicasFindOneAnother(t *testing.T) {
	w := newTestNetwork(t, 4)
	nodes := []*node{start(t, w.config(0, 0))}
	for i := 1; i < 4; i++ {
		nodes = append(nodes, start(t, w.config(0, i, nodes[0].Addrs()[0])))
	}
	mesh(nodes...)
	const frames = 2000
	for _, d := range nodes {
		for seq := range frames {
			for class := range Class(classes) {
				frame := binary.BigEndian.AppendUint32(make([]byte, 0, 1000), uint32(seq))
				frame = frame[:4+(seq*7)%900] // of various sizes
				for _, p := range nodes {
					if p != d {
						d.Send(p.cfg.Self, class, frame)
					}
				}
			}
		}
	}
	for _, d := range nodes {
		if got := d.ReadyPeers(); got != 3 {
			t.Errorf("replica %d: %d peers ready, want 3", d.cfg.Self, got)
		}
		for _, p := range nodes {
			if p == d {
				continue
			}
			for class := range Class(classes) {
				d.await("frames", func() bool { return len(d.got[flow(p.cfg.Self, class)]) >= frames })
				for seq, f := range d.frames(p.cfg.Self, class) {
					if int(binary.BigEndian.Uint32(f)) != seq || len(f) != 4+(seq*7)%900 {
						t.Fatalf("replica %d got frame %x of %d bytes from %d as number %d", d.cfg.Self, f[:4], len(f), p.cfg.Self, seq)
					}
				}
			}
		}
	}
	for _, d := range nodes {
		s := d.Stats()
		if s.Control.FramesIn != 3*frames || s.Bulk.FramesOut != 3*frames || s.Control.Lost+s.Bulk.Lost+s.Dropped+s.Refused != 0 {
			t.Errorf("replica %d counts %+v", d.cfg.Self, s)
		}
		d.eventually("a full list of peers", func() bool {
			return !slices.ContainsFunc(d.Peers(), func(p PeerInfo) bool {
				return !p.Connected || len(p.Addrs) == 0 || (!p.Self && p.RTT <= 0)
			})
		})
	}
}

// The largest frames pass, and sending a larger one panics.
func TestFrameLimits(t *testing.T) {
	w := newTestNetwork(t, 4)
	a := start(t, w.config(0, 0))
	b := start(t, w.config(0, 1, a.Addrs()[0]))
	mesh(a, b)
	for class := range Class(classes) {
		frame := make([]byte, class.MaxFrame())
		frame[len(frame)-1] = 7
		a.Send(1, class, frame)
		b.await("the frame", func() bool { return len(b.got[flow(0, class)]) == 1 })
		got := b.frames(0, class)[0]
		if len(got) != len(frame) || got[len(got)-1] != 7 || cap(got) != len(got) {
			t.Errorf("%s: got %d bytes, capacity %d", class, len(got), cap(got))
		}
		for _, bad := range [][]byte{nil, make([]byte, class.MaxFrame()+1)} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s: a frame of %d bytes was accepted", class, len(bad))
					}
				}()
				a.Send(1, class, bad)
			}()
		}
	}
}

// A replica restarts at another port, with only the address of the bootstrap node.
func TestRestartAtAnotherPort(t *testing.T) {
	w := newTestNetwork(t, 4)
	boot := start(t, w.config(0, 0))
	a := start(t, w.config(0, 1, boot.Addrs()[0]))
	b := start(t, w.config(0, 2, boot.Addrs()[0]))
	mesh(boot, a, b)
	before := b.Addrs()[0]
	b.stop()
	a.await("the disconnect", func() bool { return !a.connected[2] })
	blockPort(t, before)
	b = start(t, w.config(0, 2, boot.Addrs()[0]))
	mesh(boot, a, b)
	if b.Addrs()[0] == before {
		t.Fatal("the port is the same, so the test shows nothing")
	}
	a.Send(2, Control, []byte("after"))
	b.await("a frame", func() bool { return len(b.got[flow(1, Control)]) == 1 })
}

// blockPort occupies a port, as another program might after a crash.
func blockPort(t *testing.T, addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:"+strings.Split(addr, "/")[4])
	must(t, err)
	t.Cleanup(func() { l.Close() })
}

// The bootstrap node starts after the others have failed to reach it.
func TestBootstrapStartsLast(t *testing.T) {
	w := newTestNetwork(t, 4)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	port := l.Addr().(*net.TCPAddr).Port
	must(t, l.Close())
	at := fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", port)
	var nodes []*node
	for i := 1; i < 4; i++ {
		nodes = append(nodes, start(t, w.config(0, i, at+"/p2p/"+w.members[0][0])))
	}
	for _, d := range nodes { // libp2p's own backoff is active now
		d.awaitFailures()
	}
	cfg := w.config(0, 0)
	cfg.Listen = []string{at}
	nodes = append(nodes, start(t, cfg))
	var before []uint64
	for _, d := range nodes[:3] {
		before = append(before, d.members[0].failed.Load())
	}
	mesh(nodes...)
	for i, d := range nodes[:3] {
		if more := d.members[0].failed.Load() - before[i]; more > 3 {
			t.Errorf("replica %d failed %d times although the bootstrap node was up", d.cfg.Self, more)
		}
	}

	// It can restart at its address.
	boot := nodes[3]
	boot.stop()
	for _, d := range nodes[:3] {
		d.await("the disconnect", func() bool { return !d.connected[0] })
	}
	nodes[3] = start(t, cfg)
	mesh(nodes...)
}

// awaitFailures waits until the node has failed to reach replica 0.
func (d *node) awaitFailures() {
	d.t.Helper()
	d.eventually("failed attempts", func() bool { return d.members[0].failed.Load() >= 2 })
}

// With its address file a replica finds the others without a bootstrap address; a damaged file does not prevent the
// start.
func TestAddressesAreKept(t *testing.T) {
	w := newTestNetwork(t, 4)
	a := start(t, w.config(0, 0))
	cfg := w.config(0, 1, a.Addrs()[0])
	cfg.AddressFile = tempFile(t)
	b := start(t, cfg)
	mesh(a, b)
	before := b.Addrs()[0]
	b.stop()
	a.await("the disconnect", func() bool { return !a.connected[1] })
	cfg.Bootstrap = nil // and a cannot find b, which restarts at another port
	blockPort(t, before)
	b = start(t, cfg)
	mesh(a, b)
}

// Only members of the genesis get a connection.
func TestNonMemberIsRefused(t *testing.T) {
	w := newTestNetwork(t, 4)
	a := start(t, w.config(0, 0))
	// The outsider has the same genesis except for its own peer id, so only its peer id distinguishes it.
	outsider := newTestNetwork(t, 4)
	forged := *outsider
	forged.network = w.network
	forged.members = [][]string{slices.Concat(w.members[0][:1], outsider.members[0][1:])}
	b := start(t, forged.config(0, 1, a.Addrs()[0]))
	a.eventually("refusals", func() bool { return a.Stats().Refused >= 2 })
	if n := len(a.host.Network().Peers()); n != 0 {
		t.Errorf("%d peers that are not members are connected", n)
	}
	if a.ReadyPeers()+b.ReadyPeers() != 0 {
		t.Error("a peer that is not a member has a session")
	}
}

// A member of another shard is connected, but cannot open consensus streams or make requests in another member's name.
func TestOtherShardHasNoSession(t *testing.T) {
	w := newTestNetwork(t, 4, 4)
	// The listener has the highest peer id, so it would accept streams of any other replica of its shard.
	highest := 0
	for i := range 4 {
		if decode(t, w.members[0][i]) > decode(t, w.members[0][highest]) {
			highest = i
		}
	}
	boot := start(t, w.config(0, highest), func(d *node) {
		d.serve = func(context.Context, uint16, protocols.Index, []byte, func([]byte) error) error {
			t.Error("a request in another member's name was served")
			return nil
		}
	})
	a := start(t, w.config(1, (highest+1)%4, boot.Addrs()[0]))
	b := start(t, w.config(1, (highest+2)%4, boot.Addrs()[0]))
	mesh(a, b)
	// They also claim a false shard.
	claim := hello{w.network, 0, 1, 1}
	for _, liar := range []*node{a, b} {
		for _, proto := range append(classProtocols[:], fetchProtocol) {
			claim.index = liar.cfg.Self
			ctx, cancel := testContext(t)
			s, err := liar.host.NewStream(ctx, boot.roster.self, proto)
			if err == nil {
				s.Write(appendFrame(appendFrame(nil, claim.append(nil)), []byte("x")))
				_, err = io.ReadFull(s, make([]byte, headerSize+helloSize+1)) // a refusal contains this node's handshake, then the end
				s.Reset()
			}
			cancel()
			if err == nil {
				t.Errorf("%s: opened from another shard", proto)
			}
		}
	}
	if boot.ReadyPeers() != 0 || len(boot.connects) != 0 {
		t.Errorf("a replica of another shard has a session: %v", boot.connects)
	}
}

// The same replicas in another network are refused by the handshake; both sides log the reason.
func TestOtherNetworkIsRefused(t *testing.T) {
	w := newTestNetwork(t, 4)
	var logs [2]lines
	first := w.config(0, 0)
	first.log = &logs[0]
	a := start(t, first)
	cfg := w.config(0, 1, a.Addrs()[0])
	cfg.Network, cfg.log = digest.Of("test/another"), &logs[1]
	b := start(t, cfg)
	a.eventually("a refusal", func() bool { return logs[0].have("peer refused", "the peer is in network "+cfg.Network.Short()) })
	b.eventually("a refusal", func() bool { return logs[1].have("peer refused", "the peer is in network "+w.network.Short()) })
	if a.ReadyPeers()+b.ReadyPeers() != 0 {
		t.Error("there is a session across networks")
	}
}

func TestBadConfigs(t *testing.T) {
	w := newTestNetwork(t, 4)
	for name, x := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"no identity":          {func(c *Config) { c.Identity = nil }, "network identity is missing"},
		"another's place":      {func(c *Config) { c.Self = 2 }, "not shard 0 replica 2"},
		"no such shard":        {func(c *Config) { c.Shard = 1 }, "not shard 1 replica 1"},
		"no listen address":    {func(c *Config) { c.Listen = nil }, "no listen address"},
		"bad listen address":   {func(c *Config) { c.Listen = []string{"127.0.0.1:1"} }, "listen address"},
		"bad announcement":     {func(c *Config) { c.Announce = []string{"x"} }, "announce address"},
		"bootstrap without id": {func(c *Config) { c.Bootstrap = []string{"/ip4/1.2.3.4/tcp/1"} }, "want /ip4"},
		"bootstrap not member": {func(c *Config) {
			c.Bootstrap = []string{"/ip4/1.2.3.4/tcp/1/p2p/" + newTestNetwork(t, 1).members[0][0]}
		}, "not a member"},
		"bad peer id":    {func(c *Config) { c.Members = [][]string{{"x"}} }, "shard 0 replica 0"},
		"one id twice":   {func(c *Config) { c.Members = [][]string{{w.members[0][0], w.members[0][0]}} }, "already"},
		"negative limit": {func(c *Config) { c.Limits.Serving = -1 }, "negative"},
	} {
		cfg := w.config(0, 1)
		x.change(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", name, err, x.want)
		}
	}
}

// If a port is in use, the error of Run says so.
func TestPortInUse(t *testing.T) {
	w := newTestNetwork(t, 4)
	a := start(t, w.config(0, 0))
	cfg := w.config(0, 1)
	cfg.Listen = []string{strings.SplitN(a.Addrs()[0], "/p2p/", 2)[0]}
	n, err := New(cfg)
	must(t, err)
	ctx, cancel := testContext(t)
	defer cancel()
	if err := n.Run(ctx, a); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("Run: %v", err)
	}
}

// Replicas find each other through any of their bootstrap addresses, also if the first one never starts; its failure is
// logged with the reason.
func TestBootstrapNeverStarts(t *testing.T) {
	w := newTestNetwork(t, 4)
	var at, bootstrap []string
	for i := range 4 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		defer l.Close() // until the replica listens there
		at = append(at, fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", l.Addr().(*net.TCPAddr).Port))
		bootstrap = append(bootstrap, at[i]+"/p2p/"+w.members[0][i])
		must(t, l.Close())
	}
	var nodes []*node
	var log lines
	for i := 1; i < 4; i++ {
		cfg := w.config(0, i, bootstrap...)
		cfg.Listen, cfg.log = []string{at[i]}, &log
		nodes = append(nodes, start(t, cfg))
	}
	mesh(nodes...)
	nodes[0].eventually("a line", func() bool {
		return log.have("warn bootstrap member not reached", w.members[0][0], "connection refused")
	})
}

// A failed bootstrap member is dialled again soon, by one dial at a time, and logged once in an interval.
func TestBootstrapIsTriedAgainSoon(t *testing.T) {
	w := newTestNetwork(t, 4)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	dials := make(chan struct{}, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				close(dials)
				return
			}
			c.Close()
			dials <- struct{}{}
		}
	}()
	var log lines
	cfg := w.config(0, 1, fmt.Sprintf("/ip4/127.0.0.1/tcp/%d/p2p/%s", l.Addr().(*net.TCPAddr).Port, w.members[0][0]))
	cfg.log = &log
	start(t, cfg)
	for range 5 {
		select {
		case <-dials:
		case <-time.After(patience):
			t.Fatal("no further attempt")
		}
	}
	if n := log.count("bootstrap member not reached"); n != 1 {
		t.Errorf("%d lines, want 1", n)
	}
}

// A bootstrap name with only an IPv6 address leads to the member.
func TestNameWithOnlyIPv6(t *testing.T) {
	w := newTestNetwork(t, 4)
	cfg := w.config(0, 0)
	cfg.Listen = []string{"/ip6/::1/tcp/0"}
	a := start(t, cfg)
	port := strings.Split(a.Addrs()[0], "/")[4]
	names, err := madns.NewResolver(madns.WithDefaultResolver(&madns.MockResolver{
		IP:  map[string][]net.IPAddr{"six.example": {{IP: net.ParseIP("::1")}}},
		TXT: map[string][]string{"_dnsaddr.members.example": {"dnsaddr=/dns/six.example/tcp/" + port + "/p2p/" + w.members[0][0]}},
	}))
	must(t, err)
	for i, at := range []string{"/dns/six.example/tcp/" + port, "/dns6/six.example/tcp/" + port, "/dnsaddr/members.example"} {
		cfg := w.config(0, i+1, at+"/p2p/"+w.members[0][0])
		cfg.resolver = swarm.ResolverFromMaDNS{Resolver: names}
		a.awaitPeers(start(t, cfg))
	}
}

// A replica listens on all addresses of both families, and skips the family that the machine lacks.
func TestListensOnBothFamilies(t *testing.T) {
	w := newTestNetwork(t, 4)
	cfg := w.config(0, 0)
	cfg.Listen = []string{"/ip4/0.0.0.0/tcp/0", "/ip6/::/tcp/0"}
	a := start(t, cfg)
	for i, prefix := range []string{"/ip4/127.0.0.1/", "/ip6/::1/"} {
		k := slices.IndexFunc(a.Addrs(), func(at string) bool { return strings.HasPrefix(at, prefix) })
		if k < 0 {
			t.Fatalf("no address like %s: %v", prefix, a.Addrs())
		}
		a.awaitPeers(start(t, w.config(0, i+1, a.Addrs()[k])))
	}
}
