package settlement

import (
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/shard"
)

// crowd is a network of as many shards as there may be, with an owner and a payee at home in each.
type crowd struct {
	owners [shard.MaxShards]sig.Signer
	payees [shard.MaxShards]ledger.Address
	allocs []ledger.Allocation
}

func crowdHome(a ledger.Address) uint16 { return shard.Home(a, shard.MaxShards) }

func newCrowd(outputs uint32) *crowd {
	c := &crowd{}
	for i, full := uint64(0), 0; full < len(c.owners); i++ {
		s := ideal.Signer(i)
		a := ledger.AddressOf(s.Public())
		h := crowdHome(a)
		if c.owners[h] == nil {
			full++
		}
		c.owners[h], c.payees[h] = s, a
	}
	for _, s := range []int{0, 1} {
		c.allocs = append(c.allocs, ledger.Allocation{Address: ledger.AddressOf(c.owners[s].Public()), Amount: 64, Outputs: outputs})
	}
	return c
}

func (c *crowd) open(t *testing.T, store *kv.Mem, s uint16) *ledger.State {
	t.Helper()
	st, err := ledger.Open(store, ledger.Config{Network: network, Shard: s, Home: crowdHome, GenesisTimeMS: genesisTime,
		HorizonMS: horizon, Rules: Standard(), Allocations: c.allocs})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// coins are unspent outputs of a shard's owner.
func (c *crowd) coins(t *testing.T, st *ledger.State, s uint16, count int) (out []ledger.Input) {
	t.Helper()
	key := c.owners[s].Public()
	for page := (ledger.Page{Limit: ledger.MaxPage}); len(out) < count; {
		a, err := st.Account(ledger.AddressOf(key), page)
		if err != nil || len(a.Outputs) == 0 {
			t.Fatalf("%d coins, %v", len(out), err)
		}
		for _, u := range a.Outputs {
			out = append(out, ledger.Input{Outpoint: u.Outpoint, Key: key, Amount: u.Amount})
		}
		page.Cursor = a.Next
	}
	return out[:count]
}

// toAll pays from some outputs to every shard.
func (c *crowd) toAll(t *testing.T, ins ...ledger.Input) *ledger.Tx {
	t.Helper()
	b := ledger.Body{Network: network, ExpiryMS: txExpiry, Inputs: ins}
	for _, in := range ins {
		b.Fee += in.Amount
	}
	for s := range c.payees {
		b.Outputs = append(b.Outputs, ledger.Output{Address: c.payees[s], Amount: 1})
		b.Fee--
	}
	tx, err := b.Sign(c.owners[0], c.owners[1])
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

func execute(t *testing.T, st *ledger.State, in ledger.Ordered) *ledger.Block {
	t.Helper()
	in.Height, in.Epoch, in.Digest, in.TimeMS = st.Height()+1, 1, digest.Of("b"), genesisTime
	b, err := st.Execute(in)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// bounded sees that a block tells no more than it may, and answers which transactions it tells each shard of.
func bounded(t *testing.T, b *ledger.Block) map[uint16][]ledger.TxID {
	t.Helper()
	bytes, entries := 0, 0
	told, per := make(map[uint16][]ledger.TxID), make(map[uint16]int)
	for i := range b.Outbox {
		o := &b.Outbox[i]
		d := o.Delivery
		empty := ledger.NewDelivery(ledger.Delivery{Source: d.Source, Destination: d.Destination}).Size()
		ld := NewLD(*o, b.Header, certify(testNetwork(t), &b.Header, 0, 0, 1))
		if _, err := DecodeLD(ld.Encode()); err != nil || d.Size() > ledger.MaxDeliveryBytes {
			t.Errorf("a delivery of %d bytes fits no LD: %v", d.Size(), err)
		}
		bytes, entries = bytes+d.Size()-empty, entries+len(d.Entries)
		per[d.Destination] += d.Size() - empty
		for _, e := range d.Entries {
			told[d.Destination] = append(told[d.Destination], e.Tx.ID())
		}
	}
	if bytes > ledger.MaxOutboxBytes || entries > ledger.MaxOutboxEntries {
		t.Errorf("block %d tells %d entries of %d bytes", b.Header.Height, entries, bytes)
	}
	for s, n := range per {
		if n > ledger.MaxToldBytes {
			t.Errorf("block %d tells shard %d %d bytes", b.Header.Height, s, n)
		}
	}
	return told
}

// TestOneBlocksOutboxIsBounded: transactions of a batch whose verdicts do not fit into a block's outbox are left out, and
// settle when they come again.
func TestOneBlocksOutboxIsBounded(t *testing.T) {
	c := newCrowd(1000)
	st := c.open(t, kv.NewMem(), 0)
	var txs []*ledger.Tx
	size := 0
	for _, in := range c.coins(t, st, 0, 1000) {
		txs = append(txs, c.toAll(t, in))
		size += len(txs[len(txs)-1].Encode())
	}
	blocks := 0
	for ; len(txs) > 0; blocks++ {
		b := execute(t, st, ledger.Ordered{Payloads: []*ledger.Payload{{Txs: txs}}})
		bounded(t, b)
		spent := len(b.Receipts) / 2 // and settled at once
		if spent == 0 || spent+len(b.LeftOut) != len(txs) || b.More {
			t.Fatalf("block %d: %d spent and %d left out of %d; more to tell: %v", blocks, spent, len(b.LeftOut), len(txs), b.More)
		}
		for i := range b.LeftOut {
			if l := &b.LeftOut[i]; l.Refusal.Reason != ledger.ReasonShardBusy || l.Refusal.Final() {
				t.Fatalf("left out for %v", l.Refusal)
			}
		}
		txs = txs[spent:]
	}
	if want := size * (shard.MaxShards - 1) / ledger.MaxOutboxBytes; blocks < want || blocks > 2*want {
		t.Errorf("told in %d blocks, the bound allows %d", blocks, want)
	}
}

// TestAnswersAreSpreadOverBlocks: a block that has to answer more than it may tell gives every verdict at once, and
// tells the rest in later blocks, in order, each verdict once to each shard, also after a crash. Transactions of batches
// wait until that is done.
func TestAnswersAreSpreadOverBlocks(t *testing.T) {
	c := newCrowd(600)
	store := kv.NewMem()
	st := c.open(t, store, 1)
	mine, theirs := c.coins(t, st, 1, 501), c.coins(t, c.open(t, kv.NewMem(), 0), 0, 500)
	var x ledger.Delivery
	var in ledger.Ordered
	var order []ledger.TxID
	next := func() {
		d := ledger.NewDelivery(x)
		in.Deliveries = append(in.Deliveries, d)
		x.Number, x.Previous, x.Entries = x.Number+1, d.Digest(), nil
	}
	x.Source, x.Destination, x.Number = 0, 1, 1
	for i := range theirs {
		tx := c.toAll(t, theirs[i], mine[i])
		order = append(order, tx.ID())
		x.Entries = append(x.Entries, ledger.Entry{Verdict: ledger.VerdictSpent, Tx: tx})
		if len(x.Entries) == 60 {
			next()
		}
	}
	next()
	own := c.toAll(t, mine[500])
	in.Payloads = []*ledger.Payload{{Txs: []*ledger.Tx{own}}}
	b := execute(t, st, in)
	if len(b.Frozen) > 0 || len(b.Receipts) != 2*len(order) {
		t.Fatalf("%d receipts of %d transactions, frozen %+v", len(b.Receipts), len(order), b.Frozen)
	}
	told := make(map[uint16][]ledger.TxID)
	blocks := 1
	for ; ; blocks++ {
		if now := bounded(t, b); b.More {
			if len(b.LeftOut) != 1 || b.LeftOut[0].Refusal.Reason != ledger.ReasonShardBusy {
				t.Fatalf("block %d: left out %+v while verdicts wait", blocks, b.LeftOut)
			}
			for s, ids := range now {
				told[s] = append(told[s], ids...)
			}
		} else {
			for s, ids := range now {
				told[s] = append(told[s], ids...)
			}
			break
		}
		if err := st.Flush(); err != nil {
			t.Fatal(err)
		}
		st = c.open(t, store, 1)
		if more, err := st.Untold(); err != nil || !more {
			t.Fatalf("block %d: a restart forgets what waits to be told: %v", blocks, err)
		}
		b = execute(t, st, ledger.Ordered{Payloads: []*ledger.Payload{{Txs: []*ledger.Tx{own}}}})
	}
	for s := range uint16(shard.MaxShards) {
		if s == 1 {
			continue
		}
		if len(told[s]) != len(order) {
			t.Fatalf("shard %d was told %d verdicts of %d", s, len(told[s]), len(order))
		}
		for i, id := range told[s] {
			if id != order[i] {
				t.Fatalf("shard %d was told verdict %d out of order", s, i)
			}
		}
	}
	if blocks < 3 {
		t.Errorf("told in %d blocks: nothing was spread", blocks)
	}
	b = execute(t, st, ledger.Ordered{Payloads: []*ledger.Payload{{Txs: []*ledger.Tx{own}}}})
	if len(b.Receipts) == 0 || b.Receipts[0].Tx != own.ID() || b.Receipts[0].Verdict != ledger.VerdictSpent {
		t.Errorf("the transaction that was left out comes to %d receipts", len(b.Receipts))
	}
}
