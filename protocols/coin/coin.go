// Package coin is the common coin of one shard: a random value that nobody can predict before f+1 replicas have released
// their shares of it. All replicas that combine any f+1 shares get the same value.
//
// [DH] is the Diffie-Hellman coin of Cachin, Kursawe and Shoup (Random Oracles in Constantinople, section 4.3) on
// ristretto255. A dealer shares a secret x with a polynomial of degree f over the scalar field. Replica i holds x_i, and
// its verification key x_i·G is public. The toss of a name is the hash of x·H(name). The share of replica i is x_i·H(name)
// with a proof that the discrete logarithm of the share to base H(name) equals that of its key to base G.
//
// Guarantees, with at most f Byzantine replicas, under the computational Diffie-Hellman assumption, with hashes as
// random oracles:
//   - Unpredictable: f shares give no information about the value, so nobody knows it before an honest replica released
//     its share. The caller decides when to release.
//   - Robust: a share that verifies is x_i·H(name), so any f+1 of them interpolate to the same point.
//   - Bound: shares and proofs cover the whole statement of the toss (network, shard, instance and round) and the index of
//     the replica. They are not valid for another toss or another replica.
//
// Why the threshold is f+1: at least one of f+1 shares is from an honest replica. With a higher threshold, f silent
// replicas could prevent the value from becoming known when only some honest replicas have released their shares.
//
// Differences from the paper: the nonce of the proof is not random but a hash of secret key and statement. So a replica
// that crashes and signs again, or that has poor randomness, does not disclose its key. One coin serves for leaders among
// any number of replicas: its value is a hash, which [Value.Leader] reduces without bias.
//
// [Ideal] replaces it in simulations. [Cached] avoids verifying the same share twice.
package coin

import (
	"encoding/binary"
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
)

// ShareSize is the length of a share in bytes.
const ShareSize = 96

// Share is the share of one replica in a toss: its point, then challenge and response of the proof that the point is
// correct, 32 bytes each.
type Share [ShareSize]byte

// Value is the result of a toss: 32 uniformly distributed bytes.
type Value [digest.Size]byte

// Leader reduces the value to one of n > 0 replicas, each with the same probability.
func (v Value) Leader(n int) protocols.Index {
	limit := ^uint64(0) - ^uint64(0)%uint64(n) // a multiple of n; words at or above it would give a biased result
	for {
		for k := 0; k < len(v); k += 8 {
			if x := binary.BigEndian.Uint64(v[k:]); x < limit {
				return protocols.Index(x % uint64(n))
			}
		}
		v = Value(digest.Of("bdt/coin-again/1", v[:]))
	}
}

// Scheme checks and combines shares of tosses. It is safe for concurrent use.
type Scheme interface {
	// Threshold is the number of shares that determine a value, f+1.
	Threshold() int
	// Verify reports whether s is the share of replica i of the toss that statement names.
	Verify(i protocols.Index, statement []byte, s Share) bool
	// Combine computes the value from shares that Verify accepted. It returns an error if there are fewer shares than
	// the threshold, or if it detects that a share was not verified.
	Combine(statement []byte, shares *Shares) (Value, error)
}

// Holder makes the shares of one replica. The same statement always gives the same share.
type Holder interface {
	Share(statement []byte) Share
}

// Name identifies a toss: the one of a round of an agreement. Statement adds network and shard, so it is unique.
type Name struct {
	Epoch uint64
	Kind  uint8  // of the agreement
	Index uint16 // among the agreements of one kind in an epoch
	Round uint32
}

// nameSize is the length of an encoded Name in bytes.
const nameSize = 8 + 1 + 2 + 4

// Append encodes the name.
func (n Name) Append(b []byte) []byte {
	b = wire.AppendU64(b, n.Epoch)
	b = append(b, n.Kind)
	b = wire.AppendU16(b, n.Index)
	return wire.AppendU32(b, n.Round)
}

// ReadName decodes the output of Append.
func ReadName(r *wire.Reader) Name {
	return Name{Epoch: r.U64(), Kind: r.U8(), Index: r.U16(), Round: r.U32()}
}

// Statement is the byte string that the shares of the toss are bound to.
func (n Name) Statement(c *protocols.Committee) []byte {
	return c.Statement("bdt/coin/1", n.Append(make([]byte, 0, nameSize)))
}

func (n Name) String() string {
	return fmt.Sprintf("toss %d/%d/%d/%d", n.Epoch, n.Kind, n.Index, n.Round)
}

// Shares has shares of distinct replicas in one toss.
type Shares struct {
	Holders protocols.Set
	Shares  []Share // in ascending order of holders
}

// SharesMax is the greatest length of encoded Shares, in bytes.
const SharesMax = 2 + protocols.MaxReplicas*(2+ShareSize)

// Append encodes the shares: their number (2 bytes), then for each holder, in ascending order, its index (2 bytes) and its
// share.
func (s *Shares) Append(b []byte) []byte {
	b = wire.AppendU16(b, uint16(len(s.Shares)))
	for k, i := range s.Holders.Members() {
		b = wire.AppendU16(b, uint16(i))
		b = append(b, s.Shares[k][:]...)
	}
	return b
}

// ReadShares decodes the output of Append. It refuses holders that are not in strictly ascending order, so also a holder
// that appears twice.
func ReadShares(r *wire.Reader) Shares {
	n := r.Count(protocols.MaxReplicas, 2+ShareSize)
	var s Shares
	last := -1
	for range n {
		i := int(r.U16())
		if i <= last || i >= protocols.MaxReplicas {
			r.Fail("coin shares name replica %d after %d", i, last)
			return Shares{}
		}
		last = i
		s.Holders.Add(protocols.Index(i))
		var one Share
		r.Fixed(one[:])
		s.Shares = append(s.Shares, one)
	}
	return s
}
