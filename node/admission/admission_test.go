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

// TestTransactionsWithUnknownInputs: transactions whose inputs do not exist never enter a batch, do not delay other
// transactions, and leave the orphan pool after maxOrphanAge.
func TestTransactionsWithUnknownInputs(t *testing.T) {
	limits := StandardLimits()
	limits.OrphanTxs = 100
	d := newFixture(t, limits)
	var unknown []*ledger.Tx
	for i := range 300 {
		tx := d.pay(life, 0, d.nothing(fmt.Sprint(i)))
		if p := d.submit("party without coins", tx); !p.Waiting || p.Logged || p.Refusal != nil {
			t.Fatalf("%+v, want Waiting", p)
		}
		unknown = append(unknown, tx)
	}
	if d.admission.MempoolCount() != 0 || d.admission.OrphanCount() != 50 {
		t.Errorf("%d in the mempool and %d in the orphan pool, want 0 and one party's half of 100", d.admission.MempoolCount(), d.admission.OrphanCount())
	}
	wantRefusal(t, d.at(unknown[0]), ledger.ReasonUnknownInput) // the oldest is removed first
	good := d.pay(life, 0, d.coin(0))
	d.submit("client", good)
	d.wantBatch(good)
	d.pass(maxOrphanAge + time.Second)
	if d.admission.OrphanCount() != 0 {
		t.Errorf("%d in the orphan pool after maxOrphanAge", d.admission.OrphanCount())
	}
	wantRefusal(t, d.at(unknown[299]), ledger.ReasonUnknownInput)
	d.wantBatch()
}

func TestInputsCreatedInTheMempool(t *testing.T) {
	d := newFixture(t, StandardLimits())
	parent := d.pay(life, 0, d.coin(0))
	child := d.pay(life, 0, d.output(parent, 0))
	grandchild := d.pay(life, 0, d.output(child, 0), d.coin(1))
	for _, tx := range []*ledger.Tx{grandchild, child} {
		if p := d.submit("a", tx); !p.Waiting {
			t.Fatalf("%+v, want Waiting", p)
		}
	}
	d.wantBatch()
	d.submit("b", parent)
	d.lookAgain()
	d.lookAgain()
	if d.admission.OrphanCount() != 0 || d.admission.MempoolCount() != 3 {
		t.Fatalf("%d in the orphan pool, %d in the mempool", d.admission.OrphanCount(), d.admission.MempoolCount())
	}
	d.wantBatch(parent, child, grandchild)
	if b := d.block(); len(b.LeftOut) > 0 || len(b.Receipts) != 3 {
		t.Errorf("%d left out, %d with a receipt", len(b.LeftOut), len(b.Receipts))
	}
	if p := d.at(grandchild); p.Receipt.Verdict != ledger.VerdictSettled {
		t.Errorf("%+v", p)
	}
}

// TestOutputIsSpentOnceInTheMempool: of two transactions that spend one output, the second waits until the first is
// decided.
func TestOutputIsSpentOnceInTheMempool(t *testing.T) {
	d := newFixture(t, StandardLimits())
	first, second := d.pay(life, 0, d.coin(0)), d.pay(life, 1, d.coin(0))
	d.submit("a", first)
	if p := d.submit("b", second); !p.Waiting {
		t.Fatalf("%+v, want Waiting", p)
	}
	d.wantBatch(first)
	d.block()
	wantRefusal(t, d.at(second), ledger.ReasonConsumed)
	if d.admission.MempoolCount() != 0 || d.admission.OrphanCount() != 0 {
		t.Errorf("%d in the mempool, %d in the orphan pool", d.admission.MempoolCount(), d.admission.OrphanCount())
	}
}

