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
	coins    = 200 // number of genesis outputs of the owner
	coinSize = 1000
	horizon  = 10 * time.Minute
)

// fixture is the Admission of one replica with a real ledger of one shard and a store with its lane. Tests control when
// transactions go into a batch on disk and when batches go into a block.
type fixture struct {
	t         *testing.T
	committee *protocols.Committee
	owner     *sig.Ed25519Key
	keys      []*sig.Ed25519Key
	ledgerKV  *kv.Mem
	store     *kv.Mem
	state     *ledger.State
	admission *Admission
	now       protocols.Time
	skew      time.Duration // of the wall clock against now
	limits    Limits
	tip       lanes.Tip      // of the replica's lane
	batches   []*lanes.Batch // on disk, but in no block
	committed []committed
	known     map[ledger.TxID]*Request
}

// committed is a committed block, with the number of the last batch of the lane in it.
type committed struct {
	ledger.CommittedBlock
	ordered uint64
}

func newFixture(t *testing.T, limits Limits) *fixture {
	t.Helper()
	d := &fixture{t: t, ledgerKV: kv.NewMem(), store: kv.NewMem(), now: start, limits: limits, known: make(map[ledger.TxID]*Request)}
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

// instant returns the present time by both clocks.
func (d *fixture) instant() Instant { return Instant{d.now, d.now.Add(d.skew).Millis()} }

func key(t *testing.T, i byte) *sig.Ed25519Key {
	t.Helper()
	k, err := sig.Ed25519FromSeed(append(make([]byte, sig.SeedSize-1), i))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// open starts the replica from the content of its stores.
func (d *fixture) open() {
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
	d.admission, err = Restore(Config{Limits: d.limits, Height: d.state.Height()}, d.state, d.store, d.committee, 0, d.instant())
	if err != nil {
		d.t.Fatal(err)
	}
	for _, c := range d.committed {
		if c.Height > d.state.Height() {
			d.execute(c.CommittedBlock, c.ordered)
		}
	}
}

// crash restarts the replica with the data that was synced.
func (d *fixture) crash() {
	d.store, d.ledgerKV = d.store.Crash(0), d.ledgerKV.Crash(0)
	d.known = make(map[ledger.TxID]*Request)
	d.open()
}

// coin returns an input that spends genesis output i.
func (d *fixture) coin(i int) ledger.Input {
	a, err := d.state.Account(ledger.AddressOf(d.owner.Public()), ledger.Page{HistoryLimit: ledger.MaxPage})
	if err != nil || len(a.History) == 0 {
		d.t.Fatalf("no genesis: %v", err)
	}
	genesis := a.History[len(a.History)-1].Tx
	return ledger.Input{Outpoint: ledger.Outpoint{Tx: genesis, Index: uint16(i)}, Key: d.owner.Public(), Amount: coinSize}
}

// output returns an input that spends output i of a transaction that pays the owner.
func (d *fixture) output(tx *ledger.Tx, i int) ledger.Input {
	return ledger.Input{Outpoint: ledger.Outpoint{Tx: tx.ID(), Index: uint16(i)}, Key: d.owner.Public(), Amount: tx.Outputs[i].Amount}
}

// nothing returns an input whose output never exists.
func (d *fixture) nothing(name string) ledger.Input {
	return ledger.Input{Outpoint: ledger.Outpoint{Tx: ledger.TxID(digest.Of("none", []byte(name)))}, Key: d.owner.Public(), Amount: coinSize}
}

// pay makes a transaction that pays its inputs back to the owner as one output, minus a fee.
func (d *fixture) pay(lifetime time.Duration, fee uint64, in ...ledger.Input) *ledger.Tx {
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

// submit submits transactions as a party, and returns the progress of the first.
func (d *fixture) submit(from Party, txs ...*ledger.Tx) Progress {
	d.t.Helper()
	ids := make([]ledger.TxID, len(txs))
	for i, tx := range txs {
		ids[i] = tx.ID()
	}
	r := NewRequest(from, ids, Final, true, d.now, func() {})
	d.admission.AddRequest(r)
	for _, tx := range txs {
		d.admit(r, tx)
		d.known[tx.ID()] = r
	}
	return r.Progress(ids[0])
}

// verified verifies a transaction of the fixture's network.
func verified(t testing.TB, tx *ledger.Tx) ledger.VerifiedTx {
	t.Helper()
	v, err := ledger.VerifyTx(sig.NewEd25519(), digest.Of("test"), tx.Encode())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (d *fixture) admit(r *Request, tx *ledger.Tx) {
	d.t.Helper()
	l, err := Read(d.state, tx, d.instant())
	if err != nil {
		d.t.Fatal(err)
	}
	if !d.admission.Admit(r, verified(d.t, tx), l, d.instant()) {
		d.t.Fatal("Admit rejected a lookup that was just read")
	}
}

// at returns the progress of a submitted transaction from its request.
func (d *fixture) at(tx *ledger.Tx) Progress { return d.known[tx.ID()].Progress(tx.ID()) }

// batch makes a batch of the ready transactions, writes it to disk, and returns their ids.
func (d *fixture) batch() []ledger.TxID {
	d.t.Helper()
	txs := d.admission.TakeForBatch(lanes.MaxPayload, lanes.MaxCount)
	if len(txs) == 0 {
		return nil
	}
	raws, ids := make([][]byte, len(txs)), make([]ledger.TxID, len(txs))
	for i, tx := range txs {
		raws[i], ids[i] = tx.Encode(), tx.ID()
	}
	payload := ledger.EncodePayload(raws)
	b := lanes.NewBatch(d.committee, d.keys[0], lanes.Header{
		Lane: 0, Seq: d.tip.Seq + 1, Parent: d.tip.Digest, TimeMS: d.now.Millis(), Count: uint32(len(raws)),
	}, payload)
	d.tip = b.Tip()
	d.write(protocols.Record{Key: lanes.StoredKey(0, b.Tip()), Value: b.Stored()})
	d.batches = append(d.batches, b)
	d.admission.Logged(b.Seq, txs, d.instant())
	return ids
}

func (d *fixture) write(records ...protocols.Record) {
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

// block executes a block of all batches so far, after transactions of another replica's lane.
func (d *fixture) block(others ...*ledger.Tx) *ledger.Block {
	d.t.Helper()
	h, _, _ := d.state.Tip()
	cut := make(lanes.Cut, 4)
	in := ledger.CommittedBlock{Height: h.Height + 1, Epoch: 1, Slot: h.Height + 1, Digest: digest.Of("block", []byte{byte(h.Height)}), TimeMS: max(h.TimeMS, d.now.Millis())}
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

func (d *fixture) execute(in ledger.CommittedBlock, ordered uint64) *ledger.Block {
	d.t.Helper()
	b, err := d.state.Execute(in)
	if err != nil {
		d.t.Fatal(err)
	}
	d.admission.Executed(b, ordered, d.instant())
	d.lookAgain()
	return b
}

// pass advances time in small steps, and makes the periodic calls of the Admission in each.
func (d *fixture) pass(t time.Duration) {
	for end := d.now.Add(t); d.now < end; {
		d.now = d.now.Add(100 * time.Millisecond)
		d.lookAgain()
	}
}

func (d *fixture) lookAgain() {
	d.t.Helper()
	for _, tx := range d.admission.DueRetries(d.instant(), 1<<20) {
		l, err := Read(d.state, tx, d.instant())
		if err != nil {
			d.t.Fatal(err)
		}
		d.admission.Retry(tx, l, d.instant())
	}
}

// keep writes the records of Checkpoint, and flushes the ledger.
func (d *fixture) keep() {
	d.t.Helper()
	d.write(d.admission.Checkpoint()...)
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

func (d *fixture) wantBatch(txs ...*ledger.Tx) {
	d.t.Helper()
	if got := d.batch(); !slices.Equal(got, idsOf(txs...)) {
		d.t.Fatalf("a batch of %d transactions %v, want %d: %v", len(got), got, len(txs), idsOf(txs...))
	}
}
