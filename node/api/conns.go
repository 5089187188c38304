package api

import (
	"container/list"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"bdtnode/internal/origin"
)

// conns is a listener that bounds the number of open connections. When a new connection exceeds the bound, another one
// is closed. The choice makes a client that opens many connections lose its own:
//
//   - the connection that has been idle longest, of the address with the most connections among those that have an idle
//     one and at least as many connections as the new one's address;
//   - otherwise the oldest connection with a request, of the address with the most connections, if it has more than the
//     new one's address will have;
//   - otherwise the new connection.
//
// An address that wastes connections gets new ones at a bounded rate: each connection counts until its first request is
// answered without an error. An address with more than freeWaste counted ones waits wasteGap for each further one, which
// is not read meanwhile. Without that, a client that connects again after each refusal costs more with connections than
// with requests. The wait is at most maxTurn.
type conns struct {
	net.Listener
	max int

	turns  chan *conn // connections whose turn has come
	failed chan error // of the listener
	done   chan struct{}
	finish sync.Once

	mu      sync.Mutex
	open    int
	clients map[netip.Prefix]*client
}

// Bounds of the connections of an address that are not answered.
const (
	freeWaste = 64
	wasteGap  = time.Second / 16
	maxTurn   = 20 * time.Second
	// maxDebtors is the number of addresses without a connection whose wasted connections are remembered.
	maxDebtors = 4096
)

// client holds the connections of one address. Each list begins with the oldest.
type client struct {
	idle list.List // without a request: new, or between two requests
	busy list.List

	debt time.Time // the counted connections in gaps of wasteGap from now, in the past for none
}

func (c *client) open() int { return c.idle.Len() + c.busy.Len() }

// conn is an open connection.
type conn struct {
	net.Conn
	conns *conns
	from  netip.Prefix
	in    *list.List    // list of its client, nil after it was closed
	place *list.Element // its element there
	owed  bool          // it counts as wasted until it is answered
}

// connKey is the context key of a request's connection.
type connKey struct{}

func newConns(l net.Listener, max int) *conns {
	s := &conns{
		Listener: l, max: max, clients: make(map[netip.Prefix]*client),
		turns: make(chan *conn), failed: make(chan error), done: make(chan struct{}),
	}
	go s.accept()
	return s
}

// Accept implements net.Listener.
func (s *conns) Accept() (net.Conn, error) {
	select {
	case c := <-s.turns:
		return c, nil
	case err := <-s.failed:
		return nil, err
	case <-s.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. It also closes the connections whose turn has not come.
func (s *conns) Close() error {
	s.finish.Do(func() { close(s.done) })
	return s.Listener.Close()
}

// accept takes connections from the listener until it is closed.
func (s *conns) accept() {
	for {
		raw, err := s.Listener.Accept()
		if err != nil {
			select {
			case s.failed <- err:
			case <-s.done:
				return
			}
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		c := &conn{Conn: raw, conns: s, from: origin.Of(raw.RemoteAddr().String())}
		victim, wait := s.add(c, time.Now())
		if victim != nil {
			_ = victim.Close() // a client's connection, which may be closed already
			outside.Warnw("API connection closed for a new one", victim.from, "from", victim.RemoteAddr(), "open", s.max)
		}
		switch {
		case victim == c:
		case wait > 0:
			outside.Warnw("API connection waits, because its address has wasted others", c.from, "from", raw.RemoteAddr(), "wait", wait)
			time.AfterFunc(wait, func() { s.pass(c) })
		default:
			s.pass(c)
		}
	}
}

// pass gives a connection to Accept.
func (s *conns) pass(c *conn) {
	select {
	case s.turns <- c:
	case <-s.done:
		_ = c.Close() // no request was read from it
	}
}

// add adds a connection. It returns the one to close if there are too many, else nil, and the time until the turn of the
// new one.
func (s *conns) add(c *conn, now time.Time) (victim *conn, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := s.clients[c.from]
	if own == nil {
		s.forget(now)
		own = &client{}
		s.clients[c.from] = own
	}
	wait = own.owe(now)
	c.owed = true
	if s.open >= s.max {
		victim = s.victim(own)
	}
	if s.open >= s.max && victim == nil {
		victim = c
	}
	c.in = &own.idle
	c.place = c.in.PushBack(c)
	s.open++
	return victim, wait
}

// owe counts one more connection, and returns the time until its turn.
func (c *client) owe(now time.Time) time.Duration {
	if c.debt.Before(now) {
		c.debt = now
	}
	if latest := now.Add(freeWaste*wasteGap + maxTurn); c.debt.Before(latest) {
		c.debt = c.debt.Add(wasteGap)
	}
	return max(0, c.debt.Sub(now)-freeWaste*wasteGap)
}

// answered no longer counts a connection as wasted.
func (s *conns) answered(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if own := s.clients[c.from]; c.owed && own != nil {
		c.owed = false
		own.debt = own.debt.Add(-wasteGap)
	}
}

// forget deletes addresses without connections: those without wasted ones, and all if they are too many.
func (s *conns) forget(now time.Time) {
	if len(s.clients) < s.open+maxDebtors {
		return
	}
	for _, all := range []bool{false, true} {
		for from, c := range s.clients {
			if c.open() == 0 && (all || !c.debt.After(now)) {
				delete(s.clients, from)
			}
		}
		if len(s.clients) < s.open+maxDebtors {
			return
		}
	}
}

// victim is the connection to close for a new one of client own, nil if none may be closed.
func (s *conns) victim(own *client) *conn {
	var idle, largest *client
	for _, c := range s.clients {
		if c.idle.Len() > 0 && c.open() >= own.open() && (idle == nil || c.open() > idle.open()) {
			idle = c
		}
		if largest == nil || c.open() > largest.open() {
			largest = c
		}
	}
	switch {
	case idle != nil:
		return idle.idle.Front().Value.(*conn)
	case largest.open() > own.open()+1:
		return largest.busy.Front().Value.(*conn)
	}
	return nil
}

// changed follows the state of a connection. It is the ConnState hook of the HTTP server.
func (s *conns) changed(raw net.Conn, state http.ConnState) {
	c := raw.(*conn)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.in == nil {
		return
	}
	client := s.clients[c.from]
	to := &client.idle
	if state == http.StateActive {
		to = &client.busy
	}
	c.in.Remove(c.place)
	c.in, c.place = to, to.PushBack(c)
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.conns.remove(c)
	return c.Conn.Close()
}

func (s *conns) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.in == nil {
		return
	}
	c.in.Remove(c.place)
	c.in = nil
	s.open--
	if own := s.clients[c.from]; own.open() == 0 && !own.debt.After(time.Now()) {
		delete(s.clients, c.from)
	}
}
