package replica

import (
	"bdtnode/ledger"
	"bdtnode/protocols"
	"bdtnode/protocols/cancel"
	"bdtnode/protocols/mvba"
)

// cancelMessages are the entries of CL_M in the table of messages.
var cancelMessages = protocols.Lift(cancel.Messages, mvba.SignatureProof)

// Bounds of the CLs that wait for a batch of the own lane.
const (
	maxWaitingCLs = 1 << 20 // bytes, beyond which no further one waits
	maxCLsInBatch = 64
)

// Cancellation has the statements about transactions that can never be SPENT in this shard, and the CLs of other shards
// that this replica puts into its lane. Nothing of it is stored: no guarantee depends on a CL. Its inputs are inputs of
// the [Core].
type Cancellation struct {
	signs   func() bool // whether the replica may sign
	machine *cancel.Machine
	waiting [][]byte // encoded CLs for the own lane
	bytes   int      // of them
}

// Impossible is called when the committed state shows that a transaction can never be SPENT in this shard. Its signatures
// are verified.
func (x *Cancellation) Impossible(now protocols.Time, tx []byte) Step {
	if !x.signs() {
		return Step{}
	}
	return cancelled(x.machine.Impossible(now, tx))
}

// Order puts a verified CL of another shard into the own lane. A CL that finds no space is dropped.
func (x *Cancellation) Order(cl []byte) {
	if x.bytes+len(cl) <= maxWaitingCLs {
		x.waiting, x.bytes = append(x.waiting, cl), x.bytes+len(cl)
	}
}

// cancelled is the step of the core for a step of the machine.
func cancelled(child cancel.Step) Step {
	var st Step
	for _, o := range protocols.Absorb(&st, child) {
		if o.Certified != nil {
			st.Emit(Output{Cancelled: o.Certified})
		} else {
			st.Emit(Output{Suspect: o.Ask})
		}
	}
	return st
}

// notices are the CLs that the next payload has.
func (x *Cancellation) notices() []ledger.RawNotice {
	var out []ledger.RawNotice
	for _, cl := range x.waiting[:min(len(x.waiting), maxCLsInBatch)] {
		out = append(out, ledger.RawNotice{Kind: ledger.KindCancel, Content: cl})
	}
	return out
}

// take removes the CLs of the payload that is made now.
func (x *Cancellation) take() []ledger.RawNotice {
	out := x.notices()
	for i := range out {
		x.bytes -= len(out[i].Content)
	}
	if x.waiting = x.waiting[len(out):]; len(x.waiting) == 0 {
		x.waiting = nil
	}
	return out
}
