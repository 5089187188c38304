package sim

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"bdtnode/internal/kv"
	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/lanes"
	"bdtnode/shard/courier"
)

// node is one replica: its core, what it stores, and what it has begun and not finished. Everything but the two
// stores is gone after a crash.
type node struct {
	s         *cluster
	id        protocols.Index
	place     int       // among the shard's nodes: its id, or above all ids in the second of twins
	adversary Adversary // nil in an honest one
	store     *kv.Mem   // of consensus
	effects   *kv.Mem   // of the ledger
	wall      *protocols.Wall
	skew      time.Duration // of the wall clock
	dead      bool          // for good
	promised  []*ledger.Tx  // accepted in any life, and without a final answer as far as clients know
	fresh     bool          // it was never started
	replaced  bool          // its stores are not those that it signed with
	nonce     uint64        // of this life

	alive      bool
	life       int // counts starts and crashes: what an earlier life began does not end in this one
	core       *replica.Core
	state      *ledger.State
	door       *admission.Door
	unwritten  []replica.Step
	writing    bool
	deliveries []*bdt.Delivery
	executing  bool
	wake       protocols.Time // of the timer that is set, zero if none is
	attended   int
	unlogged   []*lanes.Batch    // own ones that are not on disk
	askAt      protocols.Time    // when the book is looked into again, zero if no time is set
	certified  uint64            // greatest height of a header with a certificate
	verified   *replica.Verified // encodings of LDs
	serving    *replica.Serving
	answering  bool             // a request is read from the store, or waits for its peer's turn
	gates      []*replica.Gate  // of each peer
	courier    *courier.Machine // nil in a network of one shard
	courierAt  protocols.Time   // of its timer, zero if none is set
}

func newNode(s *cluster, id protocols.Index, place int) *node {
	return &node{fresh: true, s: s, id: id, place: place, store: kv.NewMem(), effects: kv.NewMem(), wall: &protocols.Wall{}}
}

// clock is what the replica's wall clock says.
func (n *node) clock() protocols.Time { return n.s.now.Add(n.skew) }

// instant is now by both clocks.
func (n *node) instant() admission.Instant {
	return admission.Instant{Now: n.s.now, WallMS: n.clock().Millis()}
}

// now is the time for the core's next input, which learns with it what the wall clock says.
func (n *node) now() protocols.Time {
	n.wall.Set(n.skew)
	return n.s.now
}

// after does something later unless the replica has crashed by then.
func (n *node) after(d time.Duration, what func()) {
	life := n.life
	n.s.after(d, func() {
		if n.life == life && n.alive {
			n.s.guard(n, what)
		}
	})
}

// start begins a life with what the stores hold.
func (n *node) start() {
	s := n.s
	if n.dead {
		return
	}
	var err error
	if n.state, err = ledger.Open(n.effects, s.ledger); err != nil {
		panic(err)
	}
	cfg := replica.Config{
		Committee: s.committee, Self: n.id, Signer: s.signers[n.id], Coin: s.coin, Shares: s.shares[n.id],
		GenesisTimeMS: s.ledger.GenesisTimeMS, Shards: len(s.shards), Dumbo: s.world.cfg.Dumbo, Slots: s.cfg.Slots, Wall: n.wall,
	}
	if n.guards() {
		if cfg.Begun = n.begin(); cfg.Begun == nil {
			return
		}
	}
	if n.core, err = replica.Restore(cfg, n.state, n.store); err != nil {
		panic(err)
	}
	n.door, err = admission.Restore(admission.Config{Limits: s.cfg.limits(), Kinds: s.kinds, Height: n.state.Height(), Certified: n.core.Status().Certified},
		n.state, n.store, s.committee, n.id, n.instant())
	if err != nil {
		panic(err)
	}
	n.life++
	n.alive, n.writing, n.executing, n.wake, n.askAt = true, false, false, 0, 0
	n.unwritten, n.deliveries, n.unlogged, n.verified = nil, nil, nil, replica.NewVerified()
	n.serving, n.answering, n.gates = replica.NewServing(s.committee.N()), false, nil
	for range s.committee.N() {
		n.gates = append(n.gates, replica.NewGate())
	}
	s.trace.add(s.now, "start", n.place, -1, nil, fmt.Sprintf("executed %d committed %d", n.state.Height(), n.core.Status().Committed))
	s.check.started(n)
	n.certified = n.core.Status().Certified
	n.input(n.core.Start)
	n.attend()
	n.relate()
	s.network.up(n.place)
}

