package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/internal/wire"
	"bdtnode/merkle"
)

const tagWriteSet = "bdt/write-set/1"

// Forgetting who consumed an output goes by the minute of the consumer's expiry, in lists of at most duePerList
// outpoints. A block forgets at most duePerBlock lists and twice as many as it adds, so the work is bounded by the
// block's own and what is due does not pile up.
const (
	minuteMS    = 60_000
	duePerList  = 512
	duePerBlock = 4
)

// Ordered is one committed block as consensus hands it to execution.
type Ordered struct {
	Height uint64 // one above the last executed
	Epoch  uint64
	Slot   uint64
	Last   bool          // the block that ends its epoch
	Digest digest.Digest // of the consensus block
	TimeMS uint64        // block time, Unix milliseconds, not before the last block's
	Cut    []byte        // the block's cut, encoded: kept with the state, so that a replica knows its position
	// Deliveries of other shards, by source and then number. They come before the batches. Each had its proof checked
	// when it was received; one that is not the next of its channel is not applied.
	Deliveries []*Delivery
	Payloads   []*Payload // in the order of execution, each passed by CheckPayload
}

// Block is what executing one block came to.
type Block struct {
	Header       Header
	HeaderDigest digest.Digest
	Receipts     []Receipt  // in order of position
	LeftOut      []LeftOut  // no receipt, no record: they may come again
	Duplicates   []TxID     // had a receipt before
	Outbox       []Outgoing // what the block tells other shards, by destination and then number
	Frozen       []Freeze   // channels that this block has frozen
}

// LeftOut is a transaction that a block named and that can neither settle nor be rejected now.
type LeftOut struct {
	ID      TxID
	Refusal *Refusal
	Missing Outpoint // the first input that is unknown, with ReasonUnknownInput
}

// use is what a block did to one output.
type use struct {
	coin    coin
	created bool // in this block
	spent   bool
	by      TxID // who spent it
}

// work is what Execute builds up for one block; it is emptied and used again for the next.
type work struct {
	uses     map[Outpoint]*use
	order    []Outpoint // of uses
	accounts map[Address]*account
	touched  []Address // order of accounts
	decided  map[TxID]struct{}
	due      map[uint64][]Outpoint // by minute
	minutes  []uint64              // order of due
	history  []historyAt
	writes   []byte // every change that decides later blocks, as it is made
	coins    []coin // of the inputs of the transaction at hand
	parties  []HistoryEntry
	names    []Address // of parties
	slab     []use
}

type historyAt struct {
	owner  Address
	number uint64
	entry  HistoryEntry
}

func (w *work) init() {
	w.uses = make(map[Outpoint]*use)
	w.accounts = make(map[Address]*account)
	w.decided = make(map[TxID]struct{})
	w.due = make(map[uint64][]Outpoint)
}

func (w *work) reset() {
	clear(w.uses)
	clear(w.accounts)
	clear(w.decided)
	clear(w.due)
	w.order, w.touched, w.minutes, w.history, w.writes = w.order[:0], w.touched[:0], w.minutes[:0], w.history[:0], w.writes[:0]
	w.slab = nil
}

func (w *work) use(o Outpoint, u use) *use {
	if len(w.slab) == 0 {
		w.slab = make([]use, 256)
	}
	p := &w.slab[0]
	w.slab = w.slab[1:]
	*p = u
	w.uses[o] = p
	w.order = append(w.order, o)
	return p
}

