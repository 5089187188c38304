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
	"bdtnode/protocols/channels"
	"bdtnode/protocols/lanes"
	"bdtnode/shard/courier"
	"bdtnode/shard/settlement"
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
	if n.adversary == nil {
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
	if n.alive && n.adversary == nil {
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

// serveMean is how long it takes to read stored data for a peer, which happens beside everything else.
const serveMean = 500 * time.Microsecond

// send sends, and has what stands for stored data read.
func (n *node) send(sends []protocols.Send) {
	for _, x := range sends {
		if replica.Serves(x.Message) {
			n.serving.Put(protocols.Index(x.To), x.Message)
			n.serveNext()
			continue
		}
		n.tell(x.To, x.Message)
	}
}

// serveNext answers the requests of peers one after another.
func (n *node) serveNext() {
	if n.answering {
		return
	}
	to, m, again := n.serving.Next(n.s.now)
	if m == nil {
		if again != 0 {
			n.answering = true
			n.after(again.Sub(n.s.now), n.served)
		}
		return
	}
	n.answering = true
	n.after(n.s.around(serveMean), func() {
		messages, read, err := replica.Answer(n.s.committee, n.store, n.state, m)
		if err != nil {
			panic(err)
		}
		n.serving.Read(n.s.now, to, read)
		for _, x := range messages {
			n.tell(protocols.To(to), x)
		}
		n.served()
	})
}

func (n *node) served() {
	n.answering = false
	n.serveNext()
}

func (n *node) tell(to protocols.To, m protocols.Message) {
	if n.s.muted && ofPings(m) {
		return
	}
	var frame []byte
	for j, peer := range n.s.nodes {
		if peer.id == n.id || to != protocols.Everyone && int(peer.id) != int(to) {
			continue
		}
		n.gates[peer.id].Asks(m)
		if n.adversary != nil {
			for _, p := range n.adversary.tamper(n, peer.id, m) {
				n.s.network.send(n.place, j, p)
			}
			continue
		}
		if frame == nil {
			frame = replica.Encode(m)
			n.s.check.sent(n, m)
		}
		n.s.network.send(n.place, j, packet{frame: frame, message: m})
	}
}

// connected is called when the replica learns of a connection.
func (n *node) connected(to protocols.Index) {
	n.s.guard(n, func() {
		n.s.trace.add(n.s.now, "connected", n.place, int(to), nil, nil)
		n.input(func(protocols.Time) replica.Step {
			st := n.core.Connected(to)
			n.s.check.resent(n, &st)
			return st
		})
	})
}

// receive checks a frame as the workers of a node do, and hands it to the core.
func (n *node) receive(sender *node, p packet) {
	from := sender.id
	n.s.guard(n, func() {
		if !n.enter(sender, p.frame) {
			return
		}
		m, err := n.verify(from, p.frame)
		if err != nil {
			n.s.trace.add(n.s.now, "refused", sender.place, n.place, p.frame, err)
			n.s.check.refused(n, from, err)
			n.s.network.sever(sender.place, n.place) // as the node drops a peer that sends what it never may
			return
		}
		if m == nil {
			n.s.trace.add(n.s.now, "of no use", sender.place, n.place, p.frame, nil)
			return
		}
		n.s.trace.add(n.s.now, "message", sender.place, n.place, p.frame, m)
		if ofPings(m) {
			n.s.trace.pings++
		}
		if _, unverified := m.(*bdt.Beyond); !unverified {
			n.s.check.passed(n, from, p, m)
		}
		if a, ok := n.adversary.(listener); ok {
			a.hear(n, from, m)
		}
		n.input(func(now protocols.Time) replica.Step {
			_, history := m.(*replica.History)
			asked, before := n.core.Expects(from), n.core.Status().Committed
			st := n.core.Handle(now, from, m)
			if after := n.core.Status().Committed; history && !asked && after > before {
				n.s.check.adopted(n, from, after-before)
			}
			return st
		})
	})
}

// ofPings reports whether a message is of those that an idle network sends too.
func ofPings(m protocols.Message) bool {
	return m.Kind() == replica.KindPing || m.Kind() == replica.KindPong
}

// enter reports whether a frame is to be decoded.
func (n *node) enter(sender *node, frame []byte) bool {
	if len(frame) == 0 {
		return true
	}
	gate, kind := n.gates[sender.id], protocols.Kind(frame[0])
	before, _ := gate.Refused()
	take, _ := gate.Admit(n.s.now, kind, len(frame))
	if over, _ := gate.Refused(); over > before {
		n.s.check.overBudget(n, sender, kind)
	}
	if !take {
		n.s.trace.add(n.s.now, "dropped", sender.place, n.place, frame, nil)
	}
	return take
}

// verify takes a frame apart and checks all of it that needs no state.
func (n *node) verify(from protocols.Index, frame []byte) (protocols.Message, error) {
	s := n.s
	m, err := replica.Decode(s.committee, frame)
	if err != nil {
		return nil, err
	}
	if n.adversary == nil {
		if m = n.core.Horizon().Sift(from, m); m == nil {
			return nil, nil
		}
	}
	if err := replica.Verify(s.committee, len(s.shards), s.scheme, s.coin, from, m); err != nil {
		return nil, fmt.Errorf("%s: %w", describe(m), err)
	}
	if b, ok := m.(*lanes.Batch); ok {
		p, err := ledger.CheckPayload(s.kinds, s.scheme, s.committee.Network(), b.Payload)
		if err != nil {
			return nil, err
		}
		if p.Len() != int(b.Count) {
			return nil, fmt.Errorf("%s: %d entries in its payload", describe(m), p.Len())
		}
	}
	if x, ok := m.(*replica.Inbound); ok {
		if err := n.checkLD(x); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// execute works off deliveries, one at a time.
func (n *node) execute() {
	if n.executing || len(n.deliveries) == 0 {
		return
	}
	n.executing = true
	n.after(n.s.around(n.s.execMean), func() {
		d := n.deliveries[0]
		n.deliveries = n.deliveries[1:]
		n.executing = false
		in, err := replica.Ordered(d, n)
		if err != nil {
			panic(err)
		}
		block, err := n.state.Execute(in)
		if err != nil {
			panic(err)
		}
		h := block.Header.Height
		if err := replica.CheckExecuted(n.store, h, block.HeaderDigest); err != nil {
			panic(err)
		}
		n.s.trace.add(n.s.now, "executed", n.place, -1, block.HeaderDigest[:], h)
		n.s.check.executed(n, &in, block)
		ordered := uint64(0)
		for _, ref := range d.Refs {
			if ref.Lane == n.id {
				ordered = max(ordered, ref.Tip.Seq)
			}
		}
		n.door.Executed(block, ordered, n.instant())
		n.lookAgain()
		if n.s.rng.IntN(16) == 0 {
			if err := n.state.Flush(); err != nil {
				panic(err)
			}
		}
		n.input(func(now protocols.Time) replica.Step {
			return n.core.Executed(now, block)
		})
		if n.alive {
			if len(block.Outbox) > 0 {
				n.outbox() // the others may have certified the header before
			}
			n.execute()
		}
	})
}

// Payload implements [replica.Contents].
func (n *node) Payload(ref lanes.Ref) (*ledger.Payload, error) {
	b, err := replica.Batch(n.s.committee, n.store, ref.Lane, ref.Tip)
	if err != nil || b == nil {
		return nil, fmt.Errorf("batch %d of lane %d is delivered and not in the store: %w", ref.Tip.Seq, ref.Lane, err)
	}
	return ledger.DecodePayload(n.s.kinds, b.Payload)
}

// Delivery implements [replica.Contents].
func (n *node) Delivery(ref channels.Ref) (*ledger.Delivery, error) {
	stored, err := replica.StoredLD(n.store, ref.Source, ref.Tip)
	if err != nil || stored == nil {
		return nil, fmt.Errorf("LD %d of shard %d is ordered and not in the store: %w", ref.Tip.Seq, ref.Source, err)
	}
	ld, err := settlement.DecodeLD(stored.Raw)
	if err != nil {
		return nil, err
	}
	return ld.Delivery, nil
}

// propose makes batches of the own lane of what the door has ready.
func (n *node) propose() {
	for n.alive {
		notices := n.core.Notices()
		waiting := n.door.Waiting() + notices
		if waiting == 0 {
			return
		}
		ok, again := n.core.WantsBatch(n.now(), waiting)
		if !ok {
			if again != 0 && (n.askAt == 0 || again < n.askAt) {
				n.askAt = again
				n.after(again.Sub(n.s.now), func() {
					n.askAt = 0
					n.propose()
					if n.alive {
						n.arm()
					}
				})
			}
			return
		}
		txs := n.door.Take(lanes.MaxPayload-notices, lanes.MaxCount-1)
		if len(txs) == 0 && notices == 0 {
			return
		}
		st, batch := n.core.Append(n.now(), txs)
		n.unlogged = append(n.unlogged, batch)
		n.took(st)
	}
}

// Pauses of attend, and how much is looked at again without one, as in the engine.
const (
	attendEvery     = 200 * time.Millisecond
	checkpointEvery = 5 // attendances
	lookMost        = 64
)

// attend has the door's transactions that are due looked at again, and what it keeps written.
func (n *node) attend() {
	n.after(attendEvery, func() {
		n.lookAgain()
		n.propose()
		if n.attended++; n.alive && n.attended%checkpointEvery == 0 {
			if records := n.door.Checkpoint(); len(records) > 0 {
				n.took(replica.Step{Persist: records})
			}
		}
		if n.alive {
			n.arm()
			n.attend()
		}
	})
}

// lookAgain looks up what the door wants looked at again.
func (n *node) lookAgain() {
	for more := true; more; {
		due := n.door.Due(n.instant(), lookMost)
		for _, tx := range due {
			l, err := admission.Read(n.state, tx, n.instant())
			if err != nil {
				panic(err)
			}
			n.door.Again(tx, l, n.instant())
		}
		more = len(due) == lookMost
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
