package ledger

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"bdtnode/internal/digest"
)

// bookTx makes the transaction of a name, which spends an output of the transaction of another.
func bookTx(t failer, name string, parent TxID, expiry uint64) *Tx {
	b := Body{Network: testNet, ExpiryMS: expiry, Outputs: []Output{{Address(digest.Of(name)), 1}},
		Inputs: []Input{{Outpoint{Tx: parent}, signer(0).Public(), 1}}}
	return signed(t, b, 0)
}

func take(b *Book, n int) (ids []TxID) {
	for _, raw := range b.Take(1<<20, n) {
		tx, err := DecodeTx(raw)
		if err != nil {
			panic(err)
		}
		ids = append(ids, tx.ID())
	}
	return ids
}

func add(t *testing.T, b *Book, txs ...*Tx) {
	t.Helper()
	for _, tx := range txs {
		if added, r := b.Add(tx); !added || r != nil {
			t.Fatalf("not added: %v", r)
		}
	}
}

func executed(height uint64) *Block { return &Block{Header: Header{Height: height}} }

func (b *Block) settled(ids ...TxID) *Block {
	for _, id := range ids {
		b.Receipts = append(b.Receipts, Receipt{Tx: id, Verdict: VerdictSettled})
	}
	return b
}

func (b *Block) leftOut(tx *Tx, r Reason) *Block {
	b.LeftOut = append(b.LeftOut, LeftOut{tx.ID(), refuse(r, ""), tx.Inputs[0].Outpoint})
	return b
}

func TestTheBookIsFirstComeFirstServed(t *testing.T) {
	b := NewBook(100, 1<<20)
	var want []TxID
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		tx := bookTx(t, name, TxID{}, 100)
		add(t, b, tx)
		want = append(want, tx.ID())
		if added, r := b.Add(tx); added || r != nil {
			t.Errorf("added twice: %v", r)
		}
	}
	got := append(take(b, 2), take(b, 10)...)
	if !slices.Equal(got, want) || b.Waiting() > 0 || len(take(b, 1)) != 0 {
		t.Errorf("taken %v, want %v", got, want)
	}
	if b.Len() != 5 {
		t.Errorf("%d in the book while in flight", b.Len())
	}
	block := executed(1).settled(want[0], want[1])
	block.Duplicates = want[2:3]
	b.Executed(block)
	if b.Len() != 2 || b.Has(want[0]) || b.Has(want[2]) || !b.Has(want[3]) {
		t.Errorf("%d left", b.Len())
	}
}

func TestTheBookIsBounded(t *testing.T) {
	a, c := bookTx(t, "a", TxID{}, 100), bookTx(t, "c", TxID{}, 100)
	for _, b := range []*Book{NewBook(1, 1<<20), NewBook(10, 2*len(a.Encode())-1)} {
		add(t, b, a)
		if added, r := b.Add(c); added || r == nil || r.Reason != ReasonBookFull || r.Final() {
			t.Errorf("a full book answered %v, %v", added, r)
		}
		b.Executed(executed(1).settled(a.ID()))
		add(t, b, c)
	}
}

func TestTakeFitsAPayload(t *testing.T) {
	b := NewBook(100, 1<<20)
	size := 0
	for i := range 10 {
		tx := bookTx(t, string(rune('a'+i)), TxID{}, 100)
		size = len(tx.Encode())
		add(t, b, tx)
	}
	if got := b.Take(PayloadSize(3, 3*size), 100); len(got) != 3 || len(EncodePayload(got)) != PayloadSize(3, 3*size) {
		t.Errorf("%d taken where 3 fit", len(got))
	}
	if got := b.Take(PayloadSize(3, 3*size)-1, 100); len(got) != 2 {
		t.Errorf("%d taken where 2 fit", len(got))
	}
	if got := b.Take(1<<20, 100); len(got) != 5 {
		t.Errorf("%d taken, 5 are left", len(got))
	}
}

func TestWhatWaitsForAnOutputIsTriedWhenItIsMade(t *testing.T) {
	b := NewBook(100, 1<<20)
	parent := bookTx(t, "parent", TxID{}, 100)
	child := bookTx(t, "child", parent.ID(), 100)
	late := bookTx(t, "late", parent.ID(), 100)
	add(t, b, child, late)
	take(b, 1)
	b.Executed(executed(1).leftOut(child, ReasonUnknownInput))
	if got := take(b, 10); !slices.Equal(got, []TxID{late.ID()}) {
		t.Errorf("taken %v", got)
	}
	for h := uint64(2); h < 300; h++ {
		b.Executed(executed(h))
		if b.Waiting() > 0 {
			t.Fatalf("tried again at %d though nothing has changed", h)
		}
	}
	rejected := executed(300)
	rejected.Receipts = []Receipt{{Tx: parent.ID(), Verdict: VerdictRejected, Reason: ReasonConsumed}}
	b.Executed(rejected)
	if b.Waiting() > 0 {
		t.Error("tried again though the parent was rejected")
	}
	// In one block the child may be left out just before its parent settles.
	b.Executed(executed(301).leftOut(late, ReasonUnknownInput).settled(parent.ID()))
	if got := take(b, 10); len(got) != 2 {
		t.Errorf("%d tried again, want both", len(got))
	}
	b.Executed(executed(302).settled(child.ID(), late.ID()))
	if b.Len() != 0 || len(b.waiting) != 0 {
		t.Errorf("%d left, %d waiting", b.Len(), len(b.waiting))
	}
}

