// Package vouch spreads the knowledge whether all signatures in a batch verify (docs/adr/0018-vouched-signatures.md).
//
// Whether all signatures of a batch verify is a deterministic fact, so it needs no agreement. Acknowledgements,
// certificates, votes and cuts state that a batch is held and structurally sound, and nothing about its signatures.
// Execution needs the fact: a batch with a bad signature contributes nothing, at every replica alike. A replica knows
//
//   - that a batch is good, if it checked it itself, or if f+1 replicas vouched for this digest, or if the header of the
//     block with the batch is certified and the replica's execution gives the same header;
//   - that a batch is bad, by its own check alone.
//
// The owner of a lane vouches for a batch with the batch itself, since an honest owner verifies each transaction before it
// makes a batch of it. Another replica vouches with a message over its own authenticated stream. A vouch is not signed and
// never shown to a third replica.
//
// Why f+1 vouches suffice: one of them is of an honest replica, which checked the batch. So a bad batch never has f+1
// vouches, and two honest replicas never differ on a batch. Why bad is known by the own
// check alone: the word of f+1 replicas would suffice too, but a bad batch is the exception, and each replica then has
// the evidence. Why a certified header suffices: one of its f+1 signers is honest and executed the block. It knew each
// batch by its own check, by vouches, or by an earlier certified header, and the first honest signer of a header knew it
// by one of the first two.
//
// Why every batch becomes known: a replica without f+1 vouches checks the batch itself after a time that depends on its
// rank. So no replica can delay the execution of another for longer than that, by silence, by delay, or by vouches for
// some replicas only. Then all replicas check, as they would without this package.
//
// A vouch states a fact, so nothing is stored. Vouches that a crash or a lost session takes cost time, and a new session
// repeats those for batches that are not executed.
//
// Batches with fewer entries than Config.Least are not subject to this package: each replica verifies their signatures
// before it stores them, because one check then costs less than the wait and the messages.
package vouch

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// KindVouch is the Vouch's kind on the wire.
const KindVouch = protocols.KindsVouch + 0

// MaxRefs is the largest number of batches in one Vouch.
const MaxRefs = 64

// refSize is the length of an encoded position of a batch in bytes.
const refSize = 2 + 8 + digest.Size

// Messages is the table of the messages of this package.
var Messages = protocols.Entries(protocols.KindsVouch, protocols.SignedEntry{
	Kind: KindVouch, Name: "Vouch", Max: 2 + MaxRefs*refSize,
	Decode: protocols.Decoder(DecodeVouch), Check: protocols.SenderCheck((*Vouch).SignatureChecks),
})

// Vouch states that its sender verified all signatures of some batches of other lanes, and that all are good.
type Vouch struct {
	Batches []lanes.Ref // 1 to MaxRefs, in ascending order of lane, number and digest
}

// Kind is KindVouch.
func (*Vouch) Kind() protocols.Kind { return KindVouch }

// Append encodes the number of batches (2 bytes), and lane (2), number (8) and digest of each.
func (m *Vouch) Append(b []byte) []byte {
	b = wire.AppendU16(b, uint16(len(m.Batches)))
	for i := range m.Batches {
		r := &m.Batches[i]
		b = wire.AppendU64(wire.AppendU16(b, uint16(r.Lane)), r.Tip.Seq)
		b = append(b, r.Tip.Digest[:]...)
	}
	return b
}

// DecodeVouch reads the body of a Vouch. It refuses an empty list, a list out of order, and number 0.
func DecodeVouch(b []byte) (*Vouch, error) {
	r := wire.NewReader(b)
	m := &Vouch{Batches: make([]lanes.Ref, r.Count(MaxRefs, refSize))}
	if len(m.Batches) == 0 {
		r.Fail("a Vouch for no batch")
	}
	for i := range m.Batches {
		x := &m.Batches[i]
		x.Lane, x.Tip.Seq = protocols.Index(r.U16()), r.U64()
		r.Fixed(x.Tip.Digest[:])
		switch {
		case x.Tip.Seq == 0:
			r.Fail("a Vouch for number 0 of lane %d", x.Lane)
		case i > 0 && compare(m.Batches[i-1], *x) >= 0:
			r.Fail("a Vouch with batches out of order")
		}
	}
	return m, r.Done()
}

// SignatureChecks checks the Vouch of replica from without any state. A Vouch has no signature. It is an error if a lane
// does not exist, or is that of the sender: the batch itself is the vouch of its owner.
func (m *Vouch) SignatureChecks(c *protocols.Committee, from protocols.Index) ([]sig.Check, error) {
	for i := range m.Batches {
		switch lane := m.Batches[i].Lane; {
		case !c.Has(lane):
			return nil, fmt.Errorf("a Vouch for lane %d, of %d", lane, c.N())
		case lane == from:
			return nil, fmt.Errorf("a Vouch of replica %d for its own lane", from)
		}
	}
	return nil, nil
}
