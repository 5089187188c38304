package settlement

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/shard"
)

// The tests run three whole shards of one replica each with the ledger's own execution. A world has their states and
// the deliveries under way. Each event makes a block of one shard.
const (
	shards      = 3
	coinValue   = 100
	genesisTime = 60_000_000 // Unix ms, a whole minute
	horizon     = 60 * 60_000
)

var (
	network = digest.Of("test-network")
	ideal   = sig.NewIdeal(1)
	home    = func(a ledger.Address) uint16 { return shard.Home(a, shards) }
)

// people returns the signers of at least three accounts in each shard.
var people = sync.OnceValue(func() (out [shards][]sig.Signer) {
	for i := uint64(0); slices.ContainsFunc(out[:], func(p []sig.Signer) bool { return len(p) < 3 }); i++ {
		s := ideal.Signer(i)
		h := home(ledger.AddressOf(s.Public()))
		out[h] = append(out[h], s)
	}
	return out
})

func person(s uint16, i int) sig.Signer      { return people()[s][i] }
func address(s uint16, i int) ledger.Address { return ledger.AddressOf(person(s, i).Public()) }

// genesisCoins returns the first four genesis outputs of person 0 of each shard.
var genesisCoins = sync.OnceValue(func() (out [shards][]ledger.Unspent) {
	w := newWorld(Standard(), 4)
	for s := range uint16(shards) {
		out[s] = allCoins(w.states[s], s, 4)
	}
	return out
})

func allCoins(st *ledger.State, s uint16, limit int) []ledger.Unspent {
	a, err := st.Account(address(s, 0), ledger.Page{Limit: limit})
	if err != nil {
		panic(err)
	}
	return a.Outputs
}

// coin returns the genesis output number slot of person 0 of a shard.
func coin(slot int) func(s uint16) (ledger.Outpoint, uint64) {
	return func(s uint16) (ledger.Outpoint, uint64) {
		u := genesisCoins()[s][slot]
		return u.Outpoint, u.Amount
	}
}

func config(s uint16, rules ledger.Rules, each uint32) ledger.Config {
	c := ledger.Config{Network: network, Shard: s, Home: home, GenesisTimeMS: genesisTime, HorizonMS: horizon, Rules: rules}
	for i := range uint16(shards) {
		c.Allocations = append(c.Allocations, ledger.Allocation{Address: address(i, 0), Amount: coinValue, Outputs: each})
	}
	return c
}

// fate is the result of one transaction in one shard, counted independently of the ledger.
type fate struct {
	verdict           ledger.Verdict // the verdict sent to other shards
	settled, returned uint8
	cancelled         bool            // a CL of the shard exists: its replicas could have signed CL_Ms in some state so far
	sentTo            ledger.ShardSet // the shards to which it was sent
}

// world is one state of all shards and channels. step leaves it unchanged and returns another world; do changes it in
// place.
type world struct {
	rules  ledger.Rules
	each   uint32
	stores [shards]*kv.Mem
	states [shards]*ledger.State
	time   [shards]uint64                     // block time
	queues [shards][shards][]*ledger.Delivery // by source and destination, deliveries under way
	sent   [shards][shards][]*ledger.Delivery // all deliveries made
	fates  map[ledger.TxID]*[shards]fate
	txs    []*ledger.Tx // those with a fate, in the order of watch
	busy   bool         // more records may be due at once than one block closes
	keep   bool         // keep the blocks in log
	// signs decides whether a replica of shard s signs a CL_M for a transaction; nil is the rule of the ledger.
	signs     func(w *world, s uint16, tx *ledger.Tx) bool
	byzantine bool // a shard breaks the rules, so a channel may be frozen
	log       [shards][]ledger.CommittedBlock
	made      [shards][][]ledger.Receipt // with keep, by block
}

func newWorld(rules ledger.Rules, each uint32) world {
	w := world{rules: rules, each: each, fates: make(map[ledger.TxID]*[shards]fate)}
	for s := range uint16(shards) {
		w.stores[s] = kv.NewMem()
		w.states[s] = w.open(s)
		w.time[s] = genesisTime
	}
	return w
}

func (w *world) open(s uint16) *ledger.State {
	st, err := ledger.Open(w.stores[s], config(s, w.rules, w.each))
	if err != nil {
		panic(err)
	}
	return st
}

// watch makes the world count the results of a transaction between shards.
func (w *world) watch(tx *ledger.Tx) {
	if w.fates[tx.ID()] == nil {
		w.fates[tx.ID()] = &[shards]fate{}
		w.txs = append(w.txs, tx)
	}
}

// event is one block of one shard.
type event struct {
	shard   uint16
	timeMS  uint64   // 0 for the block time of the block before
	deliver []uint16 // take the next delivery from the queue of each of these shards
	txs     []*ledger.Tx
	extra   []*ledger.Delivery // further deliveries, not taken from the queues
	notices []ledger.Notice
}

