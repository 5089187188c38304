// Package committeetest makes committees for tests.
package committeetest

import (
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/protocols"
)

// Ideal makes the committee of a shard of n replicas whose keys are those of an ideal scheme's signers from number first
// on. The test ends if n is no size of a shard.
func Ideal(t testing.TB, scheme *sig.Ideal, first uint64, n int, network digest.Digest, shard uint16) *protocols.Committee {
	t.Helper()
	keys := make([]sig.PublicKey, n)
	for i := range keys {
		keys[i] = scheme.Signer(first + uint64(i)).Public()
	}
	c, err := protocols.NewCommittee(network, shard, keys)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
