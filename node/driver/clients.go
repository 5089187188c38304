package driver

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

const (
	// AttendEvery is the time between two calls of [Driver.Attend] at most.
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
	checkpointAt protocols.Time // of the next checkpoint; Attend's
}

func newClients(d *Driver) (*Clients, error) {
	c := &Clients{d: d}
	certified := d.core.Status().Certified
	restored, err := admission.Restore(admission.Config{
		Limits: d.cfg.Limits, Kinds: d.kinds, Height: d.cfg.State.Height(), Certified: certified, ObserveLatency: d.cfg.ObserveLatency,
	}, d.cfg.State, d.cfg.Store, d.cfg.Committee, d.cfg.Self, d.instant())
	if err != nil {
		return nil, fmt.Errorf("accepted transactions: %w", err)
	}
	c.admission = restored
	c.certified.Store(certified)
	return c, nil
}

// with calls do with the admission state, holding the lock.
func (c *Clients) with(do func(a *admission.Admission)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	do(c.admission)
	c.waiting.Store(int64(c.admission.ReadyBytes()))
}

// Open registers a request, before the first of its transactions is brought. [Clients.Close] ends it.
func (c *Clients) Open(r *admission.Request) {
	c.with(func(a *admission.Admission) { a.AddRequest(r) })
}

// Close forgets a request.
func (c *Clients) Close(r *admission.Request) {
	c.with(func(a *admission.Admission) { a.RemoveRequest(r) })
}

// Bring admits a transaction of an open request. Its signatures are verified. The result is noted in the request. The error
// is the store's. The caller calls [Host.Wake] after the last transaction.
func (c *Clients) Bring(r *admission.Request, tx *ledger.Tx) error {
	for admitted := false; !admitted; { // again if a block was executed between the lookup and the admission
		now := c.d.instant()
		l, err := admission.Read(c.d.cfg.State, tx, now)
		if err != nil {
			return err
		}
		c.with(func(a *admission.Admission) { admitted = a.Admit(r, tx, l, now) })
	}
	return nil
}

// Recall notes receipts of an open request's transactions in the request. The error is the store's.
func (c *Clients) Recall(r *admission.Request) error {
	for _, id := range r.IDs() {
		receipt, ok, err := c.d.cfg.State.Receipt(id)
		if err != nil {
			return err
		}
		if ok {
			c.with(func(a *admission.Admission) { a.AnswerRequest(r, receipt, c.d.instant()) })
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
	c.with(func(a *admission.Admission) { p, ok = a.Find(id) })
	if !ok && decided() { // a block decided it between the two looks
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
}

// Holding returns the present numbers.
func (c *Clients) Holding() (h Holding) {
	c.with(func(a *admission.Admission) { h = Holding{a.MempoolCount(), a.OrphanCount(), a.Waits()} })
	return h
}

// take hands out transactions for one batch that carries so many bytes of notices.
func (c *Clients) take(notices int) (txs [][]byte) {
	c.with(func(a *admission.Admission) { txs = a.TakeForBatch(lanes.MaxPayload-notices, lanes.MaxCount-1) })
	return txs
}

// logged is called when a batch of the own lane is on disk: no crash loses its transactions.
func (c *Clients) logged(b *OwnBatch) {
	c.with(func(a *admission.Admission) { a.Logged(b.Number, b.Payload.Txs, c.d.instant()) })
}

func (c *Clients) executed(b *ledger.Block, own uint64) {
	c.with(func(a *admission.Admission) { a.Executed(b, own, c.d.instant()) })
}

// headerCertified is called when a header has its f+1 VOTEs.
func (c *Clients) headerCertified(height uint64) {
	c.certified.Store(max(c.certified.Load(), height))
	c.with(func(a *admission.Admission) { a.Certified(height) })
}

// Attend looks at the transactions again that are due, and writes accepted transactions to disk from time to time. The host
// calls it every [AttendEvery] and after [Host.Attend], one call at a time. The error is the store's.
func (d *Driver) Attend() error {
	c := d.clients
	for more := true; more; {
		var err error
		if more, err = c.lookAgain(); err != nil {
			return err
		}
	}
	if now := d.time(); now >= c.checkpointAt {
		c.checkpointAt = now.Add(checkpointEvery)
		var st replica.Step
		c.with(func(a *admission.Admission) { st.Persist = a.Checkpoint() })
		if len(st.Persist) > 0 {
			d.host.Write(Action{Step: st})
		}
	}
	return nil
}

// lookAgain looks at some of the transactions that are due, and reports whether there may be more.
func (c *Clients) lookAgain() (more bool, err error) {
	var due []*ledger.Tx
	c.with(func(a *admission.Admission) { due = a.DueRetries(c.d.instant(), maxLook) })
	for _, tx := range due {
		now := c.d.instant()
		l, err := admission.Read(c.d.cfg.State, tx, now)
		if err != nil {
			return false, fmt.Errorf("look up a transaction: %w", err)
		}
		c.with(func(a *admission.Admission) { a.Retry(tx, l, now) })
	}
	if len(due) > 0 {
		c.d.host.Wake()
	}
	return len(due) == maxLook, nil
}
