package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/node/admission"
)

// Stage is how far a transaction has come in this shard.
type Stage uint8

// The stages. Logged: in a batch of this replica's lane, on its disk, so that no crash loses it. Ordered: a committed
// block gave it a receipt. Certified: besides, that block's header has f+1 VOTEs. Final: its receipt is the last; inside
// one shard that is the first.
const (
	Logged Stage = iota + 1
	Ordered
	Certified
	Final
)

// Progress is where a transaction stands in this shard.
type Progress struct {
	ID        ledger.TxID
	Logged    bool
	Receipt   ledger.Receipt  // the newest; its Height is 0 if there is none
	Certified bool            // the header of the receipt's block is
	Refusal   *ledger.Refusal // why it was not taken, or left the book; final if Refusal.Final
}

// Reached reports whether the transaction has come to a stage, or to its end, beyond which it never comes.
func (p *Progress) Reached(s Stage) bool {
	ordered := p.Receipt.Height > 0
	switch {
	case p.Refusal != nil:
		return true
	case s == Logged:
		return p.Logged || ordered
	case s == Ordered:
		return ordered
	case s == Certified:
		return ordered && p.Certified
	}
	return ordered && p.Receipt.Verdict.Final()
}

// maxRemembered bounds the refusals at the door that are remembered for a while, and overdueEvery is how often the
// book is searched for what has expired.
const (
	maxRemembered = 1 << 14
	overdueEvery  = time.Second
)

// clients connects those who wait for transactions with what becomes of them.
type clients struct {
	e       *Engine
	refused *lru.Cache[ledger.TxID, *ledger.Refusal]

	mu        sync.Mutex
	waits     map[ledger.TxID][]*wait
	atHeight  map[uint64][]*wait       // for a header to be certified
	onDisk    map[ledger.TxID]struct{} // logged and undecided
	certTop   uint64
	latencies latencies
}

// wait is one client's interest in one transaction of its request.
type wait struct {
	req   *request
	at    int
	stage Stage
}

type request struct {
	progress []Progress
	open     int
	since    time.Time
	done     chan struct{}
}

func newClients(e *Engine) *clients {
	refused, err := lru.New[ledger.TxID, *ledger.Refusal](maxRemembered)
	if err != nil {
		panic(err) // the size is positive
	}
	return &clients{
		e: e, refused: refused,
		waits:    make(map[ledger.TxID][]*wait),
		atHeight: make(map[uint64][]*wait),
		onDisk:   make(map[ledger.TxID]struct{}),
		certTop:  e.core.Status().Certified,
	}
}

// Submit checks transactions, puts the good ones into the TX book and waits until each has come to stage, is
// refused, or ctx ends. It answers for each in order; one that has not Reached the stage is still open.
func (e *Engine) Submit(ctx context.Context, from admission.Party, raws [][]byte, stage Stage) []Progress {
	c := e.clients
	txs, refusals := e.verify(raws)
	req := &request{progress: make([]Progress, len(raws)), done: make(chan struct{}), since: time.Now()}
	c.mu.Lock()
	for i, tx := range txs {
		if tx == nil {
			req.progress[i] = Progress{Refusal: refusals[i]}
			continue
		}
		req.progress[i].ID = tx.ID()
		req.open++
		c.waits[tx.ID()] = append(c.waits[tx.ID()], &wait{req, i, stage})
	}
	if req.open == 0 {
		close(req.done)
	}
	c.mu.Unlock()
	defer c.leave(req)

	for _, tx := range txs {
		if tx == nil {
			continue
		}
		if p, ok := e.enter(tx); ok {
			c.mu.Lock()
			c.tell(tx.ID(), p)
			c.mu.Unlock()
		}
	}
	e.wake()
	return e.await(ctx, req)
}

// Await waits like Submit, for transactions that others take care of: it checks nothing and adds nothing.
func (e *Engine) Await(ctx context.Context, from admission.Party, ids []ledger.TxID, stage Stage) []Progress {
	c := e.clients
	req := &request{progress: make([]Progress, len(ids)), done: make(chan struct{}), since: time.Now()}
	c.mu.Lock()
	for i, id := range ids {
		req.progress[i].ID = id
		req.open++
		c.waits[id] = append(c.waits[id], &wait{req, i, stage})
	}
	c.mu.Unlock()
	defer c.leave(req)
	for _, id := range ids {
		if p, ok := e.decided(id); ok {
			c.mu.Lock()
			c.tell(id, p)
			c.mu.Unlock()
		}
	}
	return e.await(ctx, req)
}

