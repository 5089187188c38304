package node

import (
	"bytes"
	"slices"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/ledger"
	"bdtnode/ledger/paylog"
	"bdtnode/node/replica"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
)

// TestEveryKindIsDescribed: the kinds of both stores, in shards of payments and of a log, have a description, and no others
// have one. Ranges of keys do not overlap.
func TestEveryKindIsDescribed(t *testing.T) {
	named := map[[2]string]bool{{consensusDir, kv.OtherKind}: true, {ledgerDir, kv.OtherKind}: true}
	for _, s := range []struct {
		store string
		kinds []kv.Kind
	}{{consensusDir, consensusKinds}, {ledgerDir, ledger.StoreKinds()}, {ledgerDir, paylog.StoreKinds()}} {
		for i, k := range s.kinds {
			named[[2]string{s.store, k.Name}] = true
			for _, other := range s.kinds[:i] {
				if bytes.Compare(k.Lower, k.Upper) >= 0 || bytes.Compare(k.Lower, other.Upper) < 0 && bytes.Compare(other.Lower, k.Upper) < 0 {
					t.Errorf("kinds %s and %s of store %s overlap", k.Name, other.Name, s.store)
				}
			}
		}
	}
	for _, d := range diskKinds {
		if !named[[2]string{d.store, d.kind}] {
			t.Errorf("there is no kind %s of store %s", d.kind, d.store)
		}
		delete(named, [2]string{d.store, d.kind})
	}
	if len(named) > 0 {
		t.Errorf("%v have no description", named)
	}
}

// TestConsensusKindsHaveTheirKeys: records that others write are of the kind that is named after them.
func TestConsensusKindsHaveTheirKeys(t *testing.T) {
	for want, key := range map[string][]byte{
		"batches":      lanes.StoredKey(3, lanes.Tip{Seq: 1, Digest: digest.Of("b")}),
		"blocks":       bdt.CommitKey(1 << 40),
		"certificates": replica.CertificateKey(7),
		"lds":          inbound.StoredKey(2, lanes.Tip{Seq: 1}),
	} {
		i := slices.IndexFunc(consensusKinds, func(k kv.Kind) bool {
			return bytes.Compare(key, k.Lower) >= 0 && bytes.Compare(key, k.Upper) < 0
		})
		if i < 0 || consensusKinds[i].Name != want {
			t.Errorf("key %q of %s is not of this kind", key, want)
		}
	}
}
