package settlement

import (
	"errors"
	"fmt"

	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/ledger"
)

// Versions of the encoding of evidence, its first byte.
const (
	EvidenceVersion   = 1 // of LDs alone
	EvidenceVersionCL = 2 // of an LD and a CL
)

// MaxEvidenceBytes is the greatest length of encoded evidence: two LDs of the greatest length.
const MaxEvidenceBytes = 1 + 2*(4+MaxLDBytes)

// Reasons why a certified LD is evidence, in addition to those that [ledger.Delivery.Check] returns.
var (
	errTwoUnderOne  = errors.New("another LD under the same number")
	errBadSignature = errors.New("a transaction with a bad signature")
	errCancelled    = errors.New("SPENT on a transaction that f+1 replicas of the shard cancelled")
)

// Evidence is a certified LD that no honest shard makes, or two certified LDs of which an honest shard makes at most
// one, or a certified LD with SPENT and a CL of one shard on one transaction. It proves that more than f replicas of the source are Byzantine. It is an entry of a batch: executing it
// freezes the channel of the source, on every replica at the same height. It is immutable.
type Evidence struct {
	LD      *LD
	Other   *LD // the LD that contradicts it, nil if Why is another reason
	CL      *CL // the CL that contradicts it, likewise
	Why     error
	network *Network
}

// Error names the source, the LD and the broken rule.
func (e *Evidence) Error() string {
	return fmt.Sprintf("shard %d broke the rules: its certified LD %d to shard %d has %v",
		e.LD.Delivery.Source, e.LD.Delivery.Number, e.LD.Delivery.Destination, e.Why)
}

// Unwrap returns the broken rule.
func (e *Evidence) Unwrap() error { return e.Why }

// Source is the shard that broke the rules.
func (e *Evidence) Source() uint16 { return e.LD.Delivery.Source }

// Contradict returns the evidence of two verified LDs that differ under one number of a channel; nil if they do not
// contradict each other.
func Contradict(n *Network, a, b *LD) *Evidence {
	x, y := a.Delivery, b.Delivery
	if x.Source != y.Source || x.Destination != y.Destination || x.Number != y.Number || x.Digest() == y.Digest() {
		return nil
	}
	return &Evidence{LD: a, Other: b, Why: errTwoUnderOne, network: n}
}

// EvidenceKind is a kind of evidence. A replica keeps one piece of each kind for each shard.
type EvidenceKind uint8

// The kinds.
const (
	BrokenLD       EvidenceKind = iota // an LD that breaks a rule
	TwoLDs                             // under one number
	SpentCancelled                     // SPENT and a CL
	EvidenceKinds                      // the number of kinds
)

// Kind is the kind of the evidence.
func (e *Evidence) Kind() EvidenceKind {
	switch {
	case e.CL != nil:
		return SpentCancelled
	case e.Other != nil:
		return TwoLDs
	}
	return BrokenLD
}

// ContradictCL returns the evidence of a verified LD with SPENT on the transaction of a verified CL of the same shard; nil
// if they do not contradict each other. Either all signers of the CL or all signers of the header are Byzantine: an honest
// signer of a CL_M has committed state in which the transaction is never SPENT, and an honest signer of the header has
// committed the same blocks.
func ContradictCL(n *Network, l *LD, c *CL) *Evidence {
	if l.Delivery.Source != c.Source {
		return nil
	}
	for i := range l.Delivery.Entries {
		if e := &l.Delivery.Entries[i]; e.Verdict == ledger.VerdictSpent && e.Tx.ID() == c.Tx.ID() {
			return &Evidence{LD: l, CL: c, Why: errCancelled, network: n}
		}
	}
	return nil
}

// Encode implements [ledger.Notice]: version 1 byte, then for each of LD and Other a length 4 and the encoding; the
// length of a missing Other is 0. With a CL the version is another, and the CL is in the place of Other.
func (e *Evidence) Encode() []byte {
	if e.CL != nil {
		return wire.AppendBytes(wire.AppendBytes([]byte{EvidenceVersionCL}, e.LD.Encode()), e.CL.Encode())
	}
	b := wire.AppendBytes([]byte{EvidenceVersion}, e.LD.Encode())
	if e.Other == nil {
		return wire.AppendBytes(b, nil)
	}
	return wire.AppendBytes(b, e.Other.Encode())
}

