package intake

import (
	"fmt"

	"bdtnode/ledger"
	"bdtnode/node/execution"
	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// verifiers are a [replica.ContentVerifier].
type verifiers struct {
	payloads
	Settlement
}

// payloads verifies the payloads of batches.
type payloads struct {
	cfg      *Config
	host     Host
	contents *execution.Contents
}

// VerifyPayload implements [replica.ContentVerifier]. An invalid payload is a fault of the owner of the lane; a replica that
// only passed the batch on is reported, and its stream continues.
func (p payloads) VerifyPayload(from protocols.Index, b *lanes.Batch) (valid bool, err error) {
	err = p.check(b)
	if err == nil || from == b.Lane {
		return err == nil, err
	}
	p.host.Misbehaved(protocols.Fault{Peer: from, Reason: fmt.Sprintf("it passed on batch %d of lane %d, whose payload is bad: %v", b.Seq, b.Lane, err)})
	return false, nil
}

// check verifies a batch's payload, unless it has been verified before and is still in memory. The signatures of a
// batch for which replicas vouch are checked later, by some of them.
func (p payloads) check(b *lanes.Batch) error {
	if p.contents.Has(b.Digest()) {
		return nil
	}
	payload, err := ledger.CheckForm(p.cfg.Kinds, p.cfg.Scheme, p.cfg.Committee.Network(), b.Payload)
	if err == nil && (p.cfg.Vouched == 0 || int(b.Count) < p.cfg.Vouched) {
		err = payload.CheckSignatures(p.cfg.Scheme, p.cfg.Known)
	}
	if err != nil {
		return err
	}
	if payload.Len() != int(b.Count) {
		return fmt.Errorf("batch of %d entries says it has %d", payload.Len(), b.Count)
	}
	p.contents.PutPayload(b.Digest(), payload, len(b.Payload))
	return nil
}
