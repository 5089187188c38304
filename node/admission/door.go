package admission

import (
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"bdtnode/ledger"
	"bdtnode/protocols"
)

// Limits of a Door. A party may hold as much of each as is free, so a single party reaches half.
type Limits struct {
	Txs, Bytes         int // of the TX book, accepted transactions included: number, and bytes of encodings
	RoomTxs, RoomBytes int // of the waiting room: number, and bytes of encodings
	Waits              int // number of ids that requests wait for
}

// StandardLimits returns the limits of a node.
func StandardLimits() Limits {
	return Limits{Txs: 1 << 16, Bytes: 32 << 20, RoomTxs: 1 << 13, RoomBytes: 8 << 20, Waits: 1 << 17}
}

const (
	roomFor = 10 * time.Second // longest time of a transaction in the waiting room
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

// Config has the settings and the initial state of a Door.
type Config struct {
	Limits    Limits
	Kinds     ledger.Kinds // kinds of the entries of batches
	Height    uint64       // of the last executed block
	Certified uint64       // greatest height of a certified header
	// Took, if not nil, is called for each submitted transaction that gets its final receipt, with the time since its
	// request.
	Took func(time.Duration)
}

// Door is the admission state of one replica. It has no lock: the caller calls one method at a time.
type Door struct {
	limits  Limits
	height  uint64 // of the last block passed to Executed
	timeMS  uint64 // its block time, Unix milliseconds
	arrived uint64 // number of transactions so far

	entries       map[ledger.TxID]*entry
	spends        map[ledger.Outpoint]*entry // by output of this shard, the ready, behind or inBatch entry that spends it
	links         map[ledger.TxID][]*link
	book          shares
	room          shares
	rooms         map[Party]*ordered[*entry] // waiting room by party, in order of arrival; index in queuePlace
	roomByArrival ordered[*entry]            // whole waiting room in order of arrival; index in feePlace
	queues        queues
	fees          ordered[*entry] // entries that may be evicted, the one that pays least per byte on top
	expiry        ordered[*entry]
	timers        ordered[*entry] // entries of the waiting room and parked entries, by until
	due           []*entry        // entries to be looked up again

	second    protocols.Time // start of the second in which retries are counted
	retries   int
	overdueAt protocols.Time // earliest time at which another overdue transaction is put into a batch

	refused *simplelru.LRU[ledger.TxID, *ledger.Refusal]
	kept    kept
	waits   waits
}

// New returns a Door without transactions.
func New(cfg Config) *Door {
	refused, err := simplelru.NewLRU[ledger.TxID, *ledger.Refusal](maxRefused, nil)
	if err != nil {
		panic(err) // the size is positive
	}
	return &Door{
		limits: cfg.Limits, height: cfg.Height,
		entries: make(map[ledger.TxID]*entry), spends: make(map[ledger.Outpoint]*entry), links: make(map[ledger.TxID][]*link),
		book: newShares(cfg.Limits.Txs, cfg.Limits.Bytes), room: newShares(cfg.Limits.RoomTxs, cfg.Limits.RoomBytes),
		queues:        newQueues(),
		roomByArrival: byArrival(func(e *entry) *int { return &e.feePlace }),
		rooms:         make(map[Party]*ordered[*entry]),
		fees:          ordered[*entry]{less: paysLess, place: func(e *entry) *int { return &e.feePlace }},
		expiry:        ordered[*entry]{less: expiresBefore, place: func(e *entry) *int { return &e.expiryPlace }},
		timers:        ordered[*entry]{less: dueBefore, place: func(e *entry) *int { return &e.timerPlace }},
		refused:       refused,
		waits:         newWaits(cfg.Limits.Waits, cfg.Certified, cfg.Took),
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

// Enter registers a request. For each of its transactions, the request records when the transaction reaches the
// request's stage or is refused.
func (d *Door) Enter(r *Request) { d.waits.enter(r) }

// Answer records in a request that a transaction has a receipt.
func (d *Door) Answer(r *Request, receipt ledger.Receipt, now Instant) {
	d.waits.tellOne(r, Progress{ID: receipt.Tx, Receipt: receipt}, now.Now)
}

// Leave removes a request, whether it has ended or not.
func (d *Door) Leave(r *Request) { d.waits.leave(r) }

// Admit is called for each transaction of a request that was entered, after its signatures were verified and the
// ledger was read. It returns false if the look is older than the last executed block; then the caller reads the
// ledger again. The result is recorded in the request.
func (d *Door) Admit(r *Request, tx *ledger.Tx, l Look, now Instant) bool {
	if l.Height < d.height {
		return false
	}
	id := tx.ID()
	if i, ok := r.at[id]; !ok || r.waits[i].state != waitByID {
		return true // the request does not wait for it, or has its answer
	}
	e := d.entries[id]
	switch {
	case l.Known:
		d.waits.tellOne(r, Progress{ID: id, Receipt: l.Receipt}, now.Now)
	case e != nil && e.inBook():
		if e.logged {
			d.waits.tellOne(r, Progress{ID: id, Logged: true}, now.Now)
		}
	case l.refusal() != nil:
		if e != nil {
			d.end(e, l.refusal(), now)
		} else {
			d.remember(id, l.refusal())
		}
		d.waits.tellOne(r, Progress{ID: id, Refusal: l.refusal()}, now.Now)
	case now.WallMS > tx.ExpiryMS:
		d.waits.tellOne(r, Progress{ID: id, Refusal: &ledger.Refusal{Reason: ledger.ReasonLate,
			Detail: "its expiry has passed by the clock of this replica; the answer becomes final when a block with a later block time is executed"}}, now.Now)
	default:
		if e == nil {
			d.arrived++
			e = &entry{tx: tx, from: r.from, seq: d.arrived, state: removed, inside: l.Found.Inside, backoff: retryFirst}
		}
		if refusal := d.place(e, &l, now); refusal != nil {
			d.waits.tellOne(r, Progress{ID: id, Refusal: refusal}, now.Now)
		} else if e.state == inRoom {
			d.waits.tellOne(r, Progress{ID: id, Waiting: true}, now.Now)
		}
	}
	return true
}

// refusal returns the refusal of the transaction for any reason other than an unknown input, or nil.
func (l *Look) refusal() *ledger.Refusal {
	if r := l.Found.Refusal; r != nil && r.Reason != ledger.ReasonUnknownInput {
		return r
	}
	return l.Found.Horizon
}

// place puts a new entry, or one of the waiting room, into the TX book if it is processable, otherwise into the
// waiting room. If it gets no place, the entry ends, and place returns the refusal.
func (d *Door) place(e *entry, l *Look, now Instant) *ledger.Refusal {
	links, processable := d.dependencies(e, &l.Found)
	if processable && !d.makeSpace(e, now) {
		refusal := &ledger.Refusal{Reason: ledger.ReasonBookFull, Detail: d.fullness()}
		d.end(e, refusal, now)
		return refusal
	}
	if processable { // makeSpace may have evicted a transaction that it depends on
		links, processable = d.dependencies(e, &l.Found)
	}
	if !processable {
		if e.state != inRoom {
			d.enterRoom(e, now)
		}
		d.link(e, links)
		return nil
	}
	d.leaveRoom(e)
	d.enterBook(e, links, l.Found.Own)
	return nil
}

// dependencies returns the transactions that an entry depends on, and whether it is processable: its inputs in this
// shard exist or are outputs of entries ahead of it, and no other entry spends them.
func (d *Door) dependencies(e *entry, found *ledger.Inspection) (links []link, processable bool) {
	processable = true
	for _, i := range found.Own {
		if by := d.spends[e.tx.Inputs[i].Outpoint]; by != nil && by != e {
			links, processable = append(links, link{entry: e, on: by.id()}), false
		}
	}
	for _, i := range found.Missing {
		in := &e.tx.Inputs[i]
		parent := d.entries[in.Outpoint.Tx]
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
func (d *Door) link(e *entry, links []link) {
	d.unlink(e)
	e.links, e.waitFor = make([]*link, 0, len(links)), 0
	for i := range links {
		l := &links[i]
		l.place = len(d.links[l.on])
		d.links[l.on] = append(d.links[l.on], l)
		e.links = append(e.links, l)
		if l.first {
			e.waitFor++
		}
	}
}

func (d *Door) unlink(e *entry) {
	for _, l := range e.links {
		list := d.links[l.on]
		last := len(list) - 1
		list[l.place] = list[last]
		list[l.place].place = l.place
		list[last] = nil
		if last == 0 {
			delete(d.links, l.on)
		} else {
			d.links[l.on] = list[:last]
		}
	}
	e.links, e.waitFor = nil, 0
}

// end removes an entry with a refusal, and passes the refusal to the requests that wait for it.
func (d *Door) end(e *entry, r *ledger.Refusal, now Instant) {
	d.drop(e)
	if e.logged && r.Final() {
		d.kept.refuse(e.id(), r.Reason)
	}
	d.remember(e.id(), r)
	d.waits.tell(Progress{ID: e.id(), Refusal: r}, now.Now)
	d.recheckDependents(e.id(), now)
}

func (d *Door) remember(id ledger.TxID, r *ledger.Refusal) {
	if r.Final() {
		d.refused.Add(id, r)
	}
}

// drop removes an entry from all data structures.
func (d *Door) drop(e *entry) {
	switch {
	case e.state == inRoom:
		d.leaveRoom(e)
	case e.inBook():
		d.leaveBook(e)
	}
	d.unlink(e)
	d.expiry.remove(e)
	e.state = removed
	delete(d.entries, e.id())
	if e.recorded {
		d.kept.erase(e.id())
	}
}

// Find returns the progress of a transaction that has no receipt; ok is false if the transaction is unknown.
func (d *Door) Find(id ledger.TxID) (p Progress, ok bool) {
	if e := d.entries[id]; e != nil {
		return Progress{ID: id, Logged: e.logged, Waiting: !e.logged}, true
	}
	if r, ok := d.refused.Get(id); ok {
		return Progress{ID: id, Refusal: r}, true
	}
	return Progress{ID: id}, false
}

// Holds reports whether a transaction is in the TX book or the waiting room.
func (d *Door) Holds(id ledger.TxID) bool { return d.entries[id] != nil }

// Len returns the number of transactions in the TX book, those in a batch included.
func (d *Door) Len() int { return d.book.items }

// Room returns the number of transactions in the waiting room.
func (d *Door) Room() int { return d.room.items }

// Waits returns the number of ids that requests wait for, counted once for each request.
func (d *Door) Waits() int { return d.waits.shares.items }

// CertifiedHeight returns the height up to which headers are certified.
func (d *Door) CertifiedHeight() uint64 { return d.waits.certTop }

// Certified is called when the header of a height has its f+1 VOTEs.
func (d *Door) Certified(height uint64) { d.waits.certified(height) }