// begin decides whether the replica may start, and is nil if it may not.
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

// crash ends a life. Of what was not synced a random part survives.
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

// input gives the core something and carries out what it wants.
func (n *node) input(f func(now protocols.Time) replica.Step) {
	n.took(f(n.now()))
	if n.alive && n.guards() {
		n.s.check.identity.looked(n)
	}
	if n.alive { // and has not crashed over it
		n.propose()
		n.arm()
	}
}

// took queues a step of the core.
func (n *node) took(st replica.Step) {
	n.s.check.stepped(n, &st)
	if f := n.s.cfg.mutation.persist; f != nil {
		st.Persist = f(st.Persist)
	}
	if n.s.cfg.mutation.sendEarly {
		n.send(st.Sends)
		st.Sends = nil
	}
	n.unwritten = append(n.unwritten, st)
	n.write()
}

// write puts all steps that wait into the store, with one sync if any needs it, and then lets them out.
func (n *node) write() {
	if n.writing || !n.alive || len(n.unwritten) == 0 {
		return
	}
	group, own := n.unwritten, n.unlogged
	n.unwritten, n.unlogged = nil, nil
	sync := false
	for i := range group {
		var b kv.Batch
		sync = replica.Apply(&b, group[i].Persist) || sync
		if b.Len() > 0 {
			if err := n.store.Apply(&b, false); err != nil {
				panic(err)
			}
		}
	}
	if !sync {
		n.release(group)
		return
	}
	n.writing = true
	n.after(n.s.around(n.s.syncMean), func() {
		if err := n.store.Flush(); err != nil {
			panic(err)
		}
		n.s.check.synced(n, group)
		n.synced(own)
		n.writing = false
		if n.s.crashPoint(n) {
			return // written, and nobody told
		}
		n.release(group)
		n.write()
	})
}

// release sends what steps want sent, and acts on their outputs.
func (n *node) release(group []replica.Step) {
	for i := range group {
		n.send(group[i].Sends)
		if len(group[i].Sends) > 0 && n.s.crashPoint(n) {
			return
		}
		for _, o := range group[i].Out {
			if o.Lost != nil {
				n.lost(o.Lost)
				return
			}
			if o.Deliver != nil {
				n.deliveries = append(n.deliveries, o.Deliver)
				n.execute()
			}
			if o.Inbound != nil {
				n.compare(o.Inbound)
			}
			if o.Certified != nil {
				n.s.check.certified(n, o.Certified)
				n.certified = max(n.certified, o.Certified.Height)
				n.outbox()
			}
		}
	}
}

// arm sets the timer to when the core wants it.
func (n *node) arm() {
	w := n.core.Wake()
	if w == 0 || n.wake != 0 && n.wake <= w {
		return
	}
	n.wake = w
	n.after(max(w.Sub(n.s.now), time.Microsecond), func() {
		if n.wake != w {
			return // set to something sooner since
		}
		n.wake = 0
		if due := n.core.Wake(); due != 0 && due <= n.s.now {
			n.s.trace.add(n.s.now, "tick", n.place, -1, nil, nil)
			n.input(func(now protocols.Time) replica.Step {
				st := n.core.Tick(now)
				if len(st.Sends) > 0 && !slices.ContainsFunc(st.Sends, func(x protocols.Send) bool { return !ofPings(x.Message) }) {
					n.s.trace.pings++
				}
				return st
			})
			return
		}
		n.arm()
	})
}
