package p2p

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/multiformats/go-multistream"
)

// handshakeTime bounds the opening of a stream, including both handshakes.
const handshakeTime = 10 * time.Second

// yieldTime is the longest time for which bulk waits for control before its next chunk, so that much control slows bulk
// down but never stops it.
const yieldTime = 50 * time.Millisecond

// maxHello allows larger handshakes of later versions, so that their version can be read.
const maxHello = 1024

// refusal is the error of two nodes that do not belong together. Trying again helps only after a change of
// configuration.
type refusal struct{ error }

// violation is the error of a peer that violated the protocol.
type violation struct{ error }

// end is this side of a stream, after the handshake.
type end struct {
	stream network.Stream
	reader *bufio.Reader
}

// Buffers of the readers of streams, in bytes. A stream of a request lives for one request and one answer, most of which are
// small.
const (
	classBuffer   = 32 << 10
	requestBuffer = 2 << 10
)

func newEnd(s network.Stream, buffer int) *end { return &end{s, bufio.NewReaderSize(s, buffer)} }

// session is a pair of streams to a peer. It ends as a whole, once, with a cause.
type session struct {
	member  *member
	conn    network.Conn
	id      uint64
	began   time.Time
	ends    [classes]*end
	queues  [classes]*queue
	drained chan struct{} // holds a token after an overflow has drained

	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
}

func newSession(m *member, c network.Conn, id uint64) *session {
	s := &session{member: m, conn: c, id: id, began: time.Now(), drained: make(chan struct{}, 1)}
	s.queues[Control] = newQueue(m.net.cfg.Limits.ControlQueue)
	s.queues[Bulk] = newQueue(m.net.cfg.Limits.BulkQueue)
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	return s
}

func (s *session) complete() bool { return s.ends[Control] != nil && s.ends[Bulk] != nil }

// fail ends the session with a cause. Only the first call has an effect.
func (s *session) fail(cause error) {
	s.cancel(cause)
	for _, e := range s.ends {
		if e != nil {
			e.stream.Reset()
		}
	}
}

// start begins to read and write; the session must have both streams.
func (s *session) start() {
	for class := range Class(classes) {
		s.wg.Go(func() { s.fail(s.read(class)) })
		s.wg.Go(func() { s.fail(s.write(class)) })
	}
}

// wait returns when all goroutines of a failed session have ended.
func (s *session) wait() { s.wg.Wait() }

// read passes the peer's frames to the handler until an error occurs.
func (s *session) read(class Class) error {
	count, mine := &s.member.net.count.class[class], &s.member.traffic[class]
	for {
		frame, err := readFrame(s.ends[class].reader, class.MaxFrame())
		if err != nil {
			return fault(class, err)
		}
		count.received(len(frame))
		mine.received(len(frame))
		s.member.noteHeard()
		if s.ctx.Err() != nil {
			return nil
		}
		if err := s.member.net.handler.Receive(s.member.index, class, frame); err != nil {
			return violation{fmt.Errorf("%s: %w", class, err)}
		}
	}
}

// fault converts an error of a stream to a violation if it is the peer's fault.
func fault(class Class, err error) error {
	if errors.Is(err, errFrame) {
		return violation{fmt.Errorf("%s: %w", class, err)}
	}
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%s stream closed by the peer", class)
	}
	return fmt.Errorf("%s stream: %w", class, err)
}

// write sends queued frames, in as few writes as possible, and flushes when the queue is empty.
func (s *session) write(class Class) error {
	q := s.queues[class]
	out := &pacedWriter{stream: s.ends[class].stream, ctx: s.ctx, limit: s.member.net.cfg.Limits.WriteTime}
	if class == Bulk {
		out.pacer = pacerOf(out.stream)
		out.urgent = s.queues[Control]
	}
	buffered := bufio.NewWriterSize(out, chunk)
	count, mine := &s.member.net.count.class[class], &s.member.traffic[class]
	var batch [][]byte
	var head [headerSize]byte
	for {
		var drained bool
		if batch, drained = q.take(batch); drained {
			select {
			case s.drained <- struct{}{}:
			default:
			}
		}
		if len(batch) == 0 {
			select {
			case <-q.ready:
				continue
			case <-s.ctx.Done():
				return nil
			}
		}
		for i, frame := range batch {
			count.sent(len(frame))
			mine.sent(len(frame))
			buffered.Write(appendLength(head[:0], len(frame)))
			buffered.Write(frame) // the error is kept, and Flush returns it
			batch[i] = nil
		}
		if err := buffered.Flush(); err != nil {
			return fmt.Errorf("%s stream: the peer does not read: %w", class, err)
		}
	}
}

// pacedWriter writes to a stream in chunks, each with a deadline. With a pacer it waits for space before each chunk,
// with an urgent queue it first lets that pass, and with turns it takes one for each chunk.
type pacedWriter struct {
	stream network.Stream
	ctx    context.Context
	limit  time.Duration
	pacer  *pacer
	urgent *queue
	turn   chan struct{}
}

