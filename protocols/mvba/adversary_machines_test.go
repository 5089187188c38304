package mvba

import (
	"fmt"

	"bdtnode/protocols"
	"bdtnode/protocols/coin"
)

// machineAdversary is the adversary whose replicas run the honest machine but send only about half of its messages. With twins, two
// machines with one key and different inputs run for each replica, and each sends to a part of the replicas. With garbage,
// they also send invalid messages.
type machineAdversary struct {
	twins    [][]*Machine // by twin, then index
	hearers  []protocols.Set
	withhold bool
	garbage  bool
	received []protocols.Message
}

func newMachineAdversary(w *world, twins int, garbage bool) *machineAdversary {
	p := &machineAdversary{garbage: garbage, withhold: w.rng.IntN(2) == 0, hearers: make([]protocols.Set, twins)}
	for range twins {
		machines := make([]*Machine, w.n)
		for _, b := range w.byz() {
			m, err := New(w.config(b))
			if err != nil {
				panic(err)
			}
			machines[b] = m
		}
		p.twins = append(p.twins, machines)
	}
	for i := range protocols.Index(w.n) {
		if twins > 1 {
			p.hearers[w.rng.IntN(twins)].Add(i)
		} else {
			p.hearers[0].Add(i)
		}
	}
	return p
}

func (p *machineAdversary) start(w *world) {
	for t, machines := range p.twins {
		for _, b := range w.byz() {
			input := fmt.Appendf(nil, "ok:%d twin %d", b, t)
			step, err := machines[b].Propose(0, input)
			if err != nil {
				panic(err)
			}
			p.sendPart(w, t, b, step)
		}
	}
}

func (p *machineAdversary) sendPart(w *world, twin int, b protocols.Index, s Step) {
	for _, send := range s.Sends {
		if p.withhold && send.Message.Kind() == coin.KindRelease {
			continue
		}
		for to := range protocols.Index(w.n) {
			if to == b || send.To != protocols.Everyone && send.To != protocols.To(to) {
				continue
			}
			if w.replicas[to] != nil && (!p.hearers[twin].Has(to) || len(p.twins) == 1 && w.rng.IntN(2) == 0) {
				continue
			}
			w.send(b, to, send.Message)
		}
	}
}

func (p *machineAdversary) receive(w *world, from, to protocols.Index, msg protocols.Message) {
	p.received = append(p.received, msg)
	if w.check(from, msg) != nil {
		return
	}
	for t, machines := range p.twins {
		p.sendPart(w, t, to, machines[to].Handle(0, from, msg))
	}
}

// act sends a forged share, repeats a message of another replica as its own, or changes a bit of one.
func (p *machineAdversary) act(w *world) {
	if !p.garbage || len(p.received) == 0 || w.rng.IntN(10) > 0 {
		return
	}
	byz := w.byz()
	b := byz[w.rng.IntN(len(byz))]
	msg := p.received[w.rng.IntN(len(p.received))]
	switch w.rng.IntN(3) {
	case 0:
		at := At{theInstance, 1 + uint32(w.rng.IntN(3))}
		var s coin.Share
		s[0] = byte(w.rng.IntN(256))
		msg = &coin.Release{Name: at.toss(), Share: s}
	case 1:
		body := msg.Append(nil)
		body[w.rng.IntN(len(body))] ^= 1 << w.rng.IntN(8)
		mutant, err := Decode(msg.Kind(), body)
		if err != nil {
			return
		}
		if in, _ := InstanceOf(mutant); in != theInstance {
			return // a node gives it to another instance
		}
		msg = mutant
	}
	w.send(b, protocols.Index(w.rng.IntN(w.n)), msg)
}
