package ledger

// use is what a block did to one output.
type use struct {
	coin    coin
	created bool // in this block
	spent   bool
	by      TxID // who spent it
}

// openRecord is a record as the block at hand has left it.
type openRecord struct {
	Record
	born    bool // in this block
	changed bool
}

// work is what Execute builds up for one block; it is emptied and used again for the next.
type work struct {
	uses     map[Outpoint]*use
	order    []Outpoint // of uses
	accounts map[Address]*account
	touched  []Address // order of accounts
	decided  map[TxID]struct{}
	spentDue dueLists[Outpoint]
	openDue  dueLists[TxID]
	history  []historyAt
	writes   []byte // every change that decides later blocks, as it is made
	coins    []coin // of the own inputs of the transaction last judged
	judged   TxID   // that transaction, until its coins are spent
	parties  []HistoryEntry
	names    []Address // of parties
	slab     []use

	// What settles between shards.
	records   map[TxID]*openRecord // those that the block has looked at or opened
	changed   []*openRecord
	forgotten []Outpoint // whose consumer's record was closed
	channels  map[uint16]*Channel
	tell      map[uint16][]Entry // by destination
	acked     []outboxRange
	untold    []TxID    // on which the block gave a verdict, in order
	said      outboxUse // what telling those takes
	left      int       // verdicts that are still to be told by later blocks
}

type historyAt struct {
	owner  Address
	number uint64
	entry  HistoryEntry
}

// outboxRange is deliveries from number first to last that need not be kept.
type outboxRange struct {
	destination uint16
	first, last uint64
}

func (w *work) init() {
	w.uses = make(map[Outpoint]*use)
	w.accounts = make(map[Address]*account)
	w.decided = make(map[TxID]struct{})
	w.spentDue.init()
	w.openDue.init()
	w.records = make(map[TxID]*openRecord)
	w.channels = make(map[uint16]*Channel)
	w.tell = make(map[uint16][]Entry)
}

func (w *work) reset() {
	clear(w.uses)
	clear(w.accounts)
	clear(w.decided)
	w.spentDue.reset()
	w.openDue.reset()
	w.order, w.touched, w.history, w.writes = w.order[:0], w.touched[:0], w.history[:0], w.writes[:0]
	w.slab = nil
	clear(w.records)
	clear(w.channels)
	clear(w.tell)
	clear(w.changed)
	w.changed, w.forgotten, w.acked, w.untold = w.changed[:0], w.forgotten[:0], w.acked[:0], w.untold[:0]
	w.said, w.left = outboxUse{}, 0
}

func (w *work) use(o Outpoint, u use) *use {
	if len(w.slab) == 0 {
		w.slab = make([]use, min(256, 4+len(w.order)))
	}
	p := &w.slab[0]
	w.slab = w.slab[1:]
	*p = u
	w.uses[o] = p
	w.order = append(w.order, o)
	return p
}
