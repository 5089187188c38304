package driver

import (
	"strings"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/ledger"
	"bdtnode/merkle"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/cancel"
	"bdtnode/protocols/certify"
	"bdtnode/protocols/inbound"
	"bdtnode/shard/settlement"
)

// owner is a signer of the bench with its home in a shard, and another one is at home in the other.
func (b *bench) owner(shard uint16) int {
	b.t.Helper()
	for i, k := range b.signers {
		if b.network.Home(ledger.AddressOf(k.Public())) == shard {
			return i
		}
	}
	b.t.Fatalf("no signer is at home in shard %d", shard)
	return 0
}

// pays makes a transaction with an invented input in shard from and an output in shard to. Each number gives another one.
func (b *bench) pays(from, to uint16, number byte) *ledger.Tx {
	b.t.Helper()
	k := b.signers[b.owner(from)]
	body := ledger.Body{
		Network: b.network.ID(), ExpiryMS: genesisMS + 60_000,
		Inputs:  []ledger.Input{{Outpoint: ledger.Outpoint{Tx: ledger.TxID(digest.Of("input", []byte{number}))}, Key: k.Public(), Amount: 5}},
		Outputs: []ledger.Output{{Address: ledger.AddressOf(b.signers[b.owner(to)].Public()), Amount: 5}},
	}
	tx, err := body.Sign(k)
	if err != nil {
		b.t.Fatal(err)
	}
	return tx
}

// cl is a CL of shard 1 by f+1 of its replicas, from a number on.
func (b *bench) cl(tx *ledger.Tx, first int) *settlement.CL {
	b.t.Helper()
	tally := protocols.NewTally(cancel.DigestOf(tx.Encode()))
	for i := first; i < first+b.source.WeakQuorum(); i++ {
		tally.Add(protocols.Index(i), b.signers[i].Sign(cancel.Statement(b.source, tally.Digest)))
	}
	cl, err := settlement.NewCL(b.network, 1, &cancel.Certified{Content: tx.Encode(), Certificate: tally.Certificate()})
	if err != nil {
		b.t.Fatal(err)
	}
	return cl
}

// spends is LD 1 of shard 1 for shard 0, with SPENT on a transaction.
func (b *bench) spends(tx *ledger.Tx) *settlement.LD {
	d := ledger.NewDelivery(ledger.Delivery{Source: 1, Number: 1, Entries: []ledger.Entry{{Verdict: ledger.VerdictSpent, Tx: tx}}})
	leaves := []digest.Digest{d.Digest()}
	h := ledger.Header{Network: b.network.ID(), Shard: 1, Height: 1, Outbox: merkle.Root(leaves)}
	tally := protocols.NewTally(h.Digest())
	for i, k := range b.signers[:b.source.WeakQuorum()] {
		tally.Add(protocols.Index(i), k.Sign(certify.Statement(b.source, 1, tally.Digest)))
	}
	return settlement.NewLD(ledger.Outgoing{Height: 1, Count: 1, Path: merkle.Prove(leaves, 0), Delivery: d}, h, tally.Certificate())
}

// TestForgedCLsAreRefused: also if a CL of the transaction is known, so that no replica passes a forged one on. A CL by
// other signers is accepted.
func TestForgedCLsAreRefused(t *testing.T) {
	b := newBench(t)
	x, tx := b.d.Exchange(), b.pays(1, 0, 1)
	right := b.cl(tx, 0)
	forged := b.cl(tx, 1)
	forged.Certificate.Signatures[1][7]++
	for range 2 { // before and after the right one
		if err := x.TakeCL(forged); err == nil {
			t.Error("a CL with a bad signature is accepted")
		}
		for _, cl := range []*settlement.CL{right, right, b.cl(tx, 1)} {
			if err := x.TakeCL(cl); err != nil {
				t.Error(err)
			}
		}
	}
	if err := x.TakeCL(b.cl(b.pays(1, 1, 2), 0)); err == nil {
		t.Error("a CL for a transaction that does not involve this shard is accepted")
	}
}

// TestStatementsAreChecked lists the CL_Ms that no honest replica sends.
func TestStatementsAreChecked(t *testing.T) {
	b := newBench(t)
	check := func(content []byte) error {
		return contentVerifier{b.d}.VerifyCLM(&cancel.CLM{Content: content, Digest: cancel.DigestOf(content)})
	}
	good := b.pays(0, 1, 1)
	if err := check(good.Encode()); err != nil {
		t.Fatal(err)
	}
	bad := b.pays(0, 1, 2).Encode()
	bad = append([]byte(nil), bad...)
	bad[len(bad)-1]++
	for why, content := range map[string][]byte{
		"bad signature": bad, "no inputs here": b.pays(1, 0, 3).Encode(), "involves no other shard": b.pays(0, 0, 4).Encode(), "": {1, 2, 3},
	} {
		if err := check(content); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v", why, err)
		}
	}
}

// TestLateCLIsEvidence: a CL that comes after an LD with SPENT of the same shard is evidence together with that LD: before
// its block is executed, and after it, when the driver finds the LD in the store.
func TestLateCLIsEvidence(t *testing.T) {
	for _, executed := range []bool{true, false} {
		b := newBench(t)
		tx := b.pays(1, 0, 1)
		ld := b.spends(tx)
		state, err := ledger.Open(kv.NewMem(), ledger.Config{
			Network: b.network.ID(), Home: b.network.Home, GenesisTimeMS: genesisMS, HorizonMS: 600_000, Rules: settlement.Standard(),
			Allocations: []ledger.Allocation{{Address: ledger.AddressOf(b.signers[b.owner(1)].Public()), Amount: 10, Outputs: 1}},
		})
		if err != nil {
			t.Fatal(err)
		}
		b.d.cfg.State = state // the value of the network is in shard 1
		if err := b.d.Exchange().Take(ld); err != nil {
			t.Fatal(err)
		}
		x := replica.NewInbound(ld)
		var batch kv.Batch
		batch.Set(inbound.StoredKey(1, x.Tip()), x.EncodeStored())
		if err := b.store.Apply(&batch, true); err != nil {
			t.Fatal(err)
		}
		b.d.nextLD[1].Store(2) // the loop has handled it
		take := func() {
			if err := b.d.Exchange().TakeCL(b.cl(tx, 0)); err != nil {
				t.Fatal(err)
			}
			if err := b.d.cancels.look(); err != nil {
				t.Fatal(err)
			}
		}
		execute := func() {
			in := ledger.CommittedBlock{Height: 1, TimeMS: genesisMS, Deliveries: []*ledger.Delivery{ld.Delivery}}
			block, err := b.d.cfg.State.Execute(in)
			if err != nil {
				t.Fatal(err)
			}
			b.d.Notify(&Executed{Ordered: in, Block: block})
		}
		if executed {
			execute()
			take()
		} else {
			take()
			execute()
			if err := b.d.cancels.look(); err != nil {
				t.Fatal(err)
			}
		}
		found := b.d.witness.take()
		if len(found) != 1 || found[0].Kind() != settlement.SpentCancelled || found[0].LD.Digest() != ld.Digest() {
			t.Errorf("executed before the CL %v: %d pieces of evidence", executed, len(found))
		}
	}
}
