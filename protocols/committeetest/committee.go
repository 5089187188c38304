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

// Ed25519 makes the committee of a shard of n replicas with keys of the scheme of production, and returns the keys too. Those
// of a replica are the same in each committee. The test ends if n is no size of a shard.
func Ed25519(t testing.TB, n int, network digest.Digest, shard uint16) (*protocols.Committee, []*sig.Ed25519Key) {
	t.Helper()
	signers, keys := make([]*sig.Ed25519Key, n), make([]sig.PublicKey, n)
	for i := range keys {
		k, err := sig.Ed25519FromSeed(append(make([]byte, sig.SeedSize-1), byte(i+1)))
		if err != nil {
			t.Fatal(err)
		}
		signers[i], keys[i] = k, k.Public()
	}
	c, err := protocols.NewCommittee(network, shard, keys)
	if err != nil {
		t.Fatal(err)
	}
	return c, signers
}
