package node

import (
	"bytes"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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
	named := map[[2]string]bool{{consensusDir, kv.OtherKind}: true, {ledgerDir, kv.OtherKind}: true, {ledgerDir, kv.KeptKind}: true}
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

// TestKindsAreEstimatedSeldom: however many scrapes there are, also at the same time, the disk use by kind is estimated once in
// kindsAge.
func TestKindsAreEstimatedSeldom(t *testing.T) {
	var k kindEstimate
	var estimates atomic.Int64
	estimate := func() map[string][]kv.KindUse {
		return map[string][]kv.KindUse{ledgerDir: {{Name: "headers", Bytes: uint64(estimates.Add(1))}}}
	}
	begin := time.Now()
	for _, x := range []struct {
		after time.Duration
		want  uint64
	}{{0, 1}, {time.Second, 1}, {kindsAge - 1, 1}, {kindsAge, 2}, {2*kindsAge - 1, 2}, {2 * kindsAge, 3}} {
		var scrapes sync.WaitGroup
		for range 8 {
			scrapes.Go(func() {
				if got := k.read(begin.Add(x.after), estimate)[ledgerDir][0].Bytes; got != x.want {
					t.Errorf("after %v: estimate %d, want %d", x.after, got, x.want)
				}
			})
		}
		scrapes.Wait()
	}
}

// TestScrapesShareAnEstimate: two scrapes of a replica have the same estimate, and the same values of it.
func TestScrapesShareAnEstimate(t *testing.T) {
	n := shardOfThree(t).nodes[0]
	first, second := n.scrape(), n.scrape()
	if a, b := first.kinds[ledgerDir], second.kinds[ledgerDir]; len(a) == 0 || &a[0] != &b[0] {
		t.Error("the second scrape estimated the disk use anew")
	}
}
