package replica

import (
	"fmt"

	"bdtnode/internal/sig"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/cancel"
	"bdtnode/protocols/coin"
	"bdtnode/protocols/lanes"
)

// Verified is an input of the [Core] from a replica: a message after all checks that need no state of the core, or the
// place of a message that was ahead and needs no check. Only [Verifier.Check] makes one with a message, so the core cannot
// be given an unverified message by mistake. The zero Verified is no input.
type Verified struct {
	from    protocols.Index
	message protocols.Message // nil if ahead is not
	ahead   *bdt.Ahead
}

// NewAhead is the input for a message of relevance [protocols.Ahead]. The message itself is dropped.
func NewAhead(from protocols.Index, m protocols.Message) Verified {
	return NewAheadAt(from, bdt.AheadOf(m))
}

// NewAheadAt is the input for a message at this place.
func NewAheadAt(from protocols.Index, x bdt.Ahead) Verified { return Verified{from: from, ahead: &x} }

// IsZero reports whether there is no input.
func (v Verified) IsZero() bool { return v.message == nil && v.ahead == nil }

// From is the sender.
func (v Verified) From() protocols.Index { return v.from }

// Message is the message, nil if there is none.
func (v Verified) Message() protocols.Message { return v.message }

// Ahead is the place of a message that was ahead, nil if there is none.
func (v Verified) Ahead() *bdt.Ahead { return v.ahead }

// ContentVerifier verifies the contents of messages that consensus does not read. An invalid content is dropped; the error
// is not nil if no honest replica sends it.
type ContentVerifier interface {
	// VerifyPayload reports whether the payload of a batch from a replica is valid.
	VerifyPayload(from protocols.Index, b *lanes.Batch) (valid bool, err error)
	// VerifyLD reports whether an LD is valid.
	VerifyLD(x *Inbound) (valid bool, err error)
	// VerifyCLM checks the transaction of a CL_M. An error means that no honest replica states it.
	VerifyCLM(x *cancel.CLM) error
}

// Verifier verifies messages of the replicas of a shard. Its methods may be called concurrently if those of its Contents may.
type Verifier struct {
	Committee  *protocols.Committee
	Shards     int // in the network
	Signatures sig.Scheme
	Coin       coin.Scheme
	Contents   ContentVerifier
}

// Check verifies a decoded message from a replica. The result is zero if the message is to be dropped. An error is a fault
// of the sender: no honest replica sends such a message.
func (v *Verifier) Check(from protocols.Index, m protocols.Message) (Verified, error) {
	err := verify(v.Committee, v.Shards, v.Signatures, v.Coin, from, m)
	valid := err == nil
	if valid {
		switch x := m.(type) {
		case *lanes.Batch:
			valid, err = v.Contents.VerifyPayload(from, x)
		case *Inbound:
			valid, err = v.Contents.VerifyLD(x)
		case *cancel.CLM:
			err = v.Contents.VerifyCLM(x)
			valid = err == nil
		}
	}
	if !valid {
		return Verified{}, err
	}
	return Verified{from: from, message: m}, nil
}

// verify does all checks of a message that need neither state nor its content, in a network of so many shards.
func verify(c *protocols.Committee, shards int, signatures sig.Scheme, tosses coin.Scheme, from protocols.Index, m protocols.Message) error {
	e := messages.Of(m.Kind())
	if e == nil {
		return fmt.Errorf("message kind %#x is unknown", uint8(m.Kind()))
	}
	if e.Source != nil {
		if source := e.Source(m); int(source) >= shards || source == c.Shard() {
			return fmt.Errorf("%s is of the channel from shard %d, in shard %d of %d", e.Name, source, c.Shard(), shards)
		}
	}
	if e.Check == nil {
		return nil
	}
	proof, err := e.Check(c, from, m)
	if err == nil {
		err = proof.Verify(signatures, tosses)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", e.Name, err)
	}
	return nil
}
