package sim

import (
	"errors"
	"fmt"
	"time"

	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/shard/courier"
	"bdtnode/shard/settlement"
)

// Limits of what a node asks of other shards, as in the relay.
const (
	askTimeout = 3 * time.Second
	maxServed  = 4 << 20
)

// relate begins the replica's part in what shards tell each other.
func (n *node) relate() {
	s := n.s
	n.courier, n.courierAt = nil, 0
	if len(s.shards) == 1 {
		return
	}
	cfg := courier.Config{Shard: s.shard, Self: n.id, Next: n.core.NextLD}
	for _, peer := range s.shards {
		cfg.Committees = append(cfg.Committees, peer.committee)
	}
	n.courier = courier.New(cfg, s.now)
	n.outbox()
}

// outbox publishes the LDs that have become certified, if it is this replica's turn.
func (n *node) outbox() {
	if n.courier == nil || !n.alive {
		return
	}
	all, err := n.state.Channels()
	if err != nil {
		panic(err)
	}
	for _, c := range all {
		number := max(n.courier.Known(c.Peer), c.Acked)
		for number < c.Sent && n.ld(c.Peer, number+1) != nil {
			number++
		}
		for _, p := range n.courier.Certified(n.s.now, c.Peer, c.Acked, number).Publish {
			if ld := n.ld(p.Destination, p.Number); ld != nil {
				n.s.crossing.gossip(n, ld)
			}
		}
	}
	n.armCourier()
}

// ld reads an LD, or nil if it is not certified yet or was shown applied.
func (n *node) ld(destination uint16, number uint64) *settlement.LD {
	ld, err := replica.OutgoingLD(n.store, n.state, destination, number, n.certified)
	if err != nil {
		panic(err)
	}
	return ld
}

// armCourier sets the timer to when the courier wants it.
func (n *node) armCourier() {
	w := n.courier.Wake()
	if w == 0 || n.courierAt != 0 && n.courierAt <= w {
		return
	}
	n.courierAt = w
	n.after(max(w.Sub(n.s.now), time.Microsecond), func() {
		if n.courierAt != w {
			return // set to something sooner since
		}
		n.courierAt = 0
		n.ask(n.courier.Tick(n.s.now).Asks)
	})
}

// ask carries out what the courier wants asked.
func (n *node) ask(asks []courier.Ask) {
	for _, a := range asks {
		var ld *settlement.LD
		if a.What == courier.Take {
			if ld = n.ld(a.Shard, a.Number); ld == nil {
				n.after(time.Microsecond, func() { n.answered(a, nil) })
				continue
			}
		}
		life, open := n.life, true
		n.after(askTimeout, func() {
			if open {
				open = false
				n.answered(a, nil)
			}
		})
		n.s.trace.add(n.s.now, "ask", int(n.id), int(a.To), nil, a)
		to := n.s.shards[a.Shard].reach(a.To)
		n.s.crossing.carry(n, to, func() {
			r := to.serve(n, a, ld)
			if r == nil {
				return
			}
			n.s.crossing.carry(to, n, func() {
				if open && n.life == life {
					open = false
					n.answered(a, r)
				}
			})
		})
	}
	n.armCourier()
}

// reply answers an Ask.
type reply struct {
	next uint64
	lds  []packet
}

// serve is what the relay answers. It is nil if there is no answer.
func (n *node) serve(from *node, a courier.Ask, ld *settlement.LD) *reply {
	r := &reply{}
	switch a.What {
	case courier.Fetch:
		size := 0
		for number := a.Number; size < maxServed; number++ {
			ld := n.ld(from.s.shard, number)
			if ld == nil {
				break
			}
			size += ld.Delivery.Size()
			r.lds = append(r.lds, n.told(from, ld)...)
		}
		return r
	case courier.Take:
		given := from.told(n, ld)
		if len(given) == 0 || n.take(from, given[0]) != nil {
			return nil
		}
		r.next = max(n.core.NextLD(from.s.shard), a.Number+1)
	default:
		r.next = n.core.NextLD(from.s.shard)
	}
	if liar, ok := n.adversary.(stranger); ok {
		r.next = liar.position(n, r.next)
	}
	return r
}

// answered tells the courier what became of an Ask; a nil reply is none.
func (n *node) answered(a courier.Ask, r *reply) {
	n.s.trace.add(n.s.now, "answer", int(a.To), int(n.id), nil, a)
	if a.What != courier.Fetch {
		next := uint64(0)
		if r != nil {
			next = r.next
		}
		n.ask(n.courier.Position(n.s.now, a, next, r != nil).Asks)
		return
	}
	count, ok := 0, r != nil
	for k := 0; ok && k < len(r.lds); k++ {
		ok = n.take(n.s.shards[a.Shard].nodes[a.To], r.lds[k]) == nil
		if !n.alive {
			return
		}
		count++
	}
	n.courier.Fetched(n.s.now, a, count, ok)
	n.armCourier()
}

// told is what reaches a replica of another shard of an LD that this one tells it.
func (n *node) told(to *node, ld *settlement.LD) []packet {
	if liar, ok := n.adversary.(stranger); ok {
		return liar.tell(n, to, ld)
	}
	if n.s.hostile() {
		ld = n.pretended(to, ld)
	}
	return []packet{{frame: ld.Encode()}}
}

// take checks an LD from another shard as a node does, and hands it to the core.
func (n *node) take(from *node, p packet) error {
	ld, err := settlement.DecodeLD(p.frame)
	var x *replica.Inbound
	if err == nil {
		x = replica.NewInbound(ld)
		err = n.checkLD(x)
	}
	if err != nil {
		n.s.trace.add(n.s.now, "refuse LD", int(n.id), -1, p.frame, err)
		n.s.settling.refused(n, from, err)
		return err
	}
	d := ld.Delivery
	n.s.trace.add(n.s.now, "LD", int(n.id), -1, p.frame, fmt.Sprintf("%d of shard %d %s", d.Number, d.Source, d.Digest().Short()))
	n.s.settling.took(n, from, p, ld)
	n.input(func(now protocols.Time) replica.Step { return n.core.Handle(now, n.id, x) })
	if n.alive {
		n.courier.Seen(n.s.now, d.Source, d.Number)
		n.armCourier()
	}
	return nil
}

// checkLD verifies an LD that came to the replica.
func (n *node) checkLD(x *replica.Inbound) error {
	err := replica.CheckLD(n.s.committee, n.s.scheme, n.s.peers, n.verified, x)
	if evidence := (*settlement.Evidence)(nil); errors.As(err, &evidence) {
		n.accuse(evidence)
	}
	return err
}

// compare looks for another LD under the number of one that came, as the writer of a node does.
func (n *node) compare(x *replica.Inbound) {
	evidence, err := replica.Contradiction(n.store, n.s.peers, x)
	if err != nil {
		panic(err)
	}
	if evidence != nil {
		n.accuse(evidence)
	}
}

// accuse tells the core of evidence, a little later: the loop of a node has other things to do first.
func (n *node) accuse(e *settlement.Evidence) {
	n.s.trace.add(n.s.now, "evidence", int(n.id), int(e.Source()), nil, e)
	if !n.s.shards[e.Source()].hostile() {
		n.s.fail("evidence", "an honest shard is accused: %v", e)
	}
	n.after(time.Microsecond, func() {
		n.input(func(protocols.Time) replica.Step { return n.core.Witness(e) })
	})
}
