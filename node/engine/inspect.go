package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/driver"
	"bdtnode/protocols"
)

// inspectEvery is the least time between two snapshots of the loop. A request in between gets the one before.
const inspectEvery = 100 * time.Millisecond

// Inspect returns a snapshot of the loop's state that is at most 100 ms old. The loop takes it between two inputs. The
// error says that the loop did not answer before ctx ended, or that the engine has stopped.
func (e *Engine) Inspect(ctx context.Context) (*driver.View, error) {
	if v := e.inspected.Load(); v != nil && e.clock.now().Sub(v.At) < inspectEvery {
		return v, nil
	}
	reply := make(chan *driver.View, 1) // the loop never waits for the reader
	stopped := func(err error) (*driver.View, error) {
		return nil, fmt.Errorf("the loop of the engine does not answer: %w", err)
	}
	select {
	case e.inspect <- reply:
	case <-ctx.Done():
		return stopped(ctx.Err())
	case <-e.stopped:
		return stopped(context.Canceled)
	}
	select {
	case v := <-reply:
		if v == nil {
			return nil, errors.New("the snapshot of the state failed, see the log")
		}
		return v, nil
	case <-ctx.Done():
		return stopped(ctx.Err())
	case <-e.stopped:
		return stopped(context.Canceled)
	}
}

// answerInspection takes a snapshot for a request. It is a call of the loop.
func (e *Engine) answerInspection(reply chan<- *driver.View) {
	v := e.inspected.Load()
	if v == nil || e.clock.now().Sub(v.At) >= inspectEvery {
		if v = e.snapshot(); v != nil {
			e.inspected.Store(v)
		}
	}
	reply <- v
}

// snapshot is nil if it fails. A snapshot changes nothing, so its failure does not stop the replica.
func (e *Engine) snapshot() (v *driver.View) {
	defer func() {
		if p := recover(); p != nil {
			outside.Errorw("a snapshot of the state failed", "own", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			v = nil
		}
	}()
	return e.driver.Inspect()
}

// InspectClients takes a snapshot of the admission.
func (e *Engine) InspectClients() admission.View { return e.driver.Clients().Inspect() }

// InspectTx takes a snapshot of a transaction that no block has decided, and returns the transaction.
func (e *Engine) InspectTx(id ledger.TxID) (v admission.TxView, tx *ledger.Tx, ok bool) {
	return e.driver.Clients().InspectTx(id)
}

// maxFaults is the number of different faults of peers that are remembered.
const maxFaults = 64

// Fault is a misbehaviour of a peer, with the number of times that it was observed since the start.
type Fault struct {
	protocols.Fault
	Count       uint64
	First, Last time.Time
}

// faults remembers the newest faults of peers, one for each peer and reason.
type faults struct {
	mu   sync.Mutex
	list []Fault // the newest last
}

func (x *faults) note(f protocols.Fault, now time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(f.Reason) > maxReason {
		f.Reason = f.Reason[:maxReason]
	}
	n := Fault{Fault: f, First: now}
	if i := slices.IndexFunc(x.list, func(y Fault) bool { return y.Fault == f }); i >= 0 {
		n = x.list[i]
		x.list = slices.Delete(x.list, i, i+1)
	}
	n.Count++
	n.Last = now
	if len(x.list) == maxFaults {
		x.list = slices.Delete(x.list, 0, 1)
	}
	x.list = append(x.list, n)
}

// maxReason bounds the reason of a remembered fault, in bytes.
const maxReason = 512

// Faults lists the newest faults of peers since the start, at most 64, the newest last.
func (e *Engine) Faults() []Fault {
	e.faults.mu.Lock()
	defer e.faults.mu.Unlock()
	return slices.Clone(e.faults.list)
}
