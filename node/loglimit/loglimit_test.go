package loglimit

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// recorder keeps lines as text.
type recorder struct{ lines []string }

func (r *recorder) put(msg string, fields ...any) {
	r.lines = append(r.lines, msg+" "+fmt.Sprint(fields...))
}
func (r *recorder) Debugw(msg string, fields ...any) { r.put(msg, fields...) }
func (r *recorder) Infow(msg string, fields ...any)  { r.put(msg, fields...) }
func (r *recorder) Warnw(msg string, fields ...any)  { r.put(msg, fields...) }
func (r *recorder) Errorw(msg string, fields ...any) { r.put(msg, fields...) }

// A party has one line of an event in an interval; the next line has the number of suppressed lines.
func TestOneLineAnInterval(t *testing.T) {
	l := limiter{interval: time.Second}
	now := time.Unix(0, 0)
	for i := range 1000 {
		suppressed, ok := l.admit("refused", "a", now.Add(time.Duration(i)*time.Millisecond/2))
		if ok != (i == 0) || suppressed != 0 {
			t.Fatalf("line %d: written %v, %d suppressed", i, ok, suppressed)
		}
	}
	if _, ok := l.admit("dropped", "a", now); !ok {
		t.Error("another event is suppressed")
	}
	if _, ok := l.admit("refused", "b", now); !ok {
		t.Error("another party is suppressed")
	}
	for i := range 10 {
		l.admit("refused", "b", now.Add(time.Duration(i)*time.Millisecond))
	}
	if suppressed, ok := l.admit("refused", "a", now.Add(time.Second)); !ok || suppressed != 10 {
		t.Errorf("next interval: written %v, %d suppressed, want 10", ok, suppressed)
	}
}

// Any number of parties causes a bounded number of lines and takes bounded memory.
func TestManyParties(t *testing.T) {
	l := limiter{interval: time.Second}
	written := 0
	for i := range 100_000 {
		if _, ok := l.admit("refused", fmt.Sprint(i), time.Unix(0, 0)); ok {
			written++
		}
	}
	if kept := len(l.events["refused"].parties); written != PartiesPerEvent || kept != PartiesPerEvent {
		t.Errorf("%d lines written and %d parties kept, want %d", written, kept, PartiesPerEvent)
	}
}

func TestLinesAreCut(t *testing.T) {
	var r recorder
	l := New(&r)
	l.Warnw("refused", strings.Repeat("p", 1<<20), "text", strings.Repeat("é", 1<<20), "error", errors.New(strings.Repeat("e", 1<<20)))
	if len(r.lines) != 1 || len(r.lines[0]) > 2*MaxField+200 || !strings.Contains(r.lines[0], "(1048576 bytes)") {
		t.Errorf("%d lines, the first of %d bytes", len(r.lines), len(r.lines[0]))
	}
	for range 5 {
		l.Warnw("refused", "q")
	}
	if len(r.lines) != 2 {
		t.Errorf("%d lines, want 2", len(r.lines))
	}
}
