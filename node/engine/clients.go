package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/replica"
)

// What clients wait for and are told is package admission's.
type (
	Stage    = admission.Stage
	Progress = admission.Progress
)

// The stages, see [admission.Stage].
const (
	Logged    = admission.Logged
	Ordered   = admission.Ordered
	Certified = admission.Certified
	Final     = admission.Final
)

const (
	verifyChunk     = 64                     // transactions verified in one turn of their party
	lookMost        = 64                     // transactions looked at again without a pause
	lookEvery       = 200 * time.Millisecond // how often the door is asked what is due
	checkpointEvery = time.Second            // how often what was accepted is brought to disk
)

// clients runs the door under a lock. Reading the ledger, verifying and waiting happen outside of it.
type clients struct {
	e         *Engine
	verifying *turns
	latencies latencies
	due       chan struct{} // the door may have something to look at

	mu   sync.Mutex
	door *admission.Door

	waiting   atomic.Int64 // bytes that wait for a batch, the door's last word
	certified atomic.Uint64
}

func newClients(e *Engine, verifiers int) (*clients, error) {
	c := &clients{e: e, verifying: newTurns(verifiers), due: make(chan struct{}, 1)}
	certified := e.core.Status().Certified
	door, err := admission.Restore(admission.Config{
		Limits: e.cfg.Limits, Kinds: e.kinds, Height: e.cfg.State.Height(), Certified: certified,
		Took: func(took time.Duration) { c.latencies.add(time.Now(), took) },
	}, e.cfg.State, e.cfg.Store, e.cfg.Committee, e.cfg.Self, e.instant())
	if err != nil {
		return nil, fmt.Errorf("accepted transactions: %w", err)
	}
	c.door = door
	c.certified.Store(certified)
	return c, nil
}

// instant is now by both clocks.
func (e *Engine) instant() admission.Instant {
	now, offset := e.clock.both()
	return admission.Instant{Now: now, WallMS: max(now.Add(offset), 0).Millis()}
}

// with does something to the door.
func (c *clients) with(do func(d *admission.Door)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	do(c.door)
	c.waiting.Store(int64(c.door.Waiting()))
}

// Submit checks transactions of a party, lets the good ones in and waits until each has come to stage, is refused, or
// ctx ends. It answers for each in order; one that has not Reached the stage is still open. Copies of one transaction
// cost as much as one.
func (e *Engine) Submit(ctx context.Context, from admission.Party, raws [][]byte, stage Stage) []Progress {
	c := e.clients
	distinct, index := admission.Collapse(raws)
	since := e.clock.now()
	txs, answers := c.verify(ctx, from, distinct)
	ids := make([]ledger.TxID, 0, len(txs))
	for _, tx := range txs {
		if tx != nil {
			ids = append(ids, tx.ID())
		}
	}
	done := make(chan struct{})
	r := admission.NewRequest(from, ids, stage, true, since, func() { close(done) })
	c.with(func(d *admission.Door) { d.Enter(r) })
	for _, tx := range txs {
		if tx == nil || ctx.Err() != nil {
			continue
		}
		if err := c.admit(r, tx); err != nil {
			break // the store failed: the node is stopping
		}
	}
	e.wake()
	c.await(ctx, r, done)
	for i, tx := range txs {
		if tx != nil {
			answers[i] = r.Progress(tx.ID())
		}
	}
	out := make([]Progress, len(raws))
	for i, k := range index {
		out[i] = answers[k]
	}
	return out
}

// admit looks a transaction up and hands it to the door, again if a block came between.
func (c *clients) admit(r *admission.Request, tx *ledger.Tx) error {
	for admitted := false; !admitted; {
		now := c.e.instant()
		l, err := admission.Read(c.e.cfg.State, tx, now)
		if err != nil {
			return err
		}
		c.with(func(d *admission.Door) { admitted = d.Admit(r, tx, l, now) })
	}
	return nil
}

// Await waits like Submit, for transactions that others take care of: it checks nothing and adds nothing.
func (e *Engine) Await(ctx context.Context, from admission.Party, ids []ledger.TxID, stage Stage) []Progress {
	c := e.clients
	done := make(chan struct{})
	r := admission.NewRequest(from, ids, stage, false, e.clock.now(), func() { close(done) })
	c.with(func(d *admission.Door) { d.Enter(r) })
	for _, id := range r.IDs() {
		if receipt, ok, err := e.cfg.State.Receipt(id); err == nil && ok {
			c.with(func(d *admission.Door) { d.Answer(r, receipt, e.instant()) })
		}
	}
	c.await(ctx, r, done)
	out := make([]Progress, len(ids))
	for i, id := range ids {
		out[i] = r.Progress(id)
	}
	return out
}

// await waits for a request's end, and takes it out of the door.
func (c *clients) await(ctx context.Context, r *admission.Request, done <-chan struct{}) {
	select {
	case <-done:
	case <-ctx.Done():
	case <-c.e.stopped:
	}
	c.with(func(d *admission.Door) { d.Leave(r) })
}

