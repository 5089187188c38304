// Package intake is the way of a peer's frame to the consensus core, as far as it needs no state of the core: the budget of the
// peer, decoding, and verification. The process and the simulator both use it.
//
// [Intake.Pass] checks the budget of the frame's kind before anything is decoded. [Intake.Check] decodes the frame, drops a
// message for which the core has no use, and verifies the others by the table of messages of package replica. The payload of
// a batch is decoded once, here, and kept for its execution.
package intake

import (
	"sync"
	"sync/atomic"
	"time"

	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/node/execution"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/cancel"
	"bdtnode/protocols/certify"
	"bdtnode/protocols/coin"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
)

// Config describes the intake of a replica.
type Config struct {
	Committee *protocols.Committee
	Self      protocols.Index
	Shards    int // in the network
	Scheme    sig.Scheme
	Coin      coin.Scheme
	Kinds     ledger.Kinds     // of entries of batches
	Known     *ledger.KnownTxs // transactions whose signatures need no further check
	Window    int              // bytes of a lane above the last commit; 0 is lanes.WindowBytes
	Vouched   int              // entries of a batch from which on replicas vouch for its signatures; 0: they vouch for none
	TakeAll   bool             // messages without use are verified too
	Horizon   *replica.Horizon
}

// Host is the surroundings of the intake. No method may call back into it.
type Host interface {
	// Clock reads the clock that deadlines are measured by.
	Clock() (now protocols.Time, wallAhead time.Duration)
	Misbehaved(f protocols.Fault)                 // of a peer
	OverBudget(from protocols.Index, x Exceeding) // a peer's frames
}

// Exceeding counts refused frames of a peer since the start.
type Exceeding struct {
	Frames  uint64 // beyond the budget of their kind
	Answers uint64 // to no request
}

// Settlement verifies the contents that concern other shards, see [replica.ContentVerifier].
type Settlement interface {
	VerifyLD(x *replica.Inbound) (valid bool, err error)
	VerifyCLM(x *cancel.CLM) error
}

// Intake takes the frames of peers. Its methods may be called concurrently, but for Observe and SetHorizon, which are calls of
// the loop.
type Intake struct {
	cfg        Config
	host       Host
	contents   *execution.Contents
	gates      []gate
	congestion congestion
	verifier   replica.Verifier
	horizon    atomic.Pointer[replica.Horizon] // messages beyond it need no verification
	heights    []atomic.Uint64                 // of peers, as far as they have shown
}

// New makes the intake of a replica. Payloads that it has verified go to contents.
func New(cfg Config, host Host, contents *execution.Contents, s Settlement) *Intake {
	n := cfg.Committee.N()
	x := &Intake{
		cfg: cfg, host: host, contents: contents, gates: newGates(n, cfg.Window), heights: make([]atomic.Uint64, n),
		congestion: congestion{Congestion: replica.NewCongestion(cfg.Self, n, cfg.Window)},
	}
	p := payloads{cfg: &x.cfg, host: host, contents: contents}
	x.verifier = replica.Verifier{
		Committee: cfg.Committee, Shards: cfg.Shards, Signatures: cfg.Scheme, Coin: cfg.Coin, Contents: verifiers{p, s},
	}
	x.horizon.Store(cfg.Horizon)
	return x
}

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

// congestion is a [replica.Congestion] behind a lock: the loop observes, and readers of streams ask.
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

// Asks notes a message that leaves. If it has an answer, the gates of its receivers let that in.
func (x *Intake) Asks(to protocols.To, m protocols.Message) {
	switch m.(type) {
	case *replica.Request, *inbound.FetchLD:
	default:
		return
	}
	for i := range x.gates {
		if to == protocols.Everyone || int(to) == i {
			g := &x.gates[i]
			g.mu.Lock()
			g.Asks(m)
			g.mu.Unlock()
		}
	}
}

// Pass reports whether a peer's frame is to be checked, and how long its stream is not to be read before that or in its
// place. It costs the same for every frame, so it is asked before anything is decoded.
func (x *Intake) Pass(from protocols.Index, frame []byte) (take bool, wait time.Duration) {
	if len(frame) == 0 {
		return true, 0
	}
	now, _ := x.host.Clock()
	cost := 1
	if lane, ok := lanes.BatchLane(frame); ok && lane == from {
		cost = x.congestion.cost(now, lane, len(frame))
	}
	g := &x.gates[from]
	g.mu.Lock()
	before, unasked := g.Refused()
	take, wait = g.Admit(now, frame, cost)
	frames, answers := g.Refused()
	g.mu.Unlock()
	if frames > before || answers > unasked {
		x.host.OverBudget(from, Exceeding{frames, answers})
	}
	return take, wait
}

// Check decodes a frame and verifies its message. The result is zero if the replica has no use for the message. An error is
// the sender's fault: no honest replica sends such a frame.
func (x *Intake) Check(from protocols.Index, frame []byte) (replica.Verified, error) {
	m, err := replica.Decode(x.cfg.Committee, frame)
	if err != nil {
		return replica.Verified{}, err
	}
	if v, ok := m.(*certify.VOTE); ok {
		x.raiseHeight(from, v.Height)
	}
	if !x.cfg.TakeAll {
		switch x.horizon.Load().Relevance(from, m) {
		case protocols.Useless:
			return replica.Verified{}, nil
		case protocols.Ahead:
			return replica.NewAhead(from, m), nil
		case protocols.Useful:
		}
	}
	return x.verifier.Check(from, m)
}

// Verify verifies a decoded message, as [Intake.Check] does after decoding.
func (x *Intake) Verify(from protocols.Index, m protocols.Message) (replica.Verified, error) {
	return x.verifier.Check(from, m)
}

// Observe notes the delays of batches that the core has measured.
func (x *Intake) Observe(now protocols.Time, d bolt.Delays) { x.congestion.observe(now, d) }

// SetHorizon sets the horizon of the core, beyond which it has no use for messages.
func (x *Intake) SetHorizon(h *replica.Horizon) { x.horizon.Store(h) }

// Height is the height that a peer has shown to be at, 0 if it has shown none.
func (x *Intake) Height(i protocols.Index) uint64 { return x.heights[i].Load() }

// SetHeight sets the height that a peer has shown to be at.
func (x *Intake) SetHeight(i protocols.Index, height uint64) { x.heights[i].Store(height) }

// raiseHeight notes a height that a peer has shown to be at.
func (x *Intake) raiseHeight(i protocols.Index, height uint64) {
	h := &x.heights[i]
	for old := h.Load(); height > old && !h.CompareAndSwap(old, height); old = h.Load() {
	}
}
