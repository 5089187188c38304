package admission

import (
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"bdtnode/ledger"
	"bdtnode/protocols"
)

// Limits of a door. A party may hold as much of each as is free, so one alone reaches half.
type Limits struct {
	Txs, Bytes         int // of the TX book, accepted transactions included; bytes of encodings
	RoomTxs, RoomBytes int // of transactions that wait for an input
	Waits              int // ids that requests wait for
}

// StandardLimits are those of a node.
func StandardLimits() Limits {
	return Limits{Txs: 1 << 16, Bytes: 32 << 20, RoomTxs: 1 << 13, RoomBytes: 8 << 20, Waits: 1 << 17}
}

const (
	roomFor    = 10 * time.Second // for how long a transaction waits for an input
	retryFirst = 500 * time.Millisecond
	retryMost  = 16 * time.Second // a transaction left out is tried again after retryFirst, twice that, up to retryMost
	// maxRetries bounds the transactions left out before that are looked at again in each second.
	maxRetries = 256
	// overdueAfter is how long after its expiry, by this replica's clock, an accepted transaction is put into a batch so
	// that block time passes its expiry. One goes in each overdueEvery: a block of that time ends them all.
	overdueAfter = time.Second
	overdueEvery = time.Second
	maxRefused   = 1 << 14 // final refusals without a receipt that are remembered
	maxVictims   = 256     // evicted for one transaction that pays more
)

// Config is what a door is made of.
type Config struct {
	Limits    Limits
	Kinds     ledger.Kinds        // of entries of batches
	Height    uint64              // of the last executed block
	Certified uint64              // greatest height of a certified header
	Took      func(time.Duration) // if not nil, called with the time to its end of each transaction ordered
}

// Door is the admission of one replica. It has no lock: its user calls one method at a time.
type Door struct {
	limits  Limits
	height  uint64 // of the last block it has heard of
	timeMS  uint64 // its block time
	arrived uint64 // transactions so far

	entries map[ledger.TxID]*entry
	spends  map[ledger.Outpoint]*entry // of ready, behind and flying ones, the outputs of this shard
	links   map[ledger.TxID][]*link
	book    shares
	room    shares
	rooms   map[Party]*ordered[*entry] // by arrival, in the place of queuePlace
	crowd   ordered[*entry]            // all of the rooms, by arrival
	queues  queues
	fees    ordered[*entry] // entries that may be evicted, the one that pays least on top
	expiry  ordered[*entry]
	timers  ordered[*entry] // of the room and of parked ones, by until
	due     []*entry        // to be looked at again

	second    protocols.Time // in which retries are counted
	retries   int
	overdueAt protocols.Time // not before this is another overdue transaction put into a batch

	refused *simplelru.LRU[ledger.TxID, *ledger.Refusal]
	kept    kept
	waits   waits
}

// New makes a door without transactions.
func New(cfg Config) *Door {
	refused, err := simplelru.NewLRU[ledger.TxID, *ledger.Refusal](maxRefused, nil)
	if err != nil {
		panic(err) // the size is positive
	}
	return &Door{
		limits: cfg.Limits, height: cfg.Height,
		entries: make(map[ledger.TxID]*entry), spends: make(map[ledger.Outpoint]*entry), links: make(map[ledger.TxID][]*link),
		book: newShares(cfg.Limits.Txs, cfg.Limits.Bytes), room: newShares(cfg.Limits.RoomTxs, cfg.Limits.RoomBytes),
		queues:  newQueues(),
		crowd:   byArrival(func(e *entry) *int { return &e.feePlace }),
		rooms:   make(map[Party]*ordered[*entry]),
		fees:    ordered[*entry]{less: paysLess, place: func(e *entry) *int { return &e.feePlace }},
		expiry:  ordered[*entry]{less: expiresBefore, place: func(e *entry) *int { return &e.expiryPlace }},
		timers:  ordered[*entry]{less: dueBefore, place: func(e *entry) *int { return &e.timerPlace }},
		refused: refused,
		waits:   newWaits(cfg.Limits.Waits, cfg.Certified, cfg.Took),
	}
}

