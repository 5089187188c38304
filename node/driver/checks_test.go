package driver

import (
	"slices"
	"strings"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/ledger"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/certify"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/vouch"
)

// vouched makes replicas vouch for batches of two entries or more.
func vouched(c *Config) { c.Vouched = 2 }

// txs are transactions of replica 0's account that spend outputs which do not exist, the first of them with a bad
// signature if bad is set.
func (b *bench) txs(count int, salt string, bad bool) [][]byte {
	b.t.Helper()
	k := b.signers[0]
	out := make([][]byte, count)
	for i := range out {
		body := ledger.Body{
			Network: b.network.ID(), ExpiryMS: genesisMS + 60_000,
			Inputs:  []ledger.Input{{Outpoint: ledger.Outpoint{Tx: ledger.TxID(digest.Of(salt, []byte{byte(i)}))}, Key: k.Public(), Amount: 10}},
			Outputs: []ledger.Output{{Address: ledger.AddressOf(k.Public()), Amount: 10}},
		}
		tx, err := body.Sign(k)
		if err != nil {
			b.t.Fatal(err)
		}
		out[i] = slices.Clone(tx.Encode())
	}
	if bad {
		out[0][len(out[0])-1] ^= 1
	}
	return out
}

// hold writes a batch of a lane into the consensus store.
func (b *bench) hold(lane protocols.Index, raw [][]byte) lanes.Ref {
	b.t.Helper()
	x := b.batch(lane, 1, uint32(len(raw)), ledger.EncodePayload(raw))
	b.set(lanes.StoredKey(lane, x.Tip()), x.Stored())
	return lanes.Ref{Lane: lane, Tip: x.Tip()}
}

// TestSignaturesAreCheckedLater: a batch for which replicas vouch is taken with a bad signature, and a smaller one is not.
// Without vouches none is. A malformed batch never is.
func TestSignaturesAreCheckedLater(t *testing.T) {
	all, some := newBench(t), newBench(t, vouched)
	for _, c := range []struct {
		name string
		b    *bench
		raw  [][]byte
		take bool
	}{
		{"all, good", all, all.txs(3, "a", false), true},
		{"all, bad", all, all.txs(3, "a", true), false},
		{"vouched, good", some, some.txs(3, "a", false), true},
		{"vouched, bad", some, some.txs(3, "a", true), true},
		{"vouched, small, good", some, some.txs(1, "a", false), true},
		{"vouched, small, bad", some, some.txs(1, "a", true), false},
	} {
		v, err := c.b.d.intake.Check(1, replica.Encode(c.b.batch(1, 1, uint32(len(c.raw)), ledger.EncodePayload(c.raw))))
		if (err == nil && !v.IsZero()) != c.take {
			t.Errorf("%s: taken %v, %v", c.name, !v.IsZero(), err)
		}
	}
	if _, err := some.d.intake.Check(1, replica.Encode(some.batch(1, 1, 4, ledger.EncodePayload(some.txs(3, "b", false))))); err == nil {
		t.Error("a batch with a wrong count is taken")
	}
}

// TestCheckBatches: the checks that the core requested are carried out, those that it dropped are not, and each batch has
// its own result although they are checked together.
func TestCheckBatches(t *testing.T) {
	b := newBench(t, vouched)
	good, bad, dropped, last := b.hold(1, b.txs(3, "a", false)), b.hold(2, b.txs(3, "b", true)), b.hold(3, b.txs(2, "c", false)), b.hold(1, b.txs(5, "d", false))
	var st replica.Step
	for _, r := range []lanes.Ref{good, bad, dropped, last} {
		st.Emit(replica.Output{Check: &r})
	}
	st.Emit(replica.Output{Drop: &dropped})
	if err := b.d.Deliver(&Action{Step: st}); err != nil {
		t.Fatal(err)
	}
	for want := true; ; want = false {
		some, err := b.d.execution.CheckBatches()
		if err != nil || some != want {
			t.Fatalf("some %v, %v", some, err)
		}
		if !some {
			break
		}
	}
	if got := b.d.execution.Checked(); !slices.Equal(got, []vouch.Result{{Batch: good, Good: true}, {Batch: bad}, {Batch: last, Good: true}}) {
		t.Errorf("%v", got)
	}
}

