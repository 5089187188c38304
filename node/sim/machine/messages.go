package machine

import (
	"bdtnode/node/replica"
	"bdtnode/node/sim/adversary"
	"bdtnode/node/sim/network"
	"bdtnode/protocols"
)

// Send implements [driver.Host].
func (h host) Send(to protocols.To, m protocols.Message) {
	if h.up() {
		h.send(to, m)
	}
}

func (n *Machine) send(to protocols.To, m protocols.Message) {
	if n.s.Muted && ofPings(m) {
		return
	}
	var frame []byte
	for j, peer := range n.s.Machines {
		if peer.id == n.id || to != protocols.Everyone && int(peer.id) != int(to) {
			continue
		}
		if a, ok := peer.adversary.(Processes); ok && !a.Reaches(n, peer, m) {
			continue
		}
		if n.Guarded() {
			n.s.check.SentGuarded(n, m)
		}
		if n.adversary != nil {
			for _, p := range n.adversary.Replace(n.view, peer.id, m) {
				n.emit(j, p)
			}
			continue
		}
		if frame == nil {
			frame = replica.Encode(m)
			n.s.check.Sent(n, m)
		}
		n.s.Network.Send(n.place, j, network.Packet{Frame: frame, Message: m})
	}
}

// emit sends a frame to a node, after its delay if it has one.
func (n *Machine) emit(to int, p network.Packet) {
	if late := p.Late; late > 0 {
		p.Late = 0
		n.after(late, func() { n.s.Network.Send(n.place, to, p) })
		return
	}
	n.s.Network.Send(n.place, to, p)
}

// Connected implements [network.Node].
func (n *Machine) Connected(to protocols.Index) {
	n.s.guard(n, func() {
		n.s.Trace.Add(n.s.Now(), "connected", n.place, int(to), nil, nil)
		n.do(func() {
			n.resending = true
			n.driver.Connected(to)
			n.resending = false
		})
	})
}

// Receive implements [network.Node]. It checks a frame as the reader goroutines of a process do, and hands its message
// to the driver.
func (n *Machine) Receive(place int, p network.Packet) {
	sender := n.s.Machines[place]
	from := sender.id
	n.s.guard(n, func() {
		if !n.pass(sender, p.Frame) {
			return
		}
		verified, err := n.driver.Intake().Check(from, p.Frame)
		if err != nil {
			n.s.Trace.Add(n.s.Now(), "refused", sender.place, n.place, p.Frame, err)
			n.s.check.Refused(n, from, err)
			n.s.Network.Sever(sender.place, n.place) // as a process drops a peer that sends such a frame
			return
		}
		m := verified.Message()
		switch {
		case verified.IsZero():
			n.s.Trace.Add(n.s.Now(), "of no use", sender.place, n.place, p.Frame, nil)
			n.do(func() {})
			return
		case m == nil:
			n.s.Trace.Add(n.s.Now(), "ahead", sender.place, n.place, p.Frame, nil)
			n.do(func() { n.driver.Handle(verified) })
			return
		}
		n.s.Trace.Add(n.s.Now(), "message", sender.place, n.place, p.Frame, m)
		if ofPings(m) {
			n.s.Trace.Pings++
		}
		n.s.check.Passed(n, from, p, m)
		if a, ok := sender.adversary.(Processes); ok {
			a.Greeted(n, sender, m)
		}
		if a, ok := n.adversary.(adversary.Receiver); ok {
			a.Receive(n.view, from, m)
		}
		n.do(func() { n.handle(verified) })
	})
}

// handle gives a message to the driver, and records certified blocks that the core adopted without a Request.
func (n *Machine) handle(m replica.Verified) {
	_, history := m.Message().(*replica.History)
	asked, before := n.core.Expects(m.From()), n.core.Status().Committed
	n.driver.Handle(m)
	if after := n.core.Status().Committed; n.alive && history && !asked && after > before {
		n.s.check.Adopted(n, m.From(), after-before)
	}
}

// ofPings reports whether a message is a Ping or Pong, which an idle network sends too.
func ofPings(m protocols.Message) bool {
	return m.Kind() == replica.KindPing || m.Kind() == replica.KindPong
}

// pass reports whether a frame is to be checked.
func (n *Machine) pass(sender *Machine, frame []byte) bool {
	before := n.exceeded[sender.id]
	take, _ := n.driver.Intake().Pass(sender.id, frame)
	if n.exceeded[sender.id] > before {
		n.s.check.OverBudget(n, sender, protocols.Kind(frame[0]))
	}
	if !take {
		n.s.Trace.Add(n.s.Now(), "dropped", sender.place, n.place, frame, nil)
	}
	return take
}