// Refuse tells those who wait for a transaction that it can never settle, which another shard has found.
func (e *Engine) Refuse(id ledger.TxID, r *ledger.Refusal) {
	c := e.clients
	c.refused.Add(id, r)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tell(id, Progress{ID: id, Refusal: r})
}

func (e *Engine) await(ctx context.Context, req *request) []Progress {
	select {
	case <-req.done:
	case <-ctx.Done():
	case <-e.stopped:
	}
	e.clients.mu.Lock()
	defer e.clients.mu.Unlock()
	return append([]Progress(nil), req.progress...)
}

// verify checks encodings and signatures of many transactions at once; what is bad is found singly.
func (e *Engine) verify(raws [][]byte) ([]*ledger.Tx, []*ledger.Refusal) {
	txs := make([]*ledger.Tx, len(raws))
	refusals := make([]*ledger.Refusal, len(raws))
	var items []sig.Item
	for i, raw := range raws {
		tx, err := ledger.DecodeTx(raw)
		if err == nil {
			if r := tx.Check(e.cfg.Committee.Network()); r != nil {
				err = r
			}
		}
		if err != nil {
			refusals[i] = refusalOf(err)
			continue
		}
		txs[i] = tx
		items = append(items, tx.SigItems()...)
	}
	if e.cfg.Scheme.VerifyAll(items) {
		return txs, refusals
	}
	for i, tx := range txs {
		if tx == nil {
			continue
		}
		if _, err := ledger.VerifyTx(e.cfg.Scheme, e.cfg.Committee.Network(), raws[i]); err != nil {
			txs[i], refusals[i] = nil, refusalOf(err)
		}
	}
	return txs, refusals
}

func refusalOf(err error) *ledger.Refusal {
	var r *ledger.Refusal
	if !errors.As(err, &r) {
		panic(fmt.Sprintf("engine: a transaction failed without a refusal: %v", err)) // the scheme contradicts itself
	}
	return r
}

// enter puts a verified transaction into the book, unless its outcome is known. It answers what is known already.
func (e *Engine) enter(tx *ledger.Tx) (Progress, bool) {
	before := e.cfg.State.Height()
	if p, ok := e.decided(tx.ID()); ok {
		return p, true
	}
	refusal, err := e.cfg.State.Precheck(tx, e.clock.wall().Millis())
	if err != nil {
		return Progress{}, false // the store failed: the node is stopping
	}
	if refusal != nil && (refusal.Final() || refusal.Reason != ledger.ReasonUnknownInput) {
		if p, ok := e.decided(tx.ID()); ok {
			return p, true // it was decided in between: an input is consumed by the transaction itself
		}
		if refusal.Final() {
			e.clients.refused.Add(tx.ID(), refusal)
		}
		return Progress{ID: tx.ID(), Refusal: refusal}, true
	}
	added, full := e.cfg.Book.Add(tx)
	if full != nil {
		return Progress{ID: tx.ID(), Refusal: full}, true
	}
	if e.cfg.State.Height() != before {
		if p, ok := e.decided(tx.ID()); ok {
			return p, true // a block decided it between the look and the book
		}
	}
	if !added && e.clients.isOnDisk(tx.ID()) {
		return Progress{ID: tx.ID(), Logged: true}, true
	}
	return Progress{}, false
}

func (e *Engine) decided(id ledger.TxID) (Progress, bool) {
	r, ok, err := e.cfg.State.Receipt(id)
	if err != nil || !ok {
		return Progress{}, false
	}
	return Progress{ID: id, Receipt: r, Certified: e.CertifiedHeight() >= r.Height}, true
}

// Find answers what this replica knows of a transaction; ok is false if that is nothing.
func (e *Engine) Find(id ledger.TxID) (Progress, bool) {
	if p, ok := e.decided(id); ok {
		return p, true
	}
	if e.cfg.Book.Has(id) {
		return Progress{ID: id, Logged: e.clients.isOnDisk(id)}, true
	}
	if r, ok := e.clients.refused.Get(id); ok {
		return Progress{ID: id, Refusal: r}, true
	}
	return Progress{}, false
}

// CertifiedHeight is the height up to which headers are certified here.
func (e *Engine) CertifiedHeight() uint64 {
	e.clients.mu.Lock()
	defer e.clients.mu.Unlock()
	return e.clients.certTop
}

// Latency is the median time from acceptance to execution of what clients submitted here in the last seconds.
func (e *Engine) Latency() time.Duration { return e.clients.latencies.median(time.Now()) }

