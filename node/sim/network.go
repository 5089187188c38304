package sim

import (
	"time"

	"bdtnode/node/replica"
	"bdtnode/protocols"
)

// network is the links between replicas. A pair of replicas has one connection at a time. In each direction of it,
// control and bulk are streams of their own, each in order. When a connection breaks, all frames under way on it are
// lost. It comes up again some time later, and each side learns of it at its own time. It connects nodes, by their
// place; twins are two nodes.
type network struct {
	s          *cluster
	pairs      [][]*pair   // by the places of two nodes
	links      [][]*link   // by sender's and receiver's place
	duplicates float64     // share of messages that arrive twice
	reorders   float64     // share of messages that ignore the order of their stream
	hindrances []hindrance // of faults that delay chosen messages
	scheduling *scheduling // nil if no adversary decides when messages arrive
}

// linkSpread is the number of times that the variation of a link is part of its delay, if the delay is given.
const linkSpread = 100

// hindrance is an additional delay for a message, chosen by sender, receiver and content. Messages sent later on the
// same stream overtake one that is set aside, and wait for one that is not.
type hindrance func(from, to protocols.Index, p packet) (late time.Duration, aside bool)

type pair struct {
	linked bool
	again  bool // a connection will be made
	life   int  // number of the connection: frames of an earlier one are lost
	cuts   int  // partitions between the two
}

type link struct {
	up      bool // the sender knows of the connection
	least   time.Duration
	spread  float64           // mean of the random addition, nanoseconds
	free    [2]protocols.Time // when a stream delivered last
	count   int               // of frames under way
	stalls  int               // faults that stop delivery while the connection stays up
	waiting []*flight         // frames that wait for the end of the stalls
}

// flight is a frame under way in one life of a connection.
type flight struct {
	from, to int // places
	packet   packet
	life     int
	sent     protocols.Time
	holding  // by the scheduler
}

// packet is one frame under way. Receivers must refuse a forged one.
type packet struct {
	frame   []byte
	message protocols.Message // the decoded frame; nil if it cannot be decoded
	forged  string            // reason why receivers must refuse it; empty if they need not
	late    time.Duration     // delay before it is sent
}

func newNetwork(s *cluster) *network {
	w, nodes := &network{s: s}, s.cfg.places()
	for i := range nodes {
		w.pairs = append(w.pairs, make([]*pair, nodes))
		w.links = append(w.links, make([]*link, nodes))
		for j := range nodes {
			w.pairs[i][j] = &pair{}
			mean := float64(s.cfg.Delay) * (0.5 + 1.5*s.rng.Float64())
			w.links[i][j] = &link{least: time.Duration(mean / 4), spread: 0.75 * mean}
			if s.cfg.Links != nil {
				d := s.cfg.Links[i][j]
				w.links[i][j] = &link{least: d, spread: float64(d) / linkSpread}
			}
			if j < i {
				w.pairs[i][j] = w.pairs[j][i]
			}
		}
	}
	return w
}

// hinder adds a hindrance until faults end.
func (w *network) hinder(f hindrance) { w.hindrances = append(w.hindrances, f) }

// heal ends the effects of faults on the network.
func (w *network) heal() {
	w.duplicates, w.reorders, w.hindrances = 0, 0, nil
	for i := range w.pairs {
		for j := range w.pairs {
			w.pairs[i][j].cuts, w.links[i][j].stalls = 0, 0
			w.flow(i, j)
		}
	}
	if k := w.scheduling; k != nil {
		w.scheduling = nil
		k.yield()
	}
}

// part cuts the connections between two sides. The returned function joins them again.
func (w *network) part(side []bool) (join func()) {
	var cut [][2]int
	for i := range side {
		for j := range i {
			if side[i] != side[j] {
				cut = append(cut, [2]int{i, j})
				w.pairs[i][j].cuts++
				w.sever(i, j)
			}
		}
	}
	w.s.trace.add(w.s.now, "parted", -1, -1, nil, side)
	return func() {
		if !w.s.active {
			return // all cuts have ended
		}
		w.s.trace.add(w.s.now, "joined", -1, -1, nil, side)
		for _, p := range cut {
			w.pairs[p[0]][p[1]].cuts--
			w.connect(p[0], p[1])
		}
	}
}

