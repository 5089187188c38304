package logring

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	golog "github.com/ipfs/go-log/v2"
)

// TestRingIsBounded: the ring keeps the newest lines, and a reader that is behind gets the number of the lost lines.
func TestRingIsBounded(t *testing.T) {
	r := New(100)
	for i := range 1000 {
		r.Add(fmt.Appendf(nil, "line %04d.", i)) // 10 bytes
		if r.Bytes() > 100 {
			t.Fatalf("%d bytes after line %d", r.Bytes(), i)
		}
	}
	lines, after, lost := r.From(0, 1000)
	if len(lines) != 10 || after != 1000 || lost != 990 || string(lines[0]) != "line 0990." {
		t.Errorf("%d lines from %s, after %d, %d lost", len(lines), lines[0], after, lost)
	}
	if lines, after, lost = r.From(after, 1000); len(lines) != 0 || after != 1000 || lost != 0 {
		t.Errorf("%d lines after the last, %d, %d", len(lines), after, lost)
	}
	if lines, after, lost = r.From(r.Last(3), 2); len(lines) != 2 || after != 999 || lost != 0 || string(lines[0]) != "line 0997." {
		t.Errorf("the last three: %q, %d, %d", lines, after, lost)
	}
	if next := r.Last(50); next != 990 {
		t.Errorf("the last 50 begin at %d", next)
	}
}

// TestLongLine: a line longer than the bound is cut, and the next one is not affected.
func TestLongLine(t *testing.T) {
	r := New(DefaultBytes)
	r.copy(strings.NewReader("a\n" + strings.Repeat("b", 3*MaxLine) + "\n\nc"))
	lines, _, _ := r.From(0, 10)
	if len(lines) != 3 || string(lines[0]) != "a" || len(lines[1]) != MaxLine || string(lines[2]) != "c" {
		t.Errorf("%d lines", len(lines))
	}
}

// TestWait: Wait returns at a line and at the end of its context.
func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(100)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Wait(ctx, 1) }()
		r.Add([]byte("0"))
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("it returned before line 1: %v", err)
		default:
		}
		r.Add([]byte("1"))
		if err := <-done; err != nil {
			t.Error(err)
		}
		go func() { done <- r.Wait(ctx, 2) }()
		cancel()
		if err := <-done; err == nil {
			t.Error("no error at the end of the context")
		}
	})
}

// TestAttach: lines of loggers are in the ring as JSON, with their fields, as far as their level is enabled.
func TestAttach(t *testing.T) {
	r := New(DefaultBytes)
	stop := r.Attach()
	logger := golog.Logger("bdt/logring-test")
	if err := golog.SetLogLevel("bdt/logring-test", "info"); err != nil {
		t.Fatal(err)
	}
	logger.Debugw("hidden")
	logger.Infow("shown", "height", 5)
	stop()
	logger.Infow("after the end")
	lines, _, _ := r.From(0, 100)
	if len(lines) != 1 {
		t.Fatalf("%d lines: %q", len(lines), lines)
	}
	var line map[string]any
	if err := json.Unmarshal(lines[0], &line); err != nil || line["msg"] != "shown" || line["height"] != 5.0 || line["logger"] != "bdt/logring-test" || line["level"] != "info" {
		t.Errorf("%v %v", err, line)
	}
}