func paysLess(a, b *entry) bool {
	if c := pays(a.tx, b.tx); c != 0 {
		return c < 0
	}
	return a.seq > b.seq // of those that pay the same the newest goes first
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

// Enter registers a request. Each of its transactions that comes to the request's stage, or is refused, is noted in it.
func (d *Door) Enter(r *Request) { d.waits.enter(r) }

// Answer notes in a request that a transaction has a receipt.
func (d *Door) Answer(r *Request, receipt ledger.Receipt, now Instant) {
	d.waits.tellOne(r, Progress{ID: receipt.Tx, Receipt: receipt}, now.Now)
}

// Leave forgets a request, which may have come to its end or not.
func (d *Door) Leave(r *Request) { d.waits.leave(r) }

// Admit is called for each transaction of a request that was entered, with signatures verified and after a look at the
// ledger. It reports whether the look was good: if not, the caller looks again. What becomes of the transaction is noted
// in the request.
func (d *Door) Admit(r *Request, tx *ledger.Tx, l Look, now Instant) bool {
	if l.Height < d.height {
		return false
	}
	id := tx.ID()
	if i, ok := r.at[id]; !ok || r.waits[i].state != waitByID {
		return true // it has no wait, or its answer
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
			Detail: "its expiry has passed by the clock of this replica; the answer is final once a block of a later time is executed"}}, now.Now)
	default:
		if e == nil {
			d.arrived++
			e = &entry{tx: tx, from: r.from, seq: d.arrived, state: gone, inside: l.Found.Inside, backoff: retryFirst}
		}
		if refusal := d.seat(e, &l, now); refusal != nil {
			d.waits.tellOne(r, Progress{ID: id, Refusal: refusal}, now.Now)
		} else if e.state == inRoom {
			d.waits.tellOne(r, Progress{ID: id, Waiting: true}, now.Now)
		}
	}
	return true
}

// refusal is what stands against the transaction other than inputs that are not there.
func (l *Look) refusal() *ledger.Refusal {
	if r := l.Found.Refusal; r != nil && r.Reason != ledger.ReasonUnknownInput {
		return r
	}
	return l.Found.Horizon
}

// seat gives a new entry, or one of the room, its place: the book if it is processable, else the room. It answers why the
// entry has none.
func (d *Door) seat(e *entry, l *Look, now Instant) *ledger.Refusal {
	links, processable := d.dependencies(e, &l.Found)
	if processable && !d.makeSpace(e, now) {
		refusal := &ledger.Refusal{Reason: ledger.ReasonBookFull, Detail: d.fullness()}
		d.end(e, refusal, now)
		return refusal
	}
	if processable { // making space may have taken away what it depends on
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

// dependencies are the transactions that an entry depends on, and whether it is processable: its inputs in this shard
// exist or are made by entries ahead of it, and no other entry spends them.
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
		if parent == nil || !parent.ahead() || !parent.inside || !makes(parent.tx, in) {
			links, processable = append(links, link{entry: e, on: in.Outpoint.Tx}), false
			continue
		}
		links = append(links, link{entry: e, on: in.Outpoint.Tx, first: parent.state != flying})
	}
	return links, processable
}

// makes reports whether an input spends an output of a transaction as it is.
func makes(tx *ledger.Tx, in *ledger.Input) bool {
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

// end removes an entry for a reason, and tells those who wait for it.
func (d *Door) end(e *entry, r *ledger.Refusal, now Instant) {
	d.drop(e)
	if e.logged && r.Final() {
		d.kept.refuse(e.id(), r.Reason)
	}
	d.remember(e.id(), r)
	d.waits.tell(Progress{ID: e.id(), Refusal: r}, now.Now)
	d.orphan(e.id(), now)
}

func (d *Door) remember(id ledger.TxID, r *ledger.Refusal) {
	if r.Final() {
		d.refused.Add(id, r)
	}
}

// drop takes an entry out of everything.
func (d *Door) drop(e *entry) {
	switch {
	case e.state == inRoom:
		d.leaveRoom(e)
	case e.inBook():
		d.leaveBook(e)
	}
	d.unlink(e)
	d.expiry.remove(e)
	e.state = gone
	delete(d.entries, e.id())
	if e.recorded {
		d.kept.erase(e.id())
	}
}

// Find is what is known of a transaction that has no receipt; ok is false if that is nothing.
func (d *Door) Find(id ledger.TxID) (p Progress, ok bool) {
	if e := d.entries[id]; e != nil {
		return Progress{ID: id, Logged: e.logged, Waiting: !e.logged}, true
	}
	if r, ok := d.refused.Get(id); ok {
		return Progress{ID: id, Refusal: r}, true
	}
	return Progress{ID: id}, false
}

// Holds reports whether a transaction is in the book or the room.
func (d *Door) Holds(id ledger.TxID) bool { return d.entries[id] != nil }

// Len is the number of transactions in the book, those in a batch included.
func (d *Door) Len() int { return d.book.items }

// Room is the number of transactions that wait for an input.
func (d *Door) Room() int { return d.room.items }

// Waits is the number of ids that requests wait for, each counted for each request.
func (d *Door) Waits() int { return d.waits.shares.items }

// CertifiedHeight is the height up to which headers are certified.
func (d *Door) CertifiedHeight() uint64 { return d.waits.certTop }

// Certified is called when a header has its f+1 VOTEs.
func (d *Door) Certified(height uint64) { d.waits.certified(height) }
