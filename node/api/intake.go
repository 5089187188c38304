package api

import (
	"net"
	"sync"
)

// intake bounds the submissions in work: how many, and how many bytes their bodies have.
type intake struct {
	mu    sync.Mutex
	slots int
	bytes int64
}

func newIntake(slots int, bytes int64) *intake { return &intake{slots: slots, bytes: bytes} }

// enter takes a slot and room for a body, or reports that there is none: nothing queues here, since a waiting
// client would only find a more crowded replica.
func (in *intake) enter(size int64) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.slots == 0 || in.bytes < size {
		return false
	}
	in.slots--
	in.bytes -= size
	return true
}

// leave gives back what enter took.
func (in *intake) leave(size int64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.slots++
	in.bytes += size
}

// limited is a listener that accepts no further connection while max are open.
type limited struct {
	net.Listener
	open   chan struct{}
	closed chan struct{}
	once   sync.Once
}

func newLimited(l net.Listener, max int) *limited {
	return &limited{Listener: l, open: make(chan struct{}, max), closed: make(chan struct{})}
}

// Accept implements net.Listener.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.open <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.open
		return nil, err
	}
	return &limitedConn{Conn: c, l: l}, nil
}

// Close implements net.Listener, and ends an Accept that waits for a connection to close.
func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	l    *limited
	once sync.Once
}

func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { <-c.l.open })
	return err
}