// Execute applies a block to the state, in one atomic batch which is not synced: after a crash the state is that of
// an earlier block, and blocks are executed again to the same result. Entries apply strictly one after another.
// An error is one of the store, or a block that does not follow the last; the state has not changed then. Value
// that is not conserved is a panic.
func (s *State) Execute(in Ordered) (*Block, error) {
	last := s.tip // only Execute changes it
	switch {
	case in.Height != last.header.Height+1:
		return nil, fmt.Errorf("block %d cannot be executed after block %d", in.Height, last.header.Height)
	case in.TimeMS < last.header.TimeMS:
		return nil, fmt.Errorf("block %d has time %d ms, before its parent's %d", in.Height, in.TimeMS, last.header.TimeMS)
	}
	w := &s.work
	w.reset()
	out := &Block{}
	next := last
	for _, p := range in.Payloads {
		for _, tx := range p.Txs {
			if err := s.entry(&in, &next, out, tx); err != nil {
				return nil, fmt.Errorf("execute block %d: %w", in.Height, err)
			}
		}
	}
	if next.unspent > next.genesis || next.burned != next.genesis-next.unspent {
		panic(fmt.Sprintf("ledger: block %d does not conserve value: %d unspent and %d burned of %d",
			in.Height, next.unspent, next.burned, next.genesis))
	}
	b, err := s.batch(&in, out)
	if err != nil {
		return nil, fmt.Errorf("execute block %d: %w", in.Height, err)
	}
	next.cut = append([]byte(nil), in.Cut...)
	next.header = Header{
		Network:  s.cfg.Network,
		Shard:    s.cfg.Shard,
		Height:   in.Height,
		Epoch:    in.Epoch,
		Slot:     in.Slot,
		Last:     in.Last,
		Parent:   last.digest,
		Block:    in.Digest,
		WriteSet: digest.Of(tagWriteSet, last.header.WriteSet[:], wire.AppendU32(nil, uint32(len(in.Cut))), in.Cut, w.writes),
		TimeMS:   in.TimeMS,
		Txs:      last.header.Txs + uint64(len(out.Receipts)),
	}
	s.roots(&next.header, out, b)
	next.digest = next.header.Digest()
	out.Header, out.HeaderDigest = next.header, next.digest
	b.Set(heightKey(keyHeader, in.Height), next.header.Encode())
	b.Set([]byte{keyTip}, next.encode())
	if err := s.store.Apply(b, false); err != nil {
		return nil, fmt.Errorf("execute block %d: %w", in.Height, err)
	}
	s.remember()
	s.mu.Lock()
	s.tip = next
	s.mu.Unlock()
	return out, nil
}

// entry decides one transaction.
func (s *State) entry(in *Ordered, t *tip, out *Block, tx *Tx) error {
	refusal, missing, err := s.judge(tx, in.TimeMS)
	if err != nil {
		return err
	}
	if refusal != nil {
		// A transaction all of whose inputs are good has no receipt: settling it would have consumed them, and what
		// it could have been rejected for never mends. So only here is there a need to look.
		known, err := s.decided(tx.id)
		switch {
		case err != nil:
			return err
		case known:
			out.Duplicates = append(out.Duplicates, tx.id)
			return nil
		case !refusal.Final():
			out.LeftOut = append(out.LeftOut, LeftOut{tx.id, refusal, missing})
			return nil
		}
	}
	r := Receipt{Tx: tx.id, Shard: s.cfg.Shard, Height: in.Height, Position: uint32(len(out.Receipts)), Verdict: VerdictSettled, TimeMS: in.TimeMS}
	if refusal != nil {
		r.Verdict, r.Reason = VerdictRejected, refusal.Reason
	}
	w := &s.work
	w.decided[tx.id] = struct{}{}
	w.writes = append(append(w.writes, tx.id[:]...), byte(r.Verdict), byte(r.Reason))
	out.Receipts = append(out.Receipts, r)
	if r.Verdict == VerdictSettled {
		return s.settle(in, t, tx)
	}
	return nil
}

// judge is what stands against the transaction in a block of this time, permanent reasons first; the coins of its
// inputs are left in work if that is nothing.
func (s *State) judge(tx *Tx, timeMS uint64) (*Refusal, Outpoint, error) {
	if r := s.foreign(tx); r != nil {
		return r, Outpoint{}, nil
	}
	if r := expired(tx, timeMS); r != nil {
		return r, Outpoint{}, nil
	}
	var later *Refusal
	var missing Outpoint
	w := &s.work
	w.coins = w.coins[:0]
	for i := range tx.Inputs {
		c, by, err := s.find(tx.Inputs[i].Outpoint)
		if err != nil {
			return nil, missing, err
		}
		r := tx.against(i, c, by)
		switch {
		case r == nil:
			w.coins = append(w.coins, *c)
		case r.Final():
			return r, Outpoint{}, nil
		case later == nil:
			later, missing = r, tx.Inputs[i].Outpoint
		}
	}
	if later == nil {
		later = s.beyondHorizon(tx, timeMS)
	}
	return later, missing, nil
}

