package sim

import (
	"time"

	"bdtnode/node/replica"
	"bdtnode/protocols"
)

// serveMean is the mean time to read stored data for a peer. Reading runs beside all other work.
const serveMean = 500 * time.Microsecond

// serve answers the requests of peers one after another.
func (n *node) serve() {
	if n.answering {
		return
	}
	peer, r, again := n.driver.NextRequest()
	if r == nil {
		if again != 0 {
			n.answering = true
			n.after(again.Sub(n.s.now), n.served)
		}
		return
	}
	n.answering = true
	n.after(n.s.around(serveMean), func() {
		must(n.driver.Answer(peer, r))
		n.served()
	})
}

func (n *node) served() {
	n.answering = false
	n.serve()
}

// Send implements [driver.Host].
func (h host) Send(to protocols.To, m protocols.Message) {
	if h.up() {
		h.send(to, m)
	}
}

func (n *node) send(to protocols.To, m protocols.Message) {
	if n.s.muted && ofPings(m) {
		return
	}
	var frame []byte
	for j, peer := range n.s.nodes {
		if peer.id == n.id || to != protocols.Everyone && int(peer.id) != int(to) {
			continue
		}
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
		n.do(func() {
			n.resending = true
			n.driver.Connected(to)
			n.resending = false
		})
	})
}

// receive checks a frame as the reader goroutines of a process do, and hands its message to the driver.
func (n *node) receive(sender *node, p packet) {
	from := sender.id
	n.s.guard(n, func() {
		if !n.pass(sender, p.frame) {
			return
		}
		verified, err := n.driver.Check(from, p.frame)
		if err != nil {
			n.s.trace.add(n.s.now, "refused", sender.place, n.place, p.frame, err)
			n.s.check.refused(n, from, err)
			n.s.network.sever(sender.place, n.place) // as a process drops a peer that sends such a frame
			return
		}
		m := verified.Message()
		switch {
		case verified.IsZero():
			n.s.trace.add(n.s.now, "of no use", sender.place, n.place, p.frame, nil)
			n.do(func() {})
			return
		case m == nil:
			n.s.trace.add(n.s.now, "ahead", sender.place, n.place, p.frame, nil)
			n.do(func() { n.driver.Handle(verified) })
			return
		}
		n.s.trace.add(n.s.now, "message", sender.place, n.place, p.frame, m)
		if ofPings(m) {
			n.s.trace.pings++
		}
		n.s.check.passed(n, from, p, m)
		if a, ok := sender.adversary.(*SecondProcess); ok {
			a.greeted(n, sender, m)
		}
		if a, ok := n.adversary.(listener); ok {
			a.hear(n, from, m)
		}
		n.do(func() { n.handle(verified) })
	})
}

// handle gives a message to the driver, and records certified blocks that the core adopted without a Request.
func (n *node) handle(m replica.Verified) {
	_, history := m.Message().(*replica.History)
	asked, before := n.core.Expects(m.From()), n.core.Status().Committed
	n.driver.Handle(m)
	if after := n.core.Status().Committed; n.alive && history && !asked && after > before {
		n.s.check.adopted(n, m.From(), after-before)
	}
}

// ofPings reports whether a message is a Ping or Pong, which an idle network sends too.
func ofPings(m protocols.Message) bool {
	return m.Kind() == replica.KindPing || m.Kind() == replica.KindPong
}

// pass reports whether a frame is to be checked.
func (n *node) pass(sender *node, frame []byte) bool {
	before := n.exceeded[sender.id]
	take, _ := n.driver.Pass(sender.id, frame)
	if n.exceeded[sender.id] > before {
		n.s.check.overBudget(n, sender, protocols.Kind(frame[0]))
	}
	if !take {
		n.s.trace.add(n.s.now, "dropped", sender.place, n.place, frame, nil)
	}
	return take
}