// stall stops delivery from one node to another while their connection stays up. The returned function ends the stall:
// waiting frames arrive, or are lost with the connection.
func (w *network) stall(i, j int) (resume func(lost bool)) {
	l := w.links[i][j]
	l.stalls++
	w.s.trace.add(w.s.now, "stalled", i, j, nil, nil)
	return func(lost bool) {
		if !w.s.active {
			return // all stalls have ended
		}
		w.s.trace.add(w.s.now, "resumed", i, j, nil, nil)
		if lost {
			w.sever(i, j)
		}
		if l.stalls--; l.stalls == 0 {
			w.flow(i, j)
			w.connect(i, j)
		}
	}
}

// flow delivers the frames that waited on a stalled link, in order.
func (w *network) flow(i, j int) {
	l := w.links[i][j]
	for _, f := range l.waiting {
		w.s.at(w.s.now, func() { w.arrive(f) })
	}
	l.waiting = nil
}

// connect connects two replicas after a while, if no partition separates them then.
func (w *network) connect(i, j int) {
	p := w.pairs[i][j]
	if p.linked || p.again || w.s.nodes[i].id == w.s.nodes[j].id {
		return
	}
	p.again = true
	w.s.after(w.s.between(5*time.Millisecond, 300*time.Millisecond), func() {
		p.again = false
		if p.linked || p.cuts > 0 || w.links[i][j].stalls+w.links[j][i].stalls > 0 || !w.s.nodes[i].alive || !w.s.nodes[j].alive {
			return
		}
		p.linked = true
		p.life++
		w.s.trace.add(w.s.now, "link", i, j, nil, nil)
		w.open(i, j)
		w.open(j, i)
	})
}

// open reports the connection to one side.
func (w *network) open(i, j int) {
	p, life := w.pairs[i][j], w.pairs[i][j].life
	w.s.after(w.s.between(0, 30*time.Millisecond), func() {
		if !p.linked || p.life != life {
			return
		}
		l := w.links[i][j]
		l.up, l.free = true, [2]protocols.Time{}
		w.s.nodes[i].connected(w.s.nodes[j].id)
	})
}

// sever breaks the connection of two replicas; they connect again.
func (w *network) sever(i, j int) {
	p := w.pairs[i][j]
	if p.linked {
		p.linked = false
		p.life++
		w.links[i][j].up, w.links[j][i].up = false, false
		w.s.trace.add(w.s.now, "break", i, j, nil, nil)
	}
	w.connect(i, j)
}

// down breaks all connections of a replica that crashed, up makes them again.
func (w *network) down(i int) {
	for j := range w.pairs {
		if j != i {
			w.sever(i, j)
		}
	}
}

func (w *network) up(i int) {
	for j := range w.pairs {
		w.connect(i, j)
	}
}

// send sends a frame, after its delay if it has one.
func (w *network) send(i, j int, p packet) {
	if late := p.late; late > 0 {
		p.late = 0
		w.s.nodes[i].after(late, func() { w.send(i, j, p) })
		return
	}
	l := w.links[i][j]
	if !l.up {
		return // lost: the sender sends it again when the connection is up
	}
	w.carry(i, j, p)
	if w.duplicates > 0 && w.s.rng.Float64() < w.duplicates {
		w.carry(i, j, p)
	}
}

func (w *network) carry(i, j int, p packet) {
	l := w.links[i][j]
	class := 0
	if replica.Bulk(protocols.Kind(p.frame[0])) {
		class = 1
	}
	if w.scheduling != nil {
		w.scheduling.sees(w.s.nodes[i].id, p.message)
	}
	at := w.s.now.Add(l.least + time.Duration(w.s.rng.ExpFloat64()*l.spread))
	overtaken := w.reorders > 0 && w.s.rng.Float64() < w.reorders
	for _, f := range w.hindrances {
		late, aside := f(w.s.nodes[i].id, w.s.nodes[j].id, p)
		at, overtaken = at.Add(late), overtaken || aside
	}
	if !overtaken {
		at = max(at, l.free[class])
		l.free[class] = at
	}
	l.count++
	w.s.check.carried(i, j, l.count)
	f := &flight{from: i, to: j, packet: p, life: w.pairs[i][j].life, sent: w.s.now}
	w.s.at(at, func() { w.arrive(f) })
}

// arrive hands a frame to its receiver, unless its connection is gone, or a fault holds the frame back.
func (w *network) arrive(f *flight) {
	l := w.links[f.from][f.to]
	switch {
	case w.pairs[f.from][f.to].life != f.life:
		l.count--
	case l.stalls > 0:
		l.waiting = append(l.waiting, f)
	case w.scheduling != nil && w.scheduling.keeps(f):
	default:
		l.count--
		if w.scheduling != nil {
			w.scheduling.passed(f)
		}
		w.s.nodes[f.to].receive(w.s.nodes[f.from], f.packet)
	}
}
