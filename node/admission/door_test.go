package admission

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"bdtnode/ledger"
)

const life = time.Minute

func wantRefusal(t *testing.T, p Progress, reason ledger.Reason) {
	t.Helper()
	if p.Refusal == nil || p.Refusal.Reason != reason {
		t.Fatalf("%+v, want a refusal for %v", p, reason)
	}
}

// Transactions of keys that own nothing never enter a batch, and take nothing from those that do.
func TestJunkWaitsAndGoes(t *testing.T) {
	limits := StandardLimits()
	limits.RoomTxs = 100
	d := newDesk(t, limits)
	var junk []*ledger.Tx
	for i := range 300 {
		tx := d.pay(life, 0, d.nothing(fmt.Sprint(i)))
		if p := d.submit("stranger", tx); !p.Waiting || p.Logged || p.Refusal != nil {
			t.Fatalf("%+v, want it to wait", p)
		}
		junk = append(junk, tx)
	}
	if d.door.Len() != 0 || d.door.Room() != 50 {
		t.Errorf("%d in the book and %d in the room, want 0 and one party's half of 100", d.door.Len(), d.door.Room())
	}
	wantRefusal(t, d.at(junk[0]), ledger.ReasonUnknownInput) // the oldest goes first
	good := d.pay(life, 0, d.coin(0))
	d.submit("client", good)
	d.wantBatch(good)
	d.pass(roomFor + time.Second)
	if d.door.Room() != 0 {
		t.Errorf("%d in the room after its time", d.door.Room())
	}
	wantRefusal(t, d.at(junk[299]), ledger.ReasonUnknownInput)
	d.wantBatch()
}

func TestAnInputMadeByTheBookIsThere(t *testing.T) {
	d := newDesk(t, StandardLimits())
	parent := d.pay(life, 0, d.coin(0))
	child := d.pay(life, 0, d.output(parent, 0))
	grandchild := d.pay(life, 0, d.output(child, 0), d.coin(1))
	for _, tx := range []*ledger.Tx{grandchild, child} {
		if p := d.submit("a", tx); !p.Waiting {
			t.Fatalf("%+v, want it to wait", p)
		}
	}
	d.wantBatch()
	d.submit("b", parent)
	d.lookAgain()
	d.lookAgain()
	if d.door.Room() != 0 || d.door.Len() != 3 {
		t.Fatalf("%d in the room, %d in the book", d.door.Room(), d.door.Len())
	}
	d.wantBatch(parent, child, grandchild)
	if b := d.block(); len(b.LeftOut) > 0 || len(b.Receipts) != 3 {
		t.Errorf("%d left out, %d with a receipt", len(b.LeftOut), len(b.Receipts))
	}
	if p := d.at(grandchild); p.Receipt.Verdict != ledger.VerdictSettled {
		t.Errorf("%+v", p)
	}
}

// Of two transactions that spend one output the second waits for what becomes of the first.
func TestAnOutputIsSpentOnceInTheBook(t *testing.T) {
	d := newDesk(t, StandardLimits())
	first, second := d.pay(life, 0, d.coin(0)), d.pay(life, 1, d.coin(0))
	d.submit("a", first)
	if p := d.submit("b", second); !p.Waiting {
		t.Fatalf("%+v, want it to wait", p)
	}
	d.wantBatch(first)
	d.block()
	wantRefusal(t, d.at(second), ledger.ReasonConsumed)
	if d.door.Len() != 0 || d.door.Room() != 0 {
		t.Errorf("%d in the book, %d in the room", d.door.Len(), d.door.Room())
	}
}

// orphaned makes an accepted transaction whose input never comes: its parent loses against another replica's.
func (d *desk) orphaned(coin int, lifetime time.Duration) *ledger.Tx {
	d.t.Helper()
	parent, rival := d.pay(life, 0, d.coin(coin)), d.pay(life, 2, d.coin(coin))
	child := d.pay(lifetime, 0, d.output(parent, 0))
	d.submit("a", parent)
	d.submit("a", child)
	d.wantBatch(parent, child)
	b := d.block(rival)
	if len(b.LeftOut) != 1 || b.LeftOut[0].ID != child.ID() {
		d.t.Fatalf("left out: %v", b.LeftOut)
	}
	return child
}