// acceptedWithoutInput makes an accepted transaction whose input never exists, because the transaction that would create it loses
// a conflict with one of another replica.
func (d *fixture) acceptedWithoutInput(coin int, lifetime time.Duration) *ledger.Tx {
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

// TestAcceptedIsKeptUntilItsFinalAnswer: an accepted transaction that a block left out stays known, and block time
// gives it a final answer, also after crashes.
func TestAcceptedIsKeptUntilItsFinalAnswer(t *testing.T) {
	steps := []struct {
		name string
		keep func(d *fixture)
	}{
		{"no crash", func(*fixture) {}},
		{"crash", (*fixture).crash},
		{"ledger flushed, then a crash", func(d *fixture) {
			if err := d.state.Flush(); err != nil {
				t.Fatal(err)
			}
			d.crash()
		}},
		{"checkpoint, then a crash", func(d *fixture) { d.keep(); d.crash() }},
		{"checkpoint, crash, checkpoint, crash", func(d *fixture) { d.keep(); d.crash(); d.keep(); d.crash() }},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			d := newFixture(t, StandardLimits())
			child := d.acceptedWithoutInput(0, 20*time.Second)
			step.keep(d)
			if p, ok := d.admission.Find(child.ID()); !ok || !p.Logged {
				t.Fatalf("the accepted transaction: known %v, progress %+v", ok, p)
			}
			d.batches = nil
			batches := 0
			for end := d.now.Add(time.Minute); d.now < end; d.pass(200 * time.Millisecond) {
				if d.now.Millis() <= child.ExpiryMS {
					if got := d.batch(); len(got) > 0 {
						t.Fatalf("a batch has the transaction, although its input does not exist, %v before its expiry", time.Duration(child.ExpiryMS-d.now.Millis())*time.Millisecond)
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
				t.Errorf("receipt: %v %+v %v, want expired", ok, receipt, err)
			}
			if batches != 1 || d.admission.MempoolCount() != 0 {
				t.Errorf("%d batches have the transaction, want 1; %d left in the mempool", batches, d.admission.MempoolCount())
			}
		})
	}
}

// TestOverdueAreBatchedOneASecond: of the accepted transactions whose expiry has passed in an idle shard, one enters a batch in a
// second, however many there are. A block of that time gives all of them their final answers.
func TestOverdueAreBatchedOneASecond(t *testing.T) {
	d := newFixture(t, StandardLimits())
	var children []*ledger.Tx
	for coin := range 6 {
		children = append(children, d.acceptedWithoutInput(coin, 20*time.Second))
	}
	for d.now.Millis() <= children[5].ExpiryMS {
		d.pass(100 * time.Millisecond)
	}
	batched := 0
	for range 35 {
		d.pass(100 * time.Millisecond)
		batched += len(d.batch())
	}
	if batched < 2 || batched > 4 {
		t.Errorf("%d of %d overdue transactions are in batches of 3.5 s, want one in a second", batched, len(children))
	}
	d.block()
	for i, child := range children {
		if p := d.at(child); p.Receipt.Reason != ledger.ReasonExpired && (p.Refusal == nil || p.Refusal.Reason != ledger.ReasonExpired) {
			t.Errorf("transaction %d has no final answer after the block: %+v", i, p)
		}
	}
	d.pass(3 * time.Second)
	d.wantBatch()
}

// TestFinalRefusalIsKept: the final refusal of an accepted transaction is known after a restart.
func TestFinalRefusalIsKept(t *testing.T) {
	d := newFixture(t, StandardLimits())
	child := d.acceptedWithoutInput(0, 20*time.Second)
	d.now = d.now.Add(time.Minute)
	d.block(d.pay(life, 0, d.coin(5))) // block time passes its expiry
	wantRefusal(t, d.at(child), ledger.ReasonExpired)
	d.keep()
	d.crash()
	if p, ok := d.admission.Find(child.ID()); !ok || p.Refusal == nil || p.Refusal.Reason != ledger.ReasonExpired {
		t.Errorf("after a restart: known %v, progress %+v", ok, p)
	}
	if records := d.admission.Checkpoint(); len(records) > 1 {
		t.Errorf("%d records although nothing changed", len(records))
	}
}

// TestTransactionFollowsItsInput: a transaction that waits for an input enters a batch as soon as the input exists.
func TestTransactionFollowsItsInput(t *testing.T) {
	d := newFixture(t, StandardLimits())
	child := d.acceptedWithoutInput(0, life)
	_ = child
	late := d.pay(life, 0, d.coin(1))
	dependent := d.pay(life, 0, d.output(late, 0))
	parentAgain := d.pay(life, 0, d.coin(2))
	d.submit("a", parentAgain)
	d.submit("a", dependent)
	d.wantBatch(parentAgain)
	d.block(late)
	if p := d.at(dependent); p.Waiting {
		t.Logf("%+v", p)
	}
	d.wantBatch(dependent)
	d.block()
	if p := d.at(dependent); p.Receipt.Verdict != ledger.VerdictSettled {
		t.Errorf("%+v", p)
	}
}

// TestFinalAnswersGoByBlockTime: a wrong clock of the replica never causes a final answer.
func TestFinalAnswersGoByBlockTime(t *testing.T) {
	d := newFixture(t, StandardLimits())
	tx := d.pay(time.Second, 0, d.coin(0))
	d.skew = time.Hour
	p := d.submit("a", tx)
	wantRefusal(t, p, ledger.ReasonLate)
	if p.Refusal.Final() {
		t.Fatalf("the refusal is final: %v", p.Refusal)
	}
	if found, ok := d.admission.Find(tx.ID()); ok {
		t.Errorf("a refusal that is not final is remembered: %+v", found)
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
	d.skew = -2 * time.Hour // now the clock is slow
	wantRefusal(t, d.submit("a", other), ledger.ReasonExpired)
}

func TestFullMempoolKeepsHigherFees(t *testing.T) {
	limits := StandardLimits()
	limits.Txs = 8
	d := newFixture(t, limits)
	var lowFee []*ledger.Tx
	for i := range 4 {
		lowFee = append(lowFee, d.pay(life, 1, d.coin(i)))
		if p := d.submit("a", lowFee[i]); p.Refusal != nil {
			t.Fatalf("%+v", p)
		}
	}
	same := d.pay(life, 1, d.coin(10))
	wantRefusal(t, d.submit("a", same), ledger.ReasonBookFull) // party a has reached its half
	if p := d.submit("b", same); p.Refusal != nil {
		t.Errorf("another party is refused: %+v", p)
	}
	highFee := d.pay(life, 5, d.coin(11))
	if p := d.submit("a", highFee); p.Refusal != nil {
		t.Errorf("a transaction that pays more is refused: %+v", p)
	}
	wantRefusal(t, d.at(same), ledger.ReasonBookFull) // the newest of those that pay least
	if d.batch() == nil {
		t.Fatal("no batch")
	}
	for i := range 10 { // the transactions in the batch are accepted and stay, whatever others pay
		d.submit("c", d.pay(life, 100, d.coin(20+i)))
	}
	for _, tx := range append(lowFee, highFee) {
		if p := d.at(tx); !p.Logged || p.Refusal != nil {
			t.Errorf("an accepted transaction has progress %+v", p)
		}
	}
}

// TestDependentsOfEvictedLeaveTheMempool: evicting a transaction moves those that spend its outputs to the orphan pool.
func TestDependentsOfEvictedLeaveTheMempool(t *testing.T) {
	limits := StandardLimits()
	limits.Txs = 4
	d := newFixture(t, limits)
	parent := d.pay(life, 0, d.coin(0))
	child := d.pay(life, 3, d.output(parent, 0))
	d.submit("a", parent)
	d.submit("a", child)
	highFee := d.pay(life, 9, d.coin(1))
	d.submit("a", highFee)
	d.lookAgain()
	wantRefusal(t, d.at(parent), ledger.ReasonBookFull)
	d.wantBatch(highFee)
	if p := d.at(child); p.Logged || d.admission.OrphanCount() != 1 {
		t.Errorf("%+v, %d in the orphan pool", p, d.admission.OrphanCount())
	}
}

// TestPartiesGetEqualBytes: parties that have transactions ready get equal parts of a batch; a single one gets all of
// it.
func TestPartiesGetEqualBytes(t *testing.T) {
	d := newFixture(t, StandardLimits())
	of := make(map[ledger.TxID]Party)
	submit := func(from Party, coin int) {
		tx := d.pay(life, 0, d.coin(coin))
		of[tx.ID()] = from
		d.submit(from, tx)
	}
	for i := range 60 {
		submit("party with many", i)
	}
	for i := range 5 {
		submit("party with few", 100+i)
		submit("late", 120+i)
	}
	count := make(map[Party]int)
	for _, tx := range d.admission.TakeForBatch(1<<20, 15) {
		count[of[tx.ID()]]++
	}
	if count["party with many"] != 5 || count["party with few"] != 5 || count["late"] != 5 {
		t.Errorf("transactions of the parties in a batch of 15: %v", count)
	}
	if got := d.admission.TakeForBatch(1<<20, 100); len(got) != 55 {
		t.Errorf("the only party left got %d of 55", len(got))
	}
}

func TestLeftOutTransactions(t *testing.T) {
	d := newFixture(t, StandardLimits())
	txs := []*ledger.Tx{d.pay(life, 0, d.coin(0)), d.pay(life, 0, d.coin(1)), d.pay(5*life, 0, d.coin(2)), d.pay(life, 0, d.coin(3))}
	d.submit("a", txs...)
	d.wantBatch(txs...)
	h, _, _ := d.state.Tip()
	refuse := func(r ledger.Reason) *ledger.Refusal { return &ledger.Refusal{Reason: r} }
	b := &ledger.Block{Header: ledger.Header{Height: h.Height, TimeMS: h.TimeMS}, LeftOut: []ledger.LeftOut{
		{ID: txs[0].ID(), Refusal: refuse(ledger.ReasonConsumed)}, {ID: txs[1].ID(), Refusal: refuse(ledger.ReasonWrongShard)},
		{ID: txs[2].ID(), Refusal: refuse(ledger.ReasonShardBusy)},
	}, Receipts: []ledger.Receipt{{Tx: txs[3].ID(), Verdict: ledger.VerdictSpent}}}
	d.admission.Executed(b, 1, d.instant())
	if d.admission.MempoolCount() != 1 || !d.at(txs[2]).Logged {
		t.Errorf("%d left in the mempool, want the one that is not refused finally", d.admission.MempoolCount())
	}
	d.wantBatch()
	d.pass(time.Second)
	d.wantBatch(txs[2])
	for wait := 2 * retryFirst; wait <= retryMost; wait *= 2 { // each time a block leaves it out, the delay doubles
		b.Receipts, b.LeftOut = nil, []ledger.LeftOut{{ID: txs[2].ID(), Refusal: refuse(ledger.ReasonShardBusy)}}
		d.admission.Executed(b, 0, d.instant())
		d.pass(wait - 200*time.Millisecond)
		d.wantBatch()
		d.pass(400 * time.Millisecond)
		d.wantBatch(txs[2])
	}
}

func TestRetriesAreBounded(t *testing.T) {
	d := newFixture(t, StandardLimits())
	for i := range 3 * maxRetries {
		e := &entry{tx: d.pay(life, 0, d.nothing(fmt.Sprint(i))), seq: uint64(i), state: inBatch, backoff: retryFirst, logged: true}
		d.admission.entries[e.id()] = e
		d.admission.mempool.add("", e.size())
		d.admission.park(e, d.instant())
	}
	for range 5 {
		d.now = d.now.Add(time.Second)
		if got := len(d.admission.DueRetries(d.instant(), 1<<20)); got > maxRetries {
			t.Fatalf("%d retries in one second", got)
		}
	}
}

func TestSecondRequestGetsTheSameAnswer(t *testing.T) {
	d := newFixture(t, StandardLimits())
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

// TestOldLookIsRefused: a look at the ledger that was read before the last block is not used.
func TestOldLookupIsRefused(t *testing.T) {
	d := newFixture(t, StandardLimits())
	tx := d.pay(life, 0, d.coin(0))
	l, err := Read(d.state, tx, d.instant())
	if err != nil {
		t.Fatal(err)
	}
	d.block(tx)
	r := NewRequest("a", idsOf(tx), Final, true, d.now, func() {})
	d.admission.AddRequest(r)
	if d.admission.Admit(r, verified(t, tx), l, d.instant()) {
		t.Error("an old lookup was used")
	}
	d.admit(r, tx)
	if p := r.Progress(tx.ID()); p.Receipt.Verdict != ledger.VerdictSettled || d.admission.MempoolCount() != 0 {
		t.Errorf("%+v", p)
	}
	if slices.Contains(d.batch(), tx.ID()) {
		t.Error("a settled transaction is in a batch again")
	}
}

// TestTimesOfABatch: a batch on disk has the first and the last request of its transactions, and the first and the last
// time of their admission.
func TestTimesOfABatch(t *testing.T) {
	d := newFixture(t, StandardLimits())
	got := make(map[uint64]BatchTimes)
	d.admission.observeBatch = func(number uint64, x BatchTimes) { got[number] = x }
	d.submit("a", d.pay(time.Minute, 1, d.coin(0)))
	d.now = d.now.Add(3 * time.Millisecond)
	d.submit("b", d.pay(time.Minute, 1, d.coin(1)))
	d.batch()
	d.now = d.now.Add(time.Millisecond)
	late := d.pay(time.Minute, 1, d.coin(2))
	d.submit("a", late)
	d.admission.RemoveRequest(d.known[late.ID()]) // the client has gone
	d.batch()
	span := func(first, last time.Duration) Span { return Span{start.Add(first), start.Add(last)} }
	both := span(0, 3*time.Millisecond)
	if want := (BatchTimes{both, both}); got[1] != want {
		t.Errorf("%+v, want %+v", got[1], want)
	}
	if want := (BatchTimes{Span{}, span(4*time.Millisecond, 4*time.Millisecond)}); got[2] != want {
		t.Errorf("%+v, want %+v", got[2], want)
	}
}
