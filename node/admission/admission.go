package admission

import (
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"bdtnode/ledger"
	"bdtnode/protocols"
)

// Limits of an Admission. A party may hold as much of each as is free, so a single party reaches half.
type Limits struct {
	Txs, Bytes             int // of the mempool, accepted transactions included: number, and bytes of encodings
	OrphanTxs, OrphanBytes int // of the orphan pool: number, and bytes of encodings
	Waits                  int // number of ids that requests wait for
}

// StandardLimits returns the limits of a node.
func StandardLimits() Limits {
	return Limits{Txs: 1 << 16, Bytes: 32 << 20, OrphanTxs: 1 << 13, OrphanBytes: 8 << 20, Waits: 1 << 17}
}

const (
	maxOrphanAge = 10 * time.Second // longest time of a transaction in the orphan pool
	// A transaction that a block left out is tried again after retryFirst, then after twice as long each time, up to
	// retryMost.
	retryFirst = 500 * time.Millisecond
	retryMost  = 16 * time.Second
	// maxRetries is the number of transactions that blocks left out and that are looked up again in each second.
	maxRetries = 256
	// overdueAfter is the time from the expiry of an accepted transaction, by this replica's clock, until it is put
	// into a batch so that block time passes its expiry. One is put into a batch each overdueEvery, since a block of
	// that time ends all of them.
	overdueAfter = time.Second
	overdueEvery = time.Second
	maxRefused   = 1 << 14 // number of final refusals without a receipt that are remembered
	maxVictims   = 256     // greatest number of transactions evicted for one that pays more per byte
)

// Config has the settings and the initial state of an Admission.
type Config struct {
	Limits    Limits
	Kinds     ledger.Kinds // kinds of the entries of batches
	Height    uint64       // of the last executed block
	Certified uint64       // greatest height of a certified header
	// ObserveLatency, if not nil, is called for each submitted transaction that gets its final receipt, with the time
	// since its request.
	ObserveLatency func(time.Duration)
	// ObserveAcceptance, if not nil, is called likewise for each submitted transaction whose batch is on disk.
	ObserveAcceptance func(time.Duration)
	// ObserveBatch, if not nil, is called for each batch of the own lane on disk, with its number and the times of its
	// transactions.
	ObserveBatch func(number uint64, t BatchTimes)
}

// BatchTimes are the times of a batch's transactions at this replica. Those without a request, or read from disk at the
// start, are not counted.
type BatchTimes struct {
	Submitted Span // the requests that submitted them and wait for an answer
	Admitted  Span // entry into the mempool or the orphan pool
}

// Span is the time from the first to the last of several events. It is zero if there was none.
type Span struct{ First, Last protocols.Time }

func (s *Span) add(t protocols.Time) {
	if t == 0 {
		return
	}
	if s.First == 0 || t < s.First {
		s.First = t
	}
	s.Last = max(s.Last, t)
}

// Admission is the admission state of one replica. It has no lock: the caller calls one method at a time.
type Admission struct {
	limits  Limits
	height  uint64 // of the last block passed to Executed
	timeMS  uint64 // its block time, Unix milliseconds
	arrived uint64 // number of transactions so far

	entries          map[ledger.TxID]*entry
	spends           map[ledger.Outpoint]*entry // by output of this shard, the ready, behind or inBatch entry that spends it
	links            map[ledger.TxID][]*link
	mempool          shares
	orphans          shares
	orphansByParty   map[Party]*ordered[*entry] // orphan pool by party, in order of arrival; index in queuePlace
	orphansByArrival ordered[*entry]            // whole orphan pool in order of arrival; index in feePlace
	queues           queues
	fees             ordered[*entry] // entries that may be evicted, the one that pays least per byte on top
	expiry           ordered[*entry]
	timers           ordered[*entry] // entries of the orphan pool and parked entries, by until
	due              []*entry        // entries to be looked up again

	second    protocols.Time // start of the second in which retries are counted
	retries   int
	overdueAt protocols.Time // earliest time at which another overdue transaction is put into a batch

	refused   *simplelru.LRU[ledger.TxID, *ledger.Refusal]
	persisted persisted
	waits     waits

	observeBatch func(number uint64, t BatchTimes) // see Config.ObserveBatch
}

