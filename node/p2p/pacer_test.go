package p2p

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
)

// slowSocket lets writes pass one at a time, and records the stream of each.
type slowSocket struct {
	net.Conn
	pass chan struct{}

	mu      sync.Mutex
	carried []carried
}

type carried struct {
	stream uint32
	bytes  int
}

func (s *slowSocket) Write(b []byte) (int, error) {
	if b[1] == 0 && len(b) > muxHeader { // data; the muxer's own messages pass without delay
		if _, open := <-s.pass; open {
			s.mu.Lock()
			s.carried = append(s.carried, carried{binary.BigEndian.Uint32(b[4:8]), len(b) - muxHeader})
			s.mu.Unlock()
		}
	}
	return s.Conn.Write(b)
}

// link is a muxed connection over a slow socket, to an end that reads everything.
type link struct {
	socket *slowSocket
	conn   network.MuxedConn
	far    network.MuxedConn
}

func newLink(t *testing.T) *link {
	t.Helper()
	near, far := net.Pipe()
	l := &link{socket: &slowSocket{Conn: near, pass: make(chan struct{})}}
	mux := pacedMuxer{yamux.DefaultTransport, nil}
	var err error
	l.conn, err = mux.NewConn(l.socket, false, nil)
	must(t, err)
	l.far, err = mux.NewConn(far, true, nil)
	must(t, err)
	go func() {
		for {
			s, err := l.far.AcceptStream()
			if err != nil {
				return
			}
			go io.Copy(io.Discard, s)
		}
	}()
	return l
}

// muxedStream is the part of a stream that a session's writer needs.
type muxedStream struct {
	network.Stream
	mux  network.MuxedStream
	conn network.MuxedConn
}

func (s muxedStream) Write(b []byte) (int, error)        { return s.mux.Write(b) }
func (s muxedStream) Reset() error                       { return s.mux.Reset() }
func (s muxedStream) SetWriteDeadline(t time.Time) error { return s.mux.SetWriteDeadline(t) }
func (s muxedStream) Conn() network.Conn                 { return muxedConn{mux: s.conn} }

type muxedConn struct {
	network.Conn
	mux network.MuxedConn
}

func (c muxedConn) As(target any) bool { return c.mux.As(target) }

func (l *link) stream(t *testing.T) muxedStream {
	t.Helper()
	s, err := l.conn.OpenStream(context.Background())
	must(t, err)
	return muxedStream{mux: s, conn: l.conn}
}

// Much bulk, and answers to requests, wait for the socket. A control message that comes then has at most 64 KiB before
// it: the bytes passed to the muxer and those that the kernel may hold unsent.
func TestControlPassesBulk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLink(t)
		n := &Net{}
		n.cfg.Limits, _ = Limits{}.withDefaults()
		s := newSession(&member{net: n}, nil, 1)
		control, bulk := l.stream(t), l.stream(t)
		s.ends = [classes]*end{Control: {stream: control}, Bulk: {stream: bulk}}
		s.wg.Go(func() { s.fail(s.write(Control)) })
		s.wg.Go(func() { s.fail(s.write(Bulk)) })
		s.member.active.Store(s)
		ctx, cancel := context.WithCancel(context.Background())
		for range 3 { // more answers than are served at a time
			answer := newRequestWriter(ctx, l.stream(t), s.member)
			s.wg.Go(func() { answer.Write(make([]byte, 1<<20)) })
		}
		flood := make([]byte, 4<<20)
		for range 3 {
			s.queues[Bulk].push(flood)
		}
		for round := range 20 {
			synctest.Wait()
			l.socket.mu.Lock()
			before := len(l.socket.carried)
			l.socket.mu.Unlock()
			s.queues[Control].push(make([]byte, 100))
			synctest.Wait()
			ahead := 0
			for found := false; !found; {
				l.socket.pass <- struct{}{}
				synctest.Wait()
				l.socket.mu.Lock()
				last := l.socket.carried[len(l.socket.carried)-1]
				if found = last.bytes == 100+headerSize; !found {
					ahead += last.bytes
				}
				before++
				l.socket.mu.Unlock()
			}
			if ahead+unsentLimit > 64<<10 {
				t.Fatalf("round %d: %d bytes before the control message, and %d in the kernel", round, ahead, unsentLimit)
			}
			if round > 0 && ahead == 0 {
				t.Fatalf("round %d: no bulk was in flight, so the test shows nothing", round)
			}
		}
		close(l.socket.pass)
		cancel()
		s.fail(errStopped)
		s.wait()
		l.conn.Close()
		l.far.Close()
	})
}

// An answer that the peer does not read does not delay bulk: its window is full, not the socket.
func TestUnreadAnswerDoesNotStopBulk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		mux := pacedMuxer{yamux.DefaultTransport, nil}
		a, err := mux.NewConn(near, false, nil)
		must(t, err)
		b, err := mux.NewConn(far, true, nil)
		must(t, err)
		l := &link{conn: a, far: b}
		unread := l.stream(t)
		_, err = b.AcceptStream()
		must(t, err)
		n := &Net{}
		n.cfg.Limits, _ = Limits{}.withDefaults()
		m := &member{net: n}
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { newRequestWriter(ctx, unread, m).Write(make([]byte, 1<<20)) })
		}
		synctest.Wait()
		bulk := l.stream(t)
		read := make(chan int)
		go func() {
			s, err := b.AcceptStream()
			if err != nil {
				return
			}
			n, _ := io.ReadFull(s, make([]byte, 2<<20))
			read <- n
		}()
		began := time.Now()
		out := &pacedWriter{stream: bulk, ctx: ctx, limit: time.Hour, pacer: pacerOf(bulk)}
		if n, err := out.Write(make([]byte, 2<<20)); n != 2<<20 || err != nil {
			t.Errorf("bulk: %d bytes, %v", n, err)
		}
		if got := <-read; got != 2<<20 {
			t.Errorf("%d bytes read", got)
		}
		if waited := time.Since(began); waited >= n.cfg.Limits.WriteTime { // virtual time
			t.Errorf("bulk waited %v, until the answers ended", waited)
		}
		cancel()
		unread.Reset()
		wg.Wait()
		a.Close()
		b.Close()
	})
}
