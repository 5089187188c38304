// Package loglimit bounds the log lines that a party outside the process can cause.
//
// An event is a log message, which is a constant of the program; a party is the one that caused it. In each interval an
// event has at most one line for each party, and at most [PartiesPerEvent] lines in all. Lines above that are counted,
// and the event's next line carries the count in its field "suppressed". So one event takes at most PartiesPerEvent lines
// of about [MaxField] bytes a field in an interval, and the memory held for it is as bounded.
package loglimit

import (
	"fmt"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/ipfs/go-log/v2"
	"go.uber.org/zap"
)

const (
	// DefaultInterval is the time in which one party causes at most one line of an event.
	DefaultInterval = 10 * time.Second
	// PartiesPerEvent is how many parties have a line of one event in an interval.
	PartiesPerEvent = 32
	// MaxField is the largest text of a field in bytes; longer texts are cut.
	MaxField = 512
)

// Sink takes log lines: a message, then names and values in turn.
type Sink interface {
	Debugw(msg string, fields ...any)
	Infow(msg string, fields ...any)
	Warnw(msg string, fields ...any)
	Errorw(msg string, fields ...any)
}

// Logger writes to a sink within the limit. It may be used concurrently.
type Logger struct {
	sink  Sink
	limit limiter
}

// New makes a logger with the default interval.
func New(s Sink) *Logger { return Every(DefaultInterval, s) }

// Every makes a logger with an interval of its own, for conditions that may last long. Lines name the caller of its
// methods as their place.
func Every(interval time.Duration, s Sink) *Logger {
	if l, ok := s.(*log.ZapEventLogger); ok {
		s = l.Desugar().WithOptions(zap.AddCallerSkip(2)).Sugar()
	}
	return &Logger{sink: s, limit: limiter{interval: interval}}
}

// Debugw writes a line that party caused, or counts it.
func (l *Logger) Debugw(event string, party any, fields ...any) {
	l.write(l.sink.Debugw, event, party, fields)
}

// Infow writes a line that party caused, or counts it.
func (l *Logger) Infow(event string, party any, fields ...any) {
	l.write(l.sink.Infow, event, party, fields)
}

// Warnw writes a line that party caused, or counts it.
func (l *Logger) Warnw(event string, party any, fields ...any) {
	l.write(l.sink.Warnw, event, party, fields)
}

// Errorw writes a line that party caused, or counts it.
func (l *Logger) Errorw(event string, party any, fields ...any) {
	l.write(l.sink.Errorw, event, party, fields)
}

func (l *Logger) write(to func(string, ...any), event string, party any, fields []any) {
	suppressed, ok := l.limit.admit(event, cut(fmt.Sprint(party)), time.Now())
	if !ok {
		return
	}
	out := make([]any, 0, len(fields)+2)
	for _, f := range fields {
		out = append(out, bounded(f))
	}
	if suppressed > 0 {
		out = append(out, "suppressed", suppressed)
	}
	to(event, out...)
}

// bounded is a field's value with its text cut.
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

// limiter decides which lines are written. Its events are constants of the program, so their number is bounded.
type limiter struct {
	interval time.Duration
	mu       sync.Mutex
	events   map[string]*event
}

// event is the lines of one message in the current interval.
type event struct {
	began      time.Time
	parties    map[string]struct{} // those that had a line
	suppressed uint64              // lines not written since the last one that was
}

// admit reports whether a line is written, and how many of its event were not since the last one.
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
