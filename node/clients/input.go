package clients

import (
	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/execution"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// All inputs of the admission state pass through this file.

// Recorder is told the inputs of the admission state and their results. Its methods do not block.
type Recorder interface {
	// Admission is called under the lock of the admission state, when that state has handled an input.
	Admission(in *AdmissionInput, r *AdmissionResult)
	// Restored is called by [New] when the replica is restored from its stores, with the reading of the clocks that was
	// used.
	Restored(at admission.Reading, c AdmissionCounts)
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
	At       admission.Reading
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
	switch a, now := c.admission, in.At.Instant(); in.Kind {
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
	if c.cfg.Recorder != nil {
		c.record(in, r)
	}
	return r
}

// Repeat gives a recorded input to the admission state, in a replay.
func (c *Clients) Repeat(in AdmissionInput) { c.input(in) }

// record takes copies, so that input allocates nothing without a recorder.
//
//go:noinline
func (c *Clients) record(in AdmissionInput, r AdmissionResult) {
	r.Counts = c.counts()
	c.cfg.Recorder.Admission(&in, &r)
}
