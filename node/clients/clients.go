// Package clients is the part of a replica for its clients: their requests, and their entries until a block decides them. The
// process and the simulator both use it.
//
// [Clients] has the admission state (package admission) of a shard that settles payments, behind a lock. It reads the ledger
// for the transactions that requests bring, and for those that are to be looked at again. [Appends] has the requests to a
// shard that orders opaque payloads. The driver takes entries from either for the batches of the own lane, and reports the
// batches that are on disk; package execution reports the executed blocks.
package clients

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"bdtnode/internal/kv"
	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/execution"
	"bdtnode/protocols"
)

const (
	// AttendEvery is the time from a start to the first look at the transactions that are due, and the least time from one
	// look to the next.
	AttendEvery = 200 * time.Millisecond

	maxLook         = 64          // transactions looked up again without a pause
	checkpointEvery = time.Second // between writes of accepted transactions to disk
)

// Config describes the clients' part of a replica.
type Config struct {
	Committee         *protocols.Committee
	Self              protocols.Index
	Store             kv.Reader     // consensus store
	State             *ledger.State // the ledger of payments; nil if the shard has another ledger
	Kinds             ledger.Kinds  // of entries of batches
	Height            uint64        // of the last executed block
	Certified         uint64        // height of the last certified header
	Limits            admission.Limits
	Cancellations     Cancellations
	ObserveLatency    func(time.Duration)                         // if not nil, called with the time from submission to the end of each transaction
	ObserveAcceptance func(time.Duration)                         // if not nil, called with the time from submission to the batch on disk of each transaction
	ObserveBatch      func(number uint64, t admission.BatchTimes) // if not nil, called for each batch of the own lane on disk
	Recorder          Recorder                                    // if not nil, told all inputs
}

// Host is the surroundings of the clients' part. No method may call back into it.
type Host interface {
	// Clock reads the clock that deadlines are measured by, which is never set, and how far the wall clock is ahead of it.
	Clock() (now protocols.Time, wallAhead time.Duration)
	Wake()   // asks for a turn of the loop soon
	Attend() // asks for a look at the transactions that are due
}

// Cancellations are the transactions that can never be spent in a shard.
type Cancellations interface {
	// Check is the refusal of a transaction without a block, for which the ledger has found a refusal or nil.
	Check(tx *ledger.Tx, found *ledger.Refusal) *ledger.Refusal
}

// Clients is the admission of clients' transactions and their requests. Reading the ledger happens outside of its lock.
type Clients struct {
	cfg  Config
	host Host
	mu   sync.Mutex
	// admission is behind mu.
	admission *admission.Admission

	waiting      atomic.Int64 // bytes of transactions that wait for a batch
	certified    atomic.Uint64
	checkpointAt protocols.Time // of the next checkpoint; behind mu
	attendAt     protocols.Time // when the next look is due, zero if no time is set; behind mu
	attendFrom   protocols.Time // AttendEvery after the newest look; behind mu
}

// attending is the value of attendAt from the begin of a look to its end, and before the first one: that comes in any case.
const attending protocols.Time = 1

// New restores the accepted transactions from the stores. The error is that of a store.
func New(cfg Config, host Host) (*Clients, error) {
	c := &Clients{cfg: cfg, host: host, attendAt: attending}
	at := c.clock()
	state := admission.Config{
		Limits: cfg.Limits, Kinds: cfg.Kinds, Height: cfg.Height, Certified: cfg.Certified, ObserveLatency: cfg.ObserveLatency,
		ObserveAcceptance: cfg.ObserveAcceptance, ObserveBatch: cfg.ObserveBatch,
	}
	c.certified.Store(cfg.Certified)
	if cfg.State == nil {
		c.admission = admission.New(state) // it stays empty
		return c, nil
	}
	var err error
	if c.admission, err = admission.Restore(state, cfg.State, cfg.Store, cfg.Committee, cfg.Self, at.Instant()); err != nil {
		return nil, fmt.Errorf("accepted transactions: %w", err)
	}
	if cfg.Recorder != nil {
		cfg.Recorder.Restored(at, c.counts())
	}
	return c, nil
}

