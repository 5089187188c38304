// Package engine runs one replica as a process: it connects the deterministic [driver.Driver] with disk, clock, peers'
// streams and clients. Every decision is that of the driver or of its parts.
//
// The loop does no slow work. Each peer's reader goroutine checks the peer's frames (package intake), so the readers are the
// pool of verifiers. A reader whose peer has used up its quota of the input channel blocks, which slows that peer and no
// other. A writer makes the records of many actions durable in one sync, and only then releases the actions. An executor
// applies committed blocks to the ledger (package execution). A server reads stored data for peers. A checker verifies the
// signatures of batches. Actions are released in the order in which they were made.
package engine

import (
	"context"
	"sync/atomic"
	"time"

	golog "github.com/ipfs/go-log/v2"

	"bdtnode/internal/fairshare"
	"bdtnode/internal/kv"
	"bdtnode/internal/sig"
	"bdtnode/node/admission"
	"bdtnode/node/driver"
	"bdtnode/node/execution"
	"bdtnode/node/loglimit"
	"bdtnode/node/p2p"
	"bdtnode/node/replica"
	"bdtnode/node/supervise"
	"bdtnode/protocols"
)

var logger = golog.Logger("bdt/engine")

// outside writes the log lines that other parties can cause.
var outside = loglimit.New(logger)

// maxBurst is the number of events handled before the next turn of timers and the own lane.
const maxBurst = 128

// Sender hands frames to peers. It never blocks. A frame that is lost is followed by a call of [Engine.Connected].
type Sender interface {
	Send(to protocols.Index, class p2p.Class, frame []byte)
}

// Config describes an engine. The driver's Store and observers are set by New.
type Config struct {
	driver.Config
	Store kv.Store // consensus store, with a log
	Net   Sender
}

// Engine is one running replica. It handles the frames of its shard's consensus streams.
type Engine struct {
	*parts
	cfg       Config
	driver    *driver.Driver
	executor  *execution.Executor
	verifying *fairshare.Places[admission.Party]
	connected []atomic.Bool // by peer: a session begins

	status          atomic.Pointer[Status]
	commits         commits
	presence        atomic.Pointer[replica.Presence]
	presenceVersion uint64 // of the loop
	standing        atomic.Pointer[replica.Standing]
	beat            atomic.Int64 // time of the loop's last turn

	inspect   chan chan<- *driver.View
	inspected atomic.Pointer[driver.View] // newest snapshot
}

// Status is the state of an engine at one moment.
type Status struct {
	replica.Status
	Behind bool // see [replica.Core.FallenBehind]
}

// New restores the replica from its stores and starts nothing.
func New(cfg Config) (*Engine, error) {
	p := newParts(&cfg)
	cfg.Config.Store = cfg.Store
	scheme := cfg.Scheme
	cfg.VerifyAll = func(checks []sig.Check) bool { return inPieces(scheme, checks) }
	cfg.ObserveLatency, cfg.ObserveAcceptance, cfg.ObserveBatch = p.took, p.accepted, p.logged
	d, err := driver.New(cfg.Config, host{p})
	if err != nil {
		return nil, err
	}
	p.meter.begin(d.Core())
	e := &Engine{
		parts: p, cfg: cfg, driver: d,
		executor:  execution.NewExecutor(p.blocks, d.Execution(), p.inputs.executed),
		verifying: fairshare.NewPlaces[admission.Party](verifiers(), verifiers()),
		connected: make([]atomic.Bool, cfg.Committee.N()),
		inspect:   make(chan chan<- *driver.View),
	}
	e.report()
	return e, nil
}

// Exchange is the replica's part in the exchange of LDs between shards.
func (e *Engine) Exchange() *driver.Exchange { return e.driver.Exchange() }

// Publish receives a value when LDs may have become certified, see [driver.Exchange.Publish].
func (e *Engine) Publish() <-chan struct{} { return e.publish }

// Run drives the replica until ctx ends, which is no error, or until a failure that must stop the node: the disk, a broken
// invariant, a header that differs from a certified one. All goroutines have ended when it returns.
func (e *Engine) Run(ctx context.Context) error {
	g := supervise.New(ctx)
	g.Go("writer", func(ctx context.Context) error { return e.writer.run(ctx, e.driver) })
	g.Go("server", e.runServer)
	g.Go("executor", e.executor.Run)
	g.Go("checker", e.runChecker)
	g.Go("flusher", e.executor.RunFlushes)
	g.Go("clients", e.runClients)
	g.Go("engine", e.loop)
	defer close(e.stopped)
	return g.Wait()
}

// loop is the only goroutine that gives inputs to the driver.
func (e *Engine) loop(ctx context.Context) error {
	e.driver.Start()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case ev := <-e.inputs.events:
			e.handle(ev)
		case <-timer.C:
		case <-e.kick:
		case reply := <-e.inspect:
			e.answerInspection(reply)
		case <-ctx.Done():
			return nil
		}
		e.burst()
		for i := range e.connected {
			if e.connected[i].CompareAndSwap(true, false) {
				e.driver.Connected(protocols.Index(i))
			}
		}
		next := e.driver.Turn()
		e.report()
		if next == 0 {
			timer.Stop()
		} else {
			timer.Reset(max(0, next.Sub(e.clock.now())))
		}
	}
}

// burst handles waiting events, at most maxBurst.
func (e *Engine) burst() {
	for range maxBurst {
		select {
		case ev := <-e.inputs.events:
			e.handle(ev)
		default:
			return
		}
	}
}

func (e *Engine) handle(ev event) {
	if ev.executed != nil {
		e.driver.Executed(ev.executed)
		e.meter.executed(e.clock.now(), ev.executed)
		return
	}
	e.meter.received(e.clock.now, &ev.message)
	e.driver.Handle(ev.message)
	ev.release()
}

// report makes the driver's state readable for status and metrics.
func (e *Engine) report() {
	core := e.driver.Core()
	now := e.clock.now()
	s := Status{Status: core.Status(), Behind: core.FallenBehind(now)}
	if old := e.status.Load(); old == nil || *old != s {
		e.status.Store(&s)
	}
	e.commits.note(time.Now(), s.Status, e.work())
	e.meter.turn(now, s.Status, core)
	e.reportPresence(now)
	e.reportStanding()
}

// work is the kind of data that waits for a commit here.
func (e *Engine) work() Work {
	switch {
	case e.driver.Core().Pending():
		return Batches
	case e.driver.Waiting() > 0:
		return Transactions
	}
	return NoWork
}

// Status is the newest state that the loop has reported.
func (e *Engine) Status() Status { return *e.status.Load() }

// PeerHeight is the height that a peer has shown, 0 if it has shown none.
func (e *Engine) PeerHeight(i protocols.Index) uint64 { return e.driver.Intake().Height(i) }

// Connected is called when both streams to a peer are up.
func (e *Engine) Connected(i protocols.Index) {
	e.connected[i].Store(true)
	signal(e.kick)
}

// Disconnected is called when a peer's streams are down. It does nothing, since no part of the engine waits for one
// peer.
func (e *Engine) Disconnected(protocols.Index) {}

// signal requests the next turn of a goroutine.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
