package ledger

// use is the effect of the current block on one output.
type use struct {
	coin    coin
	created bool // in this block
	spent   bool
	by      TxID // the transaction that spent it
}

// openRecord is a record with the changes of the current block.
type openRecord struct {
	Record
	opened  bool // in this block
	changed bool
}

// work holds the changes of one block while Execute applies it. It is reset and used again for the next block.
type work struct {
	uses      map[Outpoint]*use
	order     []Outpoint // keys of uses in the order of their insertion
	accounts  map[Address]*account
	touched   []Address // keys of accounts in the order of their first change
	decided   map[TxID]struct{}
	spentDue  dueLists[Outpoint]
	openDue   dueLists[TxID]
	history   []historyAt    // entries to append
	writes    []byte         // input of the write-set digest: every change that later blocks depend on, in order
	coins     []coin         // coins of the inputs in this shard of the transaction that checkInputs checked last
	checked   TxID           // id of that transaction, zero once its coins are spent
	txHistory []HistoryEntry // of the current transaction, one entry for each address
	txOwners  []Address      // address of each of txHistory
	slab      []use

	// Used for settlement between shards.
	records   map[TxID]*openRecord // records that the block has read or opened
	changed   []*openRecord
	forgotten []Outpoint // outputs whose consumer's record was closed
	channels  map[uint16]*Channel
	entries   map[uint16][]Entry // entries to send, by destination
	acked     []outboxRange
	unsent    []TxID    // transactions on which the block gave a verdict, in order
	given     outboxUse // the part of the outbox that these verdicts need
	left      int       // number of verdicts that later blocks have to send
}

type historyAt struct {
	owner  Address
	number uint64
	entry  HistoryEntry
}

// outboxRange are the deliveries from number first to number last that are acknowledged and need not be kept.
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
	w.entries = make(map[uint16][]Entry)
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
	clear(w.entries)
	clear(w.changed)
	w.changed, w.forgotten, w.acked, w.unsent = w.changed[:0], w.forgotten[:0], w.acked[:0], w.unsent[:0]
	w.given, w.left = outboxUse{}, 0
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