// An accepted transaction that a block left out is known, and gets its final answer by block time, also after a crash
// at any moment.
func TestAcceptedIsKeptToItsEnd(t *testing.T) {
	steps := []struct {
		name string
		keep func(d *desk)
	}{
		{"as it is", func(*desk) {}},
		{"crash", (*desk).crash},
		{"ledger on disk, then a crash", func(d *desk) {
			if err := d.state.Flush(); err != nil {
				t.Fatal(err)
			}
			d.crash()
		}},
		{"kept, then a crash", func(d *desk) { d.keep(); d.crash() }},
		{"kept, a crash, kept, a crash", func(d *desk) { d.keep(); d.crash(); d.keep(); d.crash() }},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			d := newDesk(t, StandardLimits())
			child := d.orphaned(0, 20*time.Second)
			step.keep(d)
			if p, ok := d.door.Find(child.ID()); !ok || !p.Logged {
				t.Fatalf("the accepted transaction is %v %+v", ok, p)
			}
			d.batches = nil
			batches := 0
			for end := d.now.Add(time.Minute); d.now < end; d.pass(200 * time.Millisecond) {
				if d.now.Millis() <= child.ExpiryMS {
					if got := d.batch(); len(got) > 0 {
						t.Fatalf("a batch with an input that is not there, %v before the expiry", time.Duration(child.ExpiryMS-d.now.Millis())*time.Millisecond)
					}
					continue
				}
				if got := d.batch(); len(got) > 0 {
					batches++
					d.block()
				}
			}
			receipt, ok, err := d.state.Receipt(child.ID())
			if err != nil || !ok || receipt.Reason != ledger.ReasonExpired {
				t.Errorf("the answer is %v %+v %v, want expired", ok, receipt, err)
			}
			if batches != 1 || d.door.Len() != 0 {
				t.Errorf("%d batches for it, want 1; %d left in the book", batches, d.door.Len())
			}
		})
	}
}

// What a final refusal of an accepted transaction said is said after a restart.
func TestAFinalRefusalIsKept(t *testing.T) {
	d := newDesk(t, StandardLimits())
	child := d.orphaned(0, 20*time.Second)
	d.now = d.now.Add(time.Minute)
	d.block(d.pay(life, 0, d.coin(5))) // block time passes its expiry
	wantRefusal(t, d.at(child), ledger.ReasonExpired)
	d.keep()
	d.crash()
	if p, ok := d.door.Find(child.ID()); !ok || p.Refusal == nil || p.Refusal.Reason != ledger.ReasonExpired {
		t.Errorf("after a restart it is %v %+v", ok, p)
	}
	if records := d.door.Checkpoint(); len(records) > 1 {
		t.Errorf("%d records of nothing", len(records))
	}
}

// An accepted transaction whose input comes late is batched again at once.
func TestAcceptedFollowsItsInput(t *testing.T) {
	d := newDesk(t, StandardLimits())
	child := d.orphaned(0, life)
	_ = child
	late := d.pay(life, 0, d.coin(1))
	heir := d.pay(life, 0, d.output(late, 0))
	parentAgain := d.pay(life, 0, d.coin(2))
	d.submit("a", parentAgain)
	d.submit("a", heir)
	d.wantBatch(parentAgain)
	d.block(late)
	if p := d.at(heir); p.Waiting {
		t.Logf("%+v", p)
	}
	d.wantBatch(heir)
	d.block()
	if p := d.at(heir); p.Receipt.Verdict != ledger.VerdictSettled {
		t.Errorf("%+v", p)
	}
}

