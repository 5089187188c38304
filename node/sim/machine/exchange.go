package machine

import (
	"errors"
	"fmt"
	"time"

	"bdtnode/node/driver"
	"bdtnode/node/sim/adversary"
	"bdtnode/node/sim/network"
	"bdtnode/node/sim/trace"
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

// publish publishes the LDs that have become certified, and new CLs of this shard, if it is this replica's turn.
func (x *exchange) publish() {
	list, err := x.n.driver.Exchange().Publish()
	must(err)
	for _, p := range list {
		to := p.Destination
		x.gossip(to, func(n *Machine) []network.Packet { return x.sent(n, p.LD) })
		x.cancelToo(p.LD)
	}
	for _, p := range x.n.driver.Exchange().Cancellations() {
		for _, to := range p.Destinations {
			x.gossip(to, func(n *Machine) []network.Packet { return x.sentCL(n, p.CL) })
		}
	}
	x.n.due.tick = true
}

// cancelToo publishes the CLs that a hostile shard makes besides an LD: at once, shortly after it, and some seconds after
// it.
func (x *exchange) cancelToo(ld *settlement.LD) {
	h, ok := x.n.s.Config.Hostile.(adversary.Canceller)
	if !ok {
		return
	}
	for _, cl := range h.CLs(ld, x.n.s.Peers, x.n.s.Signers) {
		packet := network.Packet{Frame: cl.Encode()}
		for _, late := range []time.Duration{0, x.n.s.Between(0, 200*time.Millisecond), 3 * time.Second} {
			x.n.after(late, func() {
				x.gossip(ld.Delivery.Destination, func(*Machine) []network.Packet { return []network.Packet{packet} })
			})
		}
	}
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

// gossip carries packets to all replicas of a shard, or loses them.
func (x *exchange) gossip(shard uint16, packets func(to *Machine) []network.Packet) {
	for _, to := range x.n.s.Shards[shard].Machines {
		for _, p := range packets(to) {
			for copies := x.n.s.CrossShard.Copies(); copies > 0; copies-- {
				x.n.s.CrossShard.Carry(x.n, to, func() { to.exchange.take(x.n, p) })
			}
		}
	}
}

// reply answers a request.
type reply struct {
	next    uint64
	packets []network.Packet // LDs or CLs
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
			r.packets = append(r.packets, packets...)
			return size, nil
		}))
		return r
	case xshard.Pull:
		must(e.ServeCLs(a.IDs, func(cl *settlement.CL) error {
			r.packets = append(r.packets, x.sentCL(from, cl)...)
			return nil
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
		if a.Kind != xshard.Fetch && a.Kind != xshard.Pull {
			next := uint64(0)
			if r != nil {
				next = r.next
			}
			x.ask(x.n.driver.Exchange().Answered(a, next, r != nil))
			return
		}
		count, ok, from := 0, r != nil, x.n.s.Shards[a.Shard].Machines[a.To]
		for k := 0; ok && k < len(r.packets); k++ {
			if a.Kind == xshard.Pull {
				ok = x.takeCL(from, r.packets[k]) == nil
			} else {
				ok = x.decode(from, r.packets[k], x.n.driver.Exchange().Take) == nil
			}
			count++
		}
		if a.Kind == xshard.Pull {
			x.n.driver.Exchange().Answered(a, 0, true)
		} else {
			x.n.driver.Exchange().Fetched(a, count, ok)
		}
	})
}

// sent returns the packets that reach a replica of another shard when this one sends it an LD.
func (x *exchange) sent(to *Machine, ld *settlement.LD) []network.Packet {
	if a, ok := x.n.adversary.(adversary.CrossShard); ok {
		return a.ReplaceLD(x.n.view, ld)
	}
	if x.n.s.Config.Hostile != nil {
		d := x.n.s.checks.HostileDelivery(x.n.s.Number, to.s.Number, ld.Delivery.Number, to.id)
		ld = adversary.Recertified(ld, d, x.n.s.Committee, x.n.s.Signers)
	}
	return []network.Packet{{Frame: ld.Encode()}}
}

// sentCL returns the packets that reach a replica of another shard when this one sends it a CL.
func (x *exchange) sentCL(to *Machine, cl *settlement.CL) []network.Packet {
	if a, ok := x.n.adversary.(adversary.CrossShard); ok {
		return a.ReplaceCL(x.n.view, to.s.Number, cl)
	}
	return []network.Packet{{Frame: cl.Encode()}}
}

// take accepts an LD or a CL of gossip.
func (x *exchange) take(from *Machine, p network.Packet) {
	if x.n.s.Gossiped != nil {
		x.n.s.Gossiped(from, x.n, p)
	}
	x.n.do(func() {
		if settlement.IsCL(p.Frame) {
			_ = x.takeCL(from, p)
		} else {
			_ = x.decode(from, p, x.n.driver.Exchange().TakeGossip)
		}
	})
}

// Gossip gives a machine a packet that comes from a machine of another shard by gossip.
func (w *System) Gossip(from, to *Machine, p network.Packet) {
	w.CrossShard.Carry(from, to, func() { to.exchange.take(from, p) })
}

// takeCL decodes a CL as package xshardnet does, and gives it to the exchange.
func (x *exchange) takeCL(from *Machine, p network.Packet) error {
	x.n.due.tick = true
	cl, err := settlement.DecodeCL(x.n.s.Peers, p.Frame)
	if err == nil {
		err = x.n.driver.Exchange().TakeCL(cl)
	}
	if err != nil {
		x.n.s.Trace.Add(x.n.s.Now(), "refuse CL", int(x.n.id), -1, p.Frame, err)
		x.n.s.checks.RefusedLD(x.n, from, err)
		return err
	}
	x.n.s.Trace.Add(x.n.s.Now(), "CL", int(x.n.id), -1, p.Frame, trace.Lazy(func() string { return fmt.Sprintf("of shard %d for %s", cl.Source, cl.Tx.ID()) }))
	x.n.s.checks.TookCL(x.n, from, p, cl)
	return nil
}

// decode decodes an LD from another shard as package xshardnet does, and gives it to the exchange.
func (x *exchange) decode(from *Machine, p network.Packet, give func(*settlement.LD) error) error {
	x.n.due.tick = true
	ld, err := settlement.DecodeLD(p.Frame)
	if err == nil {
		err = give(ld)
	}
	if errors.Is(err, driver.ErrHeld) {
		x.n.s.Trace.Add(x.n.s.Now(), "LD is held", int(x.n.id), -1, p.Frame, nil)
		return nil
	}
	if err != nil {
		x.n.s.Trace.Add(x.n.s.Now(), "refuse LD", int(x.n.id), -1, p.Frame, err)
		x.n.s.checks.RefusedLD(x.n, from, err)
		return err
	}
	x.n.s.Trace.Add(x.n.s.Now(), "LD", int(x.n.id), -1, p.Frame, trace.Lazy(func() string {
		d := ld.Delivery
		return fmt.Sprintf("%d of shard %d %s", d.Number, d.Source, d.Digest().Short())
	}))
	x.n.s.checks.TookLD(x.n, from, p, ld)
	return nil
}
