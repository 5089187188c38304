package admission

import (
	"time"

	"bdtnode/ledger"
	"bdtnode/protocols"
)

// waitSize is the number of bytes that one wait counts for, about its size in memory.
const waitSize = 256

// Request is a request of one client that waits until each of some transactions has reached a stage. Each id is
// waited for once, even if the request names it several times.
type Request struct {
	from    Party
	stage   Stage
	since   protocols.Time
	submits bool   // it submits the transactions, so refusals that are not final end its waits too
	done    func() // called once, when the last wait has ended
	waits   []wait
	at      map[ledger.TxID]int
	open    int // number of waits that have not ended
}

// wait is the wait of a request for one transaction.
type wait struct {
	req      *Request
	progress Progress
	state    waitState
	place    int // index in its list
}

type waitState uint8

const (
	waitIdle  waitState = iota // not entered
	waitByID                   // in the list waits.byID of its id
	waitByTop                  // in the list waits.atHeight of its receipt's height
	waitOver
)

// NewRequest returns a request of a party for transactions; ids may contain an id several times. A request that
// submits the transactions is passed every refusal, another one only final refusals. done is called once, when every
// transaction has reached the stage. It must not block and must not call into this package.
func NewRequest(from Party, ids []ledger.TxID, stage Stage, submits bool, now protocols.Time, done func()) *Request {
	r := &Request{from: from, stage: stage, since: now, submits: submits, done: done, at: make(map[ledger.TxID]int, len(ids))}
	r.waits = make([]wait, 0, len(ids))
	for _, id := range ids {
		if _, ok := r.at[id]; !ok {
			r.at[id] = len(r.waits)
			r.waits = append(r.waits, wait{req: r, progress: Progress{ID: id}})
		}
	}
	return r
}

// IDs returns the ids of the request's transactions, each once.
func (r *Request) IDs() []ledger.TxID {
	ids := make([]ledger.TxID, len(r.waits))
	for i := range r.waits {
		ids[i] = r.waits[i].progress.ID
	}
	return ids
}

// Progress returns the progress of one of the request's transactions.
func (r *Request) Progress(id ledger.TxID) Progress {
	i, ok := r.at[id]
	if !ok {
		return Progress{ID: id}
	}
	return r.waits[i].progress
}

// waits passes the progress of transactions to requests. The cost of a notification is bounded by the number of
// requests that wait for that id, which is at most the number of open requests.
type waits struct {
	shares   shares
	byID     map[ledger.TxID][]*wait
	atHeight map[uint64][]*wait // waits for the certified header of a height
	certTop  uint64
	observe  func(time.Duration) // see Config.ObserveLatency
	accepted func(time.Duration) // see Config.ObserveAcceptance

	submitted *Span // of the batch that is being logged, nil at other times
	visited   int   // number of waits that notifications have visited, for tests
}

func newWaits(limit int, certified uint64, observe, accepted func(time.Duration)) waits {
	return waits{
		shares: newShares(limit, limit*waitSize), byID: make(map[ledger.TxID][]*wait),
		atHeight: make(map[uint64][]*wait), certTop: certified, observe: observe, accepted: accepted,
	}
}

// enter registers a request. Waits beyond the party's share are refused as busy.
func (c *waits) enter(r *Request) {
	for i := range r.waits {
		w := &r.waits[i]
		if !c.shares.allows(r.from, waitSize) {
			w.progress.Refusal = &ledger.Refusal{Reason: ledger.ReasonBusy, Detail: "the client waits for too many transactions at this replica"}
			w.state = waitOver
			continue
		}
		c.shares.add(r.from, waitSize)
		r.open++
		id := w.progress.ID
		w.state, w.place = waitByID, len(c.byID[id])
		c.byID[id] = append(c.byID[id], w)
	}
	if r.open == 0 {
		r.done()
	}
}

// leave ends the remaining waits of a request.
func (c *waits) leave(r *Request) {
	for i := range r.waits {
		if w := &r.waits[i]; w.state == waitByID || w.state == waitByTop {
			c.unlist(w)
			w.state = waitOver
			c.shares.remove(r.from, waitSize)
			r.open--
		}
	}
}

func (c *waits) unlist(w *wait) {
	if w.state == waitByID {
		unlist(c.byID, w.progress.ID, w)
	} else {
		unlist(c.atHeight, w.progress.Receipt.Height, w)
	}
}

// unlist removes w from one of the lists; the last element takes its place.
func unlist[K comparable](lists map[K][]*wait, key K, w *wait) {
	list := lists[key]
	last := len(list) - 1
	list[w.place] = list[last]
	list[w.place].place = w.place
	list[last] = nil
	if last == 0 {
		delete(lists, key)
		return
	}
	lists[key] = list[:last]
}

// finish ends a wait that is in no list any more.
func (c *waits) finish(w *wait) {
	w.state = waitOver
	c.shares.remove(w.req.from, waitSize)
	if w.req.open--; w.req.open == 0 {
		w.req.done()
	}
}

// notify passes the progress of a transaction to all requests that wait for it.
func (c *waits) notify(p Progress, now protocols.Time) {
	// Backwards, since unlist replaces a wait that ends by the last one, which was visited already.
	for i := len(c.byID[p.ID]) - 1; i >= 0; i-- {
		c.visited++
		c.update(c.byID[p.ID][i], p, now)
	}
}

// notifyOne passes the progress of a transaction to one request.
func (c *waits) notifyOne(r *Request, p Progress, now protocols.Time) {
	if i, ok := r.at[p.ID]; ok && r.waits[i].state == waitByID {
		c.update(&r.waits[i], p, now)
	}
}

func (c *waits) update(w *wait, p Progress, now protocols.Time) {
	have := &w.progress
	switch {
	case p.Refusal != nil && (have.Receipt.Height > 0 || !w.req.submits && !p.Refusal.Final()):
		return // a refusal does not replace a receipt
	case p.Receipt.Height < have.Receipt.Height:
		return
	}
	if w.req.submits && p.Refusal == nil && p.Reached(Final) && !have.Reached(Final) && c.observe != nil {
		c.observe(now.Sub(w.req.since))
	}
	if w.req.submits && p.Logged && !have.Logged {
		if c.accepted != nil {
			c.accepted(now.Sub(w.req.since))
		}
		if c.submitted != nil {
			c.submitted.add(w.req.since)
		}
	}
	p.Certified = p.Receipt.Height > 0 && c.certTop >= p.Receipt.Height
	top := p.Receipt.Height > 0 && w.req.stage == Certified && !p.Certified
	if over := p.Reached(w.req.stage); over || top {
		unlist(c.byID, p.ID, w)
		*have = p
		if over {
			c.finish(w)
			return
		}
		w.state, w.place = waitByTop, len(c.atHeight[p.Receipt.Height])
		c.atHeight[p.Receipt.Height] = append(c.atHeight[p.Receipt.Height], w)
		return
	}
	*have = p
}

// certified is called for each height when its header has f+1 VOTEs.
func (c *waits) certified(height uint64) {
	c.certTop = max(c.certTop, height)
	list := c.atHeight[height]
	delete(c.atHeight, height)
	for _, w := range list {
		c.visited++
		w.progress.Certified = true
		c.finish(w)
	}
}
