package client

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/api"
	"bdtnode/shard/logproof"
	"bdtnode/shard/proof"
)

// LogQuery selects a part of a log. The zero value selects the payloads of later blocks.
type LogQuery struct {
	From      string         // name of the first payload, a cursor, or a height; empty: after the last executed block
	Certified bool           // only blocks whose headers are certified
	Network   *proof.Network // if not nil, each block has a proof, which is checked; the stream then begins with a whole batch
	// Gap is called for blocks that the replica does not have. If it is nil, a gap ends the stream with a [*LogGapError].
	Gap func(api.LogGap) error
}

// LogGapError is the error for blocks that the replica does not have. Another replica may have them.
type LogGapError struct{ api.LogGap }

// Error implements error.
func (e *LogGapError) Error() string {
	return fmt.Sprintf("the replica does not have the payloads of blocks %d to %d: %s", e.From, e.To, e.Reason)
}

// LogEntry is one payload of a log.
type LogEntry struct {
	Height   uint64
	Batch    uint32 // in the block, from 0
	Position uint32 // in the batch, from 0
	TimeMS   uint64 // block time, Unix milliseconds
	ID       []byte // of 32 bytes, nil if the payload has none
	Payload  []byte
}

// Name is height, batch and position of the payload, as in 12.0.3.
func (e *LogEntry) Name() string {
	return api.LogName(ledger.LogPlace{Height: e.Height, Batch: e.Batch, Position: e.Position})
}

// Next is the cursor from which a stream continues after the payload.
func (e *LogEntry) Next() string {
	return api.LogName(ledger.LogPlace{Height: e.Height, Batch: e.Batch, Position: e.Position + 1})
}

// ReadLog calls f for each payload up to the last executed block, or the last certified one with Certified, and returns the
// cursor from which a later call continues, also with an error. It stops at the first error of f, and returns it; the cursor
// is then before the payload.
func (c *Client) ReadLog(ctx context.Context, q LogQuery, f func(LogEntry) error) (cursor string, err error) {
	cursor, err = c.streamLog(ctx, q, false, f)
	var end *StreamEnd
	if errors.As(err, &end) && end.Reason == api.EndTip {
		return cursor, nil
	}
	return cursor, err
}

// FollowLog calls f for each payload, also of later blocks, until ctx ends, f returns an error, or the replica refuses the
// request. If the connection breaks or the replica ends the stream, it connects again, and continues after the last
// payload. It returns the cursor from which a later call continues, with the error.
func (c *Client) FollowLog(ctx context.Context, q LogQuery, f func(LogEntry) error) (cursor string, err error) {
	return follow(ctx, q.From, f, func(from string, f func(LogEntry) error) (string, error) {
		q.From = from
		return c.streamLog(ctx, q, true, f)
	})
}

// streamLog reads one stream. The error is a [*StreamEnd] if the replica has ended it.
func (c *Client) streamLog(ctx context.Context, q LogQuery, follow bool, f func(LogEntry) error) (cursor string, err error) {
	base := c.URL()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watchdog := time.AfterFunc(max(silence, c.timeout), cancel)
	defer watchdog.Stop()
	v := url.Values{"follow": {strconv.FormatBool(follow)}, "certified": {strconv.FormatBool(q.Certified)}, "proofs": {strconv.FormatBool(q.Network != nil)}}
	if q.From != "" {
		v.Set("from", q.From)
	}
	in, err := c.openStream(ctx, base, "/v1/log?"+v.Encode(), api.LogType)
	if err != nil {
		return q.From, err
	}
	defer in.Close()
	s := logStream{base: base, query: &q, f: f, in: bufio.NewReaderSize(in, 64<<10)}
	if q.From != "" {
		if s.at, err = api.ParseLogName(q.From); err != nil {
			return q.From, err
		}
		s.from, s.placed = s.at, true
	}
	for err == nil {
		err = s.frame()
		watchdog.Reset(silence)
	}
	if !s.placed {
		return q.From, err
	}
	return api.LogName(s.at), err
}

// logStream reads the frames of one stream.
type logStream struct {
	base   string
	query  *LogQuery
	f      func(LogEntry) error
	in     *bufio.Reader
	from   ledger.LogPlace // payloads before it are not passed on: with proofs, the stream begins with a whole batch
	at     ledger.LogPlace // cursor
	placed bool            // at is known
	block  *logproof.BlockFinding
}

