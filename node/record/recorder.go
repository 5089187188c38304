package record

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	golog "github.com/ipfs/go-log/v2"

	"bdtnode/internal/sig"
	"bdtnode/node/admission"
	"bdtnode/node/clients"
	"bdtnode/node/driver"
	"bdtnode/node/execution"
	"bdtnode/node/replica"
	"bdtnode/protocols/coin"
	"bdtnode/protocols/lanes"
)

var logger = golog.Logger("bdt/record")

// Bounds of the inputs that wait to be written. If one is reached, the recording ends.
const (
	maxQueued      = 1 << 16
	maxQueuedBytes = 64 << 20 // of batches and transactions
	writeAt        = 512      // queued inputs that are written without waiting for writeEvery
	writeEvery     = 100 * time.Millisecond
)

// File is the file of a recording.
type File interface {
	io.WriteCloser
	Sync() error
}

// Recorder is the [driver.Recorder] that writes a recording. It never delays or ends the replica: any error ends the
// recording with a log line.
type Recorder struct {
	limits Limits
	began  time.Time
	over   atomic.Bool // nothing more is recorded

	mu       sync.Mutex
	queue    []*entry
	bytes    int
	overflow bool
	requests map[*admission.Request]uint64
	opened   uint64 // number of requests so far
	current  *driver.CoreInput
	kick     chan struct{}

	signed signatures // of the loop

	file  sync.Mutex // held while entries are written; guards the rest
	out   File
	e     encoder
	chain chain
	spare []*entry
	size  int64
	ended bool
}

var _ driver.Recorder = (*Recorder)(nil)

// New begins a recording in an empty file, which the Recorder closes. The error is that of the file.
func New(out File, h Header) (*Recorder, error) {
	b, err := h.begin()
	if err != nil {
		return nil, errors.Join(err, out.Close())
	}
	if _, err := out.Write(b); err != nil {
		return nil, errors.Join(fmt.Errorf("begin the recording: %w", err), out.Close())
	}
	return &Recorder{
		limits: Limits{For: h.For, Bytes: h.Bytes}, began: time.Now(), requests: make(map[*admission.Request]uint64),
		kick: make(chan struct{}, 1), out: out, size: int64(len(b)),
	}, nil
}

// Signer returns a signer whose signatures are recorded. The core calls it.
func (r *Recorder) Signer(s sig.Signer) sig.Signer { return recordedSigner{s, r} }

// Holder returns a holder whose shares are recorded. The core calls it.
func (r *Recorder) Holder(h coin.Holder) coin.Holder { return recordedHolder{h, r} }

type recordedSigner struct {
	sig.Signer
	r *Recorder
}

func (s recordedSigner) Sign(message []byte) sig.Signature {
	x := s.Signer.Sign(message)
	if !s.r.over.Load() {
		s.r.signed.signatures = append(s.r.signed.signatures, x)
	}
	return x
}

type recordedHolder struct {
	coin.Holder
	r *Recorder
}

func (h recordedHolder) Share(statement []byte) coin.Share {
	x := h.Holder.Share(statement)
	if !h.r.over.Load() {
		h.r.signed.shares = append(h.r.signed.shares, x)
	}
	return x
}

// Restored implements [driver.Recorder].
func (r *Recorder) Restored(at admission.Reading, c clients.AdmissionCounts) {
	r.put(&entry{kind: kindRestored, at: at, counts: c, signed: r.take()}, 0)
}

// Begin implements [driver.Recorder].
func (r *Recorder) Begin(in driver.CoreInput) {
	if r.over.Load() {
		return
	}
	r.mu.Lock()
	r.current = &in
	r.mu.Unlock()
}

// Core implements [driver.Recorder].
func (r *Recorder) Core(in driver.CoreInput, st *replica.Step) {
	if r.over.Load() {
		return
	}
	size := 0
	if b, ok := in.Message.Message().(*lanes.Batch); ok {
		size = len(b.Payload)
	}
	for _, tx := range in.Entries.Txs {
		size += 2 * len(tx.Encode()) // they are also in the step
	}
	for _, part := range in.Entries.Opaque {
		size += 2 * len(part)
	}
	in.Entries = clients.Entries{}
	r.put(&entry{kind: uint8(in.Kind), core: in, step: st, signed: r.take()}, size)
}

// take empties the list of results of signing.
func (r *Recorder) take() signatures {
	s := r.signed
	r.signed = signatures{}
	return s
}

// Block implements [driver.Recorder].
func (r *Recorder) Block(x *execution.Executed) { r.put(&entry{kind: kindBlock, block: x}, 0) }

// Admission implements [driver.Recorder].
func (r *Recorder) Admission(in *clients.AdmissionInput, res *clients.AdmissionResult) {
	if r.over.Load() {
		return
	}
	x, size := &entry{kind: kindAdmission + uint8(in.Kind), admission: *in, result: res}, 0
	switch in.Kind {
	case clients.AdmissionOpen:
		x.info = in.Request.Info()
		size = len(x.info.IDs) * len(x.id)
	case clients.AdmissionAdmit:
		size = len(in.Verified.Tx().Encode())
	default:
	}
	r.put(x, size)
}

