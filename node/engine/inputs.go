package engine

import (
	"context"
	"fmt"
	"time"

	"bdtnode/node/execution"
	"bdtnode/node/p2p"
	"bdtnode/node/replica"
	"bdtnode/protocols"
)

// Quotas of the input channel. Readers share it by peer and class. The executor has the reserve, which is more than
// it can use at once.
const (
	controlQuota = 256 // places, of quotaUnit bytes each
	bulkQuota    = 64
	reserve      = 128
	quotaUnit    = 64 << 10 // bytes of a frame that take one place of its peer's quota
)

// inputs is the one channel to the loop, with a quota for each peer and class and one for LDs from outside the shard.
type inputs struct {
	events chan event
	quota  [][2]chan struct{} // by peer and class
	offers chan struct{}      // for LDs from outside the shard
}

// event is one input of the loop: a message, or an executed block.
type event struct {
	message replica.Verified
	quota   chan struct{} // the quota of the taken places
	places  int

	executed *execution.Executed // instead of a message
}

func newInputs(n int) *inputs {
	in := &inputs{
		events: make(chan event, (n-1)*(controlQuota+bulkQuota)+bulkQuota+reserve),
		offers: make(chan struct{}, bulkQuota),
		quota:  make([][2]chan struct{}, n),
	}
	for i := range in.quota {
		in.quota[i] = [2]chan struct{}{make(chan struct{}, controlQuota), make(chan struct{}, bulkQuota)}
	}
	return in
}

// put blocks while the quota is used up, until the engine has stopped. The channel has as many places as all quotas
// together, and one reader at a time takes several.
func (in *inputs) put(ev event, stopped <-chan struct{}) {
	for range ev.places {
		select {
		case ev.quota <- struct{}{}:
		case <-stopped:
			return
		}
	}
	in.events <- ev
}

// executed hands an executed block to the loop. It is false if ctx ends before.
func (in *inputs) executed(ctx context.Context, x *execution.Executed) bool {
	select {
	case in.events <- event{executed: x}:
		return true
	case <-ctx.Done():
		return false
	}
}

// release gives the event's places back.
func (ev *event) release() {
	for range ev.places {
		<-ev.quota
	}
}

// Receive checks a frame on its reader's goroutine, and hands a good message to the loop. An error means that no honest
// replica sends such a frame.
func (e *Engine) Receive(from protocols.Index, class p2p.Class, frame []byte) error {
	take, wait := e.driver.Intake().Pass(from, frame)
	if wait > 0 && !e.pause(wait) || !take {
		return nil
	}
	if len(frame) > 0 && replica.Bulk(protocols.Kind(frame[0])) != (class == p2p.Bulk) {
		return fmt.Errorf("message kind %#x came on the %s stream", frame[0], class)
	}
	m, err := e.driver.Intake().Check(from, frame)
	if m.IsZero() || err != nil {
		return err
	}
	e.inputs.put(event{message: m, quota: e.inputs.quota[from][class], places: places(class, frame)}, e.stopped)
	return nil
}

// pause makes the stream of a peer above a budget wait. It returns false if the engine stops before the end.
func (e *Engine) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-e.stopped:
		return false
	}
}

// places is the number of places that a frame takes of its quota. A value of the agreement may have 2 MiB, and is
// control.
func places(class p2p.Class, frame []byte) int {
	quota := controlQuota
	if class == p2p.Bulk {
		quota = bulkQuota
	}
	return min(1+len(frame)/quotaUnit, quota/2)
}
