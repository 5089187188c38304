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

// TestTransactionsOfACall: a copy of a transaction, bytes that are no transaction, a transaction of another network, and
// one without an input in this shard each make the call an error that has its place. Later transactions are not decoded.
func TestTransactionsOfACall(t *testing.T) {
	scheme, network := sig.NewIdeal(1), digest.Of("test")
	committee := committeetest.Ideal(t, scheme, 100, 4, network, 0)
	genesis := &shard.Genesis{Shards: make([]shard.Spec, 2)}
	n := &Node{committee: committee, home: &config.Home{Genesis: genesis}}
	owner := uint64(0)
	of := func(home uint16, network digest.Digest) []byte {
		for owner++; genesis.Home(ledger.AddressOf(scheme.Signer(owner).Public())) != home; owner++ {
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
	own, second, foreign, wrong := of(0, network), of(0, network), of(1, network), of(0, digest.Of("other"))
	for name, bad := range map[string]struct {
		raw  []byte
		want string
	}{
		"copy":            {own, "transaction 2 is a copy of transaction 0"},
		"no transaction":  {[]byte("junk"), "transaction 2: malformed"},
		"another network": {wrong, "transaction 2: wrong_network"},
		"another shard":   {foreign, "transaction 2 has no input in shard 0"},
	} {
		if _, err := n.decodeCall([][]byte{own, second, bad.raw, []byte("junk")}); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("%s: %v, want %q", name, err, bad.want)
		}
	}
	txs, err := n.decodeCall([][]byte{own, second})
	if err != nil || len(txs) != 2 || !slices.Equal(txs[0].Encode(), own) || !slices.Equal(txs[1].Encode(), second) {
		t.Errorf("%d transactions, %v", len(txs), err)
	}
}