// put queues an entry. The order of calls is the order of the file.
func (r *Recorder) put(x *entry, size int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over.Load() {
		return
	}
	if x.core.Kind != 0 {
		r.current = nil
	}
	if q := x.admission.Request; q != nil {
		r.number(x, q)
	}
	r.queue = append(r.queue, x)
	r.bytes += size
	if len(r.queue) >= maxQueued || r.bytes >= maxQueuedBytes {
		r.overflow = true
		r.over.Store(true)
	}
	if len(r.queue)%writeAt == 0 || r.overflow {
		select {
		case r.kick <- struct{}{}:
		default:
		}
	}
}

// number numbers requests in the order in which they are opened.
func (r *Recorder) number(x *entry, q *admission.Request) {
	switch x.admission.Kind {
	case clients.AdmissionOpen:
		r.opened++
		r.requests[q] = r.opened
	case clients.AdmissionClose:
		defer delete(r.requests, q)
	default:
	}
	x.request = r.requests[q]
}

// Run writes the recording until a limit is reached or ctx ends.
func (r *Recorder) Run(ctx context.Context) {
	tick := time.NewTicker(writeEvery)
	defer tick.Stop()
	for !r.over.Load() {
		select {
		case <-r.kick:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		r.write()
		switch {
		case r.limits.For > 0 && time.Since(r.began) >= r.limits.For:
			r.end(fmt.Sprintf("its duration of %v is over", r.limits.For))
		case r.limits.Bytes > 0 && r.written() >= r.limits.Bytes:
			r.end(fmt.Sprintf("it has %d bytes", r.limits.Bytes))
		case r.over.Load():
			r.end("the disk is too slow: too many inputs waited to be written")
		}
	}
}

// Close ends the recording, with the reason. It is called when the engine has ended. Later calls do nothing.
func (r *Recorder) Close(why string) {
	if r.over.Load() {
		r.end(why)
		return
	}
	r.write()
	r.mu.Lock()
	if in := r.current; in != nil { // the core did not return
		r.queue = append(r.queue, &entry{kind: kindUnfinished, core: *in, signed: r.take()})
	}
	r.mu.Unlock()
	r.end(why)
}

// Written is the number of bytes in the file.
func (r *Recorder) written() int64 {
	r.file.Lock()
	defer r.file.Unlock()
	return r.size
}

// write writes the queued entries.
func (r *Recorder) write() {
	r.file.Lock()
	defer r.file.Unlock()
	if r.ended {
		return
	}
	if err := r.drain(); err != nil {
		r.failed(err)
	}
}

// drain encodes and writes the queued entries. A panic would be a bug of this package, and must not end the replica.
func (r *Recorder) drain() (err error) {
	defer func() {
		if x := recover(); x != nil {
			err = fmt.Errorf("broken invariant: %v", x)
		}
	}()
	r.mu.Lock()
	entries := r.queue
	r.queue, r.bytes = r.spare[:0], 0
	r.mu.Unlock()
	for i, x := range entries {
		r.encode(x)
		entries[i] = nil
		if len(r.e.b) >= blockBytes {
			if err := r.flush(); err != nil {
				return err
			}
		}
	}
	r.spare = entries
	return r.flush()
}

// encode appends an entry and its sum to the block.
func (r *Recorder) encode(x *entry) {
	from := len(r.e.b)
	x.append(&r.e)
	if x.kind == kindEnd || x.kind == kindUnfinished {
		return
	}
	s := r.chain.next(r.e.b[from:], func(e *encoder) {
		switch {
		case x.kind == kindRestored:
			appendCounts(e, x.counts)
		case x.kind == kindBlock:
			appendBlock(e, x.block.Block)
		case x.kind > kindAdmission:
			appendResult(e, &x.admission, x.result)
		default:
			appendStep(e, x.step)
		}
	})
	r.e.raw(s[:])
}

// flush writes the encoded entries as one block.
func (r *Recorder) flush() error {
	if len(r.e.b) == 0 {
		return nil
	}
	b := appendBlockOf(make([]byte, 0, len(r.e.b)+8), r.e.b)
	r.e.b = r.e.b[:0]
	n, err := r.out.Write(b)
	r.size += int64(n)
	return err
}

// end writes the queued entries and the end of the recording, and closes the file.
func (r *Recorder) end(why string) {
	r.over.Store(true)
	r.file.Lock()
	defer r.file.Unlock()
	if r.ended {
		return
	}
	r.mu.Lock()
	r.queue = append(r.queue, &entry{kind: kindEnd, why: why})
	r.mu.Unlock()
	if err := r.drain(); err != nil {
		r.failed(err)
		return
	}
	r.ended = true
	if err := errors.Join(r.out.Sync(), r.out.Close()); err != nil {
		logger.Warnw("the recording was not written whole", "error", err, "bytes", r.size)
		return
	}
	logger.Infow("the recording ended", "why", why, "bytes", r.size)
}

// failed ends the recording after an error of the file.
func (r *Recorder) failed(err error) {
	r.over.Store(true)
	r.ended = true
	logger.Warnw("the recording was not written whole", "error", errors.Join(err, r.out.Close()), "bytes", r.size)
}
