package p2p

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"golang.org/x/time/rate"
)

const (
	firstBackoff = 100 * time.Millisecond
	// settledAfter is the age from which a session counts as working. After its end the next attempt comes at once, and
	// a new connection from the peer means that the peer has lost this one.
	settledAfter = 3 * time.Second
	// offerTime is how long the side that does not open streams waits for them on a connection.
	offerTime = 5 * time.Second
	// forgiveAfter is the time without violations after which a peer's earlier ones no longer count.
	forgiveAfter = 10 * time.Minute
)

var (
	errReplaced = errors.New("replaced by a newer session")
	errStopped  = errors.New("this node is stopping")
)

// member is another replica of any shard. For one of the own shard the goroutine run always keeps a session; for one of
// another shard a bridge keeps the connection.
//
// Within a shard both sides dial, because one may not have the other's address. If that results in several connections,
// the replica with the lower peer id opens both streams on the youngest. A newer pair of streams replaces an older one.
type member struct {
	net *Net
	place
	id     peer.ID
	opens  bool // this node has the lower peer id
	wake   chan struct{}
	active atomic.Pointer[session] // session used by Send
	failed atomic.Uint64           // number of failed attempts to get a session
	asks   *rate.Limiter           // budget of its requests, see [Limits].RequestRate

	traffic [classes]classCounters  // frames of its sessions
	heard   atomic.Int64            // time of the last frame, request or answer, Unix nanoseconds; 0 before the first
	trouble atomic.Pointer[trouble] // last failure to get a connection or session, or its last end

	mu       sync.Mutex
	half     *session           // offered streams of which one class is missing
	offered  *session           // complete offer, not yet used by run
	dialling context.CancelFunc // cancels a dial when a connection exists
	strikes  int
	until    time.Time // end of the ban
}

func newMember(n *Net, at place, id peer.ID) *member {
	return &member{
		net: n, place: at, id: id, opens: n.roster.self < id,
		wake: make(chan struct{}, 1),
		asks: rate.NewLimiter(rate.Limit(n.cfg.Limits.RequestRate), max(2*n.cfg.Limits.RequestRate, MaxRequest+requestCost)),
	}
}

// run keeps a session with the peer until ctx ends.
func (m *member) run(ctx context.Context) {
	defer m.clear()
	backoff := time.Duration(0)
	for ctx.Err() == nil {
		s, err := m.establish(ctx)
		if err != nil {
			m.failed.Add(1)
			if ctx.Err() == nil {
				m.noteTrouble(err)
				m.net.lasting.Infow("not connected", m.id, "shard", m.shard, "replica", m.index, "peer", m.id, "error", err)
			}
			backoff = min(max(backoff*3/2, firstBackoff), m.net.cfg.Limits.MaxBackoff)
			m.pause(ctx, backoff)
			continue
		}
		began := time.Now()
		err = m.keep(ctx, s)
		m.noteTrouble(err)
		m.net.outside.Infow("disconnected", m.id, "replica", m.index, "peer", m.id, "reason", err)
		var fault violation
		if errors.As(err, &fault) {
			m.drop(fault)
		}
		if errors.Is(err, errReplaced) || time.Since(began) >= settledAfter {
			backoff = 0
		} else {
			backoff = min(max(backoff*3/2, firstBackoff), m.net.cfg.Limits.MaxBackoff)
			m.pause(ctx, backoff)
		}
	}
}

// pause waits for about d: longer while the peer is banned, shorter if an event comes.
func (m *member) pause(ctx context.Context, d time.Duration) {
	d = d/2 + rand.N(d)
	m.mu.Lock()
	d = max(d, time.Until(m.until))
	m.mu.Unlock()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-m.wake:
	case <-ctx.Done():
	}
}

func (m *member) signal() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// establish connects, and opens a session or waits until the peer does.
func (m *member) establish(ctx context.Context) (*session, error) {
	if s := m.takeOffered(); s != nil {
		return s, nil
	}
	if m.banned() {
		return nil, errors.New("the peer is banned")
	}
	conn := m.net.youngest(m.id)
	if conn == nil {
		if err := m.connect(ctx); err != nil {
			return nil, err
		}
		if conn = m.net.youngest(m.id); conn == nil {
			return nil, errors.New("the connection was closed at once")
		}
	}
	if m.opens {
		s, err := m.open(ctx, conn)
		var no refusal
		if err != nil && !errors.As(err, &no) {
			conn.Close() // dead or unusable: the next attempt needs another one
		}
		return s, err
	}
	t := time.NewTimer(offerTime)
	defer t.Stop()
	for !conn.IsClosed() {
		if s := m.takeOffered(); s != nil {
			return s, nil
		}
		select {
		case <-m.wake:
			continue
		case <-ctx.Done():
			return nil, errStopped
		case <-t.C:
		}
		conn.Close()
		return nil, errors.New("connected, but the peer opened no streams")
	}
	return nil, errors.New("the connection was closed before the peer opened its streams")
}

