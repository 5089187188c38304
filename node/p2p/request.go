package p2p

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"bdtnode/protocols"
)

// ErrNotConnected is wrapped by a request to a replica that there is no connection to.
var ErrNotConnected = errors.New("not connected")

// A request is one stream: both handshakes, the request as a frame, and the answer's frames up to an empty one. So
// an answer that was cut short is never taken for a whole one.

// Request asks replica to of a shard, the own or another, and calls each for every frame of its answer, which it may keep. It returns nil only
// after the whole answer; an error of each ends it. It lasts until ctx ends or [Limits].ServeTime has passed. An
// answer beyond the limits is the peer's fault and an error here: nothing else happens to the peer.
func (n *Net) Request(ctx context.Context, shard uint16, to protocols.Index, request []byte, each func(frame []byte) error) error {
	if len(request) == 0 || len(request) > MaxRequest {
		return fmt.Errorf("request of %d bytes, want 1 to %d", len(request), MaxRequest)
	}
	m := n.shards[shard][to]
	if m == nil || !n.up() {
		return fmt.Errorf("request to shard %d replica %d: %w", shard, to, ErrNotConnected)
	}
	ctx, cancel := context.WithTimeout(ctx, n.cfg.Limits.ServeTime)
	defer cancel()
	err := m.request(ctx, request, each)
	if err != nil {
		if ctx.Err() != nil {
			err = errors.Join(ctx.Err(), err)
		}
		return fmt.Errorf("request to shard %d replica %d: %w", shard, to, err)
	}
	n.count.asked.Add(1)
	return nil
}

func (m *member) request(ctx context.Context, request []byte, each func(frame []byte) error) error {
	if !m.reachable() {
		return ErrNotConnected
	}
	s, err := m.net.host.NewStream(network.WithNoDial(ctx, "request"), m.id, fetchProtocol)
	if err != nil {
		return fmt.Errorf("open stream: %w", err)
	}
	defer s.Reset() // after the end this changes nothing for the peer
	stop := context.AfterFunc(ctx, func() { s.Reset() })
	defer stop()
	if err := m.net.greet(s, 0); err != nil {
		return err
	}
	if _, err := newRequestWriter(ctx, s, m).Write(appendFrame(nil, request)); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	e := newEnd(s)
	theirs, err := e.greeted()
	if err != nil {
		return err
	}
	if err := m.net.judge(theirs, m); err != nil {
		return err
	}
	for total := int64(0); ; {
		size, err := readLength(e.reader, MaxBulkFrame)
		if err != nil {
			return fmt.Errorf("answer: %w", err)
		}
		if size == 0 {
			return nil
		}
		if total += int64(size); total > m.net.cfg.Limits.ServeBytes {
			return fmt.Errorf("answer has more than %d bytes", m.net.cfg.Limits.ServeBytes)
		}
		frame, err := readBody(e.reader, size)
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
	select {
	case m.serve <- struct{}{}:
		defer func() { <-m.serve }()
	default:
		n.count.refused.Add(1)
		s.Reset()
		return
	}
	ctx, cancel := context.WithTimeout(n.ctx, n.cfg.Limits.ServeTime)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { s.Reset() })
	defer stop()
	if err := n.answerOne(ctx, s, m); err != nil {
		logger.Debugw("request not answered", "shard", m.shard, "replica", m.index, "error", err)
		s.Reset()
		return
	}
	n.count.served.Add(1)
	s.Close()
}

func (n *Net) answerOne(ctx context.Context, s network.Stream, m *member) error {
	e, _, err := n.receive(s, m)
	if err != nil {
		return err
	}
	s.SetReadDeadline(time.Now().Add(handshakeTime))
	request, err := readFrame(e.reader, MaxRequest)
	if err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	out := newRequestWriter(ctx, s, m)
	buffered := bufio.NewWriterSize(out, chunk)
	left := n.cfg.Limits.ServeBytes
	err = n.handler.Serve(ctx, m.shard, m.index, request, func(frame []byte) error {
		if len(frame) == 0 || len(frame) > MaxBulkFrame {
			return fmt.Errorf("answer frame of %d bytes, want 1 to %d", len(frame), MaxBulkFrame)
		}
		if left -= int64(len(frame)); left < 0 {
			return fmt.Errorf("answer has more than %d bytes", n.cfg.Limits.ServeBytes)
		}
		buffered.Write(appendLength(nil, len(frame)))
		buffered.Write(frame) // an error stays, and Flush returns it
		return buffered.Flush()
	})
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	_, err = out.Write(appendLength(nil, 0))
	return err
}

// newRequestWriter paces a request stream like bulk, taking turns with the connection's other requests.
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
