// Package engine runs one replica for real: it feeds the deterministic core of package replica from the network,
// clients, timers and the executor through one inbound channel, and carries out its steps against disk and streams.
//
// The work is laid out so that nothing slow happens on the loop. Each peer's reader goroutine decodes what came and
// verifies it, so the readers are the pool of verifiers, and one that has used up its peer's quota of the channel
// waits, which is that peer's back-pressure and nobody else's. A writer makes each step's records durable, many
// steps in one sync, and only then lets its messages leave and its deliveries through. An executor applies
// deliveries to the ledger. Steps are carried out in the order in which they were made.
package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	golog "github.com/ipfs/go-log/v2"

	"bdtnode/internal/kv"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/loglimit"
	"bdtnode/node/p2p"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/coin"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/votes"
	"bdtnode/shard/settlement"
)

var logger = golog.Logger("bdt/engine")

// outside writes the lines that others than this replica cause.
var outside = loglimit.New(logger)

// Quotas of the inbound channel. Readers share it by peer and class; timers, executor and connections have the
// reserve, more than they can ever use at once.
const (
	controlQuota = 256 // places, of quotaUnit bytes each
	bulkQuota    = 64
	reserve      = 128
	maxBurst     = 128 // events handled before timers and the book get their turn
)

// Sender hands frames to peers. It never blocks; what it loses ends in a later call of [Engine.Connected].
type Sender interface {
	Send(to protocols.Index, class p2p.Class, frame []byte)
}

// Config is what an engine is made of.
type Config struct {
	Committee     *protocols.Committee
	Self          protocols.Index
	Signer        sig.Signer
	Scheme        sig.Scheme
	Coin          coin.Scheme
	Shares        coin.Holder // of Self
	Dumbo         bool        // there is no fast lane
	Window        int         // bytes of a lane above the last commit, from genesis
	GenesisTimeMS uint64
	Store         kv.Store         // consensus store, with a log
	State         *ledger.State    // over a store without one
	Limits        admission.Limits // of what clients may have here
	Network       *settlement.Network
	Begun         *replica.Begun // this start; nil trusts the store
	OnOutbox      func()         // called when LDs may have become certified; must not block
}

// Engine is one running replica. It handles what comes from its shard over consensus streams.
type Engine struct {
	cfg   Config
	core  *replica.Core
	net   Sender
	clock *clock
	wall  *protocols.Wall // of the core

	in        chan event
	kick      chan struct{} // the book or a connection has something
	connected []atomic.Bool // peers to be sent everything again
	quota     [][2]chan struct{}
	offers    chan struct{} // quota of LDs from outside the shard
	stopped   chan struct{}

	contents *contents
	verified *verified
	kinds    ledger.Kinds // of entries of batches
	witness  witness
	readers  readers
	writer   *writer
	server   *server
	executor *executor
	clients  *clients

	status  atomic.Pointer[Status]
	horizon atomic.Pointer[replica.Horizon] // what readers need not verify
	commits commits

	presence        atomic.Pointer[replica.Presence]
	presenceVersion uint64 // of the loop
	standing        atomic.Pointer[replica.Standing]
	beat            atomic.Int64    // when the loop last handled something
	heights         []atomic.Uint64 // that peers have shown to be at
	nextLD          []atomic.Uint64 // by source shard
}

// Status is a reading of the engine.
type Status struct {
	replica.Status
	Behind bool // others have certified blocks that this replica lacks
}

type event struct {
	from    protocols.Index
	message protocols.Message
	token   chan struct{} // to be given back, nil if none was taken
	places  int           // of it

	executed *ledger.Block // instead of a message
}

