package record

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"bdtnode/node/clients"
)

// disk is the file of a recording. Writes wait for gate if it is not nil, and fail after failAt bytes if that is not 0.
type disk struct {
	mu     sync.Mutex
	b      bytes.Buffer
	gate   chan struct{}
	failAt int
	closed bool
}

func (d *disk) Write(b []byte) (int, error) {
	if d.gate != nil {
		<-d.gate
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failAt != 0 && d.b.Len()+len(b) > d.failAt {
		return 0, errors.New("no space")
	}
	return d.b.Write(b)
}

func (d *disk) Sync() error { return nil }

func (d *disk) Close() error {
	d.closed = true
	return nil
}

// last is the reason at the end of the file, and the number of its entries.
func (d *disk) last(t *testing.T) (why string, entries int) {
	t.Helper()
	in := &reader{r: bytes.NewReader(d.b.Bytes())}
	if _, err := in.open(); err != nil {
		t.Fatal(err)
	}
	dec := &decoder{}
	for {
		if len(dec.b) == 0 {
			b, err := in.block()
			if err != nil {
				return why, entries
			}
			dec.b = b
		}
		x, err := readEntry(dec, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		if entries++; x.kind == kindEnd {
			why = x.why
		}
	}
}

func find() (*clients.AdmissionInput, *clients.AdmissionResult) {
	return &clients.AdmissionInput{Kind: clients.AdmissionFind}, &clients.AdmissionResult{}
}

// TestRecorderEndsAtItsLimits: the duration and the size of a recording are bounded.
func TestRecorderEndsAtItsLimits(t *testing.T) {
	for want, h := range map[string]Header{
		"its duration":  {For: 50 * time.Millisecond, Bytes: 1 << 30},
		"it has 100000": {For: time.Hour, Bytes: 100_000},
	} {
		d := &disk{}
		r, err := New(d, h)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { r.Run(context.Background()); close(ended) }()
		for {
			for range 100 {
				r.Admission(find())
			}
			select {
			case <-ended:
			case <-time.After(time.Millisecond):
				continue
			}
			break
		}
		why, entries := d.last(t)
		if !strings.HasPrefix(why, want) || entries < 100 || !d.closed {
			t.Errorf("%s: %q, %d entries", want, why, entries)
		}
		if size := int64(d.b.Len()); size > h.Bytes+blockBytes+maxQueued*50 {
			t.Errorf("%s: %d bytes", want, size)
		}
		r.Admission(find()) // does nothing
		r.Close("later")
	}
}

// TestSlowDiskEndsTheRecording: inputs are never delayed by a disk that does not write, and their number in memory is
// bounded.
func TestSlowDiskEndsTheRecording(t *testing.T) {
	d := &disk{}
	r, err := New(d, Header{})
	if err != nil {
		t.Fatal(err)
	}
	d.gate = make(chan struct{})
	ended := make(chan struct{})
	go func() { r.Run(context.Background()); close(ended) }()
	for range 3 * maxQueued {
		r.Admission(find())
	}
	r.mu.Lock()
	queued := len(r.queue)
	r.mu.Unlock()
	if queued > maxQueued || !r.over.Load() {
		t.Errorf("%d entries wait, over: %v", queued, r.over.Load())
	}
	close(d.gate)
	<-ended
	if why, _ := d.last(t); !strings.Contains(why, "too slow") {
		t.Errorf("it ended because %q", why)
	}
}

// TestFullDiskEndsTheRecording: an error of the file ends the recording. The entries before it can be read.
func TestFullDiskEndsTheRecording(t *testing.T) {
	d := &disk{failAt: 20_000}
	r, err := New(d, Header{})
	if err != nil {
		t.Fatal(err)
	}
	for !r.over.Load() {
		r.Admission(find())
		r.write()
	}
	r.Close("later")
	if why, entries := d.last(t); why != "" || entries == 0 || !d.closed {
		t.Errorf("%q, %d entries", why, entries)
	}
}
