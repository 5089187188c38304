package api

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"bdtnode/internal/origin"
	"bdtnode/ledger"
)

// eventsPage is the number of payload bytes that are encoded as events before they are written.
const eventsPage = 64 << 10

// logIn is a request for a part of the log.
type logIn struct {
	From      string `query:"from" maxLength:"64" doc:"place of the first payload: a height, or height.batch.position; without it and without the header Last-Event-ID, after the last executed block"`
	Follow    bool   `query:"follow" default:"true" doc:"continue with later blocks; false: end at the last one"`
	Certified bool   `query:"certified" default:"false" doc:"only blocks whose headers are certified"`
	Proofs    bool   `query:"proofs" default:"false" doc:"with a proof of each block; implies certified, and begins with a whole batch"`
	LastID    string `header:"Last-Event-ID" maxLength:"64" doc:"id of the last event that an earlier stream of the same reader had; it takes precedence over from"`
	Accept    string `header:"Accept" doc:"application/vnd.bdtnode.log for frames; otherwise server-sent events"`

	writer http.ResponseWriter
	remote string
}

// Resolve stores the writer, so that the handler can write the stream itself.
func (in *logIn) Resolve(ctx huma.Context) []error {
	var r *http.Request
	r, in.writer = humago.Unwrap(ctx)
	in.remote = r.RemoteAddr
	return nil
}

func (s *Server) readLog(ctx context.Context, in *logIn) (*eventsOut, error) {
	q := LogQuery{Follow: in.Follow, Certified: in.Certified, Proofs: in.Proofs}
	from := in.From
	if in.LastID != "" {
		from = in.LastID
	}
	if from != "" {
		at, err := ParseLogName(from)
		if err != nil {
			return nil, problem(http.StatusUnprocessableEntity, err.Error())
		}
		q.From = &at
	}
	client := origin.Of(in.remote)
	if !s.logReaders.take(client, 1) {
		p := problem(http.StatusServiceUnavailable, "too many readers follow the log at this replica, from this address or in all: try again later, or ask another replica of the shard")
		return nil, retryLater(p, retryBusy)
	}
	if c, ok := ctx.Value(connKey{}).(*conn); ok {
		if tcp, ok := c.Conn.(*net.TCPConn); ok {
			_ = tcp.SetWriteBuffer(eventBuffer) // without it the kernel keeps megabytes for a slow reader
		}
	}
	stream, shard := s.cfg.Log.Log(q), s.backend.Status().Shard
	return &eventsOut{Body: func(out huma.Context) {
		defer s.logReaders.give(client, 1)
		out.SetHeader("Cache-Control", "no-store")
		out.SetHeader("X-Accel-Buffering", "no") // a proxy must not hold events back
		w := &logWriter{eventWriter: eventWriter{w: in.writer, control: http.NewResponseController(in.writer), limit: s.cfg.EventTime}, shard: shard}
		if w.binary = strings.Contains(in.Accept, LogType); w.binary {
			out.SetHeader("Content-Type", LogType)
		} else {
			out.SetHeader("Content-Type", EventsType)
		}
		s.streamLog(ctx, stream, w)
	}}, nil
}

// streamLog writes parts of the log until the reader leaves, is too slow, or the stream ends.
func (s *Server) streamLog(ctx context.Context, from LogStream, w *logWriter) {
	var failure error
	defer s.stopOnPanic(&failure)
	if _, err := w.cursor(from.At()); err != nil { // the reader learns that the stream has begun
		return
	}
	for {
		turn, cancel := context.WithTimeout(ctx, s.cfg.EventPause)
		part, err := from.Next(turn)
		cancel()
		var took time.Duration
		var lost error
		var end *EndEvent
		switch {
		case ctx.Err() != nil:
			end = &EndEvent{Reason: EndStopping, Detail: "the replica stops"}
		case errors.Is(err, io.EOF):
			end = &EndEvent{Reason: EndTip, Detail: "all payloads so far were sent"}
		case errors.Is(err, context.DeadlineExceeded):
			took, lost = w.cursor(from.At())
		case err != nil:
			outside.Errorw("the log cannot be read", "log", "error", err)
			end = &EndEvent{Reason: EndFailed, Detail: "the replica could not read the log, see its messages"}
		default:
			took, lost = w.part(&part, from.At())
		}
		if lost != nil {
			outside.Debugw("reader of the log left or took nothing", "log", "error", lost)
			return
		}
		if end == nil && took > s.cfg.EventTime/2 {
			end = &EndEvent{Reason: EndSlow, Detail: fmt.Sprintf("the reader took %d bytes in %v: continue from the cursor", w.last, took.Round(time.Millisecond))}
		}
		if end != nil {
			_, _ = w.end(end, from.At()) // the reader may have left
			return
		}
	}
}

