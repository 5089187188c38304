package driver

import (
	"fmt"
	"time"

	"bdtnode/internal/kv"
	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/execution"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/certify"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/vouch"
	"bdtnode/shard/settlement"
)

// All inputs of the core and of the admission state pass through this file. Both are deterministic, so their inputs in
// order determine everything they do. Results of the disk and of reads that run concurrently are part of the inputs.

// Recorder is told the inputs of a driver and their results. Its methods do not block.
type Recorder interface {
	execution.Recorder
	// Begin is called on the loop before the core handles an input. If the core panics, no call of Core follows.
	Begin(in CoreInput)
	// Core is called on the loop when the core has handled an input, before the host gets the step.
	Core(in CoreInput, st *replica.Step)
	// Admission is called under the lock of the admission state, when that state has handled an input.
	Admission(in *AdmissionInput, r *AdmissionResult)
	// Restored is called by [New] when the replica is restored from its stores, with the reading of the clocks that was
	// used.
	Restored(at Reading, c AdmissionCounts)
}

// Reading is one reading of the clocks, see [Host.Clock].
type Reading struct {
	Now   protocols.Time
	Ahead time.Duration // of the wall clock
}

// instant is the reading as the admission state takes it.
func (r Reading) instant() admission.Instant {
	return admission.Instant{Now: r.Now, WallMS: max(r.Now.Add(r.Ahead), 0).Millis()}
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
	At       Reading
	Peer     protocols.Index
	Message  replica.Verified
	Block    *execution.Executed
	Evidence *settlement.Evidence
	Entries  Entries
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
func (d *Driver) guarded(in *CoreInput) (st replica.Step, own *OwnBatch) {
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

func (d *Driver) step(in *CoreInput) (st replica.Step, own *OwnBatch) {
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
func (d *Driver) append(now protocols.Time, in *Entries) (replica.Step, *OwnBatch) {
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
	return st, &OwnBatch{batch.Seq, payload}
}

// AdmissionKind is the kind of an [AdmissionInput].
type AdmissionKind uint8

// The kinds of inputs of the admission state, with the fields that they use and the result.
const (
	AdmissionOpen       AdmissionKind = iota + 1 // Request
	AdmissionClose                               // Request
	AdmissionAdmit                               // At, Request, Verified, Lookup; OK: the lookup was new enough
	AdmissionAnswer                              // At, Request, Receipt
	AdmissionFind                                // ID; OK, Progress
	AdmissionTake                                // Notices; Txs
	AdmissionLogged                              // At, Own
	AdmissionExecuted                            // At, Block
	AdmissionCertified                           // Height
	AdmissionDue                                 // At; Due
	AdmissionRetry                               // At, Retried, Lookup
	AdmissionCheckpoint                          // Records
	AdmissionCancel                              // At, ID: another shard has cancelled it
)

// AdmissionInput is an input of the admission state.
type AdmissionInput struct {
	Kind     AdmissionKind
	At       Reading
	Request  *admission.Request
	Verified ledger.VerifiedTx
	Retried  *ledger.Tx
	Lookup   admission.Lookup
	Receipt  ledger.Receipt
	ID       ledger.TxID
	Notices  int // bytes
	Own      *OwnBatch
	Block    *execution.Executed
	Height   uint64
}

// AdmissionResult is the result of an [AdmissionInput].
type AdmissionResult struct {
	OK       bool
	Progress admission.Progress
	Txs      []*ledger.Tx
	Due      []*ledger.Tx
	Records  []protocols.Record
	Counts   AdmissionCounts // after the input; only for a recorder
}

// AdmissionCounts are sizes of the admission state.
type AdmissionCounts struct{ Ready, Mempool, Orphans, Waits int }

func (c *Clients) counts() AdmissionCounts {
	a := c.admission
	return AdmissionCounts{Ready: a.ReadyBytes(), Mempool: a.MempoolCount(), Orphans: a.OrphanCount(), Waits: a.Waits()}
}

// input gives an input to the admission state.
func (c *Clients) input(in AdmissionInput) (r AdmissionResult) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch a, now := c.admission, in.At.instant(); in.Kind {
	case AdmissionOpen:
		a.AddRequest(in.Request)
	case AdmissionClose:
		a.RemoveRequest(in.Request)
	case AdmissionAdmit:
		r.OK = a.Admit(in.Request, in.Verified, in.Lookup, now)
	case AdmissionAnswer:
		a.AnswerRequest(in.Request, in.Receipt, now)
	case AdmissionFind:
		r.Progress, r.OK = a.Find(in.ID)
	case AdmissionTake:
		r.Txs = a.TakeForBatch(lanes.MaxPayload-in.Notices, lanes.MaxCount-replica.MaxNotices)
	case AdmissionLogged:
		a.Logged(in.Own.Number, in.Own.Payload.Txs, now)
	case AdmissionExecuted:
		a.Executed(in.Block.Block, in.Block.Own, now)
	case AdmissionCertified:
		a.Certified(in.Height)
	case AdmissionDue:
		r.Due = a.DueRetries(now, maxLook)
	case AdmissionRetry:
		a.Retry(in.Retried, in.Lookup, now)
	case AdmissionCheckpoint:
		r.Records = a.Checkpoint()
	case AdmissionCancel:
		a.Cancel(in.ID, now)
	}
	c.waiting.Store(int64(c.admission.ReadyBytes()))
	c.attendSooner()
	if c.d.cfg.Recorder != nil {
		c.record(in, r)
	}
	return r
}

// record takes copies, so that input allocates nothing without a recorder.
//
//go:noinline
func (c *Clients) record(in AdmissionInput, r AdmissionResult) {
	r.Counts = c.counts()
	c.d.cfg.Recorder.Admission(&in, &r)
}

// clock reads the clocks for an input.
func (d *Driver) clock() Reading {
	now, ahead := d.host.Clock()
	return Reading{now, ahead}
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
func (r Replay) Admission(in AdmissionInput) { r.D.clients.input(in) }

// Execute repeats the execution of a committed block.
func (r Replay) Execute(x *bdt.Delivery) (*execution.Executed, error) {
	return r.D.execution.Execute(x)
}

// Message verifies a recorded message again.
func (r Replay) Message(from protocols.Index, m protocols.Message) (replica.Verified, error) {
	return r.D.verifier.Check(from, m)
}

// Written makes the records of a step readable for later inputs.
func (r Replay) Written(store kv.Store, a *Action) error {
	var b kv.Batch
	if replica.Apply(&b, a.Persist); b.Len() == 0 {
		return nil
	}
	return store.Apply(&b, false)
}
