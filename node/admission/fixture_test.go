package admission

import (
	"slices"
	"testing"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

const (
	start    = protocols.Time(1_700_000_000_000_000_000)
	coins    = 200 // genesis outputs of the owner
	coinSize = 1000
	horizon  = 10 * time.Minute
)

// desk is one replica's door over a real ledger of one shard, with its lane in a store: what is taken for a batch is on
// disk when the test says so, and in a block when it says so.
type desk struct {
	t         *testing.T
	committee *protocols.Committee
	owner     *sig.Ed25519Key
	keys      []*sig.Ed25519Key
	ledgerKV  *kv.Mem
	store     *kv.Mem
	state     *ledger.State
	door      *Door
	now       protocols.Time
	skew      time.Duration // of the wall clock
	limits    Limits
	tip       lanes.Tip      // of the lane
	batches   []*lanes.Batch // on disk and in no block
	committed []committed
	known     map[ledger.TxID]*Request
}

// committed is a block as consensus has it on disk, with the number of the last batch of the lane in it.
type committed struct {
	ledger.Ordered
	ordered uint64
}

func newDesk(t *testing.T, limits Limits) *desk {
	t.Helper()
	d := &desk{t: t, ledgerKV: kv.NewMem(), store: kv.NewMem(), now: start, limits: limits, known: make(map[ledger.TxID]*Request)}
	keys := make([]sig.PublicKey, 4)
	for i := range keys {
		k := key(t, byte(i+1))
		d.keys, keys[i] = append(d.keys, k), k.Public()
	}
	d.owner = key(t, 99)
	var err error
	if d.committee, err = protocols.NewCommittee(digest.Of("test"), 0, keys); err != nil {
		t.Fatal(err)
	}
	d.open()
	return d
}

// instant is now by both clocks.
func (d *desk) instant() Instant { return Instant{d.now, d.now.Add(d.skew).Millis()} }

func key(t *testing.T, i byte) *sig.Ed25519Key {
	t.Helper()
	k, err := sig.Ed25519FromSeed(append(make([]byte, sig.SeedSize-1), i))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// open starts the replica from what its stores hold.
func (d *desk) open() {
	d.t.Helper()
	var err error
	d.state, err = ledger.Open(d.ledgerKV, ledger.Config{
		Network: d.committee.Network(), Home: func(ledger.Address) uint16 { return 0 },
		GenesisTimeMS: start.Millis(), HorizonMS: uint64(horizon / time.Millisecond),
		Allocations: []ledger.Allocation{{Address: ledger.AddressOf(d.owner.Public()), Amount: coinSize, Outputs: coins}},
	})
	if err != nil {
		d.t.Fatal(err)
	}
	d.door, err = Restore(Config{Limits: d.limits, Height: d.state.Height()}, d.state, d.store, d.committee, 0, d.instant())
	if err != nil {
		d.t.Fatal(err)
	}
	for _, c := range d.committed {
		if c.Height > d.state.Height() {
			d.execute(c.Ordered, c.ordered)
		}
	}
}

// crash restarts the replica with what was synced.
func (d *desk) crash() {
	d.store, d.ledgerKV = d.store.Crash(0), d.ledgerKV.Crash(0)
	d.known = make(map[ledger.TxID]*Request)
	d.open()
}

// coin is genesis output i.
func (d *desk) coin(i int) ledger.Input {
	a, err := d.state.Account(ledger.AddressOf(d.owner.Public()), ledger.Page{HistoryLimit: ledger.MaxPage})
	if err != nil || len(a.History) == 0 {
		d.t.Fatalf("no genesis: %v", err)
	}
	genesis := a.History[len(a.History)-1].Tx
	return ledger.Input{Outpoint: ledger.Outpoint{Tx: genesis, Index: uint16(i)}, Key: d.owner.Public(), Amount: coinSize}
}

// output is output i of a transaction, which pays the owner.
func (d *desk) output(tx *ledger.Tx, i int) ledger.Input {
	return ledger.Input{Outpoint: ledger.Outpoint{Tx: tx.ID(), Index: uint16(i)}, Key: d.owner.Public(), Amount: tx.Outputs[i].Amount}
}

// nothing is an input that never is.
func (d *desk) nothing(name string) ledger.Input {
	return ledger.Input{Outpoint: ledger.Outpoint{Tx: ledger.TxID(digest.Of("none", []byte(name)))}, Key: d.owner.Public(), Amount: coinSize}
}

// pay makes a transaction that gives inputs back to the owner as one output, but for a fee.
func (d *desk) pay(lifetime time.Duration, fee uint64, in ...ledger.Input) *ledger.Tx {
	d.t.Helper()
	sum := uint64(0)
	for i := range in {
		sum += in[i].Amount
	}
	tx, err := (&ledger.Body{
		Network: d.committee.Network(), ExpiryMS: d.now.Add(lifetime).Millis(), Inputs: in, Fee: fee,
		Outputs: []ledger.Output{{Address: ledger.AddressOf(d.owner.Public()), Amount: sum - fee}},
	}).Sign(d.owner)
	if err != nil {
		d.t.Fatal(err)
	}
	return tx
}

// submit brings transactions as a party, and is where the first stands.
func (d *desk) submit(from Party, txs ...*ledger.Tx) Progress {
	d.t.Helper()
	ids := make([]ledger.TxID, len(txs))
	for i, tx := range txs {
		ids[i] = tx.ID()
	}
	r := NewRequest(from, ids, Final, true, d.now, func() {})
	d.door.Enter(r)
	for _, tx := range txs {
		d.admit(r, tx)
		d.known[tx.ID()] = r
	}
	return r.Progress(ids[0])
}

func (d *desk) admit(r *Request, tx *ledger.Tx) {
	d.t.Helper()
	l, err := Read(d.state, tx, d.instant())
	if err != nil {
		d.t.Fatal(err)
	}
	if !d.door.Admit(r, tx, l, d.instant()) {
		d.t.Fatal("a look at the ledger is old at once")
	}
}

// at is where a submitted transaction stands, as its request has heard.
func (d *desk) at(tx *ledger.Tx) Progress { return d.known[tx.ID()].Progress(tx.ID()) }

// batch makes a batch of what the door has ready, on disk, and answers its transactions.
func (d *desk) batch() []ledger.TxID {
	d.t.Helper()
	raws := d.door.Take(lanes.MaxPayload, lanes.MaxCount)
	if len(raws) == 0 {
		return nil
	}
	payload := ledger.EncodePayload(raws)
	b := lanes.NewBatch(d.committee, d.keys[0], lanes.Header{
		Lane: 0, Seq: d.tip.Seq + 1, Parent: d.tip.Digest, TimeMS: d.now.Millis(), Count: uint32(len(raws)),
	}, payload)
	d.tip = b.Tip()
	d.write(protocols.Record{Key: lanes.StoredKey(0, b.Tip()), Value: b.Stored()})
	d.batches = append(d.batches, b)
	p, err := ledger.DecodePayload(nil, payload)
	if err != nil {
		d.t.Fatal(err)
	}
	d.door.Logged(b.Seq, p.Txs, d.instant())
	ids := make([]ledger.TxID, len(p.Txs))
	for i, tx := range p.Txs {
		ids[i] = tx.ID()
	}
	return ids
}

func (d *desk) write(records ...protocols.Record) {
	d.t.Helper()
	var b kv.Batch
	for _, r := range records {
		if r.Value == nil {
			b.Delete(r.Key)
		} else {
			b.Set(r.Key, r.Value)
		}
	}
	if err := d.store.Apply(&b, true); err != nil {
		d.t.Fatal(err)
	}
}

// block executes a block of the batches so far, behind transactions of another replica's lane.
func (d *desk) block(others ...*ledger.Tx) *ledger.Block {
	d.t.Helper()
	h, _, _ := d.state.Tip()
	cut := make(lanes.Cut, 4)
	in := ledger.Ordered{Height: h.Height + 1, Epoch: 1, Slot: h.Height + 1, Digest: digest.Of("block", []byte{byte(h.Height)}), TimeMS: max(h.TimeMS, d.now.Millis())}
	if len(others) > 0 {
		in.Payloads = append(in.Payloads, &ledger.Payload{Txs: others})
	}
	ordered := uint64(0)
	for _, b := range d.batches {
		p, err := ledger.DecodePayload(nil, b.Payload)
		if err != nil {
			d.t.Fatal(err)
		}
		in.Payloads = append(in.Payloads, p)
		ordered = b.Seq
	}
	d.batches = nil
	cut[0] = d.tip
	in.Cut = cut.Append(nil)
	d.committed = append(d.committed, committed{in, ordered})
	return d.execute(in, ordered)
}

func (d *desk) execute(in ledger.Ordered, ordered uint64) *ledger.Block {
	d.t.Helper()
	b, err := d.state.Execute(in)
	if err != nil {
		d.t.Fatal(err)
	}
	d.door.Executed(b, ordered, d.instant())
	d.lookAgain()
	return b
}

// pass lets time pass in small steps, with the door attended to.
func (d *desk) pass(t time.Duration) {
	for end := d.now.Add(t); d.now < end; {
		d.now = d.now.Add(100 * time.Millisecond)
		d.lookAgain()
	}
}

func (d *desk) lookAgain() {
	d.t.Helper()
	for _, tx := range d.door.Due(d.instant(), 1<<20) {
		l, err := Read(d.state, tx, d.instant())
		if err != nil {
			d.t.Fatal(err)
		}
		d.door.Again(tx, l, d.instant())
	}
}

// keep writes what the door keeps, and makes the ledger durable.
func (d *desk) keep() {
	d.t.Helper()
	d.write(d.door.Checkpoint()...)
	if err := d.state.Flush(); err != nil {
		d.t.Fatal(err)
	}
}

func idsOf(txs ...*ledger.Tx) []ledger.TxID {
	ids := make([]ledger.TxID, len(txs))
	for i, tx := range txs {
		ids[i] = tx.ID()
	}
	return ids
}

func (d *desk) wantBatch(txs ...*ledger.Tx) {
	d.t.Helper()
	if got := d.batch(); !slices.Equal(got, idsOf(txs...)) {
		d.t.Fatalf("a batch of %d transactions %v, want %d: %v", len(got), got, len(txs), idsOf(txs...))
	}
}