func TestOtherwiseTheBookBacksOff(t *testing.T) {
	b := NewBook(100, 1<<20)
	tx := bookTx(t, "a", TxID{}, 100)
	add(t, b, tx)
	var tries []uint64
	for h := uint64(1); h <= 300; h++ {
		block := executed(h)
		if len(take(b, 1)) == 1 {
			tries = append(tries, h)
			block.leftOut(tx, ReasonExpiryTooFar)
		}
		b.Executed(block)
	}
	if want := []uint64{1, 4, 9, 18, 35, 68, 133, 198, 263}; !slices.Equal(tries, want) {
		t.Errorf("tried at %v, want %v", tries, want)
	}
}

func TestTheBookExpires(t *testing.T) {
	b := NewBook(100, 1<<20)
	flying, waiting, ready, young := bookTx(t, "f", TxID{}, 10), bookTx(t, "w", TxID{1}, 11), bookTx(t, "r", TxID{}, 12), bookTx(t, "y", TxID{}, 13)
	add(t, b, flying, waiting, young, ready)
	take(b, 2)
	b.Executed(executed(1).leftOut(waiting, ReasonUnknownInput))
	if out := b.Expired(10); len(out) != 0 {
		t.Errorf("%d expired in a block that may still settle them", len(out))
	}
	out := b.Expired(13)
	if len(out) != 3 || out[0] != flying || out[1] != waiting || out[2] != ready {
		t.Errorf("expired %v", out)
	}
	if got := take(b, 5); b.Len() != 1 || len(b.waiting) != 0 || len(got) != 1 || got[0] != young.ID() {
		t.Errorf("%d left, taken %v", b.Len(), got)
	}
}

func TestWhatIsOverdueIsTriedOnceMore(t *testing.T) {
	b := NewBook(100, 1<<20)
	late, parked, young, flying := bookTx(t, "x", TxID{1}, 50), bookTx(t, "y", TxID{2}, 40), bookTx(t, "z", TxID{1}, 60), bookTx(t, "f", TxID{}, 30)
	add(t, b, late, parked, young, flying)
	take(b, 4)
	b.Executed(executed(1).leftOut(late, ReasonUnknownInput).leftOut(young, ReasonUnknownInput).leftOut(parked, ReasonExpiryTooFar))
	if b.Overdue(40) || b.Waiting() != 0 {
		t.Error("something is overdue that a block of now may settle")
	}
	if !b.Overdue(51) || b.Overdue(51) {
		t.Error("overdue not once")
	}
	if got := take(b, 5); len(got) != 2 || slices.Contains(got, young.ID()) || slices.Contains(got, flying.ID()) {
		t.Errorf("taken %v", got)
	}
	b.Executed(executed(2).settled(TxID{1}))
	if got := take(b, 5); !slices.Equal(got, []TxID{young.ID()}) {
		t.Errorf("taken %v", got)
	}
}

// TestTheBookCountsWhatWaits drives a book at random and compares its count with what Take hands out.
func TestTheBookCountsWhatWaits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := NewBook(20, 1<<20)
		var txs []*Tx
		for i := range 12 {
			parent := TxID{byte(i)}
			if i > 3 {
				parent = txs[i-4].ID()
			}
			txs = append(txs, bookTx(t, string(rune('a'+i)), parent, uint64(10+i)))
		}
		for height := uint64(1); height < uint64(rapid.IntRange(2, 60).Draw(t, "steps")); height++ {
			tx := rapid.SampledFrom(txs).Draw(t, "tx")
			switch rapid.IntRange(0, 6).Draw(t, "step") {
			case 0, 1:
				b.Add(tx)
			case 2:
				b.Take(1<<20, rapid.IntRange(1, 3).Draw(t, "count"))
			case 3:
				b.Executed(executed(height).leftOut(tx, ReasonUnknownInput))
			case 4:
				b.Executed(executed(height).leftOut(tx, ReasonExpiryTooFar))
			case 5:
				b.Executed(executed(height).settled(tx.ID()))
			case 6:
				b.Overdue(rapid.Uint64Range(0, 30).Draw(t, "now"))
			}
		}
		want := b.Waiting()
		seen := make(map[string]bool)
		for _, raw := range b.Take(1<<20, 100) {
			want -= len(raw)
			if seen[string(raw)] {
				t.Fatal("one transaction was handed out twice")
			}
			seen[string(raw)] = true
		}
		if want != 0 || b.Waiting() != 0 {
			t.Fatalf("the count is off by %d, then %d", want, b.Waiting())
		}
		b.Expired(1000)
		if b.Len() != 0 || b.bytes != 0 || len(b.waiting) != 0 || len(b.expiry) != 0 {
			t.Fatalf("something is left: %d transactions, %d bytes", b.Len(), b.bytes)
		}
	})
}

func TestTheBookKeepsNoTrace(t *testing.T) {
	b := NewBook(100, 1<<20)
	first := bookTx(t, "first", TxID{}, 100)
	add(t, b, first)
	for i := range 5000 { // ordered by others before this replica takes any
		tx := bookTx(t, "x", TxID{byte(i), byte(i >> 8), 1}, 100)
		add(t, b, tx)
		b.Executed(executed(uint64(i)).settled(tx.ID()))
	}
	if n := len(b.ready); n > 400 {
		t.Errorf("%d places in the queue for one transaction", n)
	}
	if b.bytes != len(first.Encode()) || len(b.expiry) != 1 {
		t.Errorf("%d bytes, %d expiries for one transaction", b.bytes, len(b.expiry))
	}
}
