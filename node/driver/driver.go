// Package driver is one replica as the process and the simulator both run it: with its parts, the packages intake, clients
// and execution, it makes all decisions. The process supplies disk, clock, links, client connections and parallel
// verification; the simulator supplies its own. Both do it through [Host].
//
// A frame of a peer goes through package intake (the peer's budget, decoding and verification) to [Driver.Handle]. Handle and
// every other input of the consensus core end in one [Action] for [Host.Write]. The host makes the action's records durable,
// then calls [Driver.Send] for its messages and [Driver.Deliver] for its outputs: persist, send, deliver. Only VOTEs leave
// earlier. A committed block goes to [Host.Execute]. The host has package execution execute it, and gives the result back
// through [Driver.Executed]. [Driver.Turn] does the work that is due after any input.
//
// Start, Handle, Executed, Connected and Turn are calls of one goroutine, the loop. Send and Deliver are calls of one
// goroutine. All other methods may be called concurrently. Methods block only inside calls of the Host.
package driver

import (
	"sync/atomic"
	"time"

	"bdtnode/internal/kv"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/clients"
	"bdtnode/node/execution"
	"bdtnode/node/intake"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/coin"
	"bdtnode/shard/settlement"
)

// Config describes a replica.
type Config struct {
	Committee         *protocols.Committee
	Self              protocols.Index
	Signer            sig.Signer
	Scheme            sig.Scheme
	Coin              coin.Scheme
	Shares            coin.Holder                   // of Self
	Dumbo             bool                          // there is no fast lane
	Slots             uint64                        // of an epoch; 0 is the usual number
	Window            int                           // bytes of a lane above the last commit, from genesis; 0 is lanes.WindowBytes
	Gap               time.Duration                 // between proposals under lasting load, from genesis; 0 is bolt.MaxGap
	Vouched           int                           // entries of a batch from which on replicas vouch for its signatures, from genesis; 0: they vouch for none
	VerifyAll         func(checks []sig.Check) bool // of Scheme, possibly over several processors; nil is Scheme.VerifyAll
	GenesisTimeMS     uint64
	Store             kv.Reader        // consensus store
	State             *ledger.State    // the ledger of payments; nil if the shard has another ledger
	Ledger            execution.Ledger // that executes the blocks; nil for State
	Limits            admission.Limits // of clients
	Network           *settlement.Network
	Begun             *replica.Begun                              // this start; nil trusts the store
	ObserveLatency    func(time.Duration)                         // if not nil, called with the time from submission to the end of each transaction
	ObserveAcceptance func(time.Duration)                         // if not nil, called with the time from submission to the batch on disk of each transaction
	ObserveBatch      func(number uint64, t admission.BatchTimes) // if not nil, called for each batch of the own lane on disk
	Recorder          Recorder                                    // if not nil, told all inputs
	TakeAll           bool                                        // messages without use are verified and handled too, as an adversary of the simulator does
}

// Host is the surroundings of a replica. No method may call back into the [Driver].
type Host interface {
	// Clock reads the clock that deadlines are measured by, which is never set, and how far the wall clock is ahead of it.
	Clock() (now protocols.Time, wallAhead time.Duration)
	// Write queues an action behind all earlier ones. The host makes its records durable, many actions in one sync, and
	// calls [Driver.Send] and [Driver.Deliver] for each action in order.
	Write(a Action)
	// Send sends a message to one peer or to all. It does not block; a message that is lost is followed by
	// [Driver.Connected].
	Send(to protocols.To, m protocols.Message)
	// Execute queues a committed block for [execution.Execution.Execute].
	Execute(d *bdt.Delivery)
	// Inbound hands a verified LD of another shard to the loop, for [Driver.Handle] with Self as its sender. It may block
	// while the loop has many.
	Inbound(x replica.Verified)
	// Wake asks for [Driver.Turn] soon, Attend for [Driver.Attend], Serve for [Driver.NextRequest], Publish for
	// [Exchange.Publish] and Verify for [execution.Execution.CheckBatches]. They do not block.
	Wake()
	Attend()
	Serve()
	Publish()
	Verify()
	Log
}

// Log is told of events that an operator should know of.
type Log interface {
	Misbehaved(f protocols.Fault)                        // of a peer
	RunsTwice(t *replica.Twin)                           // a peer
	BrokeRules(e *settlement.Evidence)                   // another shard; once for each kind of evidence and shard since the start
	Frozen(f *ledger.Freeze, height uint64)              // another shard's channel, by a block
	OverBudget(from protocols.Index, x intake.Exceeding) // a peer's frames
}

// Action is one step of the core, to be written, sent and delivered.
type Action struct {
	replica.Step
	Own *clients.OwnBatch // nil, or the batch of the own lane in the step
}

