package engine

import (
	"errors"
	"testing"
	"time"

	"bdtnode/internal/kv"
	"bdtnode/node/driver"
	"bdtnode/node/replica"
	"bdtnode/protocols"
)

// brokenStore refuses each write.
type brokenStore struct{ *kv.Mem }

var errBroken = errors.New("the disk is broken")

func (brokenStore) Apply(*kv.Batch, bool) error { return errBroken }

// TestWriterThatFails: the loop does not wait for ever for a writer whose disk has failed.
func TestWriterThatFails(t *testing.T) {
	w := newWriter(brokenStore{kv.NewMem()}, &syncs{})
	record := protocols.Record{Key: []byte("k"), Value: []byte("v")}
	a := driver.Action{Step: replica.Step{Persist: []protocols.Record{record}}}
	w.put(a)
	if err := w.run(t.Context(), nil); !errors.Is(err, errBroken) {
		t.Fatalf("the writer ends with %v", err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 2 * maxQueuedActions {
			w.put(a)
		}
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("the loop waits for a writer that has ended")
	}
}
