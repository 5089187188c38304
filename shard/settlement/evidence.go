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

// MaxEvidenceBytes bounds the encoding of evidence: two LDs of the greatest size.
const MaxEvidenceBytes = 1 + 2*(4+MaxLDBytes)

// Why a certified LD is evidence, where the delivery does not say it.
var (
	errTwoUnderOne  = errors.New("another one under the same number")
	errBadSignature = errors.New("a transaction with a bad signature")
)

// Evidence is a certified LD that no honest shard makes, or two of which it makes one at most: more than f replicas of
// their source are Byzantine. It is an entry of a batch: once it is ordered, the channel of the source is frozen, on
// every replica at the same height. It is immutable.
type Evidence struct {
	LD      *LD
	Other   *LD // the one that contradicts it, if that is why
	Why     error
	network *Network
}

// Error names the source and what it did.
func (e *Evidence) Error() string {
	return fmt.Sprintf("shard %d broke the rules: its certified LD %d to shard %d has %v",
		e.LD.Delivery.Source, e.LD.Delivery.Number, e.LD.Delivery.Destination, e.Why)
}

// Unwrap is why.
func (e *Evidence) Unwrap() error { return e.Why }

// Source is the shard that broke the rules.
func (e *Evidence) Source() uint16 { return e.LD.Delivery.Source }

// Contradict is the evidence that two verified LDs give, if they are two under one number; nil if they are not.
func Contradict(n *Network, a, b *LD) *Evidence {
	x, y := a.Delivery, b.Delivery
	if x.Source != y.Source || x.Destination != y.Destination || x.Number != y.Number || x.Digest() == y.Digest() {
		return nil
	}
	return &Evidence{LD: a, Other: b, Why: errTwoUnderOne, network: n}
}

// Encode implements [ledger.Notice]: version 1 byte, then the LD and the other one, each behind its length 4, which is 0
// if there is no other.
func (e *Evidence) Encode() []byte {
	b := wire.AppendBytes([]byte{EvidenceVersion}, e.LD.Encode())
	if e.Other == nil {
		return wire.AppendBytes(b, nil)
	}
	return wire.AppendBytes(b, e.Other.Encode())
}

// DecodeEvidence decodes evidence against a shard that is heard in another one, to. It proves nothing yet: see
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

// Check implements [ledger.Notice]: nil if the evidence proves what it says.
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
func (e *Evidence) Execute(d *ledger.Desk) error {
	d.Freeze(ledger.Freeze{
		Source: e.Source(), Number: e.LD.Delivery.Number, Delivery: e.LD.Digest(), Why: e.Why.Error(), Proof: string(e.Encode()),
	})
	return nil
}

// Kinds is the table of the entries that a batch of a shard may have beside transactions.
func (n *Network) Kinds(shard uint16) ledger.Kinds {
	return ledger.Kinds{
		{
			ID: ledger.KindEvidence, Name: "evidence", MaxBytes: MaxEvidenceBytes,
			Decode: func(content []byte) (ledger.Notice, error) { return DecodeEvidence(n, shard, content) },
		},
		ledger.ContinueKind(),
	}
}