// New restores the core from the store and starts nothing.
func New(cfg Config) (*Engine, error) {
	wall := &protocols.Wall{}
	core, err := replica.Restore(replica.Config{
		Committee: cfg.Committee, Self: cfg.Self, Signer: cfg.Signer, Coin: cfg.Coin, Shares: cfg.Shares, Dumbo: cfg.Dumbo,
		GenesisTimeMS: cfg.GenesisTimeMS, Shards: cfg.Network.Shards(), Window: cfg.Window, Wall: wall, Begun: cfg.Begun,
	}, cfg.State, cfg.Store)
	if err != nil {
		return nil, err
	}
	n := cfg.Committee.N()
	e := &Engine{
		cfg: cfg, core: core, clock: newClock(time.Now()), wall: wall,
		in:        make(chan event, (n-1)*(controlQuota+bulkQuota)+bulkQuota+reserve),
		offers:    make(chan struct{}, bulkQuota),
		kick:      make(chan struct{}, 1),
		connected: make([]atomic.Bool, n),
		quota:     make([][2]chan struct{}, n),
		stopped:   make(chan struct{}),
		heights:   make([]atomic.Uint64, n),
		nextLD:    make([]atomic.Uint64, cfg.Network.Shards()),
		contents:  newContents(maxContents),
		verified:  &verified{known: replica.NewVerified()},
		kinds:     cfg.Network.Kinds(cfg.Committee.Shard()),
		witness:   witness{seen: make(map[proven]bool)},
		readers:   newReaders(n),
	}
	for i := range e.quota {
		e.quota[i] = [2]chan struct{}{make(chan struct{}, controlQuota), make(chan struct{}, bulkQuota)}
	}
	// One processor is left to consensus whatever clients submit.
	if e.clients, err = newClients(e, max(1, runtime.GOMAXPROCS(0)-1)); err != nil {
		return nil, err
	}
	e.executor = newExecutor(e, core.Status().Certified)
	e.server = newServer(e)
	e.writer = newWriter(e)
	e.publish()
	return e, nil
}

// Run drives the replica until ctx ends, which is no error, or until something fails that must stop the node: the
// disk, a broken invariant, a header that differs from a certified one. All goroutines have ended when it returns.
func (e *Engine) Run(ctx context.Context, net Sender) error {
	e.net = net
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	part := func(name string, run func(context.Context) error) {
		wg.Go(func() {
			defer func() {
				if r := recover(); r != nil {
					cancel(fmt.Errorf("%s: broken invariant: %v\n%s", name, r, debug.Stack()))
				}
			}()
			if err := run(ctx); err != nil {
				cancel(fmt.Errorf("%s: %w", name, err))
			}
		})
	}
	part("writer", e.writer.run)
	part("server", e.server.run)
	part("executor", e.executor.run)
	part("flusher", e.executor.flushes)
	part("clients", e.clients.run)
	part("engine", e.loop)
	wg.Wait()
	close(e.stopped)
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// loop is the one goroutine that touches the core.
func (e *Engine) loop(ctx context.Context) error {
	e.carryOut(ctx, e.core.Start(e.now()), nil)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case ev := <-e.in:
			e.handle(ctx, ev)
		case <-timer.C:
		case <-e.kick:
		case <-ctx.Done():
			return nil
		}
		for range maxBurst {
			select {
			case ev := <-e.in:
				e.handle(ctx, ev)
				continue
			default:
			}
			break
		}
		for i := range e.connected {
			if e.connected[i].CompareAndSwap(true, false) {
				e.carryOut(ctx, e.core.Connected(protocols.Index(i)), nil)
			}
		}
		for _, x := range e.witness.take() {
			e.carryOut(ctx, e.core.Witness(x), nil)
		}
		now := e.now()
		if w := e.core.Wake(); w != 0 && now >= w {
			e.carryOut(ctx, e.core.Tick(now), nil)
		}
		batchAt := e.fillLane(ctx, now)
		e.publish()
		next := e.core.Wake()
		if next == 0 || batchAt != 0 && batchAt < next {
			next = batchAt
		}
		if next == 0 {
			timer.Stop()
		} else {
			timer.Reset(max(0, next.Sub(e.clock.now())))
		}
	}
}