// committed is a bench with a committed block 1 of three batches in its store, the second of them bad. A certified header
// names the batches of bad as bad ones.
func (b *bench) committed(bad func(refs []lanes.Ref) []lanes.Ref) *bdt.Delivery {
	b.t.Helper()
	refs := []lanes.Ref{b.hold(1, b.txs(3, "a", false)), b.hold(2, b.txs(3, "b", true)), b.hold(3, b.txs(3, "c", false))}
	cut := make(lanes.Cut, replicas)
	for _, r := range refs {
		cut[r.Lane] = r.Tip
	}
	genesis := bolt.Genesis(b.committee, genesisMS, 2)
	x := &bdt.Delivery{Block: bolt.NewLast(b.committee, 1, genesis, genesisMS+1, cut, genesis.Inbound), Refs: refs}
	other := newBench(b.t, vouched)
	for _, r := range refs {
		value, _, err := b.store.Get(lanes.StoredKey(r.Lane, r.Tip))
		if err != nil {
			b.t.Fatal(err)
		}
		other.set(lanes.StoredKey(r.Lane, r.Tip), value)
	}
	right := *x
	right.Bad = bad(refs)
	done, err := other.d.execution.Execute(&right)
	if err != nil {
		b.t.Fatal(err)
	}
	tally := protocols.NewTally(done.Block.HeaderDigest)
	for i, k := range b.signers[:b.committee.WeakQuorum()] {
		tally.Add(protocols.Index(i), k.Sign(certify.Statement(b.committee, 1, tally.Digest)))
	}
	c := &certify.Certified{Height: 1, Header: done.Block.HeaderDigest, Certificate: tally.Certificate()}
	b.set(replica.CertificateKey(1), c.Append(nil))
	b.set(bdt.CommitKey(1), x.Block.Append(nil))
	return x
}

// set writes a record into the consensus store.
func (b *bench) set(key, value []byte) {
	b.t.Helper()
	var batch kv.Batch
	batch.Set(key, value)
	if err := b.store.Apply(&batch, false); err != nil {
		b.t.Fatal(err)
	}
}

func second(refs []lanes.Ref) []lanes.Ref { return refs[1:2] }

// TestHeaderDecides: a block with unknown batches and a certified header is executed with all batches. If the header differs,
// their signatures are checked, and the block is executed without the bad ones.
func TestHeaderDecides(t *testing.T) {
	b := newBench(t, vouched)
	x := b.committed(second)
	x.ByHeader = true
	done, err := b.d.execution.Execute(x)
	if err != nil {
		t.Fatal(err)
	}
	if got := done.Block.Bad; len(got) != 1 || got[0] != replica.BatchID(x.Refs[1]) || len(done.Ordered.Payloads) != 2 {
		t.Errorf("bad batches %v", got)
	}
}

// TestHeaderContradictsSignatures: a certified header that disagrees with the signatures of all batches stops the replica,
// and the ledger does not change.
func TestHeaderContradictsSignatures(t *testing.T) {
	b := newBench(t, vouched)
	x := b.committed(func(refs []lanes.Ref) []lanes.Ref { return refs[:1] })
	x.ByHeader = true
	if _, err := b.d.execution.Execute(x); err == nil || !strings.Contains(err.Error(), "1 batches are bad") {
		t.Errorf("%v", err)
	}
	if h := b.d.cfg.State.Height(); h != 0 {
		t.Errorf("the ledger is at height %d", h)
	}
}

// TestDivergenceIsExplained: when the own header of an executed block differs from the certified one, the message names a bad
// batch that was executed on the word of others, or says that the signatures are not the cause.
func TestDivergenceIsExplained(t *testing.T) {
	for _, c := range []struct {
		name string
		bad  func([]lanes.Ref) []lanes.Ref
		want string
	}{
		{"a bad batch was executed", func([]lanes.Ref) []lanes.Ref { return nil }, "batch 1 of lane 2"},
		{"the bad batch was left out", second, "the signatures of its 3 batches were checked"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, vouched)
			x := b.committed(second)
			x.Bad = c.bad(x.Refs)
			if _, err := b.d.execution.Execute(x); err != nil {
				t.Fatal(err)
			}
			if got := b.d.execution.Explain(&certify.Divergence{Height: 1}); !strings.Contains(got, c.want) {
				t.Error(got)
			}
		})
	}
}