// New returns an Admission without transactions.
func New(cfg Config) *Admission {
	refused, err := simplelru.NewLRU[ledger.TxID, *ledger.Refusal](maxRefused, nil)
	if err != nil {
		panic(err) // the size is positive
	}
	return &Admission{
		limits: cfg.Limits, height: cfg.Height,
		entries: make(map[ledger.TxID]*entry), spends: make(map[ledger.Outpoint]*entry), links: make(map[ledger.TxID][]*link),
		mempool: newShares(cfg.Limits.Txs, cfg.Limits.Bytes), orphans: newShares(cfg.Limits.OrphanTxs, cfg.Limits.OrphanBytes),
		queues:           newQueues(),
		orphansByArrival: byArrival(func(e *entry) *int { return &e.feePlace }),
		orphansByParty:   make(map[Party]*ordered[*entry]),
		fees:             ordered[*entry]{less: paysLess, place: func(e *entry) *int { return &e.feePlace }},
		expiry:           ordered[*entry]{less: expiresBefore, place: func(e *entry) *int { return &e.expiryPlace }},
		timers:           ordered[*entry]{less: dueBefore, place: func(e *entry) *int { return &e.timerPlace }},
		refused:          refused,
		waits:            newWaits(cfg.Limits.Waits, cfg.Certified, cfg.ObserveLatency, cfg.ObserveAcceptance),
		observeBatch:     cfg.ObserveBatch,
	}
}

func paysLess(a, b *entry) bool {
	if c := pays(a.tx, b.tx); c != 0 {
		return c < 0
	}
	return a.seq > b.seq // of those that pay the same, the newest is evicted first
}

func expiresBefore(a, b *entry) bool {
	if a.tx.ExpiryMS != b.tx.ExpiryMS {
		return a.tx.ExpiryMS < b.tx.ExpiryMS
	}
	return a.seq < b.seq
}

func dueBefore(a, b *entry) bool {
	if a.until != b.until {
		return a.until < b.until
	}
	return a.seq < b.seq
}

// AddRequest registers a request. For each of its transactions, the request records when the transaction reaches the
// request's stage or is refused.
func (a *Admission) AddRequest(r *Request) { a.waits.enter(r) }

// AnswerRequest records in a request that a transaction has a receipt.
func (a *Admission) AnswerRequest(r *Request, receipt ledger.Receipt, now Instant) {
	a.waits.notifyOne(r, Progress{ID: receipt.Tx, Receipt: receipt}, now.Now)
}

// RemoveRequest removes a request, whether it has ended or not.
func (a *Admission) RemoveRequest(r *Request) { a.waits.leave(r) }

// Admit is called for each transaction of a request that was added, after the ledger was read. It returns false if the
// lookup is older than the last executed block; then the caller reads the ledger again. The result is recorded in the
// request.
func (a *Admission) Admit(r *Request, v ledger.VerifiedTx, l Lookup, now Instant) bool {
	if l.Height < a.height {
		return false
	}
	tx := v.Tx()
	id := tx.ID()
	if i, ok := r.at[id]; !ok || r.waits[i].state != waitByID {
		return true // the request does not wait for it, or has its answer
	}
	e := a.entries[id]
	switch {
	case l.Known:
		a.waits.notifyOne(r, Progress{ID: id, Receipt: l.Receipt}, now.Now)
	case e != nil && e.inMempool():
		if e.logged {
			a.waits.notifyOne(r, Progress{ID: id, Logged: true}, now.Now)
		}
	case l.refusal() != nil:
		if e != nil {
			a.end(e, l.refusal(), now)
		} else {
			a.remember(id, l.refusal())
		}
		a.waits.notifyOne(r, Progress{ID: id, Refusal: l.refusal()}, now.Now)
	case now.WallMS > tx.ExpiryMS:
		a.waits.notifyOne(r, Progress{ID: id, Refusal: &ledger.Refusal{Reason: ledger.ReasonLate,
			Detail: "its expiry has passed by the clock of this replica; the answer becomes final when a block with a later block time is executed"}}, now.Now)
	default:
		if e == nil {
			a.arrived++
			e = &entry{tx: tx, from: r.from, seq: a.arrived, state: removed, inside: l.Found.Inside, backoff: retryFirst, arrived: now.Now}
		}
		if refusal := a.place(e, &l, now); refusal != nil {
			a.waits.notifyOne(r, Progress{ID: id, Refusal: refusal}, now.Now)
		} else if e.state == orphaned {
			a.waits.notifyOne(r, Progress{ID: id, Waiting: true}, now.Now)
		}
	}
	return true
}

// refusal returns the refusal of the transaction for any reason other than an unknown input, or nil.
func (l *Lookup) refusal() *ledger.Refusal {
	if r := l.Found.Refusal; r != nil && r.Reason != ledger.ReasonUnknownInput {
		return r
	}
	return l.Found.Horizon
}

// place puts a new entry, or one of the orphan pool, into the mempool if it is processable, otherwise into the
// orphan pool. If it gets no place, the entry ends, and place returns the refusal.
func (a *Admission) place(e *entry, l *Lookup, now Instant) *ledger.Refusal {
	links, processable := a.dependencies(e, &l.Found)
	if processable && !a.makeSpace(e, now) {
		refusal := &ledger.Refusal{Reason: ledger.ReasonBookFull, Detail: a.fullness()}
		a.end(e, refusal, now)
		return refusal
	}
	if processable { // makeSpace may have evicted a transaction that it depends on
		links, processable = a.dependencies(e, &l.Found)
	}
	if !processable {
		if e.state != orphaned {
			a.addOrphan(e, now)
		}
		a.link(e, links)
		return nil
	}
	a.removeOrphan(e)
	a.addToMempool(e, links, l.Found.Own)
	return nil
}