func (e *Engine) handle(ctx context.Context, ev event) {
	now := e.now()
	if ev.executed != nil {
		b := ev.executed
		e.carryOut(ctx, e.core.Executed(now, b), nil)
		return
	}
	if m, ok := ev.message.(*replica.Position); ok {
		e.heights[ev.from].Store(m.Certified)
	}
	e.carryOut(ctx, e.core.Handle(now, ev.from, ev.message), nil)
	for range ev.places {
		<-ev.token
	}
}

// fillLane makes batches of what the book has ready, as far as the lane takes them, and answers when to look again.
func (e *Engine) fillLane(ctx context.Context, now protocols.Time) protocols.Time {
	for {
		notices := e.core.Notices()
		waiting := int(e.clients.waiting.Load()) + notices
		if waiting == 0 {
			return 0
		}
		ok, at := e.core.WantsBatch(now, waiting)
		if !ok {
			return at
		}
		txs := e.clients.take(lanes.MaxPayload-notices, lanes.MaxCount-1)
		if len(txs) == 0 && notices == 0 {
			return 0
		}
		step, batch := e.core.Append(now, txs)
		payload, err := ledger.DecodePayload(e.kinds, batch.Payload)
		if err != nil {
			panic(fmt.Sprintf("engine: own payload does not decode: %v", err))
		}
		e.contents.put(batch.Digest(), sized{payload: payload, size: len(batch.Payload)})
		e.carryOut(ctx, step, func() { e.clients.logged(batch.Seq, payload) })
	}
}

// carryOut hands a step to the writer. done, if not nil, is called once its records are on disk.
func (e *Engine) carryOut(ctx context.Context, st replica.Step, done func()) {
	for _, f := range st.Faults {
		outside.Warnw("a peer misbehaved", f.Peer, "replica", f.Peer, "fault", f.Reason)
	}
	if len(st.Persist)+len(st.Sends)+len(st.Out) > 0 || done != nil {
		e.writer.put(ctx, action{st, done})
	}
}

func (e *Engine) publish() {
	e.horizon.Store(e.core.Horizon())
	s := Status{Status: e.core.Status(), Behind: e.core.Behind()}
	if old := e.status.Load(); old == nil || *old != s {
		e.status.Store(&s)
	}
	e.commits.note(time.Now(), s.Status, e.work())
	e.publishPresence(e.clock.now())
	e.publishStanding()
	for i := range e.nextLD {
		if n := e.core.NextLD(uint16(i)); n != e.nextLD[i].Load() {
			e.nextLD[i].Store(n)
		}
	}
}

// work is what this replica knows of to commit.
func (e *Engine) work() Work {
	switch {
	case e.core.Pending():
		return Batches
	case e.clients.waiting.Load() > 0:
		return Transactions
	}
	return NoWork
}

// Status is the engine's last reading of itself.
func (e *Engine) Status() Status { return *e.status.Load() }

// NextLD is the number of the first LD of a source shard that this replica lacks.
func (e *Engine) NextLD(source uint16) uint64 { return e.nextLD[source].Load() }

// PeerHeight is the height that a peer was last heard to be at, 0 if it was not.
func (e *Engine) PeerHeight(i protocols.Index) uint64 { return e.heights[i].Load() }

func (e *Engine) outbox() {
	if f := e.cfg.OnOutbox; f != nil {
		f()
	}
}

func (e *Engine) wake() {
	select {
	case e.kick <- struct{}{}:
	default:
	}
}

// Connected is called when both streams to a peer are up.
func (e *Engine) Connected(i protocols.Index) {
	e.connected[i].Store(true)
	e.wake()
}

// Disconnected is called when a peer's streams are down. Nothing waits for a peer, so there is nothing to do.
func (e *Engine) Disconnected(protocols.Index) {}

