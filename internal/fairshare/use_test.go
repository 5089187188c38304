package fairshare

import (
	"context"
	"testing"
	"time"
)

// TestUse: places that are taken are not free, and requests without a place wait.
func TestUse(t *testing.T) {
	s := NewPlaces[string](2, 2)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if free, waiting := s.Use(); free != 2 || waiting != 0 {
		t.Errorf("%d free, %d wait", free, waiting)
	}
	s.Take(ctx, "a")
	s.Take(ctx, "a")
	done := make(chan bool)
	go func() { done <- s.Take(ctx, "b") }()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if free, waiting := s.Use(); free == 0 && waiting == 1 {
			break
		} else if time.Now().After(end) {
			t.Fatalf("%d free, %d wait", free, waiting)
		}
	}
	s.Give("a")
	if !<-done {
		t.Error("no place for b")
	}
	if free, waiting := s.Use(); free != 0 || waiting != 0 {
		t.Errorf("%d free, %d wait", free, waiting)
	}
}
