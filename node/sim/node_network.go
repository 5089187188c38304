package sim

import (
	"fmt"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/lanes"
)

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
		if a, ok := peer.adversary.(*SecondProcess); ok && !a.reaches(n, peer, m) {
			continue
		}
		if n.guards() {
			n.s.check.identity.sent(n, m)
		}
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
		if a, ok := sender.adversary.(*SecondProcess); ok {
			a.greeted(n, sender, m)
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
