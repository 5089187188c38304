package ledger

import (
	"testing"

	"bdtnode/internal/sig"
)

// counting counts the signatures that are verified.
type counting struct {
	sig.Scheme
	count int
}

func (c *counting) VerifyAll(items []sig.Check) bool {
	c.count += len(items)
	return c.Scheme.VerifyAll(items)
}

// resigned returns the transaction with its last signature changed.
func resigned(t *testing.T, tx *Tx) *Tx {
	t.Helper()
	raw := append([]byte(nil), tx.Encode()...)
	raw[len(raw)-1] ^= 1
	bad, err := DecodeTx(raw)
	if err != nil {
		t.Fatal(err)
	}
	return bad
}

// TestKnownTransactionsAreVerifiedOnce: a transaction that was verified is not verified again when it comes another way, and
// one with another signature is.
func TestKnownTransactionsAreVerifiedOnce(t *testing.T) {
	scheme := &counting{Scheme: ideal}
	good := pay(t, 0, 10, []Outpoint{genesisOut(0, 0)}, 0, Output{addressOf(1), 10})
	other := pay(t, 0, 10, []Outpoint{genesisOut(0, 1)}, 0, Output{addressOf(1), 10})
	bad := resigned(t, good)
	known := NewKnownTxs(3)
	if _, refusals := VerifyTxs(scheme, testNet, known, []*Tx{bad, good, other}); refusals[0] == nil || refusals[1] != nil || refusals[2] != nil {
		t.Fatalf("%v", refusals)
	}
	scheme.count = 0
	if v, refusals := VerifyTxs(scheme, testNet, known, []*Tx{good, other}); v[0].Tx() != good || refusals[0] != nil || scheme.count != 0 {
		t.Errorf("%d signatures are verified again, %v", scheme.count, refusals)
	}
	if err := (&Payload{Txs: []*Tx{good, other}}).CheckSignatures(scheme, known); err != nil || scheme.count != 0 {
		t.Errorf("%d signatures of a batch are verified again, %v", scheme.count, err)
	}
	for range 2 { // a refused transaction does not become known
		if _, refusals := VerifyTxs(scheme, testNet, known, []*Tx{bad}); refusals[0] == nil {
			t.Error("another signature is not verified in a submission")
		}
		if err := (&Payload{Txs: []*Tx{good, bad}}).CheckSignatures(scheme, known); err == nil {
			t.Error("another signature is not verified in a batch")
		}
	}
	scheme.count = 0
	if err := (&Payload{Txs: []*Tx{good, other}}).CheckSignatures(scheme, nil); err != nil || scheme.count != 2 {
		t.Errorf("without a set: %d signatures are verified, %v", scheme.count, err)
	}
}

// TestKnownTransactionsAreBounded: the oldest are forgotten, and another shard displaces only its own.
func TestKnownTransactionsAreBounded(t *testing.T) {
	known := NewKnownTxs(3)
	unknown := func(txs ...*Tx) int { return len(known.unknown(txs)) }
	numbered := func(n, of int) []*Tx {
		txs := make([]*Tx, n)
		for i := range txs {
			txs[i] = &Tx{id: TxID{byte(i), byte(i >> 8), byte(of)}}
		}
		return txs
	}
	own, first, second := numbered(maxKnownOwn, 0), numbered(maxKnownOthers+1, 1), numbered(maxKnownOthers, 2)
	known.AddOwn(own...)
	known.AddFrom(2, second...)
	known.AddFrom(1, first...)
	if n := unknown(own...) + unknown(second...); n != 0 {
		t.Errorf("%d of other sources are forgotten", n)
	}
	if unknown(first...) != 1 || unknown(first[0]) != 1 {
		t.Errorf("%d of the source are forgotten, want the oldest", unknown(first...))
	}
	known.AddOwn(&Tx{id: TxID{9, 9, 9}})
	if unknown(own...) != 1 || unknown(own[0]) != 1 {
		t.Errorf("%d own ones are forgotten, want the oldest", unknown(own...))
	}
}
