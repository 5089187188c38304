package p2p

import (
	"bytes"
	"net"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"bdtnode/internal/wan"
)

const (
	// heldBytes bounds the received bytes that wait in one connection. On a link of 300 ms it permits 200 MB a second.
	heldBytes = 64 << 20
	// backlog is the time for which a link with a bandwidth may be occupied ahead: one sleep for many small reads.
	backlog = 2 * time.Millisecond
	// delayedRead is the size of one read; TLS returns at most one record of 16 KiB.
	delayedRead = 16 << 10
)

// delays are the delays of [Config].WAN: bytes of another replica that arrive here are held back, so that they seem to
// have come over a wide-area network. Each side delays the bytes that it receives, so a round trip has both delays. The
// handshakes of TCP and TLS are not delayed. Loss, and the congestion control of TCP over a long link, are not modelled.
type delays struct{ links map[peer.ID]*wanLink }

// newDelays returns nil without a matrix.
func newDelays(m *wan.Matrix, r *roster, self int) *delays {
	if m == nil {
		return nil
	}
	d := &delays{links: make(map[peer.ID]*wanLink)}
	for id, at := range r.places {
		if id != r.self {
			d.links[id] = &wanLink{delay: m.OneWay(self, int(at.index)), matrix: m}
		}
	}
	return d
}

// wrap delays the bytes that a connection with a peer delivers.
func (d *delays) wrap(c net.Conn, from peer.ID) net.Conn {
	if d == nil || d.links[from] == nil {
		return c
	}
	return newDelayed(c, d.links[from])
}

// wanLink is the way from another replica to this one. Its connections share its bandwidth.
type wanLink struct {
	delay  time.Duration
	matrix *wan.Matrix

	mu   sync.Mutex
	free time.Time // end of the transmission of the bytes so far
}

// carry is the time at which the link has transmitted bytes that arrived now.
func (l *wanLink) carry(now time.Time, size int) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(l.matrix.Transmission(size))
	return l.free
}

// delayed is a connection whose received bytes can be read only when the delay of the link is over. It goes on
// reading meanwhile, so delays overlap and do not bound the rate. It has no read deadline, as the muxer sets none.
type delayed struct {
	net.Conn
	link   *wanLink
	ready  chan struct{} // holds a token after an arrival
	room   chan struct{} // holds a token after a read
	closed chan struct{}
	close  func() error

	mu    sync.Mutex
	queue []received
	held  int // bytes in queue
}

// received is the result of one read of the connection.
type received struct {
	due  time.Time
	data []byte
	err  error // end of the connection, after all data
}

func newDelayed(c net.Conn, l *wanLink) *delayed {
	d := &delayed{Conn: c, link: l, ready: make(chan struct{}, 1), room: make(chan struct{}, 1), closed: make(chan struct{})}
	d.close = sync.OnceValue(func() error {
		close(d.closed)
		return c.Close()
	})
	go d.receive()
	return d
}

// receive reads until the connection ends.
func (d *delayed) receive() {
	buf := make([]byte, delayedRead)
	for {
		n, err := d.Conn.Read(buf)
		now := time.Now()
		free := d.link.carry(now, n)
		r := received{due: free.Add(d.link.delay), data: bytes.Clone(buf[:n]), err: err}
		if !d.put(r) || err != nil {
			return
		}
		if ahead := free.Sub(now); ahead > backlog && !d.sleep(ahead) {
			return
		}
	}
}

// put appends to the queue when it has space. It returns false if the connection was closed before.
func (d *delayed) put(r received) bool {
	for {
		d.mu.Lock()
		if d.held == 0 || d.held+len(r.data) <= heldBytes {
			d.queue = append(d.queue, r)
			d.held += len(r.data)
			d.mu.Unlock()
			token(d.ready)
			return true
		}
		d.mu.Unlock()
		select {
		case <-d.room:
		case <-d.closed:
			return false
		}
	}
}

// token puts a token into a channel of capacity 1 if it is empty.
func token(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// sleep waits. It returns false if the connection was closed before.
func (d *delayed) sleep(span time.Duration) bool {
	t := time.NewTimer(span)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-d.closed:
		return false
	}
}

// Read implements net.Conn.
func (d *delayed) Read(b []byte) (int, error) {
	for {
		n, wait, err := d.take(b)
		switch {
		case n > 0 || err != nil || len(b) == 0:
			return n, err
		case wait > 0:
			if !d.sleep(wait) {
				return 0, net.ErrClosed
			}
		default:
			select {
			case <-d.ready:
			case <-d.closed:
				return 0, net.ErrClosed
			}
		}
	}
}

// take moves bytes that are due to b. If there are none, it returns the time until the next are, or 0 if none have arrived.
func (d *delayed) take(b []byte) (n int, wait time.Duration, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.queue) == 0 {
		return 0, 0, nil
	}
	first := &d.queue[0]
	if wait := time.Until(first.due); wait > 0 {
		return 0, wait, nil
	}
	n = copy(b, first.data)
	first.data = first.data[n:]
	d.held -= n
	if len(first.data) > 0 {
		return n, 0, nil
	}
	if first.err != nil {
		if n == 0 {
			err = first.err // and at every later read
		}
		return n, 0, err
	}
	*first = received{}
	d.queue = d.queue[1:]
	token(d.room)
	return n, 0, nil
}

// Close implements net.Conn.
func (d *delayed) Close() error { return d.close() }
