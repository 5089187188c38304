package p2p

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"bdtnode/protocols"
)

// Errors that errors of a request wrap.
var (
	// ErrNotConnected: there is no connection to the replica.
	ErrNotConnected = errors.New("not connected")
	// ErrBusy: the number of open requests to the replica, or the bytes of answers being read, have reached their
	// bound.
	ErrBusy = errors.New("too many requests or answers are in progress")
)

// errGone ends the service of a request whose stream the peer has ended.
var errGone = errors.New("the peer cancelled the request")

// A request uses one stream: both handshakes, the request as a frame, and the frames of the answer, ending with an
// empty one. So an incomplete answer is never mistaken for a complete one. The request leaves together with the handshake, and
// so do a short answer and its end: each write costs both sides a record of TLS and a wake-up.

// Request sends a request to replica to of any shard, and calls each for every frame of the answer, which it may keep.
// It returns nil only after the whole answer; an error of each ends it. It takes until ctx ends or [Limits].ServeTime
// has passed, at most. most bounds the size of the answer in bytes, at most [Limits].ServeBytes; a larger answer is the
// peer's fault and returns an error, without consequences for the peer. The bytes of an answer count against
// [Limits].HeldBytes until Request returns.
func (n *Net) Request(ctx context.Context, shard uint16, to protocols.Index, request []byte, most int64, each func(frame []byte) error) error {
	if len(request) == 0 || len(request) > MaxRequest {
		return fmt.Errorf("request of %d bytes, want 1 to %d", len(request), MaxRequest)
	}
	if most < 1 || most > n.cfg.Limits.ServeBytes {
		return fmt.Errorf("request for an answer of at most %d bytes, want 1 to %d", most, n.cfg.Limits.ServeBytes)
	}
	m := n.shards[shard][to]
	if m == nil || !n.up() {
		return fmt.Errorf("request to shard %d replica %d: %w", shard, to, ErrNotConnected)
	}
	ctx, cancel := context.WithTimeout(ctx, n.cfg.Limits.ServeTime)
	defer cancel()
	err := m.request(ctx, request, most, each)
	if err != nil {
		if ctx.Err() != nil {
			err = errors.Join(ctx.Err(), err)
		}
		return fmt.Errorf("request to shard %d replica %d: %w", shard, to, err)
	}
	n.count.asked.Add(1)
	m.noteHeard()
	return nil
}

func (m *member) request(ctx context.Context, request []byte, most int64, each func(frame []byte) error) error {
	if !m.reachable() {
		return ErrNotConnected
	}
	open := share{from: m.net.asking.open, by: m}
	held := share{from: m.net.asking.held, by: m}
	if !open.take(1) {
		return ErrBusy
	}
	defer open.end()
	defer held.end()
	s, err := m.net.host.NewStream(network.WithNoDial(ctx, "request"), m.id, fetchProtocol)
	if err != nil {
		return fmt.Errorf("open stream: %w", err)
	}
	defer s.Reset() // no effect for the peer after the end of the answer
	stop := context.AfterFunc(ctx, func() { s.Reset() })
	defer stop()
	if _, err := newRequestWriter(ctx, s, m).Write(appendFrame(m.net.hello(0), request)); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	e := newEnd(s, requestBuffer)
	theirs, err := e.greeted()
	if err != nil {
		return err
	}
	if err := m.net.judge(theirs, m); err != nil {
		return err
	}
	return e.readAnswer(most, &held, each)
}

// readAnswer reads the frames of an answer up to the empty one.
func (e *end) readAnswer(most int64, held *share, each func(frame []byte) error) error {
	for {
		size, err := readLength(e.reader, MaxBulkFrame)
		if err != nil {
			return fmt.Errorf("answer: %w", err)
		}
		if size == 0 {
			return nil
		}
		if int64(size) > most-held.taken {
			return fmt.Errorf("answer has more than %d bytes", most)
		}
		frame, err := readBody(e.reader, size, held.take)
		if err != nil {
			return fmt.Errorf("answer: %w", err)
		}
		if err := each(frame); err != nil {
			return err
		}
	}
}

// answer serves a request stream of a member.
func (n *Net) answer(s network.Stream) {
	m := n.member(s.Conn().RemotePeer())
	if m == nil {
		n.count.refused.Add(1)
		s.Reset()
		return
	}
	open := share{from: n.answering.open, by: m}
	if !open.take(1) {
		n.count.refused.Add(1)
		n.refuse(s, m)
		return
	}
	defer open.end()
	ctx, cancel := context.WithCancelCause(n.ctx)
	defer cancel(nil)
	limit := time.AfterFunc(n.cfg.Limits.ServeTime, func() { cancel(context.DeadlineExceeded) })
	defer limit.Stop()
	stop := context.AfterFunc(ctx, func() { s.Reset() })
	if err := n.answerOne(ctx, cancel, s, m); err != nil {
		n.outside.Debugw("request not answered", m.id, "shard", m.shard, "replica", m.index, "error", err)
		s.Reset()
		return
	}
	n.count.served.Add(1)
	stop() // a reset would discard bytes that the peer has not read yet
	s.Close()
}