// clock reads the clocks for an input.
func (c *Clients) clock() admission.Reading {
	now, ahead := c.host.Clock()
	return admission.Reading{Now: now, Ahead: ahead}
}

// Open registers a request, before the first of its transactions is brought. [Clients.Close] ends it.
func (c *Clients) Open(r *admission.Request) {
	c.input(AdmissionInput{Kind: AdmissionOpen, Request: r})
}

// Close forgets a request.
func (c *Clients) Close(r *admission.Request) {
	c.input(AdmissionInput{Kind: AdmissionClose, Request: r})
}

// Bring admits a transaction of an open request. The result is noted in the request. The error
// is the store's. The caller asks for a turn of the loop after the last transaction.
func (c *Clients) Bring(r *admission.Request, tx ledger.VerifiedTx) error {
	for admitted := false; !admitted; { // again if a block was executed between the lookup and the admission
		at := c.clock()
		l, err := admission.Read(c.cfg.State, tx.Tx(), at.Instant())
		if err != nil {
			return err
		}
		if err := c.check(tx.Tx(), &l); err != nil {
			return err
		}
		admitted = c.input(AdmissionInput{Kind: AdmissionAdmit, At: at, Request: r, Verified: tx, Lookup: l}).OK
	}
	return nil
}

// check refuses a transaction that another shard has cancelled, or that involves a shard which is too far behind. The error is
// the store's.
func (c *Clients) check(tx *ledger.Tx, l *admission.Lookup) (err error) {
	if l.Known {
		return nil
	}
	l.Found.Refusal = c.cfg.Cancellations.Check(tx, l.Found.Refusal)
	if l.Found.Refusal == nil {
		l.Found.Refusal, err = c.cfg.State.Busy(tx)
	}
	return err
}

// Recall notes receipts of an open request's transactions in the request. The error is the store's.
func (c *Clients) Recall(r *admission.Request) error {
	for _, id := range r.IDs() {
		receipt, ok, err := c.cfg.State.Receipt(id)
		if err != nil {
			return err
		}
		if ok {
			c.input(AdmissionInput{Kind: AdmissionAnswer, At: c.clock(), Request: r, Receipt: receipt})
		}
	}
	return nil
}

// Find is the progress of a transaction at this replica; ok is false if the transaction is unknown.
func (c *Clients) Find(id ledger.TxID) (p admission.Progress, ok bool) {
	decided := func() bool {
		r, known, err := c.cfg.State.Receipt(id)
		p = admission.Progress{ID: id, Receipt: r, Certified: known && c.CertifiedHeight() >= r.Height}
		return err == nil && known
	}
	if decided() {
		return p, true
	}
	found := c.input(AdmissionInput{Kind: AdmissionFind, ID: id})
	if p, ok = found.Progress, found.OK; !ok && decided() { // a block decided it between the two looks
		return p, true
	}
	return p, ok
}

// CertifiedHeight is the height up to which headers are certified here.
func (c *Clients) CertifiedHeight() uint64 { return c.certified.Load() }

// Waiting is the bytes of transactions that wait for a batch.
func (c *Clients) Waiting() int { return int(c.waiting.Load()) }

// Holding is the number of transactions and waits in memory for clients.
type Holding struct {
	Mempool int // transactions in the mempool
	Orphans int // transactions in the orphan pool
	Waits   int // ids that requests wait for

	MempoolBytes, OrphanBytes int // encodings of the transactions in both
}

// Holding returns the present numbers.
func (c *Clients) Holding() Holding {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := Holding{Mempool: c.admission.MempoolCount(), Orphans: c.admission.OrphanCount(), Waits: c.admission.Waits()}
	h.MempoolBytes, h.OrphanBytes = c.admission.Bytes()
	return h
}

// Take hands out transactions for one batch that carries so many bytes of notices.
func (c *Clients) Take(notices int) Entries {
	return Entries{Txs: c.input(AdmissionInput{Kind: AdmissionTake, Notices: notices}).Txs}
}