// fork returns a copy of the world in which shard s can be changed without changing w.
func (w *world) fork(s uint16) world {
	n := *w
	n.stores[s] = w.stores[s].Fork()
	n.states[s] = n.open(s)
	n.fates = make(map[ledger.TxID]*[shards]fate, len(w.fates))
	for id, f := range w.fates {
		c := *f
		n.fates[id] = &c
	}
	return n
}

// step returns the world after an event.
func (w *world) step(e event) (next world, err error) {
	n := w.fork(e.shard)
	_, err = n.do(e)
	return n, err
}

// do makes the block of an event in place and counts its results. The error is a violated guarantee.
func (w *world) do(e event) (b *ledger.Block, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("shard %d: %v", e.shard, p)
		}
	}()
	s := e.shard
	if e.timeMS > 0 {
		w.time[s] = e.timeMS
	}
	in := ledger.CommittedBlock{Height: w.states[s].Height() + 1, Epoch: 1, Digest: digest.Of("block"), TimeMS: w.time[s]}
	for _, from := range e.deliver {
		q := w.queues[from][s]
		in.Deliveries = append(in.Deliveries, q[0])
		w.queues[from][s] = q[1:]
	}
	in.Deliveries = append(in.Deliveries, e.extra...)
	if len(e.txs)+len(e.notices) > 0 {
		in.Payloads = []*ledger.Payload{{Txs: e.txs, Notices: e.notices}}
	}
	if b, err = w.states[s].Execute(in); err != nil {
		return nil, err
	}
	if w.keep {
		w.log[s], w.made[s] = append(w.log[s], in), append(w.made[s], b.Receipts)
	}
	if len(b.Frozen) > 0 && !w.byzantine {
		return b, fmt.Errorf("shard %d freezes the channel of an honest shard: %+v", s, b.Frozen)
	}
	if err := w.count(s, b); err != nil {
		return b, err
	}
	w.cancel(s)
	return b, nil
}

// cancel notes the CLs that the replicas of a shard can make in its present state. They are signed by honest replicas, so
// they may come to any shard at any later time, repeatedly.
func (w *world) cancel(s uint16) {
	for _, tx := range w.txs {
		if f := &w.fates[tx.ID()][s]; !f.cancelled {
			f.cancelled = w.signs != nil && w.signs(w, s, tx) || w.signs == nil && neverSpendable(w, s, tx)
		}
	}
}

func neverSpendable(w *world, s uint16, tx *ledger.Tx) bool {
	refusal, err := w.states[s].NeverSpendable(tx)
	if err != nil {
		panic(err)
	}
	return refusal != nil
}

// count updates queues and fates with the results of a block.
func (w *world) count(s uint16, b *ledger.Block) error {
	for _, o := range b.Outbox {
		d := o.Delivery
		if !o.Path.Verify(b.Header.Outbox, d.Digest(), int(o.Index), int(o.Count)) {
			return fmt.Errorf("shard %d: the path of delivery %d to %d does not verify", s, d.Number, d.Destination)
		}
		if err := d.Check(network, home); err != nil {
			return err
		}
		q := w.queues[s][d.Destination]
		w.queues[s][d.Destination] = append(q[:len(q):len(q)], d)
		all := w.sent[s][d.Destination]
		w.sent[s][d.Destination] = append(all[:len(all):len(all)], d)
		for _, e := range d.Entries {
			f := &w.fates[e.Tx.ID()][s]
			if f.sentTo.Has(d.Destination) || f.verdict != 0 && f.verdict != e.Verdict {
				return fmt.Errorf("shard %d: two verdicts on one transaction", s)
			}
			f.verdict, f.sentTo = e.Verdict, f.sentTo.With(d.Destination)
		}
	}
	for _, r := range b.Receipts {
		f := w.fates[r.Tx]
		if f == nil {
			continue // inside the shard
		}
		switch r.Verdict {
		case ledger.VerdictSettled:
			f[s].settled++
		case ledger.VerdictReturned:
			f[s].returned++
		case ledger.VerdictSpent, ledger.VerdictRejected:
		}
	}
	return nil
}

// crash crashes a shard: of the blocks that were not synced, keep survive. The shard executes the lost blocks again,
// which must give the same headers.
func (w *world) crash(s uint16, keep int) error {
	before := w.states[s]
	headers := make([]ledger.Header, len(w.log[s])+1)
	for h := range headers {
		headers[h], _, _ = before.Header(uint64(h))
	}
	w.stores[s] = w.stores[s].Crash(keep)
	w.states[s] = w.open(s)
	for h := w.states[s].Height() + 1; h < uint64(len(headers)); h++ {
		b, err := w.states[s].Execute(w.log[s][h-1])
		if err != nil {
			return err
		}
		if b.Header != headers[h] {
			return fmt.Errorf("shard %d after a crash: header %d is %+v, was %+v before", s, h, b.Header, headers[h])
		}
	}
	return nil
}

// quiet reports whether no delivery is under way.
func (w *world) quiet() bool {
	for a := range w.queues {
		for b := range w.queues[a] {
			if len(w.queues[a][b]) > 0 {
				return false
			}
		}
	}
	return true
}

func (w *world) part(s uint16, tx *ledger.Tx) ledger.Part {
	p, _, err := w.states[s].Part(tx.ID())
	if err != nil {
		panic(err)
	}
	return p
}