// Bounds of refused requests.
const (
	refuseAfter = time.Second // until the stream of a refused request is reset
	maxRefusing = 128         // of one member; the streams of further ones are reset at once
)

// refuse resets the stream of a request for which there is no place, after a while: a member that sends its request again
// at once would otherwise cost more with refused requests than with those that are answered.
func (n *Net) refuse(s network.Stream, m *member) {
	defer s.Reset()
	held := share{from: n.refusing, by: m}
	if !held.take(1) {
		return
	}
	defer held.end()
	if err := s.CloseRead(); err != nil { // its bytes are dropped
		return
	}
	wait := time.NewTimer(refuseAfter)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-n.ctx.Done():
	}
}

func (n *Net) answerOne(ctx context.Context, cancel context.CancelCauseFunc, s network.Stream, m *member) error {
	e, theirs, err := n.receive(s, m, requestBuffer)
	if err != nil {
		return err
	}
	m.noteHeard()
	held := share{from: n.answering.held, by: m}
	defer held.end()
	size, err := readLength(e.reader, MaxRequest)
	if err == nil && size == 0 {
		err = errFrame
	}
	var request []byte
	if err == nil {
		request, err = readBody(e.reader, size, held.take)
	}
	if err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	s.SetDeadline(time.Time{})
	n.serving.start(func() { e.watch(cancel) })
	if err := m.asks.WaitN(ctx, size+requestCost); err != nil {
		return fmt.Errorf("wait for the budget of requests: %w", err)
	}
	out := &answerWriter{cancel: cancel, stream: newRequestWriter(ctx, s, m), held: &held, left: n.cfg.Limits.ServeBytes, time: n.cfg.Limits.WriteTime, unsent: n.hello(theirs.session)}
	defer out.stop()
	if err := n.handler.Serve(ctx, m.shard, m.index, request, out.frame); err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	_, err = out.stream.Write(appendLength(out.unsent, 0))
	return err
}

// requestCost is the number of bytes that each request counts in addition to its own, for the cost of its stream.
const requestCost = 4 << 10

// watch ends the service of a request when its stream ends. It also ends it if the peer sends more than its request,
// which is a violation. It returns when the stream is closed or reset by either side.
func (e *end) watch(cancel context.CancelCauseFunc) {
	if _, err := e.reader.Peek(1); !errors.Is(err, io.EOF) {
		cancel(errGone)
	}
}

// answerWriter writes the frames of an answer. All must have left within WriteTime after the first, so a peer that
// reads slowly holds at most the bytes of the answer, for a bounded time.
type answerWriter struct {
	cancel context.CancelCauseFunc
	stream *pacedWriter
	held   *share
	left   int64
	time   time.Duration
	limit  *time.Timer
	unsent []byte // at most chunk bytes that leave with the next frame or the end
}

func (w *answerWriter) frame(frame []byte) error {
	n := int64(len(frame))
	if n == 0 || n > MaxBulkFrame {
		return fmt.Errorf("answer frame of %d bytes, want 1 to %d", n, MaxBulkFrame)
	}
	if w.left -= n; w.left < 0 {
		return errors.New("answer has more bytes than are served")
	}
	if !w.held.take(n) {
		return ErrBusy
	}
	defer w.held.give(n)
	if w.limit == nil {
		w.limit = time.AfterFunc(w.time, func() { w.cancel(errors.New("the peer did not read its answer in time")) })
	}
	if len(w.unsent)+headerSize+len(frame) <= chunk {
		w.unsent = appendFrame(w.unsent, frame)
		return nil
	}
	if _, err := w.stream.Write(appendLength(w.unsent, len(frame))); err != nil {
		return err
	}
	w.unsent = nil
	_, err := w.stream.Write(frame)
	return err
}

func (w *answerWriter) stop() {
	if w.limit != nil {
		w.limit.Stop()
	}
}

// newRequestWriter paces a request stream like bulk, in turns with the connection's other requests.
func newRequestWriter(ctx context.Context, s network.Stream, m *member) *pacedWriter {
	w := &pacedWriter{stream: s, ctx: ctx, limit: m.net.cfg.Limits.WriteTime, pacer: pacerOf(s)}
	if w.pacer != nil {
		w.turn = w.pacer.requests
	}
	if session := m.active.Load(); session != nil {
		w.urgent = session.queues[Control]
	}
	return w
}
