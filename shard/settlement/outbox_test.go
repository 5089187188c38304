package settlement

import (
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/shard"
)

// maxNetwork is a network of the greatest number of shards, with the keys of one owner and one payee in each.
type maxNetwork struct {
	owners [shard.MaxShards]sig.Signer
	payees [shard.MaxShards]ledger.Address
	allocs []ledger.Allocation
}

func maxNetworkHome(a ledger.Address) uint16 { return shard.Home(a, shard.MaxShards) }

func newMaxNetwork(outputs uint32) *maxNetwork {
	c := &maxNetwork{}
	for i, full := uint64(0), 0; full < len(c.owners); i++ {
		s := ideal.Signer(i)
		a := ledger.AddressOf(s.Public())
		h := maxNetworkHome(a)
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

func (c *maxNetwork) open(t *testing.T, store *kv.Mem, s uint16) *ledger.State {
	t.Helper()
	st, err := ledger.Open(store, ledger.Config{Network: network, Shard: s, Home: maxNetworkHome, GenesisTimeMS: genesisTime,
		HorizonMS: horizon, Rules: Standard(), Allocations: c.allocs})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// coins returns unspent outputs of a shard's owner as inputs.
func (c *maxNetwork) coins(t *testing.T, st *ledger.State, s uint16, count int) (out []ledger.Input) {
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

// toAll makes a transaction that pays from some outputs to every shard.
func (c *maxNetwork) toAll(t *testing.T, ins ...ledger.Input) *ledger.Tx {
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

func execute(t *testing.T, st *ledger.State, in ledger.CommittedBlock) *ledger.Block {
	t.Helper()
	in.Height, in.Epoch, in.Digest, in.TimeMS = st.Height()+1, 1, digest.Of("b"), genesisTime
	b, err := st.Execute(in)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// bounded checks that a block's deliveries are within the bounds, and returns the transactions whose verdicts it
// sends, by destination.
func bounded(t *testing.T, b *ledger.Block) map[uint16][]ledger.TxID {
	t.Helper()
	bytes, entries := 0, 0
	sent, per := make(map[uint16][]ledger.TxID), make(map[uint16]int)
	for i := range b.Outbox {
		o := &b.Outbox[i]
		d := o.Delivery
		empty := ledger.NewDelivery(ledger.Delivery{Source: d.Source, Destination: d.Destination}).Size()
		ld := NewLD(*o, b.Header, certifyLD(testNetwork(t), &b.Header, 0, 0, 1))
		if _, err := DecodeLD(ld.Encode()); err != nil || d.Size() > ledger.MaxDeliveryBytes {
			t.Errorf("a delivery of %d bytes does not decode: %v", d.Size(), err)
		}
		bytes, entries = bytes+d.Size()-empty, entries+len(d.Entries)
		per[d.Destination] += d.Size() - empty
		for _, e := range d.Entries {
			sent[d.Destination] = append(sent[d.Destination], e.Tx.ID())
		}
	}
	if bytes > ledger.MaxOutboxBytes || entries > ledger.MaxOutboxEntries {
		t.Errorf("block %d sends %d entries of %d bytes", b.Header.Height, entries, bytes)
	}
	for s, n := range per {
		if n > ledger.MaxOutboxBytesPerShard {
			t.Errorf("block %d sends to shard %d %d bytes", b.Header.Height, s, n)
		}
	}
	return sent
}

// TestOutboxOfABlockIsBounded: transactions of a batch whose verdicts do not fit into the block's outbox are left
// out, and settle when they are ordered again.
func TestOutboxOfABlockIsBounded(t *testing.T) {
	c := newMaxNetwork(1000)
	st := c.open(t, kv.NewMem(), 0)
	var txs []*ledger.Tx
	size := 0
	for _, in := range c.coins(t, st, 0, 1000) {
		txs = append(txs, c.toAll(t, in))
		size += len(txs[len(txs)-1].Encode())
	}
	blocks := 0
	for ; len(txs) > 0; blocks++ {
		b := execute(t, st, ledger.CommittedBlock{Payloads: []*ledger.Payload{{Txs: txs}}})
		bounded(t, b)
		spent := len(b.Receipts) / 2 // each has two receipts: spent, and settled at once
		if spent == 0 || spent+len(b.LeftOut) != len(txs) || b.More {
			t.Fatalf("block %d: %d spent and %d left out of %d; more to send: %v", blocks, spent, len(b.LeftOut), len(txs), b.More)
		}
		for i := range b.LeftOut {
			if l := &b.LeftOut[i]; l.Refusal.Reason != ledger.ReasonShardBusy || l.Refusal.Final() {
				t.Fatalf("left out with %v", l.Refusal)
			}
		}
		txs = txs[spent:]
	}
	if want := size * (shard.MaxShards - 1) / ledger.MaxOutboxBytes; blocks < want || blocks > 2*want {
		t.Errorf("all verdicts sent in %d blocks, want %d", blocks, want)
	}
}

// TestAnswersAreSpreadOverBlocks: a block that has to answer more transactions than it can send verdicts for gives
// all verdicts at once. Later blocks send the rest in order, each verdict once to each shard, also after a crash.
// Until all are sent, transactions of batches are left out.
func TestAnswersAreSpreadOverBlocks(t *testing.T) {
	c := newMaxNetwork(600)
	store := kv.NewMem()
	st := c.open(t, store, 1)
	mine, theirs := c.coins(t, st, 1, 501), c.coins(t, c.open(t, kv.NewMem(), 0), 0, 500)
	var x ledger.Delivery
	var in ledger.CommittedBlock
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
	sent := make(map[uint16][]ledger.TxID)
	blocks := 1
	for ; ; blocks++ {
		if now := bounded(t, b); b.More {
			if len(b.LeftOut) != 1 || b.LeftOut[0].Refusal.Reason != ledger.ReasonShardBusy {
				t.Fatalf("block %d: left out %+v while verdicts wait to be sent", blocks, b.LeftOut)
			}
			for s, ids := range now {
				sent[s] = append(sent[s], ids...)
			}
		} else {
			for s, ids := range now {
				sent[s] = append(sent[s], ids...)
			}
			break
		}
		if err := st.Flush(); err != nil {
			t.Fatal(err)
		}
		st = c.open(t, store, 1)
		if more, err := st.HasUnsentVerdicts(); err != nil || !more {
			t.Fatalf("block %d: a restart loses the verdicts that wait to be sent: %v", blocks, err)
		}
		b = execute(t, st, ledger.CommittedBlock{Payloads: []*ledger.Payload{{Txs: []*ledger.Tx{own}}}})
	}
	for s := range uint16(shard.MaxShards) {
		if s == 1 {
			continue
		}
		if len(sent[s]) != len(order) {
			t.Fatalf("shard %d was sent %d verdicts of %d", s, len(sent[s]), len(order))
		}
		for i, id := range sent[s] {
			if id != order[i] {
				t.Fatalf("shard %d was sent verdict %d out of order", s, i)
			}
		}
	}
	if blocks < 3 {
		t.Errorf("all verdicts sent in %d blocks, so the test does not cover the spreading", blocks)
	}
	b = execute(t, st, ledger.CommittedBlock{Payloads: []*ledger.Payload{{Txs: []*ledger.Tx{own}}}})
	if len(b.Receipts) == 0 || b.Receipts[0].Tx != own.ID() || b.Receipts[0].Verdict != ledger.VerdictSpent {
		t.Errorf("the transaction that was left out has %d receipts after it was ordered again", len(b.Receipts))
	}
}