// foreign is the refusal of a transaction that involves an address of another shard.
func (s *State) foreign(tx *Tx) *Refusal {
	for i, owner := range tx.owners {
		if h := s.cfg.Home(owner); h != s.cfg.Shard {
			return refuse(ReasonWrongShard, "the owner of input %d lives in shard %d, this is shard %d", i, h, s.cfg.Shard)
		}
	}
	for i := range tx.Outputs {
		if h := s.cfg.Home(tx.Outputs[i].Address); h != s.cfg.Shard {
			return refuse(ReasonWrongShard, "the address of output %d lives in shard %d, this is shard %d", i, h, s.cfg.Shard)
		}
	}
	return nil
}

func expired(tx *Tx, timeMS uint64) *Refusal {
	if timeMS > tx.ExpiryMS {
		return refuse(ReasonExpired, "expired at %d, it is %d (Unix ms)", tx.ExpiryMS, timeMS)
	}
	return nil
}

func (s *State) beyondHorizon(tx *Tx, timeMS uint64) *Refusal {
	if tx.ExpiryMS-timeMS > s.cfg.HorizonMS { // not expired, so no less than 0
		return refuse(ReasonExpiryTooFar, "expires %d ms from now, at most %d allowed", tx.ExpiryMS-timeMS, s.cfg.HorizonMS)
	}
	return nil
}

// against is what the ledger says against input i: c is its output if unspent, by who consumed it, if known.
func (t *Tx) against(i int, c *coin, by *TxID) *Refusal {
	in := &t.Inputs[i]
	switch {
	case c == nil && by == nil:
		return refuse(ReasonUnknownInput, "input %d, output %d of %s, does not exist", i, in.Outpoint.Index, in.Outpoint.Tx)
	case c == nil:
		return refuse(ReasonConsumed, "input %d was consumed by %s", i, *by)
	case c.owner != t.owners[i]:
		return refuse(ReasonWrongOwner, "input %d belongs to another owner than its key's", i)
	case c.amount != in.Amount:
		return refuse(ReasonWrongAmount, "input %d holds %d, not %d", i, c.amount, in.Amount)
	}
	return nil
}

// find looks an output up as the block at hand has left it.
func (s *State) find(o Outpoint) (*coin, *TxID, error) {
	w := &s.work
	if u, ok := w.uses[o]; ok {
		if u.spent {
			return nil, &u.by, nil
		}
		return &u.coin, nil, nil
	}
	if c, ok := s.coins.get(o); ok {
		return &c, nil, nil
	}
	return lookUp(s.store, o)
}

// lookUp finds an output in the store, or who consumed it.
func lookUp(r kv.Reader, o Outpoint) (*coin, *TxID, error) {
	var key [1 + outpointSize]byte
	v, ok, err := r.Get(o.append(append(key[:0], keyOutput)))
	if err != nil {
		return nil, nil, err
	}
	if ok {
		c, err := decodeCoin(v)
		return &c, nil, err
	}
	v, ok, err = r.Get(o.append(append(key[:0], keySpent)))
	if err != nil || !ok {
		return nil, nil, err
	}
	if len(v) != digest.Size {
		return nil, nil, errors.New("the record of a consumed output is damaged")
	}
	by := TxID(v)
	return nil, &by, nil
}

func (s *State) decided(id TxID) (bool, error) {
	if _, ok := s.work.decided[id]; ok {
		return true, nil
	}
	_, ok, err := s.store.Get(append([]byte{keyReceipt}, id[:]...))
	return ok, err
}