// output returns an output of one of the shard's people, if it is unspent.
func (w *world) output(s uint16, o ledger.Outpoint) (out ledger.Output, ok bool, err error) {
	for _, p := range people()[s] {
		a := ledger.AddressOf(p.Public())
		if amount, ok, err := w.states[s].Output(a, o); ok || err != nil {
			return ledger.Output{Address: a, Amount: amount}, ok, err
		}
	}
	return ledger.Output{}, false, nil
}

func (w *world) audit(s uint16) ledger.Audit {
	a, err := w.states[s].Audit(context.Background())
	if err != nil {
		panic(err)
	}
	return a
}

// check returns the first guarantee that the world violates, or nil: at most one verdict per input shard, all or
// nothing, conservation of value, and, when no delivery is under way, no escrow and no incomplete record.
func (w *world) check() error {
	var owed, ceded, gained, escrow, total uint64
	quiet := w.quiet()
	for _, tx := range w.txs {
		p := tx.Shards(home)
		f := w.fates[tx.ID()]
		decided, spent, returned, settled, heard := true, 0, 0, 0, false
		for s := range uint16(shards) {
			x := &f[s]
			if x.cancelled && (x.verdict == ledger.VerdictSpent || !p.Inputs.Has(s)) {
				return fmt.Errorf("shard %d: a CL, but its verdict is SPENT or it has no inputs", s)
			}
			if x.settled > 1 || x.returned > 1 {
				return fmt.Errorf("shard %d: settled %d times, returned %d times", s, x.settled, x.returned)
			}
			if (x.settled > 0 || x.returned > 0 || x.verdict != 0) && !p.All().Has(s) {
				return fmt.Errorf("shard %d changed or gave a verdict, but is not involved", s)
			}
			settled += int(x.settled)
			returned += int(x.returned)
			heard = heard || x.verdict != 0
			if p.Inputs.Has(s) && x.verdict != ledger.VerdictSpent {
				decided = false
			}
			if x.verdict == ledger.VerdictSpent {
				spent++
			}
		}
		switch {
		case settled > 0 && returned > 0:
			return fmt.Errorf("settled in %d shards and returned in %d", settled, returned)
		case settled > 0 && !decided:
			return fmt.Errorf("settled, but not all verdicts are SPENT")
		case decided && returned > 0:
			return fmt.Errorf("returned, but all verdicts are SPENT")
		case heard && spent == 0:
			return fmt.Errorf("a verdict was sent, but no input shard has SPENT")
		}
		for s := range uint16(shards) {
			here := w.part(s, tx)
			open := here.Open
			in, out := stake(tx, s)
			held := here.Open && here.Stage == ledger.StageEscrow
			if held {
				escrow += in
			}
			if f[s].verdict == ledger.VerdictSpent && b2i(held)+int(f[s].returned)+int(f[s].settled) != 1 {
				return fmt.Errorf("shard %d: SPENT, but its escrow is not exactly one of held, returned and settled", s)
			}
			if decided && settled > 0 && p.All().Has(s) && f[s].settled == 0 {
				owed += out - in
			}
			if !quiet {
				continue
			}
			switch {
			case held:
				return fmt.Errorf("shard %d: no delivery is under way, but escrow is held", s)
			case open && !here.Complete():
				return fmt.Errorf("shard %d: no delivery is under way, but a record lacks a verdict", s)
			case open && !p.Inputs.Has(s):
				return fmt.Errorf("shard %d: no delivery is under way, but a record of an output shard is open", s)
			case open && !w.busy && w.time[s]/60_000 > tx.ExpiryMS/60_000:
				return fmt.Errorf("shard %d: no delivery is under way, but an expired record is open", s)
			}
		}
		if quiet && spent > 0 && decided && settled != p.All().Len() {
			return fmt.Errorf("no delivery is under way, but settled in %d shards of %d", settled, p.All().Len())
		}
	}
	var audited uint64
	for s := range uint16(shards) {
		a := w.audit(s)
		if !a.Conserved() {
			return fmt.Errorf("shard %d does not conserve value: %+v", s, a)
		}
		audited += a.Escrow
		ceded += a.Ceded
		gained += a.Gained
		total += a.Unspent + a.Escrow + a.Burned
	}
	if genesis := uint64(w.each) * coinValue * shards; audited != escrow || ceded-gained != owed || total+owed != genesis {
		return fmt.Errorf("value: %d in escrow, counted %d; %d ceded, %d gained, %d owed; %d of %d", escrow, audited, ceded, gained, owed, total, genesis)
	}
	return nil
}

// stake returns the value of the transaction's inputs in a shard, and the value that it creates or burns there.
func stake(tx *ledger.Tx, s uint16) (in, out uint64) {
	for i, x := range tx.Inputs {
		if home(ledger.AddressOf(x.Key)) == s {
			in += x.Amount
			if i == 0 {
				out += tx.Fee
			}
		}
	}
	for _, x := range tx.Outputs {
		if home(x.Address) == s {
			out += x.Amount
		}
	}
	return in, out
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
