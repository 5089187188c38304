package node

import (
	"context"
	"fmt"

	"bdtnode/ledger"
	"bdtnode/ledger/paylog"
	"bdtnode/node/admin"
	"bdtnode/node/admission"
	"bdtnode/node/api"
	"bdtnode/node/appends"
	"bdtnode/node/events"
	"bdtnode/node/logread"
)

// errNoPayments is the answer to a question about transactions in a network that orders opaque payloads.
var errNoPayments = fmt.Errorf("the network orders opaque payloads (ledger log) and has no transactions: %w", admin.ErrNotFound)

// newLogReader returns the reader of the log, nil if the shard settles payments.
func (n *Node) newLogReader() *logread.Reader {
	if n.log == nil {
		return nil
	}
	return logread.New(logread.Config{
		Log: n.log, Committee: n.committee, Store: n.consensus, Certified: func() uint64 { return n.engine.Status().Certified },
	})
}

// logBackend is the part of the client API for the log, nil if the shard settles payments.
func (n *Node) logBackend() api.LogBackend {
	if n.log == nil {
		return nil
	}
	return backend{n}
}

// Append implements [api.LogBackend].
func (b backend) Append(ctx context.Context, from string, entries ledger.Opaque, wait api.Wait) (api.AppendAnswer, error) {
	stage := stages[wait]
	r, ok := b.engine.Append(ctx, admission.ClientParty(from), entries, stage)
	if !ok {
		return api.AppendAnswer{}, api.ErrLogFull
	}
	return b.appendAnswer(&r, stage), nil
}

func (b backend) appendAnswer(r *appends.Result, stage admission.Stage) api.AppendAnswer {
	out := api.AppendAnswer{Shard: b.home.Shard, State: api.StateUnknown, Count: r.Count, Accepted: r.Accepted, Dropped: r.Dropped}
	reached := admission.Stage(0)
	switch ordered := r.Ordered() == r.Count; {
	case r.Certified:
		out.State, reached = api.StateCertified, admission.Certified
	case ordered:
		out.State, reached = api.StateOrdered, admission.Ordered
	case r.Accepted == r.Count:
		out.State, reached = api.StateAccepted, admission.Logged
	}
	out.TimedOut = reached < stage
	for _, p := range r.Placed {
		out.Placed = append(out.Placed, api.PlacedPayloads{Index: p.Index, Count: p.Count, Height: p.At.Height, Batch: p.At.Batch, Position: p.At.Position})
	}
	for _, p := range r.Repeated {
		out.Repeated = append(out.Repeated, api.RepeatPayload{Index: p.Index, Height: p.Of.Height, Batch: p.Of.Batch, Position: p.Of.Position})
	}
	return out
}

// Log implements [api.LogBackend].
func (b backend) Log(q api.LogQuery) api.LogStream { return b.reader.Open(q) }

// Payload implements [api.LogBackend].
func (b backend) Payload(at ledger.LogPlace, prove bool) (api.LogEntries, []byte, error) {
	return b.reader.Payload(at, prove)
}

// eventSource is the ledger of which events are made.
func (n *Node) eventSource() events.Ledger {
	if n.log != nil {
		return logEvents{n.log}
	}
	return n.state
}

// logEvents is a log as the source of events: blocks without receipts.
type logEvents struct{ *paylog.Log }

func (l logEvents) BlockTxs(height uint64) ([]ledger.TxID, bool, error) {
	return nil, height <= l.Height(), nil
}

func (l logEvents) BlockReceipts(height uint64, _, _ int) (receipts []ledger.Receipt, more, ok bool, err error) {
	return nil, false, height <= l.Height(), nil
}

func (logEvents) FirstChange(ledger.Address, uint64) (uint64, error) { return 0, nil }

func (logEvents) Changes(ledger.Address, uint64, int) ([]ledger.HistoryEntry, error) { return nil, nil }

func (logEvents) Freezes(uint64, uint64) ([]ledger.Freeze, error) { return nil, nil }