// connect dials. It returns early if the peer connects first.
func (m *member) connect(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m.mu.Lock()
	m.dialling = cancel
	m.mu.Unlock()
	var err error
	if m.net.youngest(m.id) == nil { // checked again: the connection may have come before dialling was set
		err = m.net.reach(ctx, m.id)
	}
	m.mu.Lock()
	m.dialling = nil
	m.mu.Unlock()
	if m.net.youngest(m.id) != nil {
		return nil
	}
	return err
}

// connected is called for each new connection of the peer.
func (m *member) connected() {
	m.mu.Lock()
	if m.dialling != nil {
		m.dialling()
	}
	m.mu.Unlock()
	m.signal()
}

// keep runs a session to its end and returns the cause of the end.
func (m *member) keep(ctx context.Context, s *session) error {
	m.active.Store(s)
	m.net.count.sessions.Add(1)
	m.net.outside.Infow("connected", m.id, "replica", m.index, "peer", m.id, "address", s.conn.RemoteMultiaddr())
	if s.conn.Stat().Direction == network.DirOutbound {
		m.net.book.reached(m.id, []ma.Multiaddr{s.conn.RemoteMultiaddr()})
	}
	m.net.handler.Connected(m.index)
	s.start()
	for s.ctx.Err() == nil {
		select {
		case <-s.ctx.Done():
		case <-ctx.Done():
			s.fail(errStopped)
		case <-s.drained:
			m.net.handler.Connected(m.index)
		case <-m.wake:
			if m.superseded() {
				s.fail(errReplaced)
			}
		}
	}
	m.active.Store(nil)
	s.wait()
	m.net.handler.Disconnected(m.index)
	return context.Cause(s.ctx)
}

// superseded reports whether the peer has offered newer streams.
func (m *member) superseded() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.offered != nil
}

// drop closes all connections of a peer after a protocol violation, and bans it for a while, longer each time.
func (m *member) drop(why violation) {
	m.mu.Lock()
	if time.Now().Before(m.until) { // sent before the drop
		m.mu.Unlock()
		return
	}
	m.net.count.dropped.Add(1)
	if time.Since(m.until) > forgiveAfter {
		m.strikes = 0
	}
	pause := min(time.Second<<min(m.strikes, 16), m.net.cfg.Limits.MaxPenalty)
	m.strikes++
	m.until = time.Now().Add(pause)
	m.mu.Unlock()
	m.noteTrouble(why)
	m.net.outside.Warnw("peer banned", m.id, "shard", m.shard, "replica", m.index, "peer", m.id, "reason", why, "duration", pause)
	if err := m.net.host.Network().ClosePeer(m.id); err != nil {
		m.net.outside.Debugw("connections not closed", m.id, "peer", m.id, "error", err)
	}
}

// banned reports whether the peer is banned now.
func (m *member) banned() bool { return time.Now().Before(m.bannedUntil()) }

func (m *member) bannedUntil() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.until
}

// offer takes one stream of a session that the peer opens.
func (m *member) offer(s network.Stream, class Class, end *end, id uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.half == nil || m.half.id != id || m.half.ends[class] != nil {
		if m.half != nil {
			m.half.fail(errReplaced)
		}
		m.half = newSession(m, s.Conn(), id)
	}
	m.half.ends[class] = end
	if m.half.complete() {
		if m.offered != nil {
			m.offered.fail(errReplaced)
		}
		m.offered, m.half = m.half, nil
		m.signal()
	}
}

func (m *member) takeOffered() *session {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.offered
	m.offered = nil
	return s
}

// clear resets offered streams that were never used.
func (m *member) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range []*session{m.half, m.offered} {
		if s != nil {
			s.fail(errStopped)
		}
	}
	m.half, m.offered = nil, nil
}

// noteRefusal logs the reason of a failed handshake.
func (m *member) noteRefusal(why refusal) {
	m.net.count.refused.Add(1)
	m.noteTrouble(why)
	m.net.lasting.Warnw("peer refused", m.id, "shard", m.shard, "replica", m.index, "peer", m.id, "reason", why)
}
