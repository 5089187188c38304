package admission

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"bdtnode/ledger"
)

// walk does random things to a small door and holds it to what the package promises.
type walk struct {
	*desk
	rng      *rand.Rand
	txs      []*ledger.Tx // with outputs that may come to exist
	rivals   []*ledger.Tx // that another replica's lane may bring
	accepted map[ledger.TxID]*ledger.Tx
	coins    int
}

// TestRandomWalk: over submissions, batches, blocks, time and crashes in any order, only what is processable is batched,
// what is accepted is known and never refused for a while, its end comes, and all counts agree.
func TestRandomWalk(t *testing.T) {
	for seed := range uint64(24) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			limits := Limits{Txs: 24, Bytes: 1 << 20, RoomTxs: 12, RoomBytes: 1 << 20, Waits: 1 << 12}
			w := &walk{desk: newDesk(t, limits), rng: rand.New(rand.NewPCG(seed, 1)), accepted: make(map[ledger.TxID]*ledger.Tx)}
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
		w.write(w.door.Checkpoint()...)
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
		case r < 8 && len(w.txs) > 0: // often in flight, spent, or never to be
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
		w.t.Fatalf("a new transaction is %+v", p)
	}
}

// takeBatch makes a batch, each of whose inputs must exist or be made ahead of it in the lane, unless another replica's
// transaction has consumed it since.
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
		e := w.door.entries[id]
		found, err := w.state.Inspect(e.tx, start.Millis())
		if err != nil {
			w.t.Fatal(err)
		}
		if taken := found.Refusal != nil && found.Refusal.Reason == ledger.ReasonConsumed; !taken && w.now.Millis() <= e.tx.ExpiryMS {
			for i := range e.tx.Inputs {
				o := e.tx.Inputs[i].Outpoint
				_, exists, err := w.state.Output(o)
				if err != nil {
					w.t.Fatal(err)
				}
				if !exists && !ahead[o.Tx] || spent[o] {
					w.t.Fatalf("transaction %s is batched without its input %d: it exists: %v, is made ahead: %v, is spent ahead: %v", id, i, exists, ahead[o.Tx], spent[o])
				}
				spent[o] = true
			}
		}
		ahead[id] = true
		w.accepted[id] = e.tx
	}
}

// check holds the door to its counts, and to its word.
func (w *walk) check() {
	t, d := w.t, w.door
	book, room, readyBytes := 0, 0, 0
	for id, e := range d.entries {
		switch {
		case e.state == inRoom:
			room++
		case e.inBook():
			book++
		default:
			t.Fatalf("an entry is %s", e.state)
		}
		if e.state == ready {
			readyBytes += e.size()
		}
		if e.state == behind != (e.waitFor > 0) && e.state != inRoom && e.state != parked {
			t.Fatalf("an entry %s waits for %d", e.state, e.waitFor)
		}
		if e.state == parked && !e.due && e.timerPlace == 0 {
			t.Fatalf("entry %s is parked for ever", id)
		}
	}
	if book != d.book.items || room != d.room.items || readyBytes != d.queues.bytes || d.expiry.Len() != len(d.entries) {
		t.Fatalf("%d in the book, %d in the room, %d bytes ready; counted %d, %d, %d", book, room, readyBytes, d.book.items, d.room.items, d.queues.bytes)
	}
	if d.room.items > d.limits.RoomTxs {
		t.Fatalf("%d in a room for %d", d.room.items, d.limits.RoomTxs)
	}
	for o, e := range d.spends {
		if !e.ahead() {
			t.Fatalf("an entry %s spends %v", e.state, o)
		}
	}
	for id := range w.accepted {
		if _, known, err := w.state.Receipt(id); err != nil || known {
			continue
		}
		if p, ok := d.Find(id); !ok || !p.Logged && !p.Ended() {
			t.Fatalf("the accepted transaction %s is %v %+v", id, ok, p)
		}
	}
}

// finish lets time pass until everything has its end.
func (w *walk) finish() {
	for end := w.now.Add(2 * time.Minute); w.now < end; w.pass(500 * time.Millisecond) {
		if w.takeBatch(); len(w.batches) > 0 {
			w.block()
		}
		w.check()
	}
	for id := range w.accepted {
		_, known, err := w.state.Receipt(id)
		if p, ok := w.door.Find(id); err != nil || !known && (!ok || !p.Ended()) {
			w.t.Errorf("the accepted transaction %s has no end: %+v", id, p)
		}
	}
	if w.door.Len()+w.door.Room()+len(w.door.links)+len(w.door.spends)+w.door.timers.Len() != 0 {
		w.t.Errorf("the door still holds %d, %d, %d links, %d inputs and %d timers", w.door.Len(), w.door.Room(), len(w.door.links), len(w.door.spends), w.door.timers.Len())
	}
}
