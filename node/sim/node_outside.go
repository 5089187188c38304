package sim

import (
	"fmt"
	"time"

	"bdtnode/node/driver"
	"bdtnode/shard/settlement"
	"bdtnode/shard/xshard"
)

// askTimeout is the longest wait for an answer from another shard, as in package xshardnet.
const askTimeout = 3 * time.Second

// publish publishes the LDs that have become certified, if it is this replica's turn.
func (n *node) publish() {
	list, err := n.driver.Exchange().Publish()
	must(err)
	for _, p := range list {
		n.s.crossing.gossip(n, p.LD)
	}
	n.due.tick = true
}

// tick sends the requests of the exchange that are due, and sets its timer.
func (n *node) tick() {
	asks, wait := n.driver.Exchange().Tick()
	n.ask(asks)
	at := n.s.now.Add(wait)
	if wait == driver.Never || n.tickAt != 0 && n.tickAt <= at {
		return
	}
	n.tickAt = at
	n.after(max(wait, time.Microsecond), func() {
		if n.tickAt == at {
			n.tickAt = 0
			n.tick()
		}
	})
}

// ask sends requests of the exchange.
func (n *node) ask(asks []xshard.Request) {
	for _, a := range asks {
		var ld *settlement.LD
		if a.Kind == xshard.Give {
			var err error
			ld, err = n.driver.Exchange().Given(a)
			must(err)
			if ld == nil {
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
			var r *reply
			to.do(func() { r = to.answer(n, a, ld) })
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
}

// reply answers an Ask.
type reply struct {
	next uint64
	lds  []packet
}

// answer is the answer to a request of another shard's replica, nil if there is none.
func (n *node) answer(from *node, a xshard.Request, ld *settlement.LD) *reply {
	x, peer, r := n.driver.Exchange(), driver.Peer{Shard: from.s.shard, Replica: from.id}, &reply{}
	if x.Enter(peer, a.Kind) != nil {
		return nil
	}
	defer x.Leave(peer, a.Kind)
	switch a.Kind {
	case xshard.Fetch:
		must(x.Serve(peer.Shard, a.Number, func(ld *settlement.LD) (size int, err error) {
			packets := n.told(from, ld)
			for _, p := range packets {
				size += len(p.frame)
			}
			r.lds = append(r.lds, packets...)
			return size, nil
		}))
		return r
	case xshard.Give:
		given := from.told(n, ld)
		if len(given) == 0 {
			return nil
		}
		err := n.decode(from, given[0], func(ld *settlement.LD) (err error) {
			r.next, err = x.Receive(peer.Shard, ld)
			return err
		})
		if err != nil {
			return nil
		}
	default:
		r.next = x.Position(peer.Shard)
	}
	if a, ok := n.adversary.(stranger); ok {
		r.next = a.position(n, r.next)
	}
	return r
}

// answered gives the answer to an Ask to the exchange. A nil reply means that none came.
func (n *node) answered(a xshard.Request, r *reply) {
	n.s.trace.add(n.s.now, "answer", int(a.To), int(n.id), nil, a)
	n.do(func() {
		n.due.tick = true
		if a.Kind != xshard.Fetch {
			next := uint64(0)
			if r != nil {
				next = r.next
			}
			n.ask(n.driver.Exchange().Answered(a, next, r != nil))
			return
		}
		count, ok := 0, r != nil
		for k := 0; ok && k < len(r.lds); k++ {
			ok = n.decode(n.s.shards[a.Shard].nodes[a.To], r.lds[k], n.driver.Exchange().Take) == nil
			count++
		}
		n.driver.Exchange().Fetched(a, count, ok)
	})
}

// told returns the packets that reach a replica of another shard when this one sends it an LD.
func (n *node) told(to *node, ld *settlement.LD) []packet {
	if a, ok := n.adversary.(stranger); ok {
		return a.tell(n, to, ld)
	}
	if n.s.hostile() {
		ld = n.pretended(to, ld)
	}
	return []packet{{frame: ld.Encode()}}
}

// take accepts an LD of gossip.
func (n *node) take(from *node, p packet) {
	n.do(func() { _ = n.decode(from, p, n.driver.Exchange().Take) })
}

// decode decodes an LD from another shard as package xshardnet does, and gives it to the exchange.
func (n *node) decode(from *node, p packet, give func(*settlement.LD) error) error {
	n.due.tick = true
	ld, err := settlement.DecodeLD(p.frame)
	if err == nil {
		err = give(ld)
	}
	if err != nil {
		n.s.trace.add(n.s.now, "refuse LD", int(n.id), -1, p.frame, err)
		n.s.settling.refused(n, from, err)
		return err
	}
	d := ld.Delivery
	n.s.trace.add(n.s.now, "LD", int(n.id), -1, p.frame, fmt.Sprintf("%d of shard %d %s", d.Number, d.Source, d.Digest().Short()))
	n.s.settling.took(n, from, p, ld)
	return nil
}
