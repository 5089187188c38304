package driver

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/execution"
	"bdtnode/node/replica"
	"bdtnode/protocols"
)

const (
	// AttendEvery is the time from a start to the first call of [Driver.Attend], and the least time from a call to the time of
	// the next one that it returns.
	AttendEvery = 200 * time.Millisecond

	maxLook         = 64          // transactions looked up again without a pause
	checkpointEvery = time.Second // between writes of accepted transactions to disk
)

// Clients is the admission of clients' transactions and their requests. Reading the ledger happens outside of its lock.
type Clients struct {
	d  *Driver
	mu sync.Mutex
	// admission is behind mu.
	admission *admission.Admission

	waiting      atomic.Int64 // bytes of transactions that wait for a batch
	certified    atomic.Uint64
	checkpointAt protocols.Time // of the next checkpoint; behind mu
	attendAt     protocols.Time // when the host calls Attend next, zero if no time is set; behind mu
	attendFrom   protocols.Time // AttendEvery after the newest call; behind mu
}

// attending is the value of attendAt while Attend runs, and before its first call: that call comes in any case.
const attending protocols.Time = 1

func newClients(d *Driver) (*Clients, error) {
	c := &Clients{d: d, attendAt: attending}
	certified := d.core.Status().Certified
	at := d.clock()
	cfg := admission.Config{
		Limits: d.cfg.Limits, Kinds: d.kinds, Height: d.cfg.ledger().Height(), Certified: certified, ObserveLatency: d.cfg.ObserveLatency, ObserveAcceptance: d.cfg.ObserveAcceptance,
		ObserveBatch: d.cfg.ObserveBatch,
	}
	if d.cfg.opaque() {
		c.admission = admission.New(cfg) // it stays empty
		c.certified.Store(certified)
		return c, nil
	}
	restored, err := admission.Restore(cfg, d.cfg.State, d.cfg.Store, d.cfg.Committee, d.cfg.Self, at.instant())
	if err != nil {
		return nil, fmt.Errorf("accepted transactions: %w", err)
	}
	c.admission = restored
	c.certified.Store(certified)
	if d.cfg.Recorder != nil {
		d.cfg.Recorder.Restored(at, c.counts())
	}
	return c, nil
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
// is the store's. The caller calls [Host.Wake] after the last transaction.
func (c *Clients) Bring(r *admission.Request, tx ledger.VerifiedTx) error {
	for admitted := false; !admitted; { // again if a block was executed between the lookup and the admission
		at := c.d.clock()
		l, err := admission.Read(c.d.cfg.State, tx.Tx(), at.instant())
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

// check refuses a transaction that another shard has cancelled, or that involves a shard which is too far behind. It has
// one looked up again that this shard may cancel. The error is the store's.
func (c *Clients) check(tx *ledger.Tx, l *admission.Lookup) (err error) {
	if l.Known {
		return nil
	}
	if permanent(l.Found.Refusal) {
		c.d.cancels.suspect(tx)
	}
	l.Found.Refusal = c.d.cancels.refusal(tx.ID(), l.Found.Refusal)
	if l.Found.Refusal == nil {
		l.Found.Refusal, err = c.d.cfg.State.Busy(tx)
	}
	return err
}

// Recall notes receipts of an open request's transactions in the request. The error is the store's.
func (c *Clients) Recall(r *admission.Request) error {
	for _, id := range r.IDs() {
		receipt, ok, err := c.d.cfg.State.Receipt(id)
		if err != nil {
			return err
		}
		if ok {
			c.input(AdmissionInput{Kind: AdmissionAnswer, At: c.d.clock(), Request: r, Receipt: receipt})
		}
	}
	return nil
}

// Find is the progress of a transaction at this replica; ok is false if the transaction is unknown.
func (c *Clients) Find(id ledger.TxID) (p admission.Progress, ok bool) {
	decided := func() bool {
		r, known, err := c.d.cfg.State.Receipt(id)
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

// take hands out transactions for one batch that carries so many bytes of notices.
func (c *Clients) take(notices int) Entries {
	return Entries{Txs: c.input(AdmissionInput{Kind: AdmissionTake, Notices: notices}).Txs}
}

// logged is called when a batch of the own lane is on disk: no crash loses its transactions.
func (c *Clients) logged(b *OwnBatch) {
	c.input(AdmissionInput{Kind: AdmissionLogged, At: c.d.clock(), Own: b})
}

// Executed implements [execution.Observer].
func (c *Clients) Executed(x *execution.Executed) {
	c.input(AdmissionInput{Kind: AdmissionExecuted, At: c.d.clock(), Block: x})
	if c.due() { // transactions that waited for this block do not wait for the time of the next call
		c.d.host.Attend()
	}
}

// due reports whether the newest block gave a reason to look at transactions again.
func (c *Clients) due() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	retry, _ := c.admission.Upcoming()
	return retry == admission.AtOnce
}

// headerCertified is called when a header has its f+1 VOTEs.
func (c *Clients) headerCertified(height uint64) {
	c.certified.Store(max(c.certified.Load(), height))
	c.input(AdmissionInput{Kind: AdmissionCertified, Height: height})
}

// Attend looks at the transactions again that are due, and writes accepted transactions to disk from time to time. The host
// calls it [AttendEvery] after the start, at the time that the newest call returned, and after [Host.Attend], one call at a
// time. Zero is no time: an idle replica has nothing to look at. The error is the store's.
func (d *Driver) Attend() (next protocols.Time, err error) {
	c := d.clients
	c.attend()
	for more := true; more; {
		if more, err = c.lookAgain(); err != nil {
			return 0, err
		}
	}
	if err := d.cancels.look(); err != nil {
		return 0, err
	}
	now := d.time()
	if c.checkpointDue(now) {
		st := replica.Step{Persist: c.input(AdmissionInput{Kind: AdmissionCheckpoint}).Records}
		if len(st.Persist) > 0 {
			d.host.Write(Action{Step: st})
		}
	}
	return c.attended(now), nil
}

// attend begins a call of Attend.
func (c *Clients) attend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.attendAt = attending
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

// attended ends a call of Attend, and returns the time of the next.
func (c *Clients) attended(now protocols.Time) protocols.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.attendFrom = now.Add(AttendEvery)
	c.attendAt = c.nextAttend()
	return c.attendAt
}

// nextAttend is the time of the next call of Attend, zero if it has nothing to do. The caller holds mu.
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

// attendSooner requests a call of Attend if there is something to do before the next one. The caller holds mu.
func (c *Clients) attendSooner() {
	if next := c.nextAttend(); next != 0 && (c.attendAt == 0 || next < c.attendAt) {
		c.attendAt = next
		c.d.host.Attend()
	}
}

// lookAgain looks at some of the transactions that are due, and reports whether there may be more.
func (c *Clients) lookAgain() (more bool, err error) {
	due := c.input(AdmissionInput{Kind: AdmissionDue, At: c.d.clock()}).Due
	for _, tx := range due {
		at := c.d.clock()
		l, err := admission.Read(c.d.cfg.State, tx, at.instant())
		if err != nil {
			return false, fmt.Errorf("look up a transaction: %w", err)
		}
		if err := c.check(tx, &l); err != nil {
			return false, fmt.Errorf("look up a transaction: %w", err)
		}
		c.input(AdmissionInput{Kind: AdmissionRetry, At: at, Retried: tx, Lookup: l})
	}
	if len(due) > 0 {
		c.d.host.Wake()
	}
	return len(due) == maxLook, nil
}
