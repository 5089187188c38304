package driver

import (
	"fmt"

	"bdtnode/internal/kv"
	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/clients"
	"bdtnode/node/execution"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/certify"
	"bdtnode/protocols/vouch"
	"bdtnode/shard/settlement"
)

// All inputs of the core pass through this file, and those of the admission state through input.go of package clients. Both
// are deterministic, so their inputs in order determine everything they do. Results of the disk and of reads that run
// concurrently are part of the inputs.

// Recorder is told the inputs of a driver and their results. Its methods do not block.
type Recorder interface {
	clients.Recorder
	execution.Recorder
	// Begin is called on the loop before the core handles an input. If the core panics, no call of Core follows.
	Begin(in CoreInput)
	// Core is called on the loop when the core has handled an input, before the host gets the step.
	Core(in CoreInput, st *replica.Step)
}

// CoreKind is the kind of a [CoreInput].
type CoreKind uint8

// The kinds of inputs of the core, with the fields that they use. All but CoreConnected and CoreWitness use At.
const (
	CoreStart     CoreKind = iota + 1
	CoreMessage            // Message
	CoreExecuted           // Block
	CoreConnected          // Peer
	CoreWitness            // Evidence
	CoreTick
	CoreAppend     // Entries, Waiting: a batch of the own lane
	CoreImpossible // Content, a transaction: it can never be SPENT in this shard
	CoreCancel     // Content, a CL for the own lane
	CoreChecked    // Results of checks of batches
)

// CoreInput is an input of the core.
type CoreInput struct {
	Kind     CoreKind
	At       admission.Reading
	Peer     protocols.Index
	Message  replica.Verified
	Block    *execution.Executed
	Evidence *settlement.Evidence
	Entries  clients.Entries
	Waiting  int // bytes of transactions that waited for a batch
	Content  []byte
	Results  []vouch.Result
}

// input gives an input to the core, and its step to the host. It is a call of the loop.
func (d *Driver) input(in CoreInput) {
	if d.cfg.Recorder != nil {
		d.cfg.Recorder.Begin(in)
	}
	d.moved = true
	st, own := d.guarded(&in)
	if d.cfg.Recorder != nil {
		d.recordCore(in, st)
	}
	for _, f := range st.Faults {
		d.host.Misbehaved(f)
	}
	d.host.Write(Action{Step: st, Own: own})
	releaseEarly(d, &st)
}

// recordCore takes copies, so that input allocates nothing without a recorder.
//
//go:noinline
func (d *Driver) recordCore(in CoreInput, st replica.Step) { d.cfg.Recorder.Core(in, &st) }

// guarded gives an input to the core. If the own header of a block differs from the certified one, it checks the signatures
// of all batches of the block before it panics, so that the message names the cause.
func (d *Driver) guarded(in *CoreInput) (st replica.Step, own *clients.OwnBatch) {
	defer func() {
		r := recover()
		if x, ok := r.(*certify.Divergence); ok {
			panic(d.execution.Explain(x))
		}
		if r != nil {
			panic(r)
		}
	}()
	return d.step(in)
}

func (d *Driver) step(in *CoreInput) (st replica.Step, own *clients.OwnBatch) {
	if in.Kind != CoreConnected && in.Kind != CoreWitness {
		d.wall.Set(in.At.Ahead)
	}
	switch now := in.At.Now; in.Kind {
	case CoreStart:
		st = d.core.Start(now)
	case CoreMessage:
		st = d.core.Handle(now, in.Message)
	case CoreExecuted:
		st = d.core.Executed(now, in.Block.Block)
	case CoreConnected:
		st = d.core.Connected(in.Peer)
	case CoreWitness:
		st = d.core.Witness(in.Evidence)
	case CoreTick:
		st = d.core.Tick(now)
	case CoreAppend:
		st, own = d.append(now, &in.Entries)
	case CoreImpossible:
		st = d.core.Cancellation.Impossible(now, in.Content)
	case CoreCancel:
		d.core.Cancellation.Order(in.Content)
	case CoreChecked:
		st = d.core.Vouching.Checked(now, in.Results)
	}
	return st, own
}

// append makes a batch of the own lane, and keeps its payload for its execution. Its transactions are those that were
// admitted: they are not decoded again.
func (d *Driver) append(now protocols.Time, in *clients.Entries) (replica.Step, *clients.OwnBatch) {
	raw := in.Opaque
	for _, tx := range in.Txs {
		raw = append(raw, tx.Encode())
	}
	st, batch, notices := d.core.Append(now, raw)
	var payload *ledger.Payload
	var err error
	if d.cfg.opaque() {
		payload, err = ledger.DecodePayload(d.kinds, batch.Payload)
	} else {
		payload, err = ledger.NewPayload(d.kinds, in.Txs, notices)
	}
	if err != nil {
		panic(fmt.Sprintf("driver: own payload does not decode: %v", err))
	}
	d.contents.PutPayload(batch.Digest(), payload, len(batch.Payload))
	return st, &clients.OwnBatch{Number: batch.Seq, Payload: payload}
}

// clock reads the clocks for an input.
func (d *Driver) clock() admission.Reading {
	now, ahead := d.host.Clock()
	return admission.Reading{Now: now, Ahead: ahead}
}

// Replay gives recorded inputs to a driver, in the order in which they were recorded. It stands for all goroutines of a
// host, so there is one caller. The results go to the [Recorder] of the driver.
type Replay struct{ D *Driver }

// Core repeats an input of the core. The error says that this program would not have given it to the core.
func (r Replay) Core(in CoreInput) error {
	switch in.Kind {
	case CoreTick:
		if due := r.D.core.Wake(); due == 0 || in.At.Now < due {
			return fmt.Errorf("the timer of the core is set to %d and not due at %d", due, in.At.Now)
		}
	case CoreAppend:
		if ok, _ := r.D.core.WantsBatch(in.At.Now, in.Waiting); !ok {
			return fmt.Errorf("with %d bytes that wait, no batch is made at %d", in.Waiting, in.At.Now)
		}
	default:
	}
	r.D.input(in)
	return nil
}

// Admission repeats an input of the admission state.
func (r Replay) Admission(in clients.AdmissionInput) { r.D.clients.Repeat(in) }

// Execute repeats the execution of a committed block.
func (r Replay) Execute(x *bdt.Delivery) (*execution.Executed, error) {
	return r.D.execution.Execute(x)
}

// Message verifies a recorded message again.
func (r Replay) Message(from protocols.Index, m protocols.Message) (replica.Verified, error) {
	return r.D.intake.Verify(from, m)
}

// Written makes the records of a step readable for later inputs.
func (r Replay) Written(store kv.Store, a *Action) error {
	var b kv.Batch
	if replica.Apply(&b, a.Persist); b.Len() == 0 {
		return nil
	}
	return store.Apply(&b, false)
}
