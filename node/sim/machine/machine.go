package machine

import (
	"errors"
	"fmt"
	"time"

	"bdtnode/internal/kv"
	"bdtnode/ledger"
	"bdtnode/ledger/paylog"
	"bdtnode/node/clients"
	"bdtnode/node/driver"
	"bdtnode/node/execution"
	"bdtnode/node/replica"
	"bdtnode/node/sim/adversary"
	"bdtnode/node/sim/observe"
	"bdtnode/protocols"
)

// Machine is one node: a replica's driver, its stores, and its unfinished work. After a crash only the two stores remain.
type Machine struct {
	s         *Shard
	id        protocols.Index
	place     int                 // among the shard's nodes: its id; for the second of twins a number above all ids
	adversary adversary.Behaviour // nil in an honest node
	view      *adversary.View     // of the adversary
	store     *kv.Mem             // of consensus
	effects   *kv.Mem             // of the ledger
	skew      time.Duration       // of the wall clock
	dead      bool                // never started again
	fresh     bool                // never started yet
	replaced  bool                // its stores are not the ones that it signed with
	nonce     uint64              // of the present start

	alive     bool
	life      int // counts starts and crashes: unfinished work ends with its life
	driver    *driver.Driver
	core      *replica.Core // of the driver
	chain     execution.Ledger
	state     *ledger.State // nil in a shard that orders payloads
	due       due
	exchange  exchange
	exceeded  []uint64 // frames of each peer that were beyond their budget
	disk      *disk
	executor  *executor
	checker   *checker
	server    *server
	inbound   []replica.Verified // verified LDs from other shards
	turnAt    protocols.Time     // of the timer for the next turn, zero if none is set
	attender  attender
	resending bool // the driver handles a new connection
	onlyPings bool // no turn has done anything but send Pings
}

// due has the calls that the driver has requested.
type due struct {
	turn, attend, serve, publish, tick bool
}

func newMachine(s *Shard, id protocols.Index, place int) *Machine {
	n := &Machine{fresh: true, s: s, id: id, place: place, store: kv.NewMem(), effects: kv.NewMem()}
	n.exchange.n, n.attender.n = n, n
	return n
}

// corrupt makes the machine Byzantine.
func (n *Machine) corrupt(b adversary.Behaviour) { n.adversary, n.view = b, newView(n) }

// Guard runs code of the replica. A panic in an honest replica is a violation.
func (n *Machine) Guard(action func()) { n.s.guard(n, action) }

// clock is the time of the replica's wall clock.
func (n *Machine) clock() protocols.Time { return n.s.Now().Add(n.skew) }

// after runs a function later, unless the replica has crashed by then.
func (n *Machine) after(d time.Duration, what func()) {
	life := n.life
	n.s.After(d, func() {
		if n.life == life && n.alive {
			n.s.guard(n, what)
		}
	})
}

// Start starts the replica from its stores, unless it is down for good.
func (n *Machine) Start() { n.s.guard(n, n.start) }

func (n *Machine) start() {
	s := n.s
	if n.dead {
		return
	}
	var err error
	must(openLedger(n))
	cfg := driver.Config{
		Committee: s.Committee, Self: n.id, Signer: s.Signers[n.id], Scheme: s.Scheme, Coin: s.Coin, Shares: s.shares[n.id],
		Dumbo: s.cfg.Dumbo, Slots: s.Config.Slots, Vouched: s.Config.Vouched, GenesisTimeMS: s.Ledger.GenesisTimeMS, Store: n.store, State: n.state, Ledger: n.chain,
		Limits: s.Config.Limits, Network: s.Peers, TakeAll: n.adversary != nil,
	}
	if n.Guarded() {
		if cfg.Begun = n.begin(); cfg.Begun == nil {
			return
		}
	}
	n.life++
	if n.driver, err = driver.New(cfg, host{n, n.life}); err != nil {
		panic(err)
	}
	n.core, n.alive = n.driver.Core(), true
	n.due, n.exceeded = due{publish: true, tick: true}, make([]uint64, s.Committee.N())
	n.disk, n.executor, n.server, n.inbound = &disk{n: n}, &executor{n: n}, &server{n: n}, nil
	n.checker = &checker{n: n}
	n.turnAt, n.attender.at, n.exchange.tickAt = 0, 0, 0
	s.Trace.Add(s.Now(), "start", n.place, -1, nil, fmt.Sprintf("executed %d committed %d", n.chain.Height(), n.core.Status().Committed))
	s.check.Started(n)
	n.do(n.driver.Start)
	n.attender.callBy(s.Now().Add(clients.AttendEvery))
	s.Network.Up(n.place)
}

// openLedger opens the ledger of a machine.
func openLedger(n *Machine) (err error) {
	if n.s.cfg.Log {
		n.chain, err = paylog.Open(n.effects, paylog.Config{
			Network: n.s.ID, Shard: n.s.Number, GenesisTimeMS: n.s.Ledger.GenesisTimeMS, IDs: observe.RememberedIDs,
		})
		return err
	}
	n.state, err = ledger.Open(n.effects, n.s.Ledger)
	n.chain = n.state
	return err
}

