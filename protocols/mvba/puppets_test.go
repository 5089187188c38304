package mvba

import (
	"fmt"

	"bdtnode/protocols"
	"bdtnode/protocols/coin"
)

// puppets run the honest machine, but say half of what it says. Of twins there are two with one key and different
// inputs, each heard by some. With garbage they add what has no meaning.
type puppets struct {
	twins    [][]*Machine // by twin, then index
	hearers  []protocols.Set
	withhold bool
	garbage  bool
	heard    []protocols.Message
}

func newPuppets(w *world, twins int, garbage bool) *puppets {
	p := &puppets{garbage: garbage, withhold: w.rng.IntN(2) == 0, hearers: make([]protocols.Set, twins)}
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

func (p *puppets) start(w *world) {
	for t, machines := range p.twins {
		for _, b := range w.byz() {
			input := fmt.Appendf(nil, "ok:%d twin %d", b, t)
			step, err := machines[b].Propose(0, input)
			if err != nil {
				panic(err)
			}
			p.say(w, t, b, step)
		}
	}
}

func (p *puppets) say(w *world, twin int, b protocols.Index, s Step) {
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

func (p *puppets) hear(w *world, from, to protocols.Index, msg protocols.Message) {
	p.heard = append(p.heard, msg)
	if w.check(from, msg) != nil {
		return
	}
	for t, machines := range p.twins {
		p.say(w, t, to, machines[to].Handle(0, from, msg))
	}
}

// act sends forged shares, replays what others said as their own, and mutates it.
func (p *puppets) act(w *world) {
	if !p.garbage || len(p.heard) == 0 || w.rng.IntN(10) > 0 {
		return
	}
	byz := w.byz()
	b := byz[w.rng.IntN(len(byz))]
	msg := p.heard[w.rng.IntN(len(p.heard))]
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
			return // a node hands it to another instance
		}
		msg = mutant
	}
	w.send(b, protocols.Index(w.rng.IntN(w.n)), msg)
}
