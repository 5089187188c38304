package api

import (
	"container/list"
	"net"
	"net/http"
	"net/netip"
	"sync"

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
type conns struct {
	net.Listener
	max int

	mu      sync.Mutex
	open    int
	clients map[netip.Prefix]*client
}

// client holds the connections of one address. Each list begins with the oldest.
type client struct {
	idle list.List // without a request: new, or between two requests
	busy list.List
}

func (c *client) open() int { return c.idle.Len() + c.busy.Len() }

// conn is an open connection.
type conn struct {
	net.Conn
	conns *conns
	from  netip.Prefix
	in    *list.List    // list of its client, nil after it was closed
	place *list.Element // its element there
}

// connKey is the context key of a request's connection.
type connKey struct{}

func newConns(l net.Listener, max int) *conns {
	return &conns{Listener: l, max: max, clients: make(map[netip.Prefix]*client)}
}

// Accept implements net.Listener.
func (s *conns) Accept() (net.Conn, error) {
	for {
		raw, err := s.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &conn{Conn: raw, conns: s, from: origin.Of(raw.RemoteAddr().String())}
		victim := s.add(c)
		if victim != nil {
			_ = victim.Close() // a client's connection, which may be closed already
			outside.Warnw("API connection closed for a new one", victim.from, "from", victim.RemoteAddr(), "open", s.max)
		}
		if victim != c {
			return c, nil
		}
	}
}

// add adds a connection and returns the one to close if there are too many, else nil.
func (s *conns) add(c *conn) (victim *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := s.clients[c.from]
	if own == nil {
		own = &client{}
		s.clients[c.from] = own
	}
	if s.open >= s.max {
		victim = s.victim(own)
	}
	if s.open >= s.max && victim == nil {
		victim = c
	}
	c.in = &own.idle
	c.place = c.in.PushBack(c)
	s.open++
	return victim
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
	if s.clients[c.from].open() == 0 {
		delete(s.clients, c.from)
	}
}
