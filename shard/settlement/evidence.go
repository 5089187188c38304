package settlement

import (
	"errors"
	"fmt"

	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/ledger"
)

// EvidenceVersion is the version of the encoding of evidence, its first byte.
const EvidenceVersion = 1

// MaxEvidenceBytes is the greatest length of encoded evidence: two LDs of the greatest length.
const MaxEvidenceBytes = 1 + 2*(4+MaxLDBytes)

// Reasons why a certified LD is evidence, in addition to those that [ledger.Delivery.Check] returns.
var (
	errTwoUnderOne  = errors.New("another LD under the same number")
	errBadSignature = errors.New("a transaction with a bad signature")
)

// Evidence is a certified LD that no honest shard makes, or two certified LDs of which an honest shard makes at most
// one. It proves that more than f replicas of the source are Byzantine. It is an entry of a batch: executing it
// freezes the channel of the source, on every replica at the same height. It is immutable.
type Evidence struct {
	LD      *LD
	Other   *LD // the LD that contradicts it, nil if Why is another reason
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

// Encode implements [ledger.Notice]: version 1 byte, then for each of LD and Other a length 4 and the encoding; the
// length of a missing Other is 0.
func (e *Evidence) Encode() []byte {
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
	if v := r.U8(); v != EvidenceVersion {
		r.Fail("evidence version %d is unknown", v)
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
	if e.Other == nil {
		err := e.LD.Verify(scheme, e.network)
		var found *Evidence
		switch {
		case errors.As(err, &found):
			return nil
		case err == nil:
			return fmt.Errorf("evidence: LD %d of shard %d breaks no rule", e.LD.Delivery.Number, e.Source())
		}
		return fmt.Errorf("evidence: %w", err)
	}
	for _, l := range []*LD{e.LD, e.Other} {
		proof, _, err := l.Check(e.network)
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
