package coin

import (
	"encoding/binary"
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
)

// Ideal is a coin at the cost of a hash, for simulations. Shares are hashes over a secret that only the Ideal holds, so
// nobody else can make them, and Combine gives the value only for enough valid shares. All parties of a simulation use the
// same Ideal. An adversary that gets no [Holder] of an honest replica can neither forge a share nor know a value early.
type Ideal struct {
	threshold int
	secret    digest.Digest
}

// NewIdeal makes a coin. Its shares are not valid for a coin with another seed.
func NewIdeal(seed uint64, threshold int) *Ideal {
	return &Ideal{threshold: threshold, secret: digest.Of("bdt/ideal-coin/1", binary.BigEndian.AppendUint64(nil, seed))}
}

// Holder gives the holder that makes the shares of replica i.
func (c *Ideal) Holder(i protocols.Index) Holder { return idealHolder{c, i} }

// Threshold is the number of shares that determine a value.
func (c *Ideal) Threshold() int { return c.threshold }

// Verify reports whether s is the share of replica i for statement.
func (c *Ideal) Verify(i protocols.Index, statement []byte, s Share) bool {
	return c.share(i, statement) == s
}

// Combine gives the value if there are at least threshold shares and all are valid, else an error.
func (c *Ideal) Combine(statement []byte, shares *Shares) (Value, error) {
	if len(shares.Shares) < c.threshold {
		return Value{}, fmt.Errorf("%d coin shares, want %d", len(shares.Shares), c.threshold)
	}
	for k, i := range shares.Holders.Members() {
		if !c.Verify(i, statement, shares.Shares[k]) {
			return Value{}, fmt.Errorf("the coin share of replica %d was not verified", i)
		}
	}
	return Value(digest.Of("bdt/ideal-coin-value/1", c.secret[:], statement)), nil
}

func (c *Ideal) share(i protocols.Index, statement []byte) Share {
	d := digest.Of("bdt/ideal-coin-share/1", c.secret[:], wire.AppendU16(nil, uint16(i)), statement)
	var s Share
	copy(s[:], d[:])
	return s
}

type idealHolder struct {
	coin  *Ideal
	index protocols.Index
}

func (h idealHolder) Share(statement []byte) Share { return h.coin.share(h.index, statement) }