// begin decides whether the replica may start. It returns nil if it may not.
func (n *Machine) begin() *replica.Begun {
	var failed error
	n.s.nonce++
	n.nonce = n.s.nonce
	b, err := replica.Begin(n.s.Committee, n.id, replica.Stored(n.store, &failed), replica.Origin{Born: n.fresh, Nonce: n.nonce})
	if lost := (*replica.Lost)(nil); errors.As(err, &lost) {
		n.lost(lost)
		return nil
	}
	if err = errors.Join(err, failed); err != nil {
		panic(err)
	}
	n.fresh = false
	var batch kv.Batch
	sync := replica.Apply(&batch, []protocols.Record{b.Record()})
	if err := n.store.Apply(&batch, sync); err != nil {
		panic(err)
	}
	return b
}

// lost ends a replica for good.
func (n *Machine) lost(why *replica.Lost) {
	n.s.Trace.Add(n.s.Now(), "lost", n.place, -1, nil, why.Why)
	n.s.check.Lost(n, why)
	n.Kill()
}

// Behaviour is that of a Byzantine replica, nil in an honest one.
func (n *Machine) Behaviour() adversary.Behaviour { return n.adversary }

// Kill takes the machine down for good.
func (n *Machine) Kill() {
	n.dead = true
	if n.alive {
		n.Crash()
	}
}

// Crash ends a life. A random part of the unsynced data survives, see [executor.survive].
func (n *Machine) Crash() {
	s := n.s
	n.alive = false
	n.life++
	consensus, ledger := n.executor.survive()
	n.store, n.effects = n.store.Crash(consensus), n.effects.Crash(ledger)
	s.Trace.Add(s.Now(), "crash", n.place, -1, nil, nil)
	s.check.Crashed(n)
	s.Network.Down(n.place)
}

// do calls the driver, and then makes the calls that the driver requested, until there are none or the replica has
// crashed.
func (n *Machine) do(call func()) {
	life := n.life
	call()
	n.due.turn = true
	for n.alive && n.life == life {
		switch d := &n.due; {
		case len(n.inbound) > 0:
			x := n.inbound[0]
			n.inbound, d.turn = n.inbound[1:], true
			n.driver.Handle(x)
		case d.attend:
			d.attend = false
			n.attender.call()
		case d.turn:
			d.turn = false
			n.turn()
		case d.serve:
			d.serve = false
			n.server.serve()
		case d.publish:
			d.publish = false
			n.exchange.publish()
		case d.tick:
			d.tick = false
			n.exchange.tick()
		default:
			return
		}
	}
}

// must stops the run if a store in memory fails.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// turn gives the driver its turn, and sets the timer for the next.
func (n *Machine) turn() {
	next := n.driver.Turn()
	if !n.alive {
		return
	}
	if n.Guarded() {
		n.s.check.Looked(n)
	}
	if next == 0 || n.turnAt != 0 && n.turnAt <= next {
		return
	}
	n.turnAt = next
	n.after(max(next.Sub(n.s.Now()), time.Microsecond), func() {
		if n.turnAt != next {
			return // set to an earlier time since
		}
		n.turnAt = 0
		if w := n.core.Wake(); w == 0 || w > n.s.Now() {
			n.do(func() {})
			return
		}
		n.s.Trace.Add(n.s.Now(), "tick", n.place, -1, nil, nil)
		n.onlyPings = true
		n.do(func() {})
		if n.onlyPings {
			n.s.Trace.Pings++
		}
	})
}

// Fall crashes a machine that is up, and starts it again after a random time of a mean.
func (n *Machine) Fall(down time.Duration) {
	if !n.alive {
		return
	}
	n.Crash()
	life := n.life
	n.s.After(n.s.Around(down), func() {
		if !n.alive && n.life == life {
			n.Start()
		}
	})
}

// Stores are the two stores of a machine.
type Stores struct{ consensus, ledger *kv.Mem }

// EmptyStores are stores without content.
func EmptyStores() Stores { return Stores{kv.NewMem(), kv.NewMem()} }

// CopyStores copies the stores.
func (n *Machine) CopyStores() Stores { return Stores{n.store.Fork(), n.effects.Fork()} }

// SetStores gives a machine that is down other stores. With replaced they are not those that the replica signed with.
func (n *Machine) SetStores(x Stores, replaced bool) {
	n.store, n.effects, n.replaced = x.consensus, x.ledger, replaced
}

// Revive ends the effect of Kill, for a machine that gets the stores of another one.
func (n *Machine) Revive() { n.dead, n.fresh = false, false }

// SetSkew sets the offset of the wall clock, and returns the one before.
func (n *Machine) SetSkew(d time.Duration) (before time.Duration) {
	before, n.skew = n.skew, d
	return before
}

// Clients is the interface of the replica to clients. It lasts until the next crash.
func (n *Machine) Clients() *clients.Clients { return n.driver.Clients() }

// Account is the state of an account at the last executed block.
func (n *Machine) Account(a ledger.Address, p ledger.Page) (ledger.Account, error) {
	return n.state.Account(a, p)
}

// Do calls the driver, and makes the calls that it requests.
func (n *Machine) Do(call func()) { n.s.guard(n, func() { n.do(call) }) }