// logWriter writes parts of the log, as frames or as server-sent events.
type logWriter struct {
	eventWriter
	binary bool
	shard  uint16
	head   []byte // buffer
}

func (w *logWriter) cursor(at ledger.LogPlace) (time.Duration, error) {
	if w.binary {
		return w.write(appendCursor(nil, at))
	}
	return w.write([]byte("id: " + LogName(at) + "\n\n"))
}

func (w *logWriter) end(e *EndEvent, at ledger.LogPlace) (time.Duration, error) {
	if w.binary {
		return w.write(appendEnd(appendCursor(nil, at), e))
	}
	return w.write(logEvent("end", LogName(at), &LogEvent{End: e}))
}

// part writes a part. next is the place after it.
func (w *logWriter) part(p *LogPart, next ledger.LogPlace) (time.Duration, error) {
	switch {
	case p.Batch != nil && w.binary:
		w.head = appendBatchHead(w.head[:0], p.Batch)
		return w.write(w.head, p.Batch.Raw)
	case p.Batch != nil:
		return w.events(p.Batch)
	case p.Gap != nil && w.binary:
		return w.write(appendCursor(appendGap(nil, p.Gap), next))
	case p.Gap != nil:
		return w.write(logEvent("gap", LogName(next), &LogEvent{Gap: p.Gap}))
	case w.binary:
		return w.write(AppendLogFrame(nil, FrameProof, len(p.Proof)), p.Proof)
	}
	return w.write(logEvent("block", LogName(next), &LogEvent{Block: &LogBlock{Height: next.Height, Proof: base64.StdEncoding.EncodeToString(p.Proof)}}))
}

// events writes an event for each payload of a batch. A slow reader is seen at the slowest of the writes.
func (w *logWriter) events(e *LogEntries) (slowest time.Duration, err error) {
	var page [][]byte
	size := 0
	flush := func() {
		var took time.Duration
		took, err = w.write(page...)
		slowest, page, size = max(slowest, took), page[:0], 0
	}
	for p := range e.payloads(w.shard) {
		page = append(page, logEvent("payload", p.Next, &LogEvent{Payload: &p}))
		if size += len(p.Payload); size >= eventsPage {
			if flush(); err != nil {
				return slowest, err
			}
		}
	}
	if len(page) > 0 {
		flush()
	}
	return slowest, err
}

// payloads are the payloads of the log among the entries.
func (e *LogEntries) payloads(shard uint16) iter.Seq[LogPayload] {
	return func(yield func(LogPayload) bool) {
		o, err := ledger.ReadOpaque(e.Raw)
		if err != nil {
			panic(fmt.Sprintf("api: entries of the log: %v", err)) // they were checked before they were ordered
		}
		repeated := e.Repeated
		for i, x := range o.Each() {
			at := e.At
			at.Position += uint32(i)
			if len(repeated) > 0 && repeated[0] == at.Position {
				repeated = repeated[1:]
				continue
			}
			next := at
			next.Position++
			p := LogPayload{
				Name: LogName(at), Next: LogName(next), Shard: shard, Height: at.Height, Batch: at.Batch, Position: at.Position,
				TimeMS: e.TimeMS, ID: hex.EncodeToString(x.ID), Payload: base64.StdEncoding.EncodeToString(x.Payload),
			}
			if !yield(p) {
				return
			}
		}
	}
}

func logEvent(name, id string, e *LogEvent) []byte {
	data, err := json.Marshal(e)
	if err != nil {
		panic(fmt.Sprintf("api: an event of the log cannot be encoded: %v", err)) // it has only numbers and texts
	}
	b := fmt.Appendf(make([]byte, 0, len(data)+len(id)+len(name)+24), "id: %s\nevent: %s\ndata: ", id, name)
	return append(append(b, data...), "\n\n"...)
}