func (w *pacedWriter) Write(b []byte) (int, error) {
	written := 0
	for written < len(b) {
		part := b[written:min(written+chunk, len(b))]
		if w.urgent != nil {
			w.urgent.waitIdle(w.ctx.Done(), yieldTime)
		}
		n, err := w.writeChunk(part)
		written += n
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

func (w *pacedWriter) writeChunk(part []byte) (int, error) {
	if w.turn != nil {
		select {
		case w.turn <- struct{}{}:
			defer func() { <-w.turn }()
		case <-w.ctx.Done():
			return 0, context.Cause(w.ctx)
		}
	}
	if err := w.pacer.reserve(w.ctx, len(part)); err != nil {
		return 0, err
	}
	if w.pacer != nil {
		defer w.pacer.release(len(part))
	}
	if err := w.stream.SetWriteDeadline(time.Now().Add(w.limit)); err != nil {
		return 0, err
	}
	return w.stream.Write(part)
}

// open opens both streams of a session on a connection.
func (m *member) open(ctx context.Context, c network.Conn) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	s := newSession(m, c, rand.Uint64())
	for class := range Class(classes) {
		e, err := m.openClass(ctx, c, class, s.id)
		if err != nil {
			s.fail(err)
			var no refusal
			if errors.As(err, &no) {
				m.noteRefusal(no)
			}
			return nil, fmt.Errorf("open %s stream: %w", class, err)
		}
		s.ends[class] = e
	}
	return s, nil
}

func (m *member) openClass(ctx context.Context, c network.Conn, class Class, session uint64) (_ *end, err error) {
	s, err := c.NewStream(ctx)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { s.Reset() })
	defer func() {
		if !stop() && err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			s.Reset()
		}
	}()
	if err := s.SetProtocol(classProtocols[class]); err != nil {
		return nil, err
	}
	if err := multistream.SelectProtoOrFail(classProtocols[class], s); err != nil {
		return nil, fmt.Errorf("negotiate %s: %w", classProtocols[class], err)
	}
	e := newEnd(s, classBuffer)
	if err := m.net.greet(s, session); err != nil {
		return nil, err
	}
	theirs, err := e.greeted()
	if err != nil {
		return nil, err
	}
	if err := m.net.judge(theirs, m); err != nil {
		return nil, err
	}
	if theirs.session != session {
		return nil, refusal{errors.New("the peer answered for another session")}
	}
	return e, nil
}

// greet writes this node's handshake.
func (n *Net) greet(s network.Stream, session uint64) error {
	if _, err := s.Write(n.hello(session)); err != nil {
		return fmt.Errorf("write handshake: %w", err)
	}
	return nil
}

// hello is the frame of this node's handshake.
func (n *Net) hello(session uint64) []byte {
	h := hello{n.cfg.Network, n.cfg.Shard, n.cfg.Self, session}
	return appendFrame(nil, h.append(make([]byte, 0, helloSize)))
}

// greeted reads the peer's handshake. An unreadable one is a refusal, like that of another network.
func (e *end) greeted() (hello, error) {
	frame, err := readFrame(e.reader, maxHello)
	if err != nil {
		if errors.Is(err, errFrame) {
			return hello{}, refusal{fmt.Errorf("handshake: %w", err)}
		}
		return hello{}, fmt.Errorf("read handshake: %w", err)
	}
	h, err := readHello(frame)
	if err != nil {
		return hello{}, refusal{err}
	}
	return h, nil
}

func (n *Net) judge(theirs hello, m *member) error {
	if err := theirs.check(n.cfg.Network, m.place); err != nil {
		return refusal{err}
	}
	return nil
}

// accept accepts a stream that a peer opened for a class. Only replicas of the own shard may open one, and only the
// side with the lower peer id.
func (n *Net) accept(s network.Stream, class Class) {
	m := n.shardMember(s.Conn().RemotePeer())
	if m == nil || m.opens {
		n.count.refused.Add(1)
		s.Reset()
		return
	}
	e, theirs, err := n.receive(s, m, classBuffer)
	if err == nil {
		if err = n.greet(s, theirs.session); err != nil {
			s.Reset()
		}
	}
	if err != nil {
		return
	}
	s.SetDeadline(time.Time{})
	if n.ctx.Err() != nil {
		s.Reset()
		return
	}
	m.offer(s, class, e, theirs.session)
}

// receive reads the handshake of a stream that a peer opened, with the deadline handshakeTime. The caller sends the answer, and
// sets another deadline. On an error it closes the stream.
func (n *Net) receive(s network.Stream, m *member, buffer int) (*end, hello, error) {
	s.SetDeadline(time.Now().Add(handshakeTime))
	e := newEnd(s, buffer)
	theirs, err := e.greeted()
	if err == nil {
		err = n.judge(theirs, m)
	}
	var no refusal
	if errors.As(err, &no) {
		m.noteRefusal(no)
		// The peer gets this node's handshake, so that its log shows the reason too. Then the stream is closed, since a
		// reset would discard the handshake.
		if n.greet(s, theirs.session) == nil {
			s.Close()
			return nil, theirs, err
		}
	}
	if err != nil {
		s.Reset()
		return nil, theirs, err
	}
	return e, theirs, nil
}
