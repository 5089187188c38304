package protocols

import (
	"fmt"
	"math/bits"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
)

// MinReplicas is the smallest shard: with fewer than 4 replicas no Byzantine one can be tolerated.
const MinReplicas = 4

// MaxReplicas is the largest shard. It bounds every structure and message that has one entry for each replica. The input
// of the agreement that ends an epoch grows with the square of the number of replicas. It must fit into one frame (2 MiB),
// also with as many certificates as Byzantine replicas can put into it.
const MaxReplicas = 100

// Index is a replica's place in its shard's genesis order, 0..n-1.
type Index uint16

// Committee is the replicas of one shard, of which at most [Committee.F] may be Byzantine. It is immutable.
type Committee struct {
	network digest.Digest
	shard   uint16
	keys    []sig.PublicKey
}

// NewCommittee makes the committee of a shard from the consensus keys of its replicas, in genesis order. It returns an
// error if there are fewer than [MinReplicas] or more than [MaxReplicas] keys, or if two keys are equal.
func NewCommittee(network digest.Digest, shard uint16, keys []sig.PublicKey) (*Committee, error) {
	if len(keys) < MinReplicas || len(keys) > MaxReplicas {
		return nil, fmt.Errorf("shard %d has %d replicas, want %d to %d", shard, len(keys), MinReplicas, MaxReplicas)
	}
	seen := make(map[sig.PublicKey]int, len(keys))
	for i, k := range keys {
		if j, dup := seen[k]; dup {
			return nil, fmt.Errorf("shard %d: replicas %d and %d have the same key %s", shard, j, i, k)
		}
		seen[k] = i
	}
	return &Committee{network: network, shard: shard, keys: append([]sig.PublicKey(nil), keys...)}, nil
}

// Network is the digest of the genesis, which is the same in all shards.
func (c *Committee) Network() digest.Digest { return c.network }

// Shard is the number of the shard.
func (c *Committee) Shard() uint16 { return c.shard }

// N is the number of replicas.
func (c *Committee) N() int { return len(c.keys) }

// F is the number of replicas that may be Byzantine: ⌊(n-1)/3⌋.
func (c *Committee) F() int { return (len(c.keys) - 1) / 3 }

// Quorum is n-f. Two quorums share at least n-2f ≥ f+1 replicas, so at least one honest replica. The honest replicas
// alone are a quorum, so a wait for a quorum ends.
func (c *Committee) Quorum() int { return c.N() - c.F() }

// WeakQuorum is f+1: among so many replicas at least one is honest.
func (c *Committee) WeakQuorum() int { return c.F() + 1 }

// Has reports whether i is a replica of the shard.
func (c *Committee) Has(i Index) bool { return int(i) < len(c.keys) }

// Key is the consensus key of replica i. It panics if i is not a replica of the shard.
func (c *Committee) Key(i Index) sig.PublicKey { return c.keys[i] }

// Set is a set of replicas.
type Set [(MaxReplicas + 63) / 64]uint64

// Add puts i into the set and reports whether i was absent before.
func (s *Set) Add(i Index) bool {
	w, b := i/64, uint64(1)<<(i%64)
	if s[w]&b != 0 {
		return false
	}
	s[w] |= b
	return true
}

// Remove takes i out of the set.
func (s *Set) Remove(i Index) { s[i/64] &^= 1 << (i % 64) }

// Has reports whether i is in the set.
func (s *Set) Has(i Index) bool { return s[i/64]&(1<<(i%64)) != 0 }

// Len is the number of members.
func (s *Set) Len() int {
	n := 0
	for _, w := range s {
		n += bits.OnesCount64(w)
	}
	return n
}

// below is the number of members less than i.
func (s *Set) below(i Index) int {
	n := bits.OnesCount64(s[i/64] & (1<<(i%64) - 1))
	for _, w := range s[:i/64] {
		n += bits.OnesCount64(w)
	}
	return n
}

// Members lists the set in ascending order.
func (s *Set) Members() []Index {
	out := make([]Index, 0, s.Len())
	for w, v := range s {
		for ; v != 0; v &= v - 1 {
			out = append(out, Index(w*64+bits.TrailingZeros64(v)))
		}
	}
	return out
}