// DecodeEvidence decodes evidence about LDs to shard to, against their source. It does not verify it, see
// [Evidence.Check].
func DecodeEvidence(n *Network, to uint16, b []byte) (*Evidence, error) {
	r := wire.NewReader(b)
	version := r.U8()
	if version != EvidenceVersion && version != EvidenceVersionCL {
		r.Fail("evidence version %d is unknown", version)
	}
	one, two := r.Bytes(MaxLDBytes), r.Bytes(MaxLDBytes)
	if err := r.Done(); err != nil {
		return nil, err
	}
	ld, err := DecodeLD(one)
	switch {
	case err != nil:
		return nil, err
	case ld.Delivery.Destination != to:
		return nil, fmt.Errorf("%w: an LD to shard %d, this is shard %d", wire.ErrMalformed, ld.Delivery.Destination, to)
	}
	if version == EvidenceVersionCL {
		cl, err := DecodeCL(n, two)
		if err != nil {
			return nil, err
		}
		if e := ContradictCL(n, ld, cl); e != nil {
			return e, nil
		}
		return nil, fmt.Errorf("%w: the LD and the CL do not contradict each other", wire.ErrMalformed)
	}
	if len(two) > 0 {
		other, err := DecodeLD(two)
		if err != nil {
			return nil, err
		}
		if e := Contradict(n, ld, other); e != nil {
			return e, nil
		}
		return nil, fmt.Errorf("%w: the LDs do not contradict each other", wire.ErrMalformed)
	}
	e := &Evidence{LD: ld, Why: errBadSignature, network: n}
	if err := ld.Delivery.Check(n.ID(), n.Home); err != nil {
		e.Why = err
	}
	return e, nil
}

// Check implements [ledger.Notice]. It returns nil if the evidence proves that the source broke a rule.
func (e *Evidence) Check(scheme sig.Scheme) error {
	if e.CL != nil {
		if err := e.CL.Check(scheme); err != nil {
			return fmt.Errorf("evidence: %w", err)
		}
		return e.checkCertificates(scheme, e.LD)
	}
	if e.Other == nil {
		err := e.LD.Verify(scheme, e.network, nil)
		var found *Evidence
		switch {
		case errors.As(err, &found):
			return nil
		case err == nil:
			return fmt.Errorf("evidence: LD %d of shard %d breaks no rule", e.LD.Delivery.Number, e.Source())
		}
		return fmt.Errorf("evidence: %w", err)
	}
	return e.checkCertificates(scheme, e.LD, e.Other)
}

// checkCertificates verifies the certificates of LDs, whether or not their contents keep the rules.
func (e *Evidence) checkCertificates(scheme sig.Scheme, lds ...*LD) error {
	for _, l := range lds {
		proof, err := l.Check(e.network)
		var found *Evidence
		if err != nil && !errors.As(err, &found) {
			return fmt.Errorf("evidence: %w", err)
		}
		if !scheme.VerifyAll(proof) {
			return fmt.Errorf("evidence: LD %d of shard %d: a signature of its certificate does not verify", l.Delivery.Number, e.Source())
		}
	}
	return nil
}

// Execute implements [ledger.Notice]: it freezes the channel of the source.
func (e *Evidence) Execute(s *ledger.BlockState) error {
	s.Channels.Freeze(ledger.Freeze{
		Source: e.Source(), Number: e.LD.Delivery.Number, Delivery: e.LD.Digest(), Why: e.Why.Error(), Proof: string(e.Encode()),
	})
	return nil
}

// Kinds returns the table of the kinds of entries, other than transactions, that a batch of a shard may have.
func (n *Network) Kinds(shard uint16) ledger.Kinds {
	return ledger.Kinds{
		{
			ID: ledger.KindEvidence, Name: "evidence", MaxBytes: MaxEvidenceBytes,
			Decode: func(content []byte) (ledger.Notice, error) { return DecodeEvidence(n, shard, content) },
		},
		ledger.ContinueKind(),
		{
			ID: ledger.KindCancel, Name: "cancellation", MaxBytes: MaxCLBytes,
			Decode: func(content []byte) (ledger.Notice, error) { return n.decodeCancel(shard, content) },
		},
	}
}
