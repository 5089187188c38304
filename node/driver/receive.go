package driver

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/ledger"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/certify"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
	"bdtnode/shard/settlement"
)

// gate is the budget of one peer's frames, behind a lock: the peer's streams are read by several goroutines.
type gate struct {
	mu sync.Mutex
	*replica.Gate
}

func newGates(n, window int) []gate {
	g := make([]gate, n)
	for i := range g {
		g[i].Gate = replica.NewGate(protocols.Index(i), window)
	}
	return g
}

// congestion is the [replica.Congestion] of a driver, behind a lock: the loop observes, and readers of streams ask.
type congestion struct {
	mu sync.Mutex
	*replica.Congestion
}

func (c *congestion) cost(now protocols.Time, lane protocols.Index, size int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.Cost(now, lane, size)
}

func (c *congestion) observe(now protocols.Time, d bolt.Delays) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Observe(now, d)
}

// asks notes a message that leaves, if it has an answer.
func (d *Driver) asks(to protocols.To, m protocols.Message) {
	switch m.(type) {
	case *replica.Request, *inbound.FetchLD:
	default:
		return
	}
	for i := range d.gates {
		if to == protocols.Everyone || int(to) == i {
			g := &d.gates[i]
			g.mu.Lock()
			g.Asks(m)
			g.mu.Unlock()
		}
	}
}

// Pass reports whether a peer's frame is to be checked, and how long its stream is not to be read before that or in its
// place. It costs the same for every frame, so it is asked before anything is decoded.
func (d *Driver) Pass(from protocols.Index, frame []byte) (take bool, wait time.Duration) {
	if len(frame) == 0 {
		return true, 0
	}
	now, cost := d.time(), 1
	if lane, ok := lanes.BatchLane(frame); ok && lane == from {
		cost = d.congestion.cost(now, lane, len(frame))
	}
	g := &d.gates[from]
	g.mu.Lock()
	before, unasked := g.Refused()
	take, wait = g.Admit(now, frame, cost)
	frames, answers := g.Refused()
	g.mu.Unlock()
	if frames > before || answers > unasked {
		d.host.OverBudget(from, Exceeding{frames, answers})
	}
	return take, wait
}

// Check decodes a frame and verifies its message. The result is zero if the replica has no use for the message. An error is
// the sender's fault: no honest replica sends such a frame.
func (d *Driver) Check(from protocols.Index, frame []byte) (replica.Verified, error) {
	m, err := replica.Decode(d.cfg.Committee, frame)
	if err != nil {
		return replica.Verified{}, err
	}
	if v, ok := m.(*certify.VOTE); ok {
		d.raiseHeight(from, v.Height)
	}
	if !d.cfg.TakeAll {
		switch d.horizon.Load().Relevance(from, m) {
		case protocols.Useless:
			return replica.Verified{}, nil
		case protocols.Ahead:
			return replica.NewAhead(from, m), nil
		case protocols.Useful:
		}
	}
	return d.verifier.Check(from, m)
}

// raiseHeight notes a height that a peer has shown to be at.
func (d *Driver) raiseHeight(i protocols.Index, height uint64) {
	h := &d.heights[i]
	for old := h.Load(); height > old && !h.CompareAndSwap(old, height); old = h.Load() {
	}
}

// contentVerifier is the [replica.ContentVerifier] of a driver.
type contentVerifier struct{ d *Driver }

// VerifyPayload implements [replica.ContentVerifier]. An invalid payload is a fault of the owner of the lane; a replica that
// only passed the batch on is reported, and its stream continues.
func (v contentVerifier) VerifyPayload(from protocols.Index, b *lanes.Batch) (valid bool, err error) {
	err = v.d.checkPayload(b)
	if err == nil || from == b.Lane {
		return err == nil, err
	}
	v.d.host.Misbehaved(protocols.Fault{Peer: from, Reason: fmt.Sprintf("it passed on batch %d of lane %d, whose payload is bad: %v", b.Seq, b.Lane, err)})
	return false, nil
}

// VerifyLD implements [replica.ContentVerifier].
func (v contentVerifier) VerifyLD(x *replica.Inbound) (valid bool, err error) {
	if v.d.cfg.opaque() {
		return false, errNoPayments
	}
	return v.d.checkLD(x)
}

// checkPayload verifies a batch's payload, unless it has been verified before and is still in memory. The signatures of a
// batch for which replicas vouch are checked later, by some of them.
func (d *Driver) checkPayload(b *lanes.Batch) error {
	if d.contents.Has(b.Digest()) {
		return nil
	}
	check := ledger.CheckPayload
	if d.cfg.Vouched > 0 && int(b.Count) >= d.cfg.Vouched {
		check = ledger.CheckForm
	}
	p, err := check(d.kinds, d.cfg.Scheme, d.cfg.Committee.Network(), b.Payload)
	if err != nil {
		return err
	}
	if p.Len() != int(b.Count) {
		return fmt.Errorf("batch of %d entries says it has %d", p.Len(), b.Count)
	}
	d.contents.PutPayload(b.Digest(), p, len(b.Payload))
	return nil
}

// Offer takes an LD from a replica of its source. An error is the fault of that replica. It blocks while the loop has many LDs.
func (d *Driver) Offer(ld *settlement.LD) error {
	x, err := fromOutside(d.cfg.Network, ld)
	if err != nil {
		return err
	}
	if x.Number < d.NextLD(x.Source) && d.verified.Has(x.Encoding()) {
		return nil // it is held; a verified LD may have been too far ahead when it first came
	}
	v, err := d.verifier.Check(d.cfg.Self, x)
	if !v.IsZero() {
		d.host.Inbound(v)
	}
	return err
}

// fromOutside is the message with an LD from outside the shard. The error is that of an LD of a shard that does not exist.
func fromOutside(n *settlement.Network, ld *settlement.LD) (*replica.Inbound, error) {
	if source := ld.Delivery.Source; int(source) >= n.Shards() {
		return nil, fmt.Errorf("an LD of shard %d, the network has %d shards", source, n.Shards())
	}
	return replica.NewInbound(ld), nil
}

// checkLD reports whether an LD is good. An error is the fault of the peer that passed the LD on.
func (d *Driver) checkLD(x *replica.Inbound) (good bool, err error) {
	err = replica.CheckLD(d.cfg.Committee, d.cfg.Scheme, d.cfg.Network, &d.verified, x)
	if evidence := (*settlement.Evidence)(nil); errors.As(err, &evidence) {
		// The LD is certified by f+1 replicas of its source and yet against the rules: the peer that passed it on is innocent,
		// and the LD never enters the order.
		d.accuse(evidence)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	d.contents.PutDelivery(x.Digest, x.Content.Delivery, len(x.Raw))
	d.cancels.compare(x.Content)
	return true, nil
}

// accuse takes evidence against another shard.
func (d *Driver) accuse(e *settlement.Evidence) {
	if d.witness.put(e) {
		d.host.BrokeRules(e)
		d.host.Wake()
	}
}

// witness hands evidence against other shards to the loop: the first of each kind for each source, so its size is
// bounded for all inputs.
type witness struct {
	mu   sync.Mutex
	seen map[proof]bool
	todo []*settlement.Evidence
}

// proof is a kind of evidence against a shard.
type proof struct {
	source uint16
	kind   settlement.EvidenceKind
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
