package driver

import (
	"strconv"
	"strings"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/merkle"
	"bdtnode/node/execution"
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
func (b *bench) pays(from, to uint16, number int) *ledger.Tx {
	b.t.Helper()
	k := b.signers[b.owner(from)]
	body := ledger.Body{
		Network: b.network.ID(), ExpiryMS: genesisMS + 60_000,
		Inputs:  []ledger.Input{{Outpoint: ledger.Outpoint{Tx: ledger.TxID(digest.Of("input", []byte(strconv.Itoa(number))))}, Key: k.Public(), Amount: 5}},
		Outputs: []ledger.Output{{Address: ledger.AddressOf(b.signers[b.owner(to)].Public()), Amount: 5}},
	}
	tx, err := body.Sign(k)
	if err != nil {
		b.t.Fatal(err)
	}
	return tx
}

// cl is a CL of shard 1 by f+1 of its replicas, from a number on.
func (b *bench) cl(tx *ledger.Tx, first int) *settlement.CL { return b.clOf(1, tx, first) }

// clOf is a CL of any shard.
func (b *bench) clOf(source uint16, tx *ledger.Tx, first int) *settlement.CL {
	b.t.Helper()
	c := b.network.Committee(source)
	tally := protocols.NewTally(cancel.DigestOf(tx.Encode()))
	for i := first; i < first+c.WeakQuorum(); i++ {
		tally.Add(protocols.Index(i), b.signers[i].Sign(cancel.Statement(c, tally.Digest)))
	}
	cl, err := settlement.NewCL(b.network, source, &cancel.Certified{Content: tx.Encode(), Certificate: tally.Certificate()})
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

// keep stores an LD of shard 1, as the loop does for one that it handled.
func (b *bench) keep(ld *settlement.LD) {
	b.t.Helper()
	x := replica.NewInbound(ld)
	var batch kv.Batch
	batch.Set(inbound.StoredKey(1, x.Tip()), x.EncodeStored())
	if err := b.store.Apply(&batch, true); err != nil {
		b.t.Fatal(err)
	}
	b.d.nextLD[1].Store(ld.Delivery.Number + 1)
}

// execute executes block 1, which has an LD alone.
func (b *bench) execute(ld *settlement.LD) {
	b.t.Helper()
	in := ledger.CommittedBlock{Height: 1, TimeMS: genesisMS, Deliveries: []*ledger.Delivery{ld.Delivery}}
	block, err := b.d.cfg.State.Execute(in)
	if err != nil {
		b.t.Fatal(err)
	}
	b.d.execution.Notify(&execution.Executed{Ordered: in, Block: block})
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
		return b.d.cancels.verify(&cancel.CLM{Content: content, Digest: cancel.DigestOf(content)})
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
		b.keep(ld)
		take := func() {
			if err := b.d.Exchange().TakeCL(b.cl(tx, 0)); err != nil {
				t.Fatal(err)
			}
			if err := b.d.cancels.look(b.d.clients); err != nil {
				t.Fatal(err)
			}
		}
		if executed {
			b.execute(ld)
			take()
		} else {
			take()
			b.execute(ld)
			if err := b.d.cancels.look(b.d.clients); err != nil {
				t.Fatal(err)
			}
		}
		found := b.d.witness.take()
		if len(found) != 1 || found[0].Kind() != settlement.SpentCancelled || found[0].LD.Digest() != ld.Digest() {
			t.Errorf("executed before the CL %v: %d pieces of evidence", executed, len(found))
		}
	}
}

// threeShards is a bench whose network has a third shard, with the same keys. The second result is a transaction with an
// invented input in each of shards 1 and 2, and its output in shard 0.
func threeShards(t *testing.T) (*bench, *ledger.Tx) {
	t.Helper()
	var n *settlement.Network
	b := newBench(t, func(cfg *Config) {
		var keys []sig.PublicKey
		for i := range cfg.Committee.N() {
			keys = append(keys, cfg.Committee.Key(protocols.Index(i)))
		}
		third, err := protocols.NewCommittee(cfg.Network.ID(), 2, keys)
		if err != nil {
			t.Fatal(err)
		}
		n = settlement.NetworkOf([]*protocols.Committee{cfg.Network.Committee(0), cfg.Network.Committee(1), third})
		cfg.Network = n
		if cfg.State, err = ledger.Open(kv.NewMem(), ledger.Config{
			Network: n.ID(), Home: n.Home, GenesisTimeMS: genesisMS, HorizonMS: 600_000, Rules: settlement.Standard(),
			Allocations: []ledger.Allocation{{Address: ledger.AddressOf(at(t, n, 1).Public()), Amount: 10, Outputs: 1}},
		}); err != nil {
			t.Fatal(err)
		}
	})
	b.network = n
	one, two := at(t, n, 1), at(t, n, 2)
	body := ledger.Body{
		Network: n.ID(), ExpiryMS: genesisMS + 60_000,
		Inputs: []ledger.Input{
			{Outpoint: ledger.Outpoint{Tx: ledger.TxID(digest.Of("input 1"))}, Key: one.Public(), Amount: 5},
			{Outpoint: ledger.Outpoint{Tx: ledger.TxID(digest.Of("input 2"))}, Key: two.Public(), Amount: 5},
		},
		Outputs: []ledger.Output{{Address: ledger.AddressOf(at(t, n, 0).Public()), Amount: 10}},
	}
	tx, err := body.Sign(one, two)
	if err != nil {
		t.Fatal(err)
	}
	return b, tx
}

// at is a signer at home in a shard.
func at(t *testing.T, n *settlement.Network, shard uint16) sig.Signer {
	t.Helper()
	for i := range 256 {
		k, err := sig.Ed25519FromSeed(append(make([]byte, sig.SeedSize-1), byte(i)))
		if err != nil {
			t.Fatal(err)
		}
		if n.Home(ledger.AddressOf(k.Public())) == shard {
			return k
		}
	}
	t.Fatalf("no signer is at home in shard %d", shard)
	return nil
}

// TestCLsOfTwoShards: a CL is compared with SPENT of its own source, also when a CL of another input shard is known. That
// one is no evidence: its shard gave no SPENT. The steps come in each order that gossip allows, and the block that
// executes the LD comes at each place after the LD.
func TestCLsOfTwoShards(t *testing.T) {
	for _, order := range []string{
		"other own ld", "other ld own", "other ld block own", "other ld own block", "own other ld", "own ld other", "ld own other", "ld other own", "ld block other own",
	} {
		t.Run(order, func(t *testing.T) {
			b, tx := threeShards(t)
			ld := b.spends(tx)
			for _, step := range strings.Fields(order) {
				var err error
				switch step {
				case "own":
					err = b.d.Exchange().TakeCL(b.clOf(1, tx, 0))
				case "other":
					err = b.d.Exchange().TakeCL(b.clOf(2, tx, 0))
				case "ld":
					if err = b.d.Exchange().Take(ld); err == nil {
						b.keep(ld)
					}
				case "block":
					b.execute(ld)
				}
				if err != nil {
					t.Fatalf("%s: %v", step, err)
				}
				if err := b.d.cancels.look(b.d.clients); err != nil {
					t.Fatal(err)
				}
			}
			if !strings.Contains(order, "block") {
				b.execute(ld)
				if err := b.d.cancels.look(b.d.clients); err != nil {
					t.Fatal(err)
				}
			}
			found := b.d.witness.take()
			if len(found) != 1 || found[0].Kind() != settlement.SpentCancelled || found[0].Source() != 1 || found[0].CL.Source != 1 {
				t.Fatalf("%d pieces of evidence: %v", len(found), found)
			}
			if err := found[0].Check(b.d.cfg.Scheme); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestKnownCLsAreBounded: CLs of several sources for one transaction count with their bytes, and leave together.
func TestKnownCLsAreBounded(t *testing.T) {
	b := newBench(t)
	c := b.d.cancels
	var last *ledger.Tx
	signatures := make([]sig.Signature, protocols.MaxReplicas)
	for i := range 2000 {
		last = b.pays(0, 1, i)
		for source := range uint16(3) {
			cl := &settlement.CL{Source: source, Tx: last, Certificate: protocols.Certificate{Signatures: signatures}}
			if !c.put(cl) || c.put(cl) {
				t.Fatal("a CL is not kept, or it is kept twice")
			}
		}
	}
	kept := 0
	for _, id := range c.known.Keys() {
		for _, cl := range c.all(id) {
			kept += cl.Size()
		}
	}
	if kept != c.bytes || kept > maxCLBytes || kept < maxCLBytes*9/10 {
		t.Errorf("%d bytes are kept, %d are counted, at most %d are allowed", kept, c.bytes, maxCLBytes)
	}
	if len(c.all(last.ID())) != 3 {
		t.Error("the newest CLs are forgotten")
	}
}