// settle consumes the inputs, whose coins are in work, and creates the outputs.
func (s *State) settle(in *Ordered, t *tip, tx *Tx) error {
	w := &s.work
	w.parties, w.names = w.parties[:0], w.names[:0]
	var spent, made uint64
	minute := tx.ExpiryMS / minuteMS
	for i := range tx.Inputs {
		o := tx.Inputs[i].Outpoint
		u, ok := w.uses[o]
		if !ok {
			u = w.use(o, use{coin: w.coins[i]})
		}
		if u.spent {
			panic(fmt.Sprintf("ledger: transaction %s spends one output twice", tx.id))
		}
		u.spent, u.by = true, tx.id
		w.writes = o.append(w.writes)
		if _, ok := w.due[minute]; !ok {
			w.minutes = append(w.minutes, minute)
		}
		w.due[minute] = append(w.due[minute], o)
		spent += u.coin.amount
		acc, err := s.account(u.coin.owner)
		if err != nil {
			return err
		}
		if acc.coins == 0 || acc.balance < u.coin.amount {
			panic(fmt.Sprintf("ledger: address %s owns an output it has no balance for", u.coin.owner))
		}
		acc.balance -= u.coin.amount
		acc.coins--
		w.party(u.coin.owner).Spent += u.coin.amount
	}
	for i := range tx.Outputs {
		to := &tx.Outputs[i]
		o := Outpoint{Tx: tx.id, Index: uint16(i)}
		w.use(o, use{coin: coin{to.Address, to.Amount}, created: true})
		w.writes = wire.AppendU64(append(w.writes, to.Address[:]...), to.Amount)
		made += to.Amount
		acc, err := s.account(to.Address)
		if err != nil {
			return err
		}
		acc.balance += to.Amount
		acc.coins++
		w.party(to.Address).Received += to.Amount
	}
	if spent < made || spent-made != tx.Fee || spent > t.unspent {
		panic(fmt.Sprintf("ledger: transaction %s consumes %d, creates %d and burns %d", tx.id, spent, made, tx.Fee))
	}
	t.unspent -= tx.Fee
	t.burned += tx.Fee
	t.coins += uint64(len(tx.Outputs)) - uint64(len(tx.Inputs))
	for i, owner := range w.names {
		e := w.parties[i]
		e.Tx, e.Height, e.TimeMS = tx.id, in.Height, in.TimeMS
		acc := w.accounts[owner]
		w.history = append(w.history, historyAt{owner, acc.entries, e})
		acc.entries++
	}
	return nil
}

// party is the line of owner in the history of the transaction at hand.
func (w *work) party(owner Address) *HistoryEntry {
	for i := range w.names {
		if w.names[i] == owner {
			return &w.parties[i]
		}
	}
	w.names = append(w.names, owner)
	w.parties = append(w.parties, HistoryEntry{})
	return &w.parties[len(w.parties)-1]
}

// account is the account of owner as the block at hand has left it, to be changed in place.
func (s *State) account(owner Address) (*account, error) {
	w := &s.work
	if a, ok := w.accounts[owner]; ok {
		return a, nil
	}
	a, ok := s.accounts.get(owner)
	if !ok {
		var err error
		if a, err = readAccount(s.store, owner); err != nil {
			return nil, err
		}
	}
	w.accounts[owner] = &a
	w.touched = append(w.touched, owner)
	return &a, nil
}

func readAccount(r kv.Reader, owner Address) (account, error) {
	v, ok, err := r.Get(append([]byte{keyAccount}, owner[:]...))
	if err != nil || !ok {
		return account{}, err
	}
	return decodeAccount(v)
}

