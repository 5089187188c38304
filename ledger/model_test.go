package ledger

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
)

// model is the simplest implementation of the ledger's rules for one shard. It keeps everything in maps and forgets
// nothing.
type model struct {
	unspent map[Outpoint]Output
	spent   map[Outpoint]*Tx // by the transaction that spent it
	made    map[TxID]bool    // ids of outputs that exist or existed
	done    map[TxID]Receipt
	history map[Address][]TxID
	burned  uint64
	all     []*Tx // that were in a block
}

// expect is the result of a transaction in the model: its verdict and reason, or neither if it is a duplicate. either
// is set if an input can never be spent, but the ledger may not know it: its consumer has expired, or the id never had
// this output for this owner. Then a rejection as consumed is right too.
type expect struct {
	verdict Verdict
	reason  Reason
	either  bool
}

func (m *model) expect(tx *Tx, now uint64) expect {
	if now > tx.ExpiryMS && tx.ExpiryMS/horizon+1 < now/horizon {
		return expect{0, ReasonExpired, false} // also if it has a receipt, which the ledger may not know any more
	}
	if _, ok := m.done[tx.ID()]; ok {
		return expect{}
	}
	if now > tx.ExpiryMS {
		return expect{VerdictRejected, ReasonExpired, false}
	}
	rejected := VerdictRejected
	if tx.ExpiryMS-now > horizon {
		rejected = 0 // it is left out
	}
	unknown, forgotten := false, false
	for _, in := range tx.Inputs {
		out, ok := m.unspent[in.Outpoint]
		by := m.spent[in.Outpoint]
		switch {
		case ok && out.Address == AddressOf(in.Key) && out.Amount != in.Amount:
			return expect{rejected, ReasonWrongAmount, forgotten}
		case ok && out.Address == AddressOf(in.Key):
		case by != nil && by.ExpiryMS >= now:
			return expect{rejected, ReasonConsumed, forgotten}
		case m.made[in.Outpoint.Tx]:
			forgotten = true
		default:
			unknown = true
		}
	}
	switch {
	case unknown || forgotten:
		return expect{0, ReasonUnknownInput, forgotten}
	case rejected == 0:
		return expect{0, ReasonExpiryTooFar, false}
	}
	return expect{verdict: VerdictSettled}
}

func (m *model) settle(tx *Tx) {
	m.burned += tx.Fee
	touched := make(map[Address]bool)
	for _, in := range tx.Inputs {
		delete(m.unspent, in.Outpoint)
		m.spent[in.Outpoint] = tx
		touched[AddressOf(in.Key)] = true
	}
	m.made[tx.ID()] = true
	for i, out := range tx.Outputs {
		m.unspent[Outpoint{tx.ID(), uint16(i)}] = out
		touched[out.Address] = true
	}
	for a := range touched {
		m.history[a] = append(m.history[a], tx.ID())
	}
}

// block compares a block that the state executed with the model, and applies the block to the model.
func (m *model) block(t *rapid.T, b *Block, txs []*Tx) {
	receipts, left, dups := b.Receipts, b.LeftOut, b.Duplicates
	for _, tx := range txs {
		want := m.expect(tx, b.Header.TimeMS)
		var got expect
		switch {
		case len(receipts) > 0 && receipts[0].Tx == tx.ID():
			got = expect{receipts[0].Verdict, receipts[0].Reason, want.either}
			m.done[tx.ID()] = receipts[0]
			receipts = receipts[1:]
		case len(left) > 0 && left[0].ID == tx.ID():
			got = expect{0, left[0].Refusal.Reason, want.either}
			left = left[1:]
		case len(dups) > 0 && dups[0] == tx.ID():
			dups = dups[1:]
		default:
			t.Fatalf("block %d has no result for transaction %s", b.Header.Height, tx.ID())
		}
		if want.either && got.reason == ReasonConsumed && (got.verdict == VerdictRejected) == (tx.ExpiryMS-b.Header.TimeMS <= horizon) {
			continue
		}
		if got != want {
			t.Fatalf("block %d: transaction %+v has result %+v, want %+v", b.Header.Height, tx.Body, got, want)
		}
		if got.verdict == VerdictSettled {
			m.settle(tx)
		}
	}
	if len(receipts)+len(left)+len(dups) > 0 {
		t.Fatalf("block %d has results for transactions that are not in it: %+v", b.Header.Height, b)
	}
}