// Logged is called when a batch of the own lane is on disk: no crash loses its transactions.
func (c *Clients) Logged(b *OwnBatch) {
	c.input(AdmissionInput{Kind: AdmissionLogged, At: c.clock(), Own: b})
}

// Executed implements [execution.Observer].
func (c *Clients) Executed(x *execution.Executed) {
	c.input(AdmissionInput{Kind: AdmissionExecuted, At: c.clock(), Block: x})
	if c.due() { // transactions that waited for this block do not wait for the time of the next call
		c.host.Attend()
	}
}

// due reports whether the newest block gave a reason to look at transactions again.
func (c *Clients) due() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	retry, _ := c.admission.Upcoming()
	return retry == admission.AtOnce
}

// HeaderCertified is called when a header has its f+1 VOTEs.
func (c *Clients) HeaderCertified(height uint64) {
	c.certified.Store(max(c.certified.Load(), height))
	c.input(AdmissionInput{Kind: AdmissionCertified, Height: height})
}

// Attend looks at the transactions again that are due. It begins a look, which [Clients.Attended] ends: one at a time. The
// error is the store's.
func (c *Clients) Attend() error {
	c.mu.Lock()
	c.attendAt = attending
	c.mu.Unlock()
	for {
		if more, err := c.lookAgain(); err != nil || !more {
			return err
		}
	}
}

// Cancel ends a transaction that no block has ordered, and that another shard has cancelled.
func (c *Clients) Cancel(id ledger.TxID) {
	c.input(AdmissionInput{Kind: AdmissionCancel, At: c.clock(), ID: id})
}

// Checkpoint is the records of accepted transactions that are to be written to disk now, if that is due.
func (c *Clients) Checkpoint(now protocols.Time) []protocols.Record {
	if !c.checkpointDue(now) {
		return nil
	}
	return c.input(AdmissionInput{Kind: AdmissionCheckpoint}).Records
}

// checkpointDue reports whether a checkpoint is due, and sets the time of the next one.
func (c *Clients) checkpointDue(now protocols.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now < c.checkpointAt {
		return false
	}
	c.checkpointAt = now.Add(checkpointEvery)
	return true
}

// Attended ends a look, and returns the time of the next, zero if no time is set: an idle replica has nothing to look at.
func (c *Clients) Attended(now protocols.Time) protocols.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.attendFrom = now.Add(AttendEvery)
	c.attendAt = c.nextAttend()
	return c.attendAt
}

// nextAttend is the time of the next look, zero if it has nothing to do. The caller holds mu.
func (c *Clients) nextAttend() protocols.Time {
	next, unsaved := c.admission.Upcoming()
	if unsaved {
		next = protocols.Earliest(next, max(c.checkpointAt, attending))
	}
	if next == 0 {
		return 0
	}
	return max(next, c.attendFrom)
}

// attendSooner requests a look if there is something to do before the next one. The caller holds mu.
func (c *Clients) attendSooner() {
	if next := c.nextAttend(); next != 0 && (c.attendAt == 0 || next < c.attendAt) {
		c.attendAt = next
		c.host.Attend()
	}
}

// lookAgain looks at some of the transactions that are due, and reports whether there may be more.
func (c *Clients) lookAgain() (more bool, err error) {
	due := c.input(AdmissionInput{Kind: AdmissionDue, At: c.clock()}).Due
	for _, tx := range due {
		at := c.clock()
		l, err := admission.Read(c.cfg.State, tx, at.Instant())
		if err != nil {
			return false, fmt.Errorf("look up a transaction: %w", err)
		}
		if err := c.check(tx, &l); err != nil {
			return false, fmt.Errorf("look up a transaction: %w", err)
		}
		c.input(AdmissionInput{Kind: AdmissionRetry, At: at, Retried: tx, Lookup: l})
	}
	if len(due) > 0 {
		c.host.Wake()
	}
	return len(due) == maxLook, nil
}