// verify checks encodings and signatures of many transactions at once; what is bad is found singly. Parties verify in
// turn, a chunk at a time. What was not verified before ctx ended has an id at most.
func (c *clients) verify(ctx context.Context, from admission.Party, raws [][]byte) ([]*ledger.Tx, []Progress) {
	txs, answers := make([]*ledger.Tx, len(raws)), make([]Progress, len(raws))
	for start := 0; start < len(raws); start += verifyChunk {
		if !c.verifying.take(ctx, from) {
			break
		}
		end := min(start+verifyChunk, len(raws))
		c.verifyChunk(raws[start:end], txs[start:end], answers[start:end])
		c.verifying.give()
	}
	for i, raw := range raws {
		if txs[i] == nil && answers[i].Refusal == nil { // there was no time for it
			if tx, err := ledger.DecodeTx(raw); err == nil {
				answers[i].ID = tx.ID()
			}
		}
	}
	return txs, answers
}

func (c *clients) verifyChunk(raws [][]byte, txs []*ledger.Tx, answers []Progress) {
	network := c.e.cfg.Committee.Network()
	var items []sig.Item
	for i, raw := range raws {
		tx, err := ledger.DecodeTx(raw)
		if err == nil {
			if r := tx.Check(network); r != nil {
				err = r
			}
		}
		if err != nil {
			answers[i].Refusal = refusalOf(err)
			continue
		}
		txs[i] = tx
		items = append(items, tx.SigItems()...)
	}
	if c.e.cfg.Scheme.VerifyAll(items) {
		return
	}
	for i, tx := range txs {
		if tx == nil {
			continue
		}
		if _, err := ledger.VerifyTx(c.e.cfg.Scheme, network, raws[i]); err != nil {
			txs[i], answers[i].Refusal = nil, refusalOf(err)
		}
	}
}

func refusalOf(err error) *ledger.Refusal {
	var r *ledger.Refusal
	if !errors.As(err, &r) {
		panic(fmt.Sprintf("engine: a transaction failed without a refusal: %v", err)) // the scheme contradicts itself
	}
	return r
}

// Find answers what this replica knows of a transaction; ok is false if that is nothing.
func (e *Engine) Find(id ledger.TxID) (p Progress, ok bool) {
	decided := func() bool {
		r, known, err := e.cfg.State.Receipt(id)
		p = Progress{ID: id, Receipt: r, Certified: known && e.CertifiedHeight() >= r.Height}
		return err == nil && known
	}
	if decided() {
		return p, true
	}
	e.clients.with(func(d *admission.Door) { p, ok = d.Find(id) })
	if !ok && decided() { // a block decided it between the two looks
		return p, true
	}
	return p, ok
}

// CertifiedHeight is the height up to which headers are certified here.
func (e *Engine) CertifiedHeight() uint64 { return e.clients.certified.Load() }

// Latency is the median time from acceptance to execution of what clients submitted here in the last seconds.
func (e *Engine) Latency() time.Duration { return e.clients.latencies.median(time.Now()) }

// Admission is how much the door holds.
type Admission struct {
	Book  int // transactions in the TX book
	Room  int // transactions that wait for an input
	Waits int // ids that requests wait for
}

// Admission reads how much the door holds.
func (e *Engine) Admission() (a Admission) {
	e.clients.with(func(d *admission.Door) { a = Admission{d.Len(), d.Room(), d.Waits()} })
	return a
}

// take hands out transactions for one batch.
func (c *clients) take(maxBytes, maxCount int) (txs [][]byte) {
	c.with(func(d *admission.Door) { txs = d.Take(maxBytes, maxCount) })
	return txs
}

// logged is called when a batch of the own lane is on disk: no crash loses its transactions.
func (c *clients) logged(number uint64, p *ledger.Payload) {
	c.with(func(d *admission.Door) { d.Logged(number, p.Txs, c.e.instant()) })
}

// executed is called when a block's effects are in the ledger, with the number of the last own batch in it, 0 if there
// is none.
func (c *clients) executed(b *ledger.Block, ordered uint64) {
	c.with(func(d *admission.Door) { d.Executed(b, ordered, c.e.instant()) })
	c.e.wake()
	select {
	case c.due <- struct{}{}:
	default:
	}
}

// headerCertified is called when a header has its f+1 VOTEs.
func (c *clients) headerCertified(height uint64) {
	c.certified.Store(max(c.certified.Load(), height))
	c.with(func(d *admission.Door) { d.Certified(height) })
}

// run looks at what the door wants looked at again, and brings to disk what it keeps.
func (c *clients) run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var kept time.Time
	for {
		select {
		case <-tick.C:
		case <-c.due:
		case <-ctx.Done():
			return nil
		}
		for more := true; more && ctx.Err() == nil; {
			var err error
			if more, err = c.lookAgain(); err != nil {
				return err
			}
		}
		if now := time.Now(); now.Sub(kept) >= checkpointEvery {
			kept = now
			var st replica.Step
			c.with(func(d *admission.Door) { st.Persist = d.Checkpoint() })
			if len(st.Persist) > 0 {
				c.e.carryOut(ctx, st, nil)
			}
		}
	}
}

// lookAgain looks at some of what is due, and reports whether there may be more.
func (c *clients) lookAgain() (more bool, err error) {
	var due []*ledger.Tx
	c.with(func(d *admission.Door) { due = d.Due(c.e.instant(), lookMost) })
	for _, tx := range due {
		now := c.e.instant()
		l, err := admission.Read(c.e.cfg.State, tx, now)
		if err != nil {
			return false, fmt.Errorf("look up a transaction: %w", err)
		}
		c.with(func(d *admission.Door) { d.Again(tx, l, now) })
	}
	if len(due) > 0 {
		c.e.wake()
	}
	return len(due) == lookMost, nil
}