func (c *clients) isOnDisk(id ledger.TxID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.onDisk[id]
	return ok
}

// tell passes on what became of a transaction to those who wait for it. The lock is held.
func (c *clients) tell(id ledger.TxID, p Progress) {
	waits := c.waits[id]
	keep := waits[:0]
	for _, w := range waits {
		q := &w.req.progress[w.at]
		if p.Reached(Final) && p.Refusal == nil && !q.Reached(Final) {
			now := time.Now()
			c.latencies.add(now, now.Sub(w.req.since))
		}
		if p.Refusal != nil && q.Receipt.Height > 0 {
			keep = append(keep, w)
			continue // what a block said stands
		}
		if p.Receipt.Height >= q.Receipt.Height {
			*q = p
		}
		switch {
		case p.Reached(w.stage):
			w.finish()
		case w.stage == Certified && p.Receipt.Height > 0:
			c.atHeight[p.Receipt.Height] = append(c.atHeight[p.Receipt.Height], w)
		default:
			keep = append(keep, w)
		}
	}
	if len(keep) == 0 {
		delete(c.waits, id)
	} else {
		c.waits[id] = keep
	}
}

func (w *wait) finish() {
	if w.req.open--; w.req.open == 0 {
		close(w.req.done)
	}
}

// leave forgets what a request still waits for.
func (c *clients) leave(req *request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if req.open == 0 {
		return
	}
	drop := func(waits []*wait) []*wait {
		keep := waits[:0]
		for _, w := range waits {
			if w.req != req {
				keep = append(keep, w)
			}
		}
		clear(waits[len(keep):])
		return keep
	}
	for i := range req.progress {
		id := req.progress[i].ID
		if waits, ok := c.waits[id]; ok {
			if keep := drop(waits); len(keep) > 0 {
				c.waits[id] = keep
			} else {
				delete(c.waits, id)
			}
		}
		if h := req.progress[i].Receipt.Height; h > 0 {
			if keep := drop(c.atHeight[h]); len(keep) > 0 {
				c.atHeight[h] = keep
			} else {
				delete(c.atHeight, h)
			}
		}
	}
}

// logged is called when a batch of the own lane is on disk.
func (c *clients) logged(p *ledger.Payload) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, tx := range p.Txs {
		if c.e.cfg.Book.Has(tx.ID()) {
			c.onDisk[tx.ID()] = struct{}{}
		}
		if len(c.waits[tx.ID()]) > 0 {
			c.tell(tx.ID(), Progress{ID: tx.ID(), Logged: true})
		}
	}
}

// executed is called when a block has been applied to the ledger.
func (c *clients) executed(b *ledger.Block) {
	book := c.e.cfg.Book
	book.Executed(b)
	expired := book.Expired(b.Header.TimeMS)
	c.e.wake()
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range b.Receipts {
		r := &b.Receipts[i]
		delete(c.onDisk, r.Tx)
		if len(c.waits[r.Tx]) == 0 {
			continue
		}
		c.tell(r.Tx, Progress{ID: r.Tx, Receipt: *r, Certified: c.certTop >= r.Height})
	}
	for i := range b.LeftOut {
		if l := &b.LeftOut[i]; l.Refusal.Final() {
			delete(c.onDisk, l.ID)
			c.refused.Add(l.ID, l.Refusal)
			c.tell(l.ID, Progress{ID: l.ID, Refusal: l.Refusal})
		}
	}
	for _, id := range b.Duplicates {
		delete(c.onDisk, id)
	}
	for _, tx := range expired {
		delete(c.onDisk, tx.ID())
		r := &ledger.Refusal{Reason: ledger.ReasonExpired, Detail: "no block ordered it before it expired"}
		c.refused.Add(tx.ID(), r)
		c.tell(tx.ID(), Progress{ID: tx.ID(), Refusal: r})
	}
}

// certified is called when a header has its f+1 VOTEs.
func (c *clients) certified(height uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.certTop = max(c.certTop, height)
	for _, w := range c.atHeight[height] {
		w.req.progress[w.at].Certified = true
		w.finish()
	}
	delete(c.atHeight, height)
}

// overdue has what expired in the book ordered, so that it gets its final answer, also when nothing else goes on.
func (c *clients) overdue(ctx context.Context) error {
	tick := time.NewTicker(overdueEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if c.e.cfg.Book.Overdue(c.e.clock.wall().Millis()) {
				c.e.wake()
			}
		case <-ctx.Done():
			return nil
		}
	}
}
