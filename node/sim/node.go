package sim

import (
	"errors"
	"fmt"
	"time"

	"bdtnode/internal/kv"
	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/driver"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
)

// node is one replica: its driver, its stores, and its unfinished work. After a crash only the two stores remain.
type node struct {
	s         *cluster
	id        protocols.Index
	place     int           // among the shard's nodes: its id; for the second of twins a number above all ids
	adversary Adversary     // nil in an honest node
	store     *kv.Mem       // of consensus
	effects   *kv.Mem       // of the ledger
	skew      time.Duration // of the wall clock
	dead      bool          // never started again
	promised  []*ledger.Tx  // accepted since genesis, and without a final answer to clients yet
	fresh     bool          // never started yet
	replaced  bool          // its stores are not the ones that it signed with
	nonce     uint64        // of the present start

	alive      bool
	life       int // counts starts and crashes: unfinished work ends with its life
	driver     *driver.Driver
	core       *replica.Core // of the driver
	state      *ledger.State
	due        due
	exceeded   []uint64 // frames of each peer that were beyond their budget
	unwritten  []driver.Action
	writing    bool
	deliveries []*bdt.Delivery
	executing  bool
	inbound    []replica.Verified // verified LDs from other shards
	answering  bool               // a request is being read from the store, or waits for its peer's turn
	turnAt     protocols.Time     // of the timer for the next turn, zero if none is set
	tickAt     protocols.Time     // of the exchange's timer, zero if none is set
	resending  bool               // the driver handles a new connection
	onlyPings  bool               // no turn has done anything but send Pings
}

// due has the calls that the driver has requested.
type due struct {
	turn, attend, serve, publish, tick bool
}

func newNode(s *cluster, id protocols.Index, place int) *node {
	return &node{fresh: true, s: s, id: id, place: place, store: kv.NewMem(), effects: kv.NewMem()}
}

// clock is the time of the replica's wall clock.
func (n *node) clock() protocols.Time { return n.s.now.Add(n.skew) }

// after runs a function later, unless the replica has crashed by then.
func (n *node) after(d time.Duration, what func()) {
	life := n.life
	n.s.after(d, func() {
		if n.life == life && n.alive {
			n.s.guard(n, what)
		}
	})
}

// start starts the replica from its stores.
func (n *node) start() {
	s := n.s
	if n.dead {
		return
	}
	var err error
	if n.state, err = ledger.Open(n.effects, s.ledger); err != nil {
		panic(err)
	}
	cfg := driver.Config{
		Committee: s.committee, Self: n.id, Signer: s.signers[n.id], Scheme: s.scheme, Coin: s.coin, Shares: s.shares[n.id],
		Dumbo: s.world.cfg.Dumbo, Slots: s.cfg.Slots, GenesisTimeMS: s.ledger.GenesisTimeMS, Store: n.store, State: n.state,
		Limits: s.cfg.limits(), Network: s.peers, TakeAll: n.adversary != nil,
	}
	if n.guards() {
		if cfg.Begun = n.begin(); cfg.Begun == nil {
			return
		}
	}
	n.life++
	if n.driver, err = driver.New(cfg, host{n, n.life}); err != nil {
		panic(err)
	}
	n.core, n.alive = n.driver.Core(), true
	n.due, n.exceeded = due{publish: true, tick: true}, make([]uint64, s.committee.N())
	n.unwritten, n.deliveries, n.inbound, n.writing, n.executing, n.answering = nil, nil, nil, false, false, false
	n.turnAt, n.tickAt = 0, 0
	s.trace.add(s.now, "start", n.place, -1, nil, fmt.Sprintf("executed %d committed %d", n.state.Height(), n.core.Status().Committed))
	s.check.started(n)
	n.do(n.driver.Start)
	n.attend()
	s.network.up(n.place)
}

// begin decides whether the replica may start. It returns nil if it may not.
func (n *node) begin() *replica.Begun {
	var failed error
	n.s.check.identity.nonce++
	n.nonce = n.s.check.identity.nonce
	b, err := replica.Begin(n.s.committee, n.id, replica.Stored(n.store, &failed), replica.Origin{Born: n.fresh, Nonce: n.nonce})
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
func (n *node) lost(why *replica.Lost) {
	n.s.trace.add(n.s.now, "lost", n.place, -1, nil, why.Why)
	n.s.check.identity.lost(n, why)
	n.dead = true
	if n.alive {
		n.crash()
	}
}

// crash ends a life. A random part of the unsynced data survives.
func (n *node) crash() {
	s := n.s
	n.alive = false
	n.life++
	n.store = n.store.Crash(s.rng.IntN(n.store.Unsynced() + 1))
	n.effects = n.effects.Crash(s.rng.IntN(n.effects.Unsynced() + 1))
	s.trace.add(s.now, "crash", n.place, -1, nil, nil)
	s.check.crashed(n)
	s.network.down(n.place)
}

// do calls the driver, and then makes the calls that the driver requested, until there are none or the replica has
// crashed.
func (n *node) do(call func()) {
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
			must(n.driver.Attend())
		case d.turn:
			d.turn = false
			n.turn()
		case d.serve:
			d.serve = false
			n.serve()
		case d.publish:
			d.publish = false
			n.publish()
		case d.tick:
			d.tick = false
			n.tick()
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
func (n *node) turn() {
	next := n.driver.Turn()
	if !n.alive {
		return
	}
	if n.guards() {
		n.s.check.identity.looked(n)
	}
	if next == 0 || n.turnAt != 0 && n.turnAt <= next {
		return
	}
	n.turnAt = next
	n.after(max(next.Sub(n.s.now), time.Microsecond), func() {
		if n.turnAt != next {
			return // set to an earlier time since
		}
		n.turnAt = 0
		if w := n.core.Wake(); w == 0 || w > n.s.now {
			n.do(func() {})
			return
		}
		n.s.trace.add(n.s.now, "tick", n.place, -1, nil, nil)
		n.onlyPings = true
		n.do(func() {})
		if n.onlyPings {
			n.s.trace.pings++
		}
	})
}

// attend calls the driver's Attend from time to time.
func (n *node) attend() {
	n.after(driver.AttendEvery, func() {
		n.do(func() { must(n.driver.Attend()) })
		if n.alive {
			n.attend()
		}
	})
}

// find is the replica's answer to a client's question about a transaction.
func (n *node) find(id ledger.TxID) (admission.Progress, bool) { return n.driver.Clients().Find(id) }