// batch is all changes of the block to the store but its header and tip.
func (s *State) batch(in *Ordered, out *Block) (*kv.Batch, error) {
	w := &s.work
	b := &kv.Batch{}
	var mem arena
	for _, o := range w.order {
		u := w.uses[o]
		switch {
		case u.created && !u.spent:
			b.Set(mem.outpointKey(keyOutput, o), mem.coinValue(u.coin))
			b.Set(mem.ownedKey(u.coin.owner, o), wire.AppendU64(mem.take(8), u.coin.amount))
		case u.spent && !u.created:
			b.Delete(mem.outpointKey(keyOutput, o))
			b.Delete(mem.ownedKey(u.coin.owner, o))
		}
		if u.spent {
			b.Set(mem.outpointKey(keySpent, o), append(mem.take(digest.Size), u.by[:]...))
		}
	}
	for _, owner := range w.touched {
		b.Set(mem.idKey(keyAccount, digest.Digest(owner)), mem.accountValue(*w.accounts[owner]))
	}
	for i := range w.history {
		h := &w.history[i]
		b.Set(mem.historyKey(h.owner, h.number), h.entry.append(mem.take(historySize)))
	}
	lists := s.addDue(b, in.Height)
	return b, s.forget(b, in.TimeMS, duePerBlock+2*lists)
}

// addDue notes when to forget who consumed the outputs of this block, and answers in how many lists.
func (s *State) addDue(b *kv.Batch, height uint64) (lists int) {
	w := &s.work
	for _, minute := range w.minutes {
		due := w.due[minute]
		for n := uint32(0); len(due) > 0; n++ {
			part := due[:min(len(due), duePerList)]
			due = due[len(part):]
			v := make([]byte, 0, len(part)*outpointSize)
			for _, o := range part {
				v = o.append(v)
			}
			b.Set(spentDueKey(minute, height, n), v)
			lists++
		}
	}
	return lists
}

// forget removes the records of outputs consumed by what expired, at most limit lists of them.
func (s *State) forget(b *kv.Batch, timeMS uint64, limit int) error {
	w := &s.work
	now := timeMS / minuteMS
	if s.due < now {
		var mem arena
		earliest, broken := now, false
		err := s.store.Scan(wire.AppendU64([]byte{keySpentDue}, s.due), wire.AppendU64([]byte{keySpentDue}, now), false,
			func(key, list []byte) bool {
				if limit--; limit < 0 {
					earliest = minuteOf(key)
					return false
				}
				w.writes = append(w.writes, key...)
				b.Delete(append(mem.take(len(key)), key...))
				for ; len(list) >= outpointSize; list = list[outpointSize:] {
					b.Delete(append(append(mem.take(1+outpointSize), keySpent), list[:outpointSize]...))
				}
				broken = broken || len(list) > 0
				return true
			})
		if err != nil {
			return err
		}
		if broken {
			return errors.New("a list of consumed outputs is damaged")
		}
		s.due = earliest
	}
	for _, minute := range w.minutes { // not expired, so never before now
		s.due = min(s.due, minute)
	}
	return nil
}

func minuteOf(key []byte) uint64 { return binary.BigEndian.Uint64(key[1:]) }

// roots fills in the header's roots, and adds receipts and ids to the batch.
func (s *State) roots(h *Header, out *Block, b *kv.Batch) {
	ids := make([]digest.Digest, len(out.Receipts))
	leaves := make([]digest.Digest, len(out.Receipts))
	list := make([]byte, 0, len(ids)*digest.Size)
	var mem arena
	for i := range out.Receipts {
		r := &out.Receipts[i]
		enc := r.Append(mem.take(ReceiptSize))
		ids[i], leaves[i] = digest.Digest(r.Tx), digest.Of(tagReceipt, enc)
		list = append(list, r.Tx[:]...)
		b.Set(mem.idKey(keyReceipt, digest.Digest(r.Tx)), enc)
	}
	h.TxRoot, h.Receipts = merkle.Root(ids), merkle.Root(leaves)
	b.Set(heightKey(keyBlockTxs, h.Height), list)
}

// remember brings the caches up to the block just written.
func (s *State) remember() {
	w := &s.work
	for _, o := range w.order {
		if u := w.uses[o]; u.spent {
			s.coins.drop(o)
		} else {
			s.coins.put(o, u.coin)
		}
	}
	for _, owner := range w.touched {
		s.accounts.put(owner, *w.accounts[owner])
	}
}
