package driver

import (
	"errors"
	"fmt"
	"sync"

	"bdtnode/internal/digest"
	"bdtnode/ledger"
	"bdtnode/node/execution"
	"bdtnode/node/replica"
	"bdtnode/protocols/cancel"
	"bdtnode/shard/settlement"
)

// fromOutside is the message with an LD from outside the shard. The error is that of an LD of a shard that does not exist.
func fromOutside(n *settlement.Network, ld *settlement.LD) (*replica.Inbound, error) {
	if source := ld.Delivery.Source; int(source) >= n.Shards() {
		return nil, fmt.Errorf("an LD of shard %d, the network has %d shards", source, n.Shards())
	}
	return replica.NewInbound(ld), nil
}

// lds verifies LDs and CL_Ms: it is an [intake.Settlement].
type lds struct {
	cfg      *Config
	contents *execution.Contents
	cancels  *cancels
	witness  *witness
	verified verified
	known    *ledger.KnownTxs
}

// VerifyCLM implements [intake.Settlement].
func (v *lds) VerifyCLM(x *cancel.CLM) error { return v.cancels.verify(x) }

// VerifyLD implements [intake.Settlement]. An error is the fault of the peer that passed the LD on.
func (v *lds) VerifyLD(x *replica.Inbound) (good bool, err error) {
	if v.cfg.opaque() {
		return false, errNoPayments
	}
	err = replica.CheckLD(v.cfg.Committee, v.cfg.Scheme, v.cfg.Network, &v.verified, v.known, x)
	if evidence := (*settlement.Evidence)(nil); errors.As(err, &evidence) {
		// The LD is certified by f+1 replicas of its source and yet against the rules: the peer that passed it on is innocent,
		// and the LD never enters the order.
		v.witness.accuse(evidence)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	v.contents.PutDelivery(x.Digest, x.Content.Delivery, len(x.Raw))
	v.cancels.compare(x.Content)
	return true, nil
}

// witness hands evidence against other shards to the loop: the first of each kind for each source, so its size is
// bounded for all inputs.
type witness struct {
	host Host
	mu   sync.Mutex
	seen map[proof]bool
	todo []*settlement.Evidence
}

// proof is a kind of evidence against a shard.
type proof struct {
	source uint16
	kind   settlement.EvidenceKind
}

// accuse takes evidence against another shard.
func (w *witness) accuse(e *settlement.Evidence) {
	if w.put(e) {
		w.host.BrokeRules(e)
		w.host.Wake()
	}
}

// put reports whether the evidence is the first of its kind since the start.
func (w *witness) put(e *settlement.Evidence) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := proof{e.Source(), e.Kind()}
	if w.seen[key] {
		return false
	}
	w.seen[key] = true
	w.todo = append(w.todo, e)
	return true
}

// take empties the queue.
func (w *witness) take() []*settlement.Evidence {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.todo
	w.todo = nil
	return out
}

// verified is the set of LD encodings that were verified, behind a lock.
type verified struct {
	mu    sync.Mutex
	known *digest.Recent
}

// Has implements [replica.Encodings].
func (v *verified) Has(encoding digest.Digest) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.known.Has(encoding)
}

// Add implements [replica.Encodings].
func (v *verified) Add(encoding digest.Digest) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.known.Add(encoding)
}