// Receive decodes and verifies a frame on its reader's goroutine, and hands what is good to the loop. An error means
// that the frame is garbage.
func (e *Engine) Receive(from protocols.Index, class p2p.Class, frame []byte) error {
	if !e.passes(from, frame) {
		return nil
	}
	m, err := replica.Decode(e.cfg.Committee, frame)
	if err != nil {
		return err
	}
	if replica.Bulk(m.Kind()) != (class == p2p.Bulk) {
		return fmt.Errorf("message kind %#x came on the %s stream", m.Kind(), class)
	}
	if v, ok := m.(*votes.VOTE); ok {
		e.raiseHeight(from, v.Height)
	}
	if m = e.horizon.Load().Sift(from, m); m == nil {
		return nil // of no use, so nobody need verify it
	}
	if err := replica.Verify(e.cfg.Committee, e.cfg.Network.Shards(), e.cfg.Scheme, e.cfg.Coin, from, m); err != nil {
		return err
	}
	if b, ok := m.(*lanes.Batch); ok {
		if err := e.checkPayload(b); err != nil {
			if from == b.Lane {
				return err
			}
			outside.Warnw("a peer passed on a batch with a bad payload", from, "replica", from, "lane", b.Lane, "error", err)
			return nil
		}
	}
	if x, ok := m.(*replica.Inbound); ok {
		if good, err := e.checkLD(x); !good {
			return err
		}
	}
	e.admit(event{from: from, message: m, token: e.quota[from][class], places: places(class, frame)})
	return nil
}

// raiseHeight notes a height that a peer has shown to be at.
func (e *Engine) raiseHeight(i protocols.Index, height uint64) {
	h := &e.heights[i]
	for old := h.Load(); height > old && !h.CompareAndSwap(old, height); old = h.Load() {
	}
}

// admit waits for the quota. It has no more places than the channel has for it, and one reader at a time takes several.
func (e *Engine) admit(ev event) {
	for range ev.places {
		select {
		case ev.token <- struct{}{}:
		case <-e.stopped:
			return
		}
	}
	e.in <- ev
}

// Offer takes an LD from outside the shard: from gossip, or from a replica of its source. An error means that it is
// garbage. It waits while the loop has enough of them to do.
func (e *Engine) Offer(ld *settlement.LD) error {
	x := replica.NewInbound(ld)
	if x.Number < e.NextLD(x.Source) && e.verified.Has(x.Encoding()) {
		return nil // it is held; one that was verified may have been too far ahead when it first came
	}
	if good, err := e.checkLD(x); !good {
		return err
	}
	e.admit(event{from: e.cfg.Self, message: x, token: e.offers, places: 1})
	return nil
}

// checkLD reports whether an LD is good. An error is the fault of whoever passed it on.
func (e *Engine) checkLD(x *replica.Inbound) (good bool, err error) {
	err = replica.CheckLD(e.cfg.Committee, e.cfg.Scheme, e.cfg.Network, e.verified, x)
	if evidence := (*settlement.Evidence)(nil); errors.As(err, &evidence) {
		// Certified by f+1 of its source and yet against the rules: the peer that passed it on is innocent, and the LD
		// never enters the order.
		e.witness.put(e, evidence)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	e.contents.put(x.Digest, sized{delivery: x.Content.Delivery, size: len(x.Raw)})
	return true, nil
}

func (e *Engine) checkPayload(b *lanes.Batch) error {
	if e.contents.has(b.Digest()) {
		return nil
	}
	p, err := ledger.CheckPayload(e.kinds, e.cfg.Scheme, e.cfg.Committee.Network(), b.Payload)
	if err != nil {
		return err
	}
	if p.Len() != int(b.Count) {
		return fmt.Errorf("batch of %d entries says it has %d", p.Len(), b.Count)
	}
	e.contents.put(b.Digest(), sized{payload: p, size: len(b.Payload)})
	return nil
}
