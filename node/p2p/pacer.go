package p2p

import (
	"context"
	"net"
	"sync"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
)

// Streams of one connection share its socket, and the muxer queues up to 64 writes for it, 4 MiB: a control message
// would wait behind all of them. So bulk is passed on in chunks, and only while little is queued: paceBudget in the
// muxer and unsentLimit in the kernel's send buffer, together 64 KiB.
const (
	// chunk fills one TLS record of 16 KiB, together with the muxer's header.
	chunk       = 16<<10 - muxHeader
	paceBudget  = 48 << 10
	unsentLimit = 16 << 10
	muxHeader   = 12
)

// pacer counts the bytes that a connection's streams passed to the muxer and that the muxer has not written yet.
type pacer struct {
	// requests is the right to write a chunk of an answer. Only one answer has it at a time, so that answers which the
	// peer does not read cannot use up the budget of the bulk stream.
	requests chan struct{}

	mu      sync.Mutex
	queued  int
	changed chan struct{} // closed when queued decreases; nil while no goroutine waits
}

func newPacer() *pacer { return &pacer{requests: make(chan struct{}, 1)} }

// pacerOf is the pacer of the stream's connection, nil if the transport has none (QUIC).
func pacerOf(s network.Stream) *pacer {
	var p *pacer
	if s.Conn().As(&p) {
		return p
	}
	return nil
}

// reserve waits until n bytes fit the budget, and reserves them until release.
func (p *pacer) reserve(ctx context.Context, n int) error {
	if p == nil {
		return nil
	}
	for {
		p.mu.Lock()
		if p.queued <= 0 || p.queued+n <= paceBudget {
			p.queued += n
			p.mu.Unlock()
			return nil
		}
		if p.changed == nil {
			p.changed = make(chan struct{})
		}
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// release ends a reservation. The stream itself has counted the bytes written meanwhile.
func (p *pacer) release(n int) {
	if p != nil {
		p.add(-n)
	}
}

func (p *pacer) add(n int) {
	p.mu.Lock()
	p.queued += n
	if n < 0 && p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
	p.mu.Unlock()
}

// pacedMuxer is yamux with a pacer on each connection, and the delays of the network if there are any.
type pacedMuxer struct {
	*yamux.Transport
	delays *delays
}

func (m pacedMuxer) NewConn(c net.Conn, isServer bool, scope network.PeerScope) (network.MuxedConn, error) {
	limitUnsent(c)
	if scope != nil {
		c = m.delays.wrap(c, scope.Peer())
	}
	p := newPacer()
	mc, err := m.Transport.NewConn(&pacedSocket{c, p}, isServer, scope)
	if err != nil {
		return nil, err
	}
	return &pacedConn{mc, p}, nil
}

// pacedSocket observes the muxer's writes: each is one frame of the muxer, of which type 0 carries stream data.
type pacedSocket struct {
	net.Conn
	pacer *pacer
}

func (s *pacedSocket) Write(b []byte) (int, error) {
	n, err := s.Conn.Write(b)
	if len(b) > muxHeader && b[1] == 0 {
		s.pacer.add(muxHeader - len(b))
	}
	return n, err
}

type pacedConn struct {
	network.MuxedConn
	pacer *pacer
}

func (c *pacedConn) As(target any) bool {
	if t, ok := target.(**pacer); ok {
		*t = c.pacer
		return true
	}
	return c.MuxedConn.As(target)
}

func (c *pacedConn) OpenStream(ctx context.Context) (network.MuxedStream, error) {
	s, err := c.MuxedConn.OpenStream(ctx)
	if err != nil {
		return nil, err
	}
	return &pacedStream{s, c.pacer}, nil
}

func (c *pacedConn) AcceptStream() (network.MuxedStream, error) {
	s, err := c.MuxedConn.AcceptStream()
	if err != nil {
		return nil, err
	}
	return &pacedStream{s, c.pacer}, nil
}

// pacedStream counts the bytes that it passes to the muxer, after each write: a write that waits for the peer's window
// has passed nothing yet.
type pacedStream struct {
	network.MuxedStream
	pacer *pacer
}

func (s *pacedStream) Write(b []byte) (int, error) {
	n, err := s.MuxedStream.Write(b)
	s.pacer.add(n)
	return n, err
}

// limitUnsent bounds the bytes that the kernel queues for the socket under c, if that is accessible.
func limitUnsent(c net.Conn) {
	for {
		switch v := c.(type) {
		case interface{ NetConn() net.Conn }:
			c = v.NetConn()
			continue
		case sysConn:
			setUnsentLimit(v, unsentLimit)
		}
		return
	}
}
