package p2p

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"bdtnode/internal/origin"
)

// gate bounds the number and the duration of inbound TCP connections whose peer is not known yet. Members cannot be
// distinguished from others before the TLS handshake ends. So a full gate closes an older connection for a new one and
// refuses none. It closes first a connection on which nothing was received, then one of the address that has the most,
// in each case the oldest. So silent connections never keep a member from connecting, and an address with many
// connections costs other addresses none.
//
// A connection leaves the gate when its peer turns out to be a member, for which other bounds apply, or when it is
// closed.
type gate struct {
	places  int
	limit   time.Duration // bound of the time from accept to the end of the TLS handshake
	evicted func(a *arrival, why string)

	mu      sync.Mutex
	waiting []*arrival // oldest first
}

// admit adds a connection, and closes another one if there are too many.
func (g *gate) admit(c manet.Conn) *arrival {
	a := &arrival{Conn: c, gate: g, from: origin.Of(c.RemoteAddr().String())}
	a.timer = time.AfterFunc(g.limit, func() {
		if g.leave(a) {
			g.evict(a, "no TLS handshake in time")
		}
	})
	g.mu.Lock()
	g.waiting = append(g.waiting, a)
	var victim *arrival
	if len(g.waiting) > g.places {
		victim = g.victim()
		g.remove(victim)
	}
	g.mu.Unlock()
	if victim != nil {
		g.evict(victim, "too many connections without a TLS handshake")
	}
	return a
}

// evict closes a connection that has left the gate.
func (g *gate) evict(a *arrival, why string) {
	a.timer.Stop()
	_ = a.Conn.Close() // it may be closed already
	g.evicted(a, why)
}

// victim is the connection to close for a new one. It is never the newest, which has had no time to send anything.
func (g *gate) victim() *arrival {
	candidates := g.waiting[:len(g.waiting)-1]
	var silent []*arrival
	for _, a := range candidates {
		if !a.hasSpoken() {
			silent = append(silent, a)
		}
	}
	if len(silent) > 0 {
		candidates = silent
	}
	held := make(map[netip.Prefix]int)
	most := 0
	for _, a := range candidates {
		held[a.from]++
		most = max(most, held[a.from])
	}
	return candidates[slices.IndexFunc(candidates, func(a *arrival) bool { return held[a.from] == most })]
}

// leave removes a connection, and reports whether it was in the gate.
func (g *gate) leave(a *arrival) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.remove(a)
}

func (g *gate) remove(a *arrival) bool {
	i := slices.Index(g.waiting, a)
	if i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
	}
	return i >= 0
}

// arrival is an inbound connection.
type arrival struct {
	manet.Conn
	gate  *gate
	from  netip.Prefix
	timer *time.Timer
	spoke atomic.Bool // some bytes were read
}

// Read implements net.Conn.
func (a *arrival) Read(b []byte) (int, error) {
	n, err := a.Conn.Read(b)
	if n > 0 && !a.spoke.Load() {
		a.spoke.Store(true)
	}
	return n, err
}

// hasSpoken reports whether any bytes arrived, read or unread.
func (a *arrival) hasSpoken() bool {
	if a.spoke.Load() {
		return true
	}
	c, ok := a.Conn.(sysConn)
	return ok && unread(c)
}

// known removes the connection from the gate: the peer is a member.
func (a *arrival) known() {
	a.timer.Stop()
	a.gate.leave(a)
}

// Close implements net.Conn.
func (a *arrival) Close() error {
	a.known()
	return a.Conn.Close()
}

// NetConn is the underlying connection.
func (a *arrival) NetConn() net.Conn { return a.Conn }

// gatedTCP is the TCP transport with a gate for its inbound connections.
type gatedTCP struct {
	*tcp.TcpTransport
	upgrader transport.Upgrader
	gate     *gate
}

// newTCP returns the transport. It does not reuse ports for dialling: without NAT that has no benefit, and two nodes
// that dial each other at once would use the same pair of addresses.
func (n *Net) newTCP(u transport.Upgrader, r network.ResourceManager) (*gatedTCP, error) {
	t, err := tcp.NewTCPTransport(u, r, nil, tcp.DisableReuseport())
	if err != nil {
		return nil, err
	}
	g := &gate{places: n.cfg.Limits.Strangers, limit: n.cfg.Limits.HandshakeTime, evicted: func(a *arrival, why string) {
		n.count.refused.Add(1)
		n.outside.Warnw("connection closed before its handshake", a.from, "from", a.RemoteMultiaddr(), "reason", why)
	}}
	return &gatedTCP{t, u, g}, nil
}

// Listen implements transport.Transport.
func (t *gatedTCP) Listen(at ma.Multiaddr) (transport.Listener, error) {
	l, err := manet.Listen(at)
	if err != nil {
		return nil, err
	}
	return t.upgrader.UpgradeGatedMaListener(t, t.upgrader.GateMaListener(&gatedListener{l, t.gate})), nil
}

// gatedListener accepts connections through a gate.
type gatedListener struct {
	manet.Listener
	gate *gate
}

// Accept implements manet.Listener. Closing a connection of the transport resets it, as libp2p's own listener does, so
// that none stays in the kernel.
func (l *gatedListener) Accept() (manet.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if s, ok := c.(interface{ SetLinger(seconds int) error }); ok {
		_ = s.SetLinger(0) // best effort
	}
	return l.gate.admit(c), nil
}
