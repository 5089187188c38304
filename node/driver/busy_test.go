package driver

import (
	"testing"
	"time"

	"bdtnode/internal/kv"
	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/execution"
	"bdtnode/protocols"
	"bdtnode/shard/settlement"
)

// payAcross is a transfer of the first replica's genesis output i, half to each shard.
func (b *bench) payAcross(state *ledger.State, i uint16) ledger.VerifiedTx {
	b.t.Helper()
	owner := ledger.AddressOf(b.signers[0].Public())
	a, err := state.Account(owner, ledger.Page{HistoryLimit: ledger.MaxPage})
	if err != nil || len(a.History) == 0 {
		b.t.Fatal("no genesis", err)
	}
	var other ledger.Address
	for b.network.Home(other) != 1 {
		other[0]++
	}
	tx, err := (&ledger.Body{
		Network: b.network.ID(), ExpiryMS: genesisMS + 60_000,
		Inputs:  []ledger.Input{{Outpoint: ledger.Outpoint{Tx: a.History[len(a.History)-1].Tx, Index: i}, Key: b.signers[0].Public(), Amount: 10}},
		Outputs: []ledger.Output{{Address: owner, Amount: 5}, {Address: other, Amount: 5}},
	}).Sign(b.signers[0])
	if err != nil {
		b.t.Fatal(err)
	}
	v, err := ledger.VerifyTx(b.d.cfg.Scheme, b.network.ID(), tx.Encode())
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

// TestBusyShardRefusesAtAdmission: while another shard has not acknowledged as many LDs as it may leave, a transaction that
// involves it is refused at admission, with the shard and the time since when. One that was accepted before stays, and is
// put into no batch.
func TestBusyShardRefusesAtAdmission(t *testing.T) {
	var state *ledger.State
	var home func(ledger.Address) uint16
	b := newBench(t, func(c *Config) {
		home = c.Network.Home
		owner := ledger.AddressOf(c.Signer.Public())
		var err error
		state, err = ledger.Open(kv.NewMem(), ledger.Config{
			Network: c.Network.ID(), Home: home, Shard: home(owner), GenesisTimeMS: genesisMS, HorizonMS: 600_000,
			Rules:       settlement.Rules{MaxOutstanding: 1, MaxWaiting: 100, AnswerAfter: 2},
			Allocations: []ledger.Allocation{{Address: owner, Amount: 10, Outputs: 3}},
		})
		if err != nil {
			t.Fatal(err)
		}
		c.State = state
	})
	if home(ledger.AddressOf(b.signers[0].Public())) != 0 {
		t.Fatal("the account of the bench is in the other shard")
	}
	bring := func(v ledger.VerifiedTx) admission.Progress {
		r := admission.NewRequest("client", []ledger.TxID{v.Tx().ID()}, admission.Logged, true, b.host.now, func() {})
		b.d.clients.Open(r)
		if err := b.d.clients.Bring(r, v); err != nil {
			t.Fatal(err)
		}
		return r.Progress(v.Tx().ID())
	}
	first, second, third := b.payAcross(state, 0), b.payAcross(state, 1), b.payAcross(state, 2)
	if p := bring(first); p.Refusal != nil {
		t.Fatal(p.Refusal)
	}
	if p := bring(second); p.Refusal != nil {
		t.Fatal(p.Refusal)
	}
	block := &ledger.Payload{Txs: []*ledger.Tx{first.Tx()}}
	at := genesisMS + uint64(5*time.Second/time.Millisecond)
	done, err := state.Execute(ledger.CommittedBlock{Height: 1, TimeMS: at, Payloads: []*ledger.Payload{block}})
	if err != nil || len(done.Outbox) != 1 {
		t.Fatalf("%+v, %v", done, err)
	}
	b.d.clients.Executed(&execution.Executed{Block: done})
	b.host.now = protocols.Time(at * uint64(time.Millisecond))
	p := bring(third)
	if p.Refusal == nil || p.Refusal.Reason != ledger.ReasonShardBusy || p.Refusal.Final() || p.Refusal.Busy == nil || *p.Refusal.Busy != (ledger.Busy{Shard: 1, SinceMS: at}) {
		t.Errorf("%+v", p.Refusal)
	}
	if p := bring(second); p.Refusal != nil {
		t.Errorf("a transaction in the mempool is refused when it comes again: %+v", p.Refusal)
	}
	if _, ok := b.d.clients.Find(third.Tx().ID()); ok {
		t.Error("the refused transaction is kept")
	}
}
