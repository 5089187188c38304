package engine

import (
	"context"

	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/appends"
)

// Append appends opaque payloads of a party to the log, and waits until all have come to stage, or ctx ends. It returns the
// progress then; ok is false if none was taken, since too many wait. It keeps the entries. The shard must order opaque
// payloads.
func (e *Engine) Append(ctx context.Context, from admission.Party, entries ledger.Opaque, stage Stage) (result appends.Result, ok bool) {
	done := make(chan struct{})
	r := appends.NewRequest(from, entries, stage, func() { close(done) })
	a := e.driver.Appends()
	if !a.Open(r) {
		return result, false
	}
	select {
	case <-done:
	case <-ctx.Done():
	case <-e.stopped:
	}
	return a.Close(r), true
}
