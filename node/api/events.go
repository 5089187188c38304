package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"bdtnode/internal/fairshare"
	"bdtnode/internal/origin"
	"bdtnode/ledger"
)

// EventsType is the media type of a stream of events.
const EventsType = "text/event-stream"

// MaxAccounts is the largest number of accounts that one stream follows.
const MaxAccounts = 16

// readersOfConns is the inverse of the largest share of connections that readers of events may have: each keeps one.
const readersOfConns = 2

// eventBuffer is the size of the kernel's buffer for a reader of events, in bytes.
const eventBuffer = 128 << 10

// eventsIn is a request for events.
type eventsIn struct {
	From     string   `query:"from" maxLength:"64" doc:"height or cursor after which the stream begins; without it and without the header Last-Event-ID, after the last executed block"`
	Kinds    []string `query:"kinds" doc:"kinds of events, separated by commas; by default block, epoch, evidence, verdict and settlement, or transaction if accounts are given"`
	Accounts []string `query:"account" maxItems:"16" doc:"addresses whose transactions are followed, separated by commas; their home shard is that of the replica"`
	Follow   bool     `query:"follow" default:"true" doc:"continue with the events of later blocks; false: end at the last executed block"`
	LastID   string   `header:"Last-Event-ID" maxLength:"64" doc:"cursor of the last event that an earlier stream of the same reader had; it takes precedence over from"`

	writer http.ResponseWriter
	remote string
}

// Resolve stores the writer, so that the handler can write the stream itself.
func (in *eventsIn) Resolve(ctx huma.Context) []error {
	var r *http.Request
	r, in.writer = humago.Unwrap(ctx)
	in.remote = r.RemoteAddr
	return nil
}

// query checks the request.
func (in *eventsIn) query(shard uint16) (EventQuery, error) {
	q := EventQuery{Follow: in.Follow}
	from := in.From
	if in.LastID != "" {
		from = in.LastID
	}
	if from != "" {
		c, err := ParseCursor(from, shard)
		if err != nil {
			return q, err
		}
		q.From = &c
	}
	for _, text := range in.Accounts {
		a, err := ledger.ParseAddress(text)
		if err != nil {
			return q, err
		}
		q.Accounts = append(q.Accounts, a)
	}
	if len(q.Accounts) > MaxAccounts {
		return q, fmt.Errorf("%d accounts, at most %d are followed by one stream", len(q.Accounts), MaxAccounts)
	}
	var err error
	q.Kinds, err = chosenOf(in.Kinds, len(q.Accounts) > 0)
	return q, err
}

// eventsOut writes the stream.
type eventsOut struct{ Body func(huma.Context) }

func (s *Server) events(ctx context.Context, in *eventsIn) (*eventsOut, error) {
	shard := s.backend.Status().Shard
	q, err := in.query(shard)
	if err != nil {
		return nil, problem(http.StatusUnprocessableEntity, err.Error())
	}
	client := origin.Of(in.remote)
	if !s.readers.take(client, 1) {
		p := problem(http.StatusServiceUnavailable, "too many readers follow the events of this replica, from this address or in all: try again later, or ask another replica of the shard")
		return nil, retryLater(p, retryBusy)
	}
	from, err := s.backend.Events(q)
	if err != nil {
		s.readers.give(client, 1)
		return nil, err
	}
	if c, ok := ctx.Value(connKey{}).(*conn); ok {
		if tcp, ok := c.Conn.(*net.TCPConn); ok {
			_ = tcp.SetWriteBuffer(eventBuffer) // without it the kernel keeps megabytes for a slow reader
		}
	}
	return &eventsOut{Body: func(out huma.Context) {
		defer s.readers.give(client, 1)
		defer from.Close()
		out.SetHeader("Content-Type", EventsType)
		out.SetHeader("Cache-Control", "no-store")
		out.SetHeader("X-Accel-Buffering", "no") // a proxy must not hold events back
		if q.Follow {
			// Without chunks a part leaves in one write, with them in three. The connection ends with the stream.
			out.SetHeader("Transfer-Encoding", "identity")
		}
		w := &eventWriter{w: in.writer, control: http.NewResponseController(in.writer), limit: s.cfg.EventTime}
		s.stream(ctx, from, w, shard)
	}}, nil
}

// stream writes events until the reader leaves, is too slow, or the stream ends.
func (s *Server) stream(ctx context.Context, from EventStream, w *eventWriter, shard uint16) {
	var failure error
	defer s.stopOnPanic(&failure)
	place := func() string { return from.At().Text(shard) }
	// An id alone moves the place from which a reader continues, also while no chosen event happens.
	if _, err := w.write([]byte("id: " + place() + "\n\n")); err != nil {
		return
	}
	for {
		turn, cancel := context.WithTimeout(ctx, s.cfg.EventPause)
		events, err := from.Next(turn)
		cancel()
		end := &EndEvent{}
		gone := (*ledger.Pruned)(nil)
		switch {
		case ctx.Err() != nil:
			*end = EndEvent{Reason: EndStopping, Detail: "the replica stops"}
		case errors.Is(err, io.EOF):
			*end = EndEvent{Reason: EndTip, Detail: "all events so far were sent"}
		case errors.Is(err, context.DeadlineExceeded):
			events = []byte("id: " + place() + "\n\n")
			end = nil
		case errors.As(err, &gone):
			*end = EndEvent{Reason: EndFailed, Detail: "the events are " + gone.Error()}
		case err != nil:
			outside.Errorw("events cannot be read", "events", "error", err)
			*end = EndEvent{Reason: EndFailed, Detail: "the replica could not read the events, see its log"}
		default:
			end = nil
		}
		took, err := w.write(events)
		if err != nil {
			outside.Debugw("reader of events left or took none", "events", "error", err)
			return
		}
		if end == nil && took > s.cfg.EventTime/2 {
			end = &EndEvent{Reason: EndSlow, Detail: fmt.Sprintf("the reader took %d bytes in %v: continue from the cursor", w.last, took.Round(time.Millisecond))}
		}
		if end != nil {
			_, _ = w.write(EncodeEvent(&Event{Kind: EventEnd, Cursor: place(), Shard: shard, Height: from.At().Height, End: end})) // the reader may have left
			return
		}
	}
}

// eventWriter writes parts of a stream. A reader has limit for each.
type eventWriter struct {
	w       io.Writer
	control *http.ResponseController
	limit   time.Duration
	last    int // bytes of the last part
}

// write writes and flushes a part, and returns the time that the reader took for it.
func (w *eventWriter) write(parts ...[]byte) (time.Duration, error) {
	begun := time.Now()
	if err := setDeadline(w.control.SetWriteDeadline, begun.Add(w.limit)); err != nil {
		return 0, err
	}
	w.last = 0
	for _, part := range parts {
		if _, err := w.w.Write(part); err != nil {
			return 0, err
		}
		w.last += len(part)
	}
	err := w.control.Flush()
	return time.Since(begun), err
}

// newReaders bounds the number of readers of events. Client addresses share the places as they share the intake.
func newReaders(most int) *outlet {
	return &outlet{bytes: fairshare.NewPool[netip.Prefix](int64(most), 1)}
}