// The clock of a replica, whatever it says, ends nothing.
func TestFinalAnswersGoByBlockTime(t *testing.T) {
	d := newDesk(t, StandardLimits())
	tx := d.pay(time.Second, 0, d.coin(0))
	d.skew = time.Hour
	p := d.submit("a", tx)
	wantRefusal(t, p, ledger.ReasonLate)
	if p.Refusal.Final() {
		t.Fatalf("the refusal is final: %v", p.Refusal)
	}
	if found, ok := d.door.Find(tx.ID()); ok {
		t.Errorf("it is remembered: %+v", found)
	}
	d.skew = 0 // the clock is right again
	d.submit("a", tx)
	d.wantBatch(tx)
	d.block()
	if p := d.at(tx); p.Receipt.Verdict != ledger.VerdictSettled {
		t.Errorf("%+v", p)
	}
	other := d.pay(time.Second, 0, d.coin(1))
	d.now = d.now.Add(time.Hour)
	d.block(d.pay(life, 0, d.coin(2)))
	d.skew = -2 * time.Hour // and now it is slow
	wantRefusal(t, d.submit("a", other), ledger.ReasonExpired)
}

func TestAFullBookKeepsWhatPaysMore(t *testing.T) {
	limits := StandardLimits()
	limits.Txs = 8
	d := newDesk(t, limits)
	var cheap []*ledger.Tx
	for i := range 4 {
		cheap = append(cheap, d.pay(life, 1, d.coin(i)))
		if p := d.submit("a", cheap[i]); p.Refusal != nil {
			t.Fatalf("%+v", p)
		}
	}
	same := d.pay(life, 1, d.coin(10))
	wantRefusal(t, d.submit("a", same), ledger.ReasonBookFull) // a has its half
	if p := d.submit("b", same); p.Refusal != nil {
		t.Errorf("another party is refused: %+v", p)
	}
	dear := d.pay(life, 5, d.coin(11))
	if p := d.submit("a", dear); p.Refusal != nil {
		t.Errorf("what pays more is refused: %+v", p)
	}
	wantRefusal(t, d.at(same), ledger.ReasonBookFull) // the newest of those that pay least
	if d.batch() == nil {
		t.Fatal("no batch")
	}
	for i := range 10 { // all is accepted, and stays, whatever others pay
		d.submit("c", d.pay(life, 100, d.coin(20+i)))
	}
	for _, tx := range append(cheap, dear) {
		if p := d.at(tx); !p.Logged || p.Refusal != nil {
			t.Errorf("what was accepted is %+v", p)
		}
	}
}

// Evicting a transaction takes those that spend its outputs out of the book as well.
func TestWhatFollowsTheEvictedIsNotBatched(t *testing.T) {
	limits := StandardLimits()
	limits.Txs = 4
	d := newDesk(t, limits)
	parent := d.pay(life, 0, d.coin(0))
	child := d.pay(life, 3, d.output(parent, 0))
	d.submit("a", parent)
	d.submit("a", child)
	dear := d.pay(life, 9, d.coin(1))
	d.submit("a", dear)
	d.lookAgain()
	wantRefusal(t, d.at(parent), ledger.ReasonBookFull)
	d.wantBatch(dear)
	if p := d.at(child); p.Logged || d.door.Room() != 1 {
		t.Errorf("%+v, %d in the room", p, d.door.Room())
	}
}

// Parties that all have transactions ready get equal parts of a batch; one alone gets all of it.
func TestPartiesTakeTurns(t *testing.T) {
	d := newDesk(t, StandardLimits())
	of := make(map[ledger.TxID]Party)
	submit := func(from Party, coin int) {
		tx := d.pay(life, 0, d.coin(coin))
		of[tx.ID()] = from
		d.submit(from, tx)
	}
	for i := range 60 {
		submit("greedy", i)
	}
	for i := range 5 {
		submit("modest", 100+i)
		submit("late", 120+i)
	}
	count := make(map[Party]int)
	for _, raw := range d.door.Take(1<<20, 15) {
		tx, err := ledger.DecodeTx(raw)
		if err != nil {
			t.Fatal(err)
		}
		count[of[tx.ID()]]++
	}
	if count["greedy"] != 5 || count["modest"] != 5 || count["late"] != 5 {
		t.Errorf("of 15 the parties got %v", count)
	}
	if got := d.door.Take(1<<20, 100); len(got) != 55 {
		t.Errorf("the party that is alone got %d of 55", len(got))
	}
}

