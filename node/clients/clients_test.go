package clients

import (
	"testing"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/execution"
	"bdtnode/protocols"
	"bdtnode/protocols/committeetest"
	"bdtnode/shard/settlement"
)

const genesisMS = 1_700_000_000_000

// fakeHost has a clock that stands still unless a test moves it.
type fakeHost struct {
	now     protocols.Time
	attends int
}

func (h *fakeHost) Clock() (protocols.Time, time.Duration) { return h.now, 0 }
func (h *fakeHost) Wake()                                  {}
func (h *fakeHost) Attend()                                { h.attends++ }

// uncancelled are [Cancellations] of a shard in which all transactions can be spent.
type uncancelled struct{}

func (uncancelled) Check(_ *ledger.Tx, found *ledger.Refusal) *ledger.Refusal { return found }

// bench is the clients' part of a replica of shard 0, in a network of two shards. The owner has three outputs of 10 there.
type bench struct {
	t       *testing.T
	host    *fakeHost
	clients *Clients
	state   *ledger.State
	network *settlement.Network
	scheme  sig.Scheme
	owner   *sig.Ed25519Key
}

func newBench(t *testing.T, rules settlement.Rules) *bench {
	t.Helper()
	b := &bench{t: t, scheme: sig.NewEd25519(), host: &fakeHost{now: protocols.Time(genesisMS * int64(time.Millisecond))}}
	var err error
	if b.owner, err = sig.Ed25519FromSeed(append(make([]byte, sig.SeedSize-1), 1)); err != nil {
		t.Fatal(err)
	}
	shards := make([]*protocols.Committee, 2)
	for i := range shards {
		shards[i], _ = committeetest.Ed25519(t, 4, digest.Of("test"), uint16(i))
	}
	b.network = settlement.NetworkOf(shards)
	address := ledger.AddressOf(b.owner.Public())
	if b.network.Home(address) != 0 {
		t.Fatal("the account of the bench is in the other shard")
	}
	b.state, err = ledger.Open(kv.NewMem(), ledger.Config{
		Network: b.network.ID(), Home: b.network.Home, GenesisTimeMS: genesisMS, HorizonMS: 600_000, Rules: rules,
		Allocations: []ledger.Allocation{{Address: address, Amount: 10, Outputs: 3}},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.clients, err = New(Config{
		Committee: shards[0], Store: kv.NewMem(), State: b.state, Kinds: b.network.Kinds(0), Limits: admission.StandardLimits(), Cancellations: uncancelled{},
	}, b.host)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// bring admits a transaction in a request of its own.
func (b *bench) bring(v ledger.VerifiedTx) admission.Progress {
	b.t.Helper()
	r := admission.NewRequest("client", []ledger.TxID{v.Tx().ID()}, admission.Logged, true, b.host.now, func() {})
	b.clients.Open(r)
	if err := b.clients.Bring(r, v); err != nil {
		b.t.Fatal(err)
	}
	return r.Progress(v.Tx().ID())
}

// payAcross is a transfer of the owner's genesis output i, half to each shard.
func (b *bench) payAcross(i uint16) ledger.VerifiedTx {
	b.t.Helper()
	owner := ledger.AddressOf(b.owner.Public())
	a, err := b.state.Account(owner, ledger.Page{HistoryLimit: ledger.MaxPage})
	if err != nil || len(a.History) == 0 {
		b.t.Fatal("no genesis", err)
	}
	var other ledger.Address
	for b.network.Home(other) != 1 {
		other[0]++
	}
	tx, err := (&ledger.Body{
		Network: b.network.ID(), ExpiryMS: genesisMS + 60_000,
		Inputs:  []ledger.Input{{Outpoint: ledger.Outpoint{Tx: a.History[len(a.History)-1].Tx, Index: i}, Key: b.owner.Public(), Amount: 10}},
		Outputs: []ledger.Output{{Address: owner, Amount: 5}, {Address: other, Amount: 5}},
	}).Sign(b.owner)
	if err != nil {
		b.t.Fatal(err)
	}
	v, err := ledger.VerifyTx(b.scheme, b.network.ID(), tx.Encode())
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

// TestBusyShardRefusesAtAdmission: while another shard has not acknowledged as many LDs as it may leave, a transaction that
// involves it is refused at admission, with the shard and the time since when. One that was accepted before stays, and is
// put into no batch.
func TestBusyShardRefusesAtAdmission(t *testing.T) {
	b := newBench(t, settlement.Rules{MaxOutstanding: 1, MaxWaiting: 100, AnswerAfter: 2})
	first, second, third := b.payAcross(0), b.payAcross(1), b.payAcross(2)
	if p := b.bring(first); p.Refusal != nil {
		t.Fatal(p.Refusal)
	}
	if p := b.bring(second); p.Refusal != nil {
		t.Fatal(p.Refusal)
	}
	block := &ledger.Payload{Txs: []*ledger.Tx{first.Tx()}}
	at := genesisMS + uint64(5*time.Second/time.Millisecond)
	done, err := b.state.Execute(ledger.CommittedBlock{Height: 1, TimeMS: at, Payloads: []*ledger.Payload{block}})
	if err != nil || len(done.Outbox) != 1 {
		t.Fatalf("%+v, %v", done, err)
	}
	b.clients.Executed(&execution.Executed{Block: done})
	b.host.now = protocols.Time(at * uint64(time.Millisecond))
	p := b.bring(third)
	if p.Refusal == nil || p.Refusal.Reason != ledger.ReasonShardBusy || p.Refusal.Final() || p.Refusal.Busy == nil || *p.Refusal.Busy != (ledger.Busy{Shard: 1, SinceMS: at}) {
		t.Errorf("%+v", p.Refusal)
	}
	if p := b.bring(second); p.Refusal != nil {
		t.Errorf("a transaction in the mempool is refused when it comes again: %+v", p.Refusal)
	}
	if _, ok := b.clients.Find(third.Tx().ID()); ok {
		t.Error("the refused transaction is kept")
	}
}

// TestLooks: a look is requested at once when there is something to look at before the next one, and not while one runs. An
// accepted transaction is written to disk once, at least a second after the write before.
func TestLooks(t *testing.T) {
	b := newBench(t, settlement.Standard())
	if err := b.clients.Attend(); err != nil {
		t.Fatal(err)
	}
	if next := b.clients.Attended(b.host.now); next != 0 {
		t.Errorf("an idle replica looks again at %d", next)
	}
	if p := b.bring(b.payAcross(0)); p.Refusal != nil {
		t.Fatal(p.Refusal)
	}
	taken := b.clients.Take(0)
	if len(taken.Txs) != 1 || taken.None() {
		t.Fatalf("%d transactions for a batch", len(taken.Txs))
	}
	b.clients.Logged(&OwnBatch{Number: 1, Payload: &ledger.Payload{Txs: taken.Txs}})
	block, err := b.state.Execute(ledger.CommittedBlock{Height: 1, TimeMS: genesisMS}) // it leaves the transaction out
	if err != nil {
		t.Fatal(err)
	}
	b.clients.Executed(&execution.Executed{Block: block, Own: 1})
	if b.host.attends == 0 {
		t.Error("no look is requested for a transaction that a block left out")
	}
	if n := len(b.clients.Checkpoint(b.host.now)); n == 0 {
		t.Error("an accepted transaction that a block left out is not written")
	}
	if n := len(b.clients.Checkpoint(b.host.now.Add(checkpointEvery - 1))); n != 0 {
		t.Errorf("%d records in the same second", n)
	}
}