// check compares the results of all queries with the model.
func (m *model) check(t *rapid.T, s *State, people int) {
	var total, count uint64
	for o, out := range m.unspent {
		total += out.Amount
		count++
		if got, ok, err := s.Output(out.Address, o); err != nil || !ok || got != out.Amount {
			t.Fatalf("output %v is %v %v %v, want %v", o, got, ok, err, out)
		}
	}
	for o := range m.spent {
		for p := range people {
			if _, ok, err := s.Output(addressOf(p), o); ok || err != nil {
				t.Fatalf("output %v was spent, but Output returns it, %v", o, err)
			}
		}
	}
	for id, want := range m.done {
		if got, ok, err := s.Receipt(id); err != nil || !ok || got != want {
			t.Fatalf("receipt %+v %v %v, want %+v", got, ok, err, want)
		}
	}
	for _, tx := range m.all {
		want, has := m.done[tx.ID()]
		if got, ok, err := s.ReceiptOf(tx); err != nil || ok != has || got != want {
			t.Fatalf("receipt %+v %v %v, want %+v, %v", got, ok, err, want, has)
		}
	}
	a, err := s.Audit(context.Background())
	if err != nil || a.Unspent != total || a.Outputs != count || a.Burned != m.burned || !a.Conserved() {
		t.Fatalf("audit %+v, %v; want %d in %d outputs, %d burned", a, err, total, count, m.burned)
	}
	for p := range people {
		acc, err := s.Account(addressOf(p), Page{Limit: MaxPage, HistoryLimit: MaxPage})
		if err != nil {
			t.Fatal(err)
		}
		var balance uint64
		for _, u := range acc.Outputs {
			if out := m.unspent[u.Outpoint]; out.Address != addressOf(p) || out.Amount != u.Amount {
				t.Fatalf("person %d has output %+v, in the model it is %+v", p, u, out)
			}
			balance += u.Amount
		}
		owned := 0
		for _, out := range m.unspent {
			if out.Address == addressOf(p) {
				owned++
			}
		}
		if acc.Balance != balance || acc.Count != uint64(len(acc.Outputs)) || len(acc.Outputs) != owned {
			t.Fatalf("person %d: balance %d, count %d, of %d in %d outputs; owns %d", p, acc.Balance, acc.Count, balance, len(acc.Outputs), owned)
		}
		var ids []TxID
		if want := (Change{acc.History[0].Height, uint64(len(acc.History))}); acc.Changed != want {
			t.Fatalf("account %d: last change %+v, the history has %+v", p, acc.Changed, want)
		}
		for _, h := range acc.History[:len(acc.History)-1] { // the oldest is the genesis
			ids = append(ids, h.Tx)
		}
		slices.Reverse(ids)
		if !slices.Equal(ids, m.history[addressOf(p)]) {
			t.Fatalf("history of person %d differs", p)
		}
	}
}

// drawTx makes a transaction, valid or not, from outputs that exist or existed in the model.
func (m *model) drawTx(t *rapid.T, known []Outpoint, outs map[Outpoint]Output, people int, now uint64) *Tx {
	b := Body{Network: testNet, ExpiryMS: now + uint64(rapid.SampledFrom([]int{-1, 0, 1, 50_000, 130_000, horizon, horizon + 70_000}).Draw(t, "expiry"))}
	var total uint64
	who := make(map[int]bool)
	for range rapid.IntRange(1, 3).Draw(t, "inputs") {
		o := rapid.SampledFrom(known).Draw(t, "outpoint")
		if slices.ContainsFunc(b.Inputs, func(in Input) bool { return in.Outpoint == o }) {
			continue
		}
		out, owner := outs[o], 0
		for p := range people {
			if addressOf(p) == out.Address {
				owner = p
			}
		}
		switch rapid.IntRange(0, 19).Draw(t, "wrong") {
		case 0:
			owner = (owner + 1) % people
		case 1:
			out.Amount++
		case 2:
			o.Index += 7
		}
		who[owner] = true
		b.Inputs = append(b.Inputs, Input{o, signer(owner).Public(), out.Amount})
		total += out.Amount
	}
	for n := rapid.IntRange(1, 3).Draw(t, "outputs"); n > 0 && total > 0; n-- {
		amount := rapid.Uint64Range(1, total).Draw(t, "amount")
		b.Outputs = append(b.Outputs, Output{addressOf(rapid.IntRange(0, people-1).Draw(t, "to")), amount})
		total -= amount
	}
	b.Fee = total
	var signers []int
	for p := range who {
		signers = append(signers, p)
	}
	return signed(t, b, signers...)
}