func TestWhatGoesNoFurtherLeaves(t *testing.T) {
	d := newDesk(t, StandardLimits())
	txs := []*ledger.Tx{d.pay(life, 0, d.coin(0)), d.pay(life, 0, d.coin(1)), d.pay(5*life, 0, d.coin(2)), d.pay(life, 0, d.coin(3))}
	d.submit("a", txs...)
	d.wantBatch(txs...)
	h, _, _ := d.state.Tip()
	refuse := func(r ledger.Reason) *ledger.Refusal { return &ledger.Refusal{Reason: r} }
	b := &ledger.Block{Header: ledger.Header{Height: h.Height, TimeMS: h.TimeMS}, LeftOut: []ledger.LeftOut{
		{ID: txs[0].ID(), Refusal: refuse(ledger.ReasonConsumed)}, {ID: txs[1].ID(), Refusal: refuse(ledger.ReasonWrongShard)},
		{ID: txs[2].ID(), Refusal: refuse(ledger.ReasonShardBusy)},
	}, Receipts: []ledger.Receipt{{Tx: txs[3].ID(), Verdict: ledger.VerdictSpent}}}
	d.door.Executed(b, 1, d.instant())
	if d.door.Len() != 1 || !d.at(txs[2]).Logged {
		t.Errorf("%d left", d.door.Len())
	}
	d.wantBatch()
	d.pass(time.Second)
	d.wantBatch(txs[2])
	for wait := 2 * retryFirst; wait <= retryMost; wait *= 2 { // left out again and again, it is tried ever less often
		b.Receipts, b.LeftOut = nil, []ledger.LeftOut{{ID: txs[2].ID(), Refusal: refuse(ledger.ReasonShardBusy)}}
		d.door.Executed(b, 0, d.instant())
		d.pass(wait - 200*time.Millisecond)
		d.wantBatch()
		d.pass(400 * time.Millisecond)
		d.wantBatch(txs[2])
	}
}

func TestRetriesAreBounded(t *testing.T) {
	d := newDesk(t, StandardLimits())
	for i := range 3 * maxRetries {
		e := &entry{tx: d.pay(life, 0, d.nothing(fmt.Sprint(i))), seq: uint64(i), state: flying, backoff: retryFirst, logged: true}
		d.door.entries[e.id()] = e
		d.door.book.add("", e.size())
		d.door.park(e, d.instant())
	}
	for range 5 {
		d.now = d.now.Add(time.Second)
		if got := len(d.door.Due(d.instant(), 1<<20)); got > maxRetries {
			t.Fatalf("%d retries in a second", got)
		}
	}
}

func TestASecondRequestHearsTheSame(t *testing.T) {
	d := newDesk(t, StandardLimits())
	tx := d.pay(life, 0, d.coin(0))
	d.submit("a", tx)
	first := d.known[tx.ID()]
	d.wantBatch(tx)
	if p := d.submit("b", tx); !p.Logged {
		t.Errorf("%+v, want accepted", p)
	}
	d.block()
	if p, q := first.Progress(tx.ID()), d.at(tx); p != q || p.Receipt.Verdict != ledger.VerdictSettled {
		t.Errorf("%+v and %+v", p, q)
	}
	if p := d.submit("c", tx); p.Receipt != d.at(tx).Receipt || p.Receipt.Height == 0 {
		t.Errorf("%+v", p)
	}
}

// A look at the ledger from before a block is not used.
func TestAnOldLookIsRefused(t *testing.T) {
	d := newDesk(t, StandardLimits())
	tx := d.pay(life, 0, d.coin(0))
	l, err := Read(d.state, tx, d.instant())
	if err != nil {
		t.Fatal(err)
	}
	d.block(tx)
	r := NewRequest("a", idsOf(tx), Final, true, d.now, func() {})
	d.door.Enter(r)
	if d.door.Admit(r, tx, l, d.instant()) {
		t.Error("an old look was used")
	}
	d.admit(r, tx)
	if p := r.Progress(tx.ID()); p.Receipt.Verdict != ledger.VerdictSettled || d.door.Len() != 0 {
		t.Errorf("%+v", p)
	}
	if slices.Contains(d.batch(), tx.ID()) {
		t.Error("it is batched again")
	}
}
