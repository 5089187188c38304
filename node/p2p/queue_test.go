package p2p

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func take(q *queue) (out []string, drained bool) {
	batch, drained := q.take(nil)
	for _, f := range batch {
		out = append(out, string(f))
	}
	return out, drained
}

func TestQueueKeepsOrderAndBatches(t *testing.T) {
	q := newQueue(1 << 20)
	big := make([]byte, batchBytes)
	for _, f := range [][]byte{[]byte("a"), []byte("b"), big, []byte("c")} {
		if q.push(f) != 0 {
			t.Fatal("lost a frame")
		}
	}
	for i, want := range []string{"[a b]", fmt.Sprintf("[%s]", big), "[c]", "[]"} {
		if got, drained := take(q); fmt.Sprint(got) != want || drained {
			t.Fatalf("batch %d has %d frames, drained %v", i, len(got), drained)
		}
	}
	if q.bytes != 0 {
		t.Fatalf("%d bytes are counted for an empty queue", q.bytes)
	}
}

func TestQueueOverflow(t *testing.T) {
	q := newQueue(3 * (frameOverhead + 1))
	lost := 0
	for range 3 {
		lost += q.push([]byte("x"))
	}
	if got, _ := take(q); len(got) != 3 || lost != 0 {
		t.Fatalf("%d frames, %d lost, before the limit", len(got), lost)
	}
	// The writer still holds these three frames while the queue fills again.
	for range 3 {
		lost += q.push([]byte("x"))
	}
	if lost != 0 {
		t.Fatal("frames being written count against the queue")
	}
	if got := q.push([]byte("x")); got != 4 {
		t.Fatalf("%d lost by the frame beyond the limit, want all 4", got)
	}
	if got := q.push([]byte("x")); got != 1 {
		t.Fatalf("%d lost before the queue drained, want 1", got)
	}
	if got, drained := take(q); len(got) != 0 || !drained {
		t.Fatalf("took %v, drained %v", got, drained)
	}
	if q.push([]byte("y")) != 0 {
		t.Fatal("frames are lost after the queue drained")
	}
	if got, drained := take(q); fmt.Sprint(got) != "[y]" || drained {
		t.Fatalf("took %v, drained %v", got, drained)
	}
}

// Empty frames without overhead could fill the memory.
func TestQueueChargesTinyFrames(t *testing.T) {
	q := newQueue(1 << 16)
	n := 0
	for q.push([]byte{1}) == 0 {
		n++
	}
	if n > 1<<16/frameOverhead {
		t.Fatalf("%d frames of one byte in a queue of %d", n, 1<<16)
	}
}

func TestQueueWaitIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(1 << 20)
		q.waitIdle(nil, time.Hour) // returns at once
		q.push([]byte("a"))
		done := make(chan string, 1)
		wait := func(stop chan struct{}, d time.Duration) {
			go func() { q.waitIdle(stop, d); done <- "done" }()
			synctest.Wait()
		}
		wait(nil, time.Hour)
		q.take(nil)
		synctest.Wait()
		if len(done) != 0 {
			t.Fatal("idle while the writer writes")
		}
		q.take(nil)
		<-done
		q.push([]byte("b"))
		stop := make(chan struct{})
		wait(stop, time.Hour)
		close(stop)
		<-done
		began := time.Now()
		wait(nil, time.Minute)
		<-done
		if time.Since(began) != time.Minute {
			t.Fatalf("waited %v", time.Since(began))
		}
	})
}

func TestPacerBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPacer()
		ctx, cancel := context.WithCancelCause(context.Background())
		var granted atomic.Int64
		for range 10 {
			go func() {
				if p.reserve(ctx, chunk) == nil {
					granted.Add(1)
					p.add(chunk) // the stream passed it on
					p.release(chunk)
				}
			}()
		}
		synctest.Wait()
		if want := int64(paceBudget / chunk); granted.Load() != want {
			t.Fatalf("%d chunks in flight, want %d", granted.Load(), want)
		}
		p.add(-chunk) // the socket took one
		synctest.Wait()
		if want := int64(paceBudget/chunk + 1); granted.Load() != want {
			t.Fatalf("%d chunks after one had left, want %d", granted.Load(), want)
		}
		gone := errors.New("gone")
		cancel(gone)
		synctest.Wait()
		if err := p.reserve(ctx, chunk); !errors.Is(err, gone) {
			t.Fatalf("reserve on a dead connection: %v", err)
		}
		if granted.Load() != paceBudget/chunk+1 {
			t.Fatal("reserved after the end")
		}
	})
}