// dependencies returns the transactions that an entry depends on, and whether it is processable: its inputs in this
// shard exist or are outputs of entries ahead of it, and no other entry spends them.
func (a *Admission) dependencies(e *entry, found *ledger.Inspection) (links []link, processable bool) {
	processable = true
	for _, i := range found.Own {
		if by := a.spends[e.tx.Inputs[i].Outpoint]; by != nil && by != e {
			links, processable = append(links, link{entry: e, on: by.id()}), false
		}
	}
	for _, i := range found.Missing {
		in := &e.tx.Inputs[i]
		parent := a.entries[in.Outpoint.Tx]
		if parent == nil || !parent.ahead() || !parent.inside || !hasOutput(parent.tx, in) {
			links, processable = append(links, link{entry: e, on: in.Outpoint.Tx}), false
			continue
		}
		links = append(links, link{entry: e, on: in.Outpoint.Tx, first: parent.state != inBatch})
	}
	return links, processable
}

// hasOutput reports whether tx has the output that the input spends, with the same amount and owner.
func hasOutput(tx *ledger.Tx, in *ledger.Input) bool {
	if int(in.Outpoint.Index) >= len(tx.Outputs) {
		return false
	}
	out := &tx.Outputs[in.Outpoint.Index]
	return out.Amount == in.Amount && out.Address == ledger.AddressOf(in.Key)
}

// link replaces the links of an entry.
func (a *Admission) link(e *entry, links []link) {
	a.unlink(e)
	e.links, e.waitFor = make([]*link, 0, len(links)), 0
	for i := range links {
		l := &links[i]
		l.place = len(a.links[l.on])
		a.links[l.on] = append(a.links[l.on], l)
		e.links = append(e.links, l)
		if l.first {
			e.waitFor++
		}
	}
}

func (a *Admission) unlink(e *entry) {
	for _, l := range e.links {
		list := a.links[l.on]
		last := len(list) - 1
		list[l.place] = list[last]
		list[l.place].place = l.place
		list[last] = nil
		if last == 0 {
			delete(a.links, l.on)
		} else {
			a.links[l.on] = list[:last]
		}
	}
	e.links, e.waitFor = nil, 0
}

// end removes an entry with a refusal, and passes the refusal to the requests that wait for it.
func (a *Admission) end(e *entry, r *ledger.Refusal, now Instant) {
	a.drop(e)
	if e.logged && r.Final() {
		a.persisted.refuse(e.id(), r.Reason)
	}
	a.remember(e.id(), r)
	a.waits.notify(Progress{ID: e.id(), Refusal: r}, now.Now)
	a.recheckDependents(e.id(), now)
}

func (a *Admission) remember(id ledger.TxID, r *ledger.Refusal) {
	if r.Final() {
		a.refused.Add(id, r)
	}
}

// drop removes an entry from all data structures.
func (a *Admission) drop(e *entry) {
	switch {
	case e.state == orphaned:
		a.removeOrphan(e)
	case e.inMempool():
		a.removeFromMempool(e)
	}
	a.unlink(e)
	a.expiry.remove(e)
	e.state = removed
	delete(a.entries, e.id())
	if e.recorded {
		a.persisted.erase(e.id())
	}
}

// Find returns the progress of a transaction that has no receipt; ok is false if the transaction is unknown.
func (a *Admission) Find(id ledger.TxID) (p Progress, ok bool) {
	if e := a.entries[id]; e != nil {
		return Progress{ID: id, Logged: e.logged, Waiting: !e.logged}, true
	}
	if r, ok := a.refused.Get(id); ok {
		return Progress{ID: id, Refusal: r}, true
	}
	return Progress{ID: id}, false
}

// Contains reports whether a transaction is in the mempool or the orphan pool.
func (a *Admission) Contains(id ledger.TxID) bool { return a.entries[id] != nil }

// MempoolCount returns the number of transactions in the mempool, those in a batch included.
func (a *Admission) MempoolCount() int { return a.mempool.items }

// OrphanCount returns the number of transactions in the orphan pool.
func (a *Admission) OrphanCount() int { return a.orphans.items }

// Bytes returns the bytes of the encodings in the mempool and in the orphan pool.
func (a *Admission) Bytes() (mempool, orphans int) { return a.mempool.bytes, a.orphans.bytes }

// Waits returns the number of ids that requests wait for, counted once for each request.
func (a *Admission) Waits() int { return a.waits.shares.items }

// Certified is called when the header of a height has its f+1 VOTEs.
func (a *Admission) Certified(height uint64) { a.waits.certified(height) }