// Driver is one running replica.
type Driver struct {
	cfg  *Config
	host Host
	core *replica.Core
	wall *protocols.WallClock // of the core

	kinds     ledger.Kinds // of entries of batches
	contents  *execution.Contents
	known     *ledger.KnownTxs
	witness   *witness
	cancels   *cancels
	clients   *clients.Clients
	appends   *clients.Appends // nil unless the shard orders opaque payloads
	entries   entries          // the one of the two that the ledger needs
	intake    *intake.Intake
	exchange  *Exchange
	execution *execution.Execution
	serving   serving

	moved  bool           // the core has handled an input since publish
	wake   protocols.Time // of the core, as of its last input before publish
	nextLD nextLDs
}

// New restores a replica from its stores. It calls only [Host.Clock]. Each part gets finished parts.
func New(cfg Config, host Host) (*Driver, error) {
	wall := &protocols.WallClock{}
	core, err := replica.Restore(replica.Config{
		Committee: cfg.Committee, Self: cfg.Self, Signer: cfg.Signer, Coin: cfg.Coin, Shares: cfg.Shares, Dumbo: cfg.Dumbo, Slots: cfg.Slots,
		GenesisTimeMS: cfg.GenesisTimeMS, Shards: cfg.Network.Shards(), Window: cfg.Window, Gap: cfg.Gap, Opaque: cfg.opaque(), Vouched: cfg.Vouched, WallClock: wall, Begun: cfg.Begun,
	}, cfg.ledger(), cfg.Store)
	if err != nil {
		return nil, err
	}
	if cfg.VerifyAll == nil {
		cfg.VerifyAll = cfg.Scheme.VerifyAll
	}
	d := &Driver{
		cfg: &cfg, host: host, core: core, wall: wall, kinds: cfg.kinds(), contents: execution.NewContents(), known: ledger.NewKnownTxs(cfg.Network.Shards()),
		witness: &witness{host: host, seen: make(map[proof]bool)},
		serving: serving{queue: replica.NewServing(cfg.Committee.N())},
		nextLD:  nextLDsOf(core, cfg.Network.Shards()),
	}
	d.cancels = newCancels(d.cfg, host, d.witness, d.nextLD)
	certified := core.Status().Certified
	d.clients, err = clients.New(clients.Config{
		Committee: cfg.Committee, Self: cfg.Self, Store: cfg.Store, State: cfg.State, Kinds: d.kinds, Height: cfg.ledger().Height(), Certified: certified,
		Limits: cfg.Limits, Cancellations: d.cancels, ObserveLatency: cfg.ObserveLatency, ObserveAcceptance: cfg.ObserveAcceptance,
		ObserveBatch: cfg.ObserveBatch, Recorder: cfg.Recorder,
	}, host)
	if err != nil {
		return nil, err
	}
	d.entries = d.clients
	if cfg.opaque() {
		d.appends = clients.NewAppends(cfg.Self, certified, host)
		d.entries = d.appends
	}
	others := &lds{cfg: d.cfg, contents: d.contents, cancels: d.cancels, witness: d.witness, verified: verified{known: replica.NewVerifiedLDs()}, known: d.known}
	d.intake = intake.New(intake.Config{
		Committee: cfg.Committee, Self: cfg.Self, Shards: cfg.Network.Shards(), Scheme: cfg.Scheme, Coin: cfg.Coin, Kinds: d.kinds, Known: d.known, Window: cfg.Window,
		Vouched: cfg.Vouched, TakeAll: cfg.TakeAll, Horizon: core.Horizon(),
	}, host, d.contents, others)
	d.exchange = newExchange(d.cfg, host, d.clients, d.intake, others, d.nextLD)
	d.execution = execution.New(execution.Config{
		Committee: cfg.Committee, Self: cfg.Self, Store: cfg.Store, Ledger: cfg.ledger(), State: cfg.State, Kinds: d.kinds, VerifyAll: cfg.VerifyAll, Known: d.known,
		Certified: certified, Recorder: cfg.Recorder, Observers: []execution.Observer{d.entries, d.exchange},
	}, host, d.contents)
	d.moved = true
	d.publish()
	return d, nil
}

// Clients is the replica's part for clients.
func (d *Driver) Clients() *clients.Clients { return d.clients }

// KnownTxs are the transactions whose signatures this replica verified.
func (d *Driver) KnownTxs() *ledger.KnownTxs { return d.known }

// Appends is the replica's part for clients that append opaque payloads, nil in a shard with another ledger.
func (d *Driver) Appends() *clients.Appends { return d.appends }

// Intake takes the frames of peers.
func (d *Driver) Intake() *intake.Intake { return d.intake }

// Execution executes the committed blocks.
func (d *Driver) Execution() *execution.Execution { return d.execution }

// Exchange is the replica's part in the exchange of LDs between shards.
func (d *Driver) Exchange() *Exchange { return d.exchange }

// Core is the consensus core, for readings of its state on the loop's goroutine. Its inputs are the driver's.
func (d *Driver) Core() *replica.Core { return d.core }

