package node

import (
	"slices"
	"strings"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/node/config"
	"bdtnode/protocols/committeetest"
	"bdtnode/shard"
)

// TestTransactionsOfACall: copies of a transaction are decoded once, and each has the result of the one. Bytes that are no
// transaction, and transactions of another network, are refused each for itself. A transaction without an input in this
// shard makes the call an error that has its place.
func TestTransactionsOfACall(t *testing.T) {
	scheme, network := sig.NewIdeal(1), digest.Of("test")
	committee := committeetest.Ideal(t, scheme, 100, 4, network, 0)
	genesis := &shard.Genesis{Shards: make([]shard.Spec, 2)}
	n := &Node{committee: committee, home: &config.Home{Genesis: genesis}}
	of := func(home uint16, network digest.Digest) []byte {
		owner := uint64(1)
		for ; genesis.Home(ledger.AddressOf(scheme.Signer(owner).Public())) != home; owner++ {
		}
		body := ledger.Body{
			Network: network, ExpiryMS: 1,
			Inputs:  []ledger.Input{{Key: scheme.Signer(owner).Public(), Amount: 1}},
			Outputs: []ledger.Output{{Amount: 1}},
		}
		tx, err := body.Sign(scheme.Signer(owner))
		if err != nil {
			t.Fatal(err)
		}
		return tx.Encode()
	}
	own, foreign, wrong, junk := of(0, network), of(1, network), of(0, digest.Of("other")), []byte("junk")
	raws := slices.Repeat([][]byte{own}, 1000)
	raws[1], raws[500], raws[999] = junk, wrong, junk
	c, err := n.decodeCall(raws)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.good.txs) != 1 || !slices.Equal(c.good.txs[0].Encode(), own) || len(c.refusals) != 3 || len(c.index) != len(raws) {
		t.Fatalf("%d transactions and %d refusals for %d places", len(c.good.txs), len(c.refusals), len(c.index))
	}
	for i, k := range c.index {
		want := ledger.ReasonNone
		switch i {
		case 1, 999:
			want = ledger.ReasonMalformed
		case 500:
			want = ledger.ReasonWrongNetwork
		}
		if r := c.refusals[k]; (r == nil) != (want == ledger.ReasonNone) || r != nil && r.Reason != want || r == nil && c.good.at[0] != k {
			t.Errorf("transaction %d: %v, want %v", i, r, want)
		}
	}
	raws[700] = foreign
	if _, err := n.decodeCall(raws); err == nil || !strings.Contains(err.Error(), "transaction 700 has no input in shard 0") {
		t.Errorf("%v", err)
	}
}