// frame reads the next frame.
func (s *logStream) frame() error {
	var head [api.LogFrameHead]byte
	if _, err := io.ReadFull(s.in, head[:]); err != nil {
		return transportError(s.base, fmt.Errorf("the stream of the log broke off: %w", err))
	}
	size := binary.BigEndian.Uint32(head[1:])
	if size > api.MaxLogFrame {
		return s.malformed("a frame of %d bytes", size)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(s.in, body); err != nil {
		return transportError(s.base, fmt.Errorf("the stream of the log broke off: %w", err))
	}
	switch api.LogFrame(head[0]) {
	case api.FrameBatch:
		return s.batch(body)
	case api.FrameProof:
		return s.proof(body)
	case api.FrameCursor:
		if len(body) != 16 {
			return s.malformed("a cursor of %d bytes", len(body))
		}
		s.at = ledger.LogPlace{Height: binary.BigEndian.Uint64(body), Batch: binary.BigEndian.Uint32(body[8:]), Position: binary.BigEndian.Uint32(body[12:])}
		if s.placed && before(s.at, s.from) {
			s.at = s.from
		}
		s.placed = true
		return nil
	case api.FrameGap:
		return s.gap(body)
	case api.FrameEnd:
		if len(body) == 0 || int(body[0]) > len(body)-1 {
			return s.malformed("an end of %d bytes", len(body))
		}
		n := 1 + int(body[0])
		return &StreamEnd{api.EndEvent{Reason: string(body[1:n]), Detail: string(body[n:])}}
	}
	return s.malformed("a frame of kind %q", head[0])
}

func before(a, b ledger.LogPlace) bool {
	switch {
	case a.Height != b.Height:
		return a.Height < b.Height
	case a.Batch != b.Batch:
		return a.Batch < b.Batch
	}
	return a.Position < b.Position
}

func (s *logStream) malformed(format string, args ...any) error {
	return fmt.Errorf("%s sent %s in the stream of the log; check that both programs have the same version", s.base, fmt.Sprintf(format, args...))
}

func (s *logStream) gap(body []byte) error {
	if len(body) < 16 {
		return s.malformed("a gap of %d bytes", len(body))
	}
	g := api.LogGap{From: binary.BigEndian.Uint64(body), To: binary.BigEndian.Uint64(body[8:]), Reason: string(body[16:])}
	if s.query.Gap == nil {
		return fmt.Errorf("%s: %w", s.base, &LogGapError{g})
	}
	return s.query.Gap(g)
}

// proof checks the proof of the block that follows.
func (s *logStream) proof(body []byte) error {
	if s.query.Network == nil {
		return nil
	}
	x, err := logproof.DecodeBlock(body)
	if err == nil {
		s.block, err = x.Verify(s.query.Network)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", s.base, err)
	}
	return nil
}

// batch passes on the payloads of a batch, or of the rest of one.
func (s *logStream) batch(body []byte) error {
	const fixed = 8 + 8 + 4*4
	if len(body) < fixed {
		return s.malformed("a batch of %d bytes", len(body))
	}
	e := LogEntry{Height: binary.BigEndian.Uint64(body), TimeMS: binary.BigEndian.Uint64(body[8:]), Batch: binary.BigEndian.Uint32(body[16:]), Position: binary.BigEndian.Uint32(body[20:])}
	count, repeats := binary.BigEndian.Uint32(body[24:]), binary.BigEndian.Uint32(body[28:])
	rest := body[fixed:]
	if int64(repeats)*4 > int64(len(rest)) {
		return s.malformed("%d repeated entries", repeats)
	}
	repeated := make([]uint32, repeats)
	for i := range repeated {
		repeated[i] = binary.BigEndian.Uint32(rest[4*i:])
	}
	rest = rest[4*len(repeated):]
	o, err := ledger.ReadOpaque(rest)
	if err != nil || o.Len() != int(count) {
		return s.malformed("a batch of %d entries: %v", count, err)
	}
	if s.query.Network != nil {
		if err := s.check(&e, rest, repeated); err != nil {
			return fmt.Errorf("%s: payload %s: %w", s.base, e.Name(), err)
		}
	}
	first := e.Position
	for i, x := range o.Each() {
		e.Position, e.ID, e.Payload = first+uint32(i), x.ID, x.Payload
		at := ledger.LogPlace{Height: e.Height, Batch: e.Batch, Position: e.Position}
		s.at, s.placed = at, true
		if len(repeated) > 0 && repeated[0] == e.Position {
			repeated = repeated[1:]
		} else if !before(at, s.from) {
			if err := s.f(e); err != nil {
				return err
			}
		}
		s.at.Position++
	}
	return nil
}

// check compares a whole batch with the proof of its block.
func (s *logStream) check(e *LogEntry, entries []byte, repeated []uint32) error {
	f := s.block
	switch {
	case f == nil || f.Height != e.Height || f.TimeMS != e.TimeMS:
		return errors.New("its block has no proof")
	case e.Position != 0 || int(e.Batch) >= len(f.Batches):
		return errors.New("the proof has no such batch")
	case !slices.Equal(f.Batches[e.Batch].Repeated, repeated):
		return errors.New("the proof has other repeated entries")
	}
	return f.Batches[e.Batch].Check(entries)
}

// LogBefore reports whether a place of a log comes before another one. Places are names of payloads and cursors; a text that
// is none comes before all.
func LogBefore(a, b string) bool {
	x, errA := api.ParseLogName(a)
	y, errB := api.ParseLogName(b)
	if errA != nil || errB != nil {
		return errA != nil && errB == nil
	}
	return before(x, y)
}