// Start begins the replica. It is the first call of the loop.
func (d *Driver) Start() { d.input(CoreInput{Kind: CoreStart, At: d.clock()}) }

// Handle takes a message that [intake.Intake.Check] gave.
func (d *Driver) Handle(v replica.Verified) {
	switch m := v.Message().(type) {
	case *replica.Position:
		d.intake.SetHeight(v.From(), m.Certified)
	case *replica.Inbound:
		defer func() {
			d.nextLD.set(m.Source, d.core.NextLD(m.Source))
			d.exchange.arriving.handled(m.Digest)
		}()
	}
	d.input(CoreInput{Kind: CoreMessage, At: d.clock(), Message: v})
}

// Executed reports an executed block to the core.
func (d *Driver) Executed(x *execution.Executed) {
	d.input(CoreInput{Kind: CoreExecuted, At: d.clock(), Block: x})
}

// Connected begins a session with a peer: it is sent again all that it may lack.
func (d *Driver) Connected(to protocols.Index) { d.input(CoreInput{Kind: CoreConnected, Peer: to}) }

// Turn does the work that is due after inputs: evidence, timers of the core, and batches of the own lane. It returns
// the time of the next call, zero if no time is set.
func (d *Driver) Turn() protocols.Time {
	for _, e := range d.witness.take() {
		d.input(CoreInput{Kind: CoreWitness, Evidence: e})
	}
	found, order := d.cancels.take()
	for _, raw := range found {
		d.input(CoreInput{Kind: CoreImpossible, At: d.clock(), Content: raw})
	}
	for _, cl := range order {
		d.input(CoreInput{Kind: CoreCancel, At: d.clock(), Content: cl.Encode()})
	}
	if results := d.execution.Checked(); len(results) > 0 {
		d.input(CoreInput{Kind: CoreChecked, At: d.clock(), Results: results})
	}
	at := d.clock()
	if d.moved {
		d.wake = d.core.Wake() // it changes only with inputs of the core
	}
	if d.wake != 0 && at.Now >= d.wake {
		d.input(CoreInput{Kind: CoreTick, At: at})
	}
	again := d.fillLane(at)
	d.intake.Observe(at.Now, d.core.Delays())
	d.publish()
	return protocols.Earliest(d.wake, again)
}

// fillLane makes batches of the transactions that wait, as far as the lane takes them. It returns the time of the next
// attempt, zero if no transaction waits for a time.
func (d *Driver) fillLane(at admission.Reading) protocols.Time {
	for {
		notices := d.core.Notices()
		waiting := d.entries.Waiting() + notices
		if waiting == 0 {
			return 0
		}
		ok, again := d.core.WantsBatch(at.Now, waiting)
		if !ok {
			return again
		}
		entries := d.entries.Take(notices)
		if entries.None() && notices == 0 {
			return 0
		}
		d.input(CoreInput{Kind: CoreAppend, At: at, Entries: entries, Waiting: waiting})
	}
}

// Attend looks at the transactions again that are due, and writes accepted transactions to disk from time to time. The host
// calls it [clients.AttendEvery] after the start, at the time that the newest call returned, and after [Host.Attend], one call
// at a time. Zero is no time. The error is the store's.
func (d *Driver) Attend() (next protocols.Time, err error) {
	if err := d.clients.Attend(); err != nil {
		return 0, err
	}
	if err := d.cancels.look(d.clients); err != nil {
		return 0, err
	}
	now := d.time()
	if records := d.clients.Checkpoint(now); len(records) > 0 {
		d.host.Write(Action{Step: replica.Step{Persist: records}})
	}
	return d.clients.Attended(now), nil
}

// publish makes the core's state readable for other goroutines, if the core has handled an input since the last call.
func (d *Driver) publish() {
	if !d.moved {
		return
	}
	d.moved, d.wake = false, d.core.Wake()
	d.intake.SetHorizon(d.core.Horizon())
	for i := range d.nextLD {
		d.nextLD.set(uint16(i), d.core.NextLD(uint16(i)))
	}
}

// nextLDs are the numbers of the first LDs that this replica lacks, by source shard.
type nextLDs []atomic.Uint64

func nextLDsOf(core *replica.Core, shards int) nextLDs {
	x := make(nextLDs, shards)
	for i := range x {
		x.set(uint16(i), core.NextLD(uint16(i)))
	}
	return x
}

func (x nextLDs) get(source uint16) uint64 { return x[source].Load() }

func (x nextLDs) set(source uint16, n uint64) {
	if n != x[source].Load() {
		x[source].Store(n)
	}
}

// time is the present time by the clock that deadlines are measured by.
func (d *Driver) time() protocols.Time {
	now, _ := d.host.Clock()
	return now
}

// NextLD is the number of the first LD of a source shard that this replica lacks.
func (d *Driver) NextLD(source uint16) uint64 { return d.nextLD.get(source) }
