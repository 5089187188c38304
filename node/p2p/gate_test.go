package p2p

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// hold keeps that many TCP connections to a multiaddr open until the test ends, and opens a new one for each that is
// closed. It sends the text say on each.
func hold(t *testing.T, at string, connections int, say string) {
	t.Helper()
	addr := "127.0.0.1:" + strings.Split(at, "/")[4]
	var wg sync.WaitGroup
	stop := make(chan struct{})
	open := make(chan struct{}, connections)
	for range connections {
		wg.Go(func() {
			for first := true; ; first = false {
				c, err := net.Dial("tcp", addr)
				if err == nil {
					_, _ = io.WriteString(c, say) // closed already: the next one follows
				}
				if first {
					open <- struct{}{}
				}
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					if err == nil {
						_, _ = io.Copy(io.Discard, c)
						c.Close()
					}
				}()
				select {
				case <-ended:
				case <-stop:
					if err == nil {
						c.Close()
					}
					<-ended
					return
				}
				select {
				case <-time.After(50 * time.Millisecond):
				case <-stop:
					return
				}
			}
		})
	}
	t.Cleanup(func() { close(stop); wg.Wait() })
	for range connections {
		<-open
	}
}

// A replica that restarts gets its sessions back while silent connections outnumber the places of every port, and each
// one that is closed is opened again.
func TestSilentConnectionsDoNotStopMembers(t *testing.T) {
	const places, silent = 16, 160
	w := newTestNetwork(t, 4)
	config := func(i int, bootstrap ...string) Config {
		cfg := w.config(0, i, bootstrap...)
		cfg.Limits.Strangers, cfg.Limits.HandshakeTime = places, time.Hour
		return cfg
	}
	a := start(t, config(0))
	b := start(t, config(1, a.Addrs()[0]))
	c := start(t, config(2, a.Addrs()[0]))
	mesh(a, b, c)
	c.stop()
	for _, d := range []*node{a, b} {
		d.await("the disconnect", func() bool { return !d.connected[2] })
		hold(t, d.Addrs()[0], silent, "")
	}
	c = start(t, config(2, a.Addrs()[0]))
	mesh(a, b, c)
	if n := a.Stats().Refused; n < silent-places {
		t.Errorf("%d connections were closed, want at least %d", n, silent-places)
	}
}

// Own dials work while unauthenticated connections fill every place.
func TestUnauthenticatedConnectionsDoNotStopDials(t *testing.T) {
	w := newTestNetwork(t, 4)
	cfg := w.config(0, 0)
	cfg.Limits.Strangers, cfg.Limits.HandshakeTime = 16, time.Hour
	a := start(t, cfg)
	hold(t, a.Addrs()[0], 160, "\x13/multistream/1.0.0\n")
	b := start(t, w.config(0, 1)) // it does not have a's address
	a.book.reached(b.roster.self, b.host.Addrs())
	a.awaitPeers(b)
	if c := a.youngest(b.roster.self); c == nil || c.Stat().Direction != network.DirOutbound {
		t.Error("the connection was not dialled by this replica, so the test shows nothing")
	}
}

// A connection without a handshake is closed in time, also if no other connection needs its place.
func TestHandshakeHasADeadline(t *testing.T) {
	w := newTestNetwork(t, 4)
	var log lines
	cfg := w.config(0, 0)
	cfg.Limits.HandshakeTime, cfg.log = 100*time.Millisecond, &log
	a := start(t, cfg)
	for _, say := range []string{"", "\x13/multistream/1.0.0\n\x0b/tls/1.0.0\n"} {
		c, err := net.Dial("tcp", "127.0.0.1:"+strings.Split(a.Addrs()[0], "/")[4])
		must(t, err)
		defer c.Close()
		_, err = io.WriteString(c, say)
		must(t, err)
		must(t, c.SetReadDeadline(time.Now().Add(patience)))
		if _, err = io.Copy(io.Discard, c); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Errorf("after %q: still open", say)
		}
	}
	a.eventually("the count", func() bool { return a.Stats().Refused == 2 })
	if n := log.count("connection closed before its handshake", "in time"); n != 1 {
		t.Errorf("%d lines for one address, want 1", n)
	}
}

// fakeConn is a connection from an address, without data.
type fakeConn struct {
	net.Conn
	from   string
	closed bool
}

func (c *fakeConn) RemoteAddr() net.Addr {
	a, err := net.ResolveTCPAddr("tcp", c.from)
	if err != nil {
		panic(err)
	}
	return a
}
func (c *fakeConn) Read(b []byte) (int, error)    { return len(b), nil }
func (c *fakeConn) Close() error                  { c.closed = true; return nil }
func (c *fakeConn) LocalMultiaddr() ma.Multiaddr  { return nil }
func (c *fakeConn) RemoteMultiaddr() ma.Multiaddr { return nil }

var _ manet.Conn = (*fakeConn)(nil)

// A full gate closes a silent connection first, then one of the address that has the most. A member's connection leaves
// the gate.
func TestGateClosesConnections(t *testing.T) {
	var closed []string
	g := &gate{places: 4, limit: time.Hour, evicted: func(a *arrival, _ string) {
		closed = append(closed, a.Conn.(*fakeConn).from)
	}}
	come := func(from string, speaks bool) *arrival {
		a := g.admit(&fakeConn{from: from})
		t.Cleanup(func() { a.Close() })
		if speaks {
			_, _ = a.Read(make([]byte, 1))
		}
		return a
	}
	member := come("10.0.0.9:1", true)
	come("10.0.0.1:1", true)
	come("10.0.0.1:2", false)
	come("10.0.0.1:3", true)
	come("10.0.0.2:1", true)      // closes the silent one, though it is not the oldest
	come("[2001:db8::1]:1", true) // closes the oldest of 10.0.0.1
	member.known()                // frees a place
	come("[2001:db8::2]:1", true) //
	come("10.0.0.3:1", true)      // closes one of two of one IPv6 network
	come("10.0.0.4:1", false)     // one each: closes the oldest
	come("10.0.0.5:1", false)     // closes the other silent one
	want := "10.0.0.1:2 10.0.0.1:1 [2001:db8::1]:1 10.0.0.1:3 10.0.0.4:1"
	if got := strings.Join(closed, " "); got != want {
		t.Errorf("closed %s, want %s", got, want)
	}
	if member.Conn.(*fakeConn).closed {
		t.Error("the member's connection was closed")
	}
}
