// Package coin is the common coin of one shard: a value that nobody can predict until f+1 replicas have released
// their shares of it, and that is the same for all who combine any f+1 of them.
//
// [DH] is the Diffie-Hellman coin of Cachin, Kursawe and Shoup (Random Oracles in Constantinople, section 4.3) on
// ristretto255. A dealer shares a secret x with a polynomial of degree f over the scalar field; replica i holds
// x_i and everyone knows its key x_i·G. The toss of a name is x·H(name), hashed; replica i's share is x_i·H(name)
// with a proof that the same x_i is in its key.
//
// Guarantees, with at most f Byzantine replicas, under the computational Diffie-Hellman assumption, with hashes as
// random oracles:
//   - Unpredictable: f shares say nothing about the value, so it is not known before an honest replica released its
//     share. A caller decides when that is.
//   - Robust: a share that verifies is x_i·H(name), so any f+1 of them interpolate to the same point.
//   - Bound: shares and proofs cover the toss's whole statement (network, shard, instance and round) and the
//     replica; none means anything for another.
//
// f+1 is the threshold because at least one of f+1 shares is an honest replica's; with more, f silent replicas
// could keep the coin from being known where only some have released.
//
// Differences from the paper: the proof's nonce is not random but a hash of key and statement, so a replica that
// crashes and signs again, or has poor randomness, does not lose its key; there is one coin for many values, as the
// value is a hash that [Value.Leader] reduces without bias.
//
// [Ideal] stands in for it in simulations. [Cached] saves verifying the same share twice.
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

// Share is one replica's part of a toss with the proof that it is that: its point, then challenge and response of
// the proof, 32 bytes each.
type Share [ShareSize]byte

// Value is the outcome of a toss, 32 uniformly distributed bytes.
type Value [digest.Size]byte

// Leader reduces the value to one of n > 0 replicas, each with the same probability.
func (v Value) Leader(n int) protocols.Index {
	limit := ^uint64(0) - ^uint64(0)%uint64(n) // a multiple of n; what is not below it would be biased
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
	// Threshold is how many shares determine a value, f+1.
	Threshold() int
	// Verify reports whether s is replica i's share of the toss that statement names.
	Verify(i protocols.Index, statement []byte, s Share) bool
	// Combine computes the value from shares that Verify accepted. It is an error if they are fewer than the
	// threshold, or evidently not verified.
	Combine(statement []byte, shares *Shares) (Value, error)
}

// Holder makes one replica's shares. The same statement always gives the same share.
type Holder interface {
	Share(statement []byte) Share
}

// Name says which toss: the one of a round of an agreement. Together with the committee's network and shard, which
// its statement adds, it is unique.
type Name struct {
	Epoch uint64
	Kind  uint8  // of the agreement
	Index uint16 // among the agreements of one kind in an epoch
	Round uint32
}

// nameSize is the length of an encoded Name.
const nameSize = 8 + 1 + 2 + 4

// Append encodes the name.
func (n Name) Append(b []byte) []byte {
	b = wire.AppendU64(b, n.Epoch)
	b = append(b, n.Kind)
	b = wire.AppendU16(b, n.Index)
	return wire.AppendU32(b, n.Round)
}

// ReadName decodes what Append wrote.
func ReadName(r *wire.Reader) Name {
	return Name{Epoch: r.U64(), Kind: r.U8(), Index: r.U16(), Round: r.U32()}
}

// Statement is what shares of the toss are bound to.
func (n Name) Statement(c *protocols.Committee) []byte {
	return c.Statement("bdt/coin/1", n.Append(make([]byte, 0, nameSize)))
}

func (n Name) String() string {
	return fmt.Sprintf("toss %d/%d/%d/%d", n.Epoch, n.Kind, n.Index, n.Round)
}

// Shares is shares of distinct replicas of one toss.
type Shares struct {
	Holders protocols.Set
	Shares  []Share // in ascending order of holders
}

// Append encodes the shares: count, then index and share of each holder in ascending order.
func (s *Shares) Append(b []byte) []byte {
	b = wire.AppendU16(b, uint16(len(s.Shares)))
	for k, i := range s.Holders.Members() {
		b = wire.AppendU16(b, uint16(i))
		b = append(b, s.Shares[k][:]...)
	}
	return b
}

// ReadShares decodes what Append wrote. It refuses holders out of order, so also one named twice.
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
