// Package loglimit bounds the number of log lines that a party outside the process can cause.
//
// An event is a log message, which is a constant of the program; a party is the cause of the line. In each interval an
// event has at most one line for each party, and at most [PartiesPerEvent] lines in total. Further lines are counted,
// and the next line of the event carries the count in its field "suppressed". So one event takes at most
// PartiesPerEvent lines in an interval, with at most about [MaxField] bytes for each field, and the memory for it is
// bounded likewise.
package loglimit

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/ipfs/go-log/v2"
	"go.uber.org/zap"
)

const (
	// DefaultInterval is the interval in which one party causes at most one line of an event.
	DefaultInterval = 10 * time.Second
	// PartiesPerEvent is the number of parties that have a line of one event in an interval.
	PartiesPerEvent = 32
	// MaxField is the largest size of a field's text in bytes; longer texts are cut.
	MaxField = 512
)

// Sink writes log lines: a message, then alternating names and values of fields.
type Sink interface {
	Debugw(msg string, fields ...any)
	Infow(msg string, fields ...any)
	Warnw(msg string, fields ...any)
	Errorw(msg string, fields ...any)
}

// suppressed counts the lines of all loggers that were left out.
var suppressed atomic.Uint64

// Suppressed is the number of lines that the process has left out since its start.
func Suppressed() uint64 { return suppressed.Load() }

// Logger writes lines to a sink within the limit. It is safe for concurrent use.
type Logger struct {
	sink  Sink
	limit limiter
}

// New returns a logger with the default interval.
func New(s Sink) *Logger { return Every(DefaultInterval, s) }

// Every returns a logger with another interval, for conditions that may last long. The call site in a line is the
// caller of the logger's methods.
func Every(interval time.Duration, s Sink) *Logger {
	if l, ok := s.(*log.ZapEventLogger); ok {
		s = l.Desugar().WithOptions(zap.AddCallerSkip(2)).Sugar()
	}
	return &Logger{sink: s, limit: limiter{interval: interval}}
}

// Debugw writes a line caused by party, or counts it. It reports whether the line was written.
func (l *Logger) Debugw(event string, party any, fields ...any) bool {
	return l.write(l.sink.Debugw, event, party, fields)
}

// Infow writes a line caused by party, or counts it. It reports whether the line was written.
func (l *Logger) Infow(event string, party any, fields ...any) bool {
	return l.write(l.sink.Infow, event, party, fields)
}

// Warnw writes a line caused by party, or counts it. It reports whether the line was written.
func (l *Logger) Warnw(event string, party any, fields ...any) bool {
	return l.write(l.sink.Warnw, event, party, fields)
}

// Errorw writes a line caused by party, or counts it. It reports whether the line was written.
func (l *Logger) Errorw(event string, party any, fields ...any) bool {
	return l.write(l.sink.Errorw, event, party, fields)
}

func (l *Logger) write(to func(string, ...any), event string, party any, fields []any) bool {
	left, ok := l.limit.admit(event, cut(fmt.Sprint(party)), time.Now())
	if !ok {
		suppressed.Add(1)
		return false
	}
	out := make([]any, 0, len(fields)+2)
	for _, f := range fields {
		out = append(out, bounded(f))
	}
	if left > 0 {
		out = append(out, "suppressed", left)
	}
	to(event, out...)
	return true
}

// bounded returns a field's value with its text cut to MaxField bytes.
func bounded(v any) any {
	switch v := v.(type) {
	case string:
		return cut(v)
	case error:
		return cut(v.Error())
	case fmt.Stringer:
		return cut(v.String())
	}
	return v
}

func cut(s string) string {
	if len(s) <= MaxField {
		return s
	}
	n := MaxField
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return fmt.Sprintf("%s… (%d bytes)", s[:n], len(s))
}

// limiter decides whether a line is written. Events are constants of the program, so their number is bounded.
type limiter struct {
	interval time.Duration
	mu       sync.Mutex
	events   map[string]*event
}

// event counts the lines of one message in the current interval.
type event struct {
	began      time.Time
	parties    map[string]struct{} // parties with a line in this interval
	suppressed uint64              // number of lines suppressed since the last written one
}

// admit reports whether a line is written, and the number of lines of its event suppressed since the last written one.
func (l *limiter) admit(name, party string, now time.Time) (suppressed uint64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.events[name]
	if e == nil {
		e = &event{began: now, parties: make(map[string]struct{})}
		if l.events == nil {
			l.events = make(map[string]*event)
		}
		l.events[name] = e
	}
	if now.Sub(e.began) >= l.interval {
		e.began = now
		clear(e.parties)
	}
	if _, had := e.parties[party]; had || len(e.parties) >= PartiesPerEvent {
		e.suppressed++
		return 0, false
	}
	e.parties[party] = struct{}{}
	suppressed, e.suppressed = e.suppressed, 0
	return suppressed, true
}
