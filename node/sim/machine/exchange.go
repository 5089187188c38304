package machine

import (
	"fmt"
	"time"

	"bdtnode/node/driver"
	"bdtnode/node/sim/adversary"
	"bdtnode/node/sim/network"
	"bdtnode/protocols"
	"bdtnode/shard/settlement"
	"bdtnode/shard/xshard"
)

// askTimeout is the longest wait for an answer from another shard, as in package xshardnet.
const askTimeout = 3 * time.Second

// exchange carries out the exchange of LDs with the machines of other shards.
type exchange struct {
	n      *Machine
	tickAt protocols.Time // of its timer, zero if none is set
}

// publish publishes the LDs that have become certified, if it is this replica's turn.
func (x *exchange) publish() {
	list, err := x.n.driver.Exchange().Publish()
	must(err)
	for _, p := range list {
		x.gossip(p.LD)
	}
	x.n.due.tick = true
}

// tick sends the requests of the exchange that are due, and sets its timer.
func (x *exchange) tick() {
	asks, wait := x.n.driver.Exchange().Tick()
	x.ask(asks)
	at := x.n.s.Now().Add(wait)
	if wait == driver.Never || x.tickAt != 0 && x.tickAt <= at {
		return
	}
	x.tickAt = at
	x.n.after(max(wait, time.Microsecond), func() {
		if x.tickAt == at {
			x.tickAt = 0
			x.tick()
		}
	})
}

// ask sends requests of the exchange.
func (x *exchange) ask(asks []xshard.Request) {
	for _, a := range asks {
		var ld *settlement.LD
		if a.Kind == xshard.Give {
			var err error
			ld, err = x.n.driver.Exchange().Given(a)
			must(err)
			if ld == nil {
				x.n.after(time.Microsecond, func() { x.answered(a, nil) })
				continue
			}
		}
		life, open := x.n.life, true
		x.n.after(askTimeout, func() {
			if open {
				open = false
				x.answered(a, nil)
			}
		})
		x.n.s.Trace.Add(x.n.s.Now(), "ask", int(x.n.id), int(a.To), nil, a)
		to := x.n.s.Shards[a.Shard].reach(a.To)
		x.n.s.CrossShard.Carry(x.n, to, func() {
			var r *reply
			to.do(func() { r = to.exchange.answer(x.n, a, ld) })
			if r == nil {
				return
			}
			x.n.s.CrossShard.Carry(to, x.n, func() {
				if open && x.n.life == life {
					open = false
					x.answered(a, r)
				}
			})
		})
	}
}

// gossip carries an LD to all replicas of its destination, or loses it.
func (x *exchange) gossip(ld *settlement.LD) {
	for _, to := range x.n.s.Shards[ld.Delivery.Destination].Machines {
		for _, p := range x.sent(to, ld) {
			for copies := x.n.s.CrossShard.Copies(); copies > 0; copies-- {
				x.n.s.CrossShard.Carry(x.n, to, func() { to.exchange.take(x.n, p) })
			}
		}
	}
}

// reply answers a request.
type reply struct {
	next uint64
	lds  []network.Packet
}

// answer is the answer to a request of another shard's replica, nil if there is none.
func (x *exchange) answer(from *Machine, a xshard.Request, ld *settlement.LD) *reply {
	e, peer, r := x.n.driver.Exchange(), driver.Peer{Shard: from.s.Number, Replica: from.id}, &reply{}
	if e.Enter(peer, a.Kind) != nil {
		return nil
	}
	defer e.Leave(peer, a.Kind)
	switch a.Kind {
	case xshard.Fetch:
		must(e.Serve(peer.Shard, a.Number, func(ld *settlement.LD) (size int, err error) {
			packets := x.sent(from, ld)
			for _, p := range packets {
				size += len(p.Frame)
			}
			r.lds = append(r.lds, packets...)
			return size, nil
		}))
		return r
	case xshard.Give:
		given := from.exchange.sent(x.n, ld)
		if len(given) == 0 {
			return nil
		}
		err := x.decode(from, given[0], func(ld *settlement.LD) (err error) {
			r.next, err = e.Receive(peer.Shard, ld)
			return err
		})
		if err != nil {
			return nil
		}
	default:
		r.next = e.Position(peer.Shard)
	}
	if a, ok := x.n.adversary.(adversary.CrossShard); ok {
		r.next = a.Position(x.n.view, r.next)
	}
	return r
}

// answered gives the answer to a request to the exchange. A nil reply means that none came.
func (x *exchange) answered(a xshard.Request, r *reply) {
	x.n.s.Trace.Add(x.n.s.Now(), "answer", int(a.To), int(x.n.id), nil, a)
	x.n.do(func() {
		x.n.due.tick = true
		if a.Kind != xshard.Fetch {
			next := uint64(0)
			if r != nil {
				next = r.next
			}
			x.ask(x.n.driver.Exchange().Answered(a, next, r != nil))
			return
		}
		count, ok := 0, r != nil
		for k := 0; ok && k < len(r.lds); k++ {
			ok = x.decode(x.n.s.Shards[a.Shard].Machines[a.To], r.lds[k], x.n.driver.Exchange().Take) == nil
			count++
		}
		x.n.driver.Exchange().Fetched(a, count, ok)
	})
}

// sent returns the packets that reach a replica of another shard when this one sends it an LD.
func (x *exchange) sent(to *Machine, ld *settlement.LD) []network.Packet {
	if a, ok := x.n.adversary.(adversary.CrossShard); ok {
		return a.ReplaceLD(x.n.view, ld)
	}
	if x.n.s.Config.Hostile {
		d := x.n.s.checks.HostileDelivery(x.n.s.Number, to.s.Number, ld.Delivery.Number, to.id)
		ld = adversary.Recertified(ld, d, x.n.s.Committee, x.n.s.Signers)
	}
	return []network.Packet{{Frame: ld.Encode()}}
}

// take accepts an LD of gossip.
func (x *exchange) take(from *Machine, p network.Packet) {
	x.n.do(func() { _ = x.decode(from, p, x.n.driver.Exchange().Take) })
}

// decode decodes an LD from another shard as package xshardnet does, and gives it to the exchange.
func (x *exchange) decode(from *Machine, p network.Packet, give func(*settlement.LD) error) error {
	x.n.due.tick = true
	ld, err := settlement.DecodeLD(p.Frame)
	if err == nil {
		err = give(ld)
	}
	if err != nil {
		x.n.s.Trace.Add(x.n.s.Now(), "refuse LD", int(x.n.id), -1, p.Frame, err)
		x.n.s.checks.RefusedLD(x.n, from, err)
		return err
	}
	d := ld.Delivery
	x.n.s.Trace.Add(x.n.s.Now(), "LD", int(x.n.id), -1, p.Frame, fmt.Sprintf("%d of shard %d %s", d.Number, d.Source, d.Digest().Short()))
	x.n.s.checks.TookLD(x.n, from, p, ld)
	return nil
}