// TestExecutionMatchesModel executes random blocks on two replicas. One of them has a very small cache, and crashes at
// random, loses all that was not flushed, and executes the lost blocks again. Both replicas must have equal headers, and
// both must match the model.
func TestExecutionMatchesModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const people, outputs, amount = 4, 5, 1000
		config := testConfig(people, outputs, amount)
		small := config
		small.CachedOutputs = 2
		storeA, storeB := kv.NewMem(), kv.NewMem()
		a, b := open(t, storeA, config), open(t, storeB, small)
		m := &model{
			unspent: make(map[Outpoint]Output), spent: make(map[Outpoint]*Tx), made: make(map[TxID]bool),
			done: make(map[TxID]Receipt), history: make(map[Address][]TxID),
		}
		outs := make(map[Outpoint]Output) // all outputs of all transactions made, executed or not
		var known []Outpoint
		learn := func(o Outpoint, out Output) {
			outs[o] = out
			known = append(known, o)
		}
		for p := range people {
			for k := range outputs {
				m.unspent[genesisOut(p, k)] = Output{addressOf(p), amount}
				m.made[genesisOut(p, k).Tx] = true
				learn(genesisOut(p, k), Output{addressOf(p), amount})
			}
		}
		var chain []CommittedBlock
		var pool []*Tx
		now := uint64(genesisTime)
		for height := uint64(1); height <= uint64(rapid.IntRange(1, 12).Draw(t, "blocks")); height++ {
			now += uint64(rapid.SampledFrom([]int{0, 1, 30_000, 200_000, horizon + 1, 2 * horizon}).Draw(t, "pass"))
			in := CommittedBlock{Height: height, Epoch: 1, Slot: height, TimeMS: now, Cut: fmt.Appendf(nil, "cut %d", height), Digest: digest.Of("b")}
			var txs []*Tx
			for range rapid.IntRange(0, 3).Draw(t, "payloads") {
				p := &Payload{}
				for range rapid.IntRange(1, 4).Draw(t, "txs") {
					if len(pool) > 0 && rapid.IntRange(0, 3).Draw(t, "again") == 0 {
						p.Txs = append(p.Txs, rapid.SampledFrom(pool).Draw(t, "which"))
						continue
					}
					tx := m.drawTx(t, known, outs, people, now)
					for i, out := range tx.Outputs {
						learn(Outpoint{tx.ID(), uint16(i)}, out)
					}
					pool = append(pool, tx)
					m.all = append(m.all, tx)
					p.Txs = append(p.Txs, tx)
				}
				in.Payloads = append(in.Payloads, p)
				txs = append(txs, p.Txs...)
			}
			chain = append(chain, in)
			got, err := a.Execute(in)
			if err != nil {
				t.Fatal(err)
			}
			m.block(t, got, txs)

			if rapid.IntRange(0, 3).Draw(t, "crash") == 0 {
				storeB = storeB.Crash(rapid.IntRange(0, storeB.Unsynced()).Draw(t, "keep"))
				b = open(t, storeB, small)
			}
			for b.Height() < height {
				again, err := b.Execute(chain[b.Height()])
				if err != nil {
					t.Fatal(err)
				}
				want, _, err := a.Header(again.Header.Height)
				if err != nil || again.Header != want {
					t.Fatalf("headers of the two replicas differ: %+v and %+v, %v", again.Header, want, err)
				}
			}
			if rapid.IntRange(0, 3).Draw(t, "flush") == 0 {
				if err := b.Flush(); err != nil {
					t.Fatal(err)
				}
				if h, err := b.FlushedHeight(); err != nil || h != height {
					t.Fatalf("flushed height %d, %v", h, err)
				}
			}
		}
		m.check(t, a, people)
		m.check(t, b, people)
		same(t, storeA, storeB)
	})
}

// same compares two stores byte by byte.
func same(t *rapid.T, a, b kv.Store) {
	dump := func(s kv.Store) (out []string) {
		if err := s.Scan(nil, nil, false, func(k, v []byte) bool {
			out = append(out, fmt.Sprintf("%x=%x", k, v))
			return true
		}); err != nil {
			t.Fatal(err)
		}
		return out
	}
	if x, y := dump(a), dump(b); !slices.Equal(x, y) {
		t.Fatalf("the stores differ: %d and %d entries", len(x), len(y))
	}
}
