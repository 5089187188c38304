package admission

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"bdtnode/ledger"
)

// walk makes random calls of a small Admission and checks the guarantees of the package.
type walk struct {
	*fixture
	rng      *rand.Rand
	txs      []*ledger.Tx // those submitted; their outputs may be created
	rivals   []*ledger.Tx // conflicting transactions that a batch of another replica may contain
	accepted map[ledger.TxID]*ledger.Tx
	coins    int
}

// TestRandomWalk: for submissions, batches, blocks, time and crashes in any order, only processable transactions
// enter batches, every accepted transaction is known until it gets a final answer, and all counters are right.
func TestRandomWalk(t *testing.T) {
	for seed := range uint64(24) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			limits := Limits{Txs: 24, Bytes: 1 << 20, OrphanTxs: 12, OrphanBytes: 1 << 20, Waits: 1 << 12}
			w := &walk{fixture: newFixture(t, limits), rng: rand.New(rand.NewPCG(seed, 1)), accepted: make(map[ledger.TxID]*ledger.Tx)}
			for range 400 {
				w.step()
				w.check()
			}
			w.finish()
		})
	}
}

func (w *walk) step() {
	switch r := w.rng.IntN(100); {
	case r < 50:
		w.submitOne()
	case r < 68:
		w.takeBatch()
	case r < 82:
		var others []*ledger.Tx
		if len(w.rivals) > 0 && w.rng.IntN(2) == 0 {
			others, w.rivals = w.rivals[:1:1], w.rivals[1:]
		}
		w.block(others...)
	case r < 94:
		w.pass(time.Duration(w.rng.IntN(3000)) * time.Millisecond)
	case r < 97:
		w.write(w.admission.Checkpoint()...)
		if w.rng.IntN(2) == 0 {
			w.keep()
		}
	default:
		w.crash()
	}
}

func (w *walk) submitOne() {
	lifetime := time.Duration(1+w.rng.IntN(40)) * time.Second
	fee := uint64(w.rng.IntN(4))
	var in []ledger.Input
	for range 1 + w.rng.IntN(2) {
		switch r := w.rng.IntN(10); {
		case r < 4 && w.coins < coins:
			in = append(in, w.coin(w.coins))
			w.coins++
		case r < 8 && len(w.txs) > 0: // often in a batch, already spent, or never created
			parent := w.txs[max(0, len(w.txs)-1-w.rng.IntN(8))]
			in = append(in, w.output(parent, 0))
		case r < 9 && w.coins > 0:
			in = append(in, w.coin(w.rng.IntN(w.coins)))
		default:
			in = append(in, w.nothing(fmt.Sprint(w.rng.Uint32())))
		}
	}
	if len(in) == 2 && in[0].Outpoint == in[1].Outpoint {
		in = in[:1]
	}
	tx := w.pay(lifetime, fee, in...)
	w.txs = append(w.txs, tx)
	if w.rng.IntN(4) == 0 {
		w.rivals = append(w.rivals, w.pay(lifetime, fee+1, in[0]))
	}
	from := Party(fmt.Sprint("party ", w.rng.IntN(3)))
	p := w.submit(from, tx)
	if p.Logged || p.Receipt.Height > 0 {
		w.t.Fatalf("a new transaction has progress %+v", p)
	}
}

// takeBatch makes a batch and checks that each input of its transactions exists or is an output of a transaction
// ahead in the lane, unless a transaction of another replica has consumed it since.
func (w *walk) takeBatch() {
	ahead := make(map[ledger.TxID]bool)
	for _, b := range w.batches {
		p, err := ledger.DecodePayload(nil, b.Payload)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, tx := range p.Txs {
			ahead[tx.ID()] = true
		}
	}
	spent := make(map[ledger.Outpoint]bool)
	for _, id := range w.batch() {
		e := w.admission.entries[id]
		found, err := w.state.Inspect(e.tx, start.Millis())
		if err != nil {
			w.t.Fatal(err)
		}
		if taken := found.Refusal != nil && found.Refusal.Reason == ledger.ReasonConsumed; !taken && w.now.Millis() <= e.tx.ExpiryMS {
			for i := range e.tx.Inputs {
				o := e.tx.Inputs[i].Outpoint
				_, exists, err := w.state.Output(ledger.AddressOf(e.tx.Inputs[i].Key), o)
				if err != nil {
					w.t.Fatal(err)
				}
				if !exists && !ahead[o.Tx] || spent[o] {
					w.t.Fatalf("transaction %s is in a batch without its input %d: exists: %v, created ahead in the lane: %v, spent ahead in the lane: %v", id, i, exists, ahead[o.Tx], spent[o])
				}
				spent[o] = true
			}
		}
		ahead[id] = true
		w.accepted[id] = e.tx
	}
}

// check checks the counters and the guarantees of the Admission.
func (w *walk) check() {
	t, d := w.t, w.admission
	mempool, orphans, readyBytes := 0, 0, 0
	for id, e := range d.entries {
		switch {
		case e.state == orphaned:
			orphans++
		case e.inMempool():
			mempool++
		default:
			t.Fatalf("an entry is in state %s", e.state)
		}
		if e.state == ready {
			readyBytes += e.size()
		}
		if e.state == behind != (e.waitFor > 0) && e.state != orphaned && e.state != parked {
			t.Fatalf("an entry in state %s waits for %d others", e.state, e.waitFor)
		}
		if e.state == parked && !e.due && e.timerPlace == 0 {
			t.Fatalf("entry %s is parked without a timer", id)
		}
	}
	if mempool != d.mempool.items || orphans != d.orphans.items || readyBytes != d.queues.bytes || d.expiry.Len() != len(d.entries) {
		t.Fatalf("%d in the mempool, %d in the orphan pool, %d bytes ready; counters %d, %d, %d", mempool, orphans, readyBytes, d.mempool.items, d.orphans.items, d.queues.bytes)
	}
	if d.orphans.items > d.limits.OrphanTxs {
		t.Fatalf("%d in the orphan pool, the limit is %d", d.orphans.items, d.limits.OrphanTxs)
	}
	for o, e := range d.spends {
		if !e.ahead() {
			t.Fatalf("an entry in state %s is registered as spending %v", e.state, o)
		}
	}
	for id := range w.accepted {
		if _, known, err := w.state.Receipt(id); err != nil || known {
			continue
		}
		if p, ok := d.Find(id); !ok || !p.Logged && !p.Ended() {
			t.Fatalf("the accepted transaction %s: known %v, progress %+v", id, ok, p)
		}
	}
}

// finish advances time until every transaction has a final answer.
func (w *walk) finish() {
	for end := w.now.Add(2 * time.Minute); w.now < end; w.pass(500 * time.Millisecond) {
		if w.takeBatch(); len(w.batches) > 0 {
			w.block()
		}
		w.check()
	}
	for id := range w.accepted {
		_, known, err := w.state.Receipt(id)
		if p, ok := w.admission.Find(id); err != nil || !known && (!ok || !p.Ended()) {
			w.t.Errorf("the accepted transaction %s has no final answer: %+v", id, p)
		}
	}
	if w.admission.MempoolCount()+w.admission.OrphanCount()+len(w.admission.links)+len(w.admission.spends)+w.admission.timers.Len() != 0 {
		w.t.Errorf("at the end: %d in the mempool, %d in the orphan pool, %d links, %d inputs and %d timers", w.admission.MempoolCount(), w.admission.OrphanCount(), len(w.admission.links), len(w.admission.spends), w.admission.timers.Len())
	}
}
