// Package network carries the messages of a simulated run: between the replicas of a shard, and between shards.
package network

import (
	"time"

	"bdtnode/node/replica"
	"bdtnode/node/sim/clock"
	"bdtnode/node/sim/trace"
	"bdtnode/protocols"
)

// Network is the links between the replicas of a shard. A pair of replicas has one connection at a time. In each
// direction of it, control and bulk are streams of their own, each in order. When a connection breaks, all frames under
// way on it are lost. It comes up again some time later, and each side learns of it at its own time. It connects nodes,
// by their place; twins are two nodes.
type Network struct {
	Duplicates float64   // share of messages that arrive twice
	Reorders   float64   // share of messages that ignore the order of their stream
	Scheduler  Scheduler // nil if no adversary decides when messages arrive

	clock      *clock.Clock
	trace      trace.Shard
	carried    func(from, to, count int)
	nodes      []Node
	pairs      [][]*pair // by the places of two nodes
	links      [][]*link // by sender's and receiver's place
	hindrances []Hindrance
	free       []*Flight // flights that have ended, to be used again
}

// Config is the links of a network.
type Config struct {
	Places  int                       // number of nodes
	Delay   time.Duration             // mean one-way delay of a message; each link has its own, between half and twice this
	Links   [][]time.Duration         // one-way delay from each node to each, in place of Delay; nil is none
	Carried func(from, to, count int) // called with the number of frames on a link when there is one more
}

// Node is an end of the links.
type Node interface {
	ID() protocols.Index
	Alive() bool
	// Connected is called when the node learns of a connection with a replica.
	Connected(to protocols.Index)
	// Receive is called with each frame that arrives, and the place of its sender.
	Receive(from int, p Packet)
}

// Scheduler is an adversary that decides when messages arrive.
type Scheduler interface {
	// Sent is called with every message that is sent, nil if the frame cannot be decoded.
	Sent(from protocols.Index, m protocols.Message)
	// Holds is called when a message has arrived. It reports whether the message has to wait. If so, the scheduler
	// calls [Network.Arrive] later.
	Holds(f *Flight) bool
	// Delivered is called with every message that reaches its receiver.
	Delivered(f *Flight)
	// End releases all messages.
	End()
}

// linkSpread is the number of times that the variation of a link is part of its delay, if the delay is given.
const linkSpread = 100

// Hindrance is an additional delay for a message, chosen by sender, receiver and content. Messages sent later on the
// same stream overtake one that is set aside, and wait for one that is not.
type Hindrance func(from, to protocols.Index, p Packet) (late time.Duration, aside bool)

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
	stalls  int               // disturbances that stop delivery while the connection stays up
	waiting []*Flight         // frames that wait for the end of the stalls
}

// Flight is a frame under way in one life of a connection.
type Flight struct {
	From, To int // places
	Packet   Packet
	Sent     protocols.Time
	Hold     any // of the scheduler, for this frame

	life   int
	arrive func() // calls Network.Arrive
}

// Packet is a frame to be sent. Receivers must refuse a forged one.
type Packet struct {
	Frame   []byte
	Message protocols.Message // the decoded frame; nil if it cannot be decoded
	Forged  string            // reason why receivers must refuse it; empty if they need not
	Late    time.Duration     // delay before it is sent
}

// New is a network without nodes and connections.
func New(c *clock.Clock, t trace.Shard, cfg Config) *Network {
	w := &Network{clock: c, trace: t, carried: cfg.Carried}
	for i := range cfg.Places {
		w.pairs = append(w.pairs, make([]*pair, cfg.Places))
		w.links = append(w.links, make([]*link, cfg.Places))
		for j := range cfg.Places {
			w.pairs[i][j] = &pair{}
			mean := float64(cfg.Delay) * (0.5 + 1.5*c.Rand.Float64())
			w.links[i][j] = &link{least: time.Duration(mean / 4), spread: 0.75 * mean}
			if cfg.Links != nil {
				d := cfg.Links[i][j]
				w.links[i][j] = &link{least: d, spread: float64(d) / linkSpread}
			}
			if j < i {
				w.pairs[i][j] = w.pairs[j][i]
			}
		}
	}
	return w
}

// Join adds the node of the next place.
func (w *Network) Join(n Node) { w.nodes = append(w.nodes, n) }

// Hinder adds a hindrance until disturbances end.
func (w *Network) Hinder(f Hindrance) { w.hindrances = append(w.hindrances, f) }

// Heal ends the effects of disturbances on the network.
func (w *Network) Heal() {
	w.Duplicates, w.Reorders, w.hindrances = 0, 0, nil
	for i := range w.pairs {
		for j := range w.pairs {
			w.pairs[i][j].cuts, w.links[i][j].stalls = 0, 0
			w.flow(i, j)
		}
	}
	if k := w.Scheduler; k != nil {
		w.Scheduler = nil
		k.End()
	}
}

// Part cuts the connections between two sides. The returned function joins them again.
func (w *Network) Part(side []bool) (join func()) {
	var cut [][2]int
	for i := range side {
		for j := range i {
			if side[i] != side[j] {
				cut = append(cut, [2]int{i, j})
				w.pairs[i][j].cuts++
				w.Sever(i, j)
			}
		}
	}
	w.trace.Add(w.clock.Now(), "parted", -1, -1, nil, side)
	return func() {
		if !w.clock.Active {
			return // all cuts have ended
		}
		w.trace.Add(w.clock.Now(), "joined", -1, -1, nil, side)
		for _, p := range cut {
			w.pairs[p[0]][p[1]].cuts--
			w.connect(p[0], p[1])
		}
	}
}

// Stall stops delivery from one node to another while their connection stays up. The returned function ends the stall:
// waiting frames arrive, or are lost with the connection.
func (w *Network) Stall(i, j int) (resume func(lost bool)) {
	l := w.links[i][j]
	l.stalls++
	w.trace.Add(w.clock.Now(), "stalled", i, j, nil, nil)
	return func(lost bool) {
		if !w.clock.Active {
			return // all stalls have ended
		}
		w.trace.Add(w.clock.Now(), "resumed", i, j, nil, nil)
		if lost {
			w.Sever(i, j)
		}
		if l.stalls--; l.stalls == 0 {
			w.flow(i, j)
			w.connect(i, j)
		}
	}
}

// flow delivers the frames that waited on a stalled link, in order.
func (w *Network) flow(i, j int) {
	l := w.links[i][j]
	for _, f := range l.waiting {
		w.clock.At(w.clock.Now(), f.arrive)
	}
	l.waiting = nil
}

// connect connects two replicas after a while, if no partition separates them then.
func (w *Network) connect(i, j int) {
	p := w.pairs[i][j]
	if p.linked || p.again || w.nodes[i].ID() == w.nodes[j].ID() {
		return
	}
	p.again = true
	w.clock.After(w.clock.Between(5*time.Millisecond, 300*time.Millisecond), func() {
		p.again = false
		if p.linked || p.cuts > 0 || w.links[i][j].stalls+w.links[j][i].stalls > 0 || !w.nodes[i].Alive() || !w.nodes[j].Alive() {
			return
		}
		p.linked = true
		p.life++
		w.trace.Add(w.clock.Now(), "link", i, j, nil, nil)
		w.open(i, j)
		w.open(j, i)
	})
}

// open reports the connection to one side.
func (w *Network) open(i, j int) {
	p, life := w.pairs[i][j], w.pairs[i][j].life
	w.clock.After(w.clock.Between(0, 30*time.Millisecond), func() {
		if !p.linked || p.life != life {
			return
		}
		l := w.links[i][j]
		l.up, l.free = true, [2]protocols.Time{}
		w.nodes[i].Connected(w.nodes[j].ID())
	})
}

// Sever breaks the connection of two replicas; they connect again.
func (w *Network) Sever(i, j int) {
	p := w.pairs[i][j]
	if p.linked {
		p.linked = false
		p.life++
		w.links[i][j].up, w.links[j][i].up = false, false
		w.trace.Add(w.clock.Now(), "break", i, j, nil, nil)
	}
	w.connect(i, j)
}

// Down breaks all connections of a node that crashed; they are made again when it is up.
func (w *Network) Down(i int) {
	for j := range w.pairs {
		if j != i {
			w.Sever(i, j)
		}
	}
}

// Up makes the connections of a node that starts.
func (w *Network) Up(i int) {
	for j := range w.pairs {
		w.connect(i, j)
	}
}

// Send sends a frame at once. A frame without a connection is lost.
func (w *Network) Send(i, j int, p Packet) {
	l := w.links[i][j]
	if !l.up {
		return // lost: the sender sends it again when the connection is up
	}
	w.carry(i, j, p)
	if w.Duplicates > 0 && w.clock.Rand.Float64() < w.Duplicates {
		w.carry(i, j, p)
	}
}

func (w *Network) carry(i, j int, p Packet) {
	l := w.links[i][j]
	class := 0
	if replica.Bulk(protocols.Kind(p.Frame[0])) {
		class = 1
	}
	if w.Scheduler != nil {
		w.Scheduler.Sent(w.nodes[i].ID(), p.Message)
	}
	at := w.clock.Now().Add(l.least + time.Duration(w.clock.Rand.ExpFloat64()*l.spread))
	overtaken := w.Reorders > 0 && w.clock.Rand.Float64() < w.Reorders
	for _, f := range w.hindrances {
		late, aside := f(w.nodes[i].ID(), w.nodes[j].ID(), p)
		at, overtaken = at.Add(late), overtaken || aside
	}
	if !overtaken {
		at = max(at, l.free[class])
		l.free[class] = at
	}
	l.count++
	w.carried(i, j, l.count)
	f := w.flight()
	f.From, f.To, f.Packet, f.life, f.Sent = i, j, p, w.pairs[i][j].life, w.clock.Now()
	w.clock.At(at, f.arrive)
}

// flight returns a flight without content.
func (w *Network) flight() *Flight {
	if last := len(w.free) - 1; last >= 0 {
		f := w.free[last]
		w.free = w.free[:last]
		return f
	}
	f := &Flight{}
	f.arrive = func() { w.Arrive(f) }
	return f
}

// end frees a flight that has ended. A scheduler may still have it.
func (w *Network) end(f *Flight) {
	if w.Scheduler == nil && f.Hold == nil {
		f.Packet = Packet{}
		w.free = append(w.free, f)
	}
}

// Arrive hands a frame to its receiver, unless its connection is gone, or a disturbance holds the frame back.
func (w *Network) Arrive(f *Flight) {
	l := w.links[f.From][f.To]
	switch {
	case w.pairs[f.From][f.To].life != f.life:
		l.count--
		w.end(f)
	case l.stalls > 0:
		l.waiting = append(l.waiting, f)
	case w.Scheduler != nil && w.Scheduler.Holds(f):
	default:
		l.count--
		if w.Scheduler != nil {
			w.Scheduler.Delivered(f)
		}
		to, from, p := w.nodes[f.To], f.From, f.Packet
		w.end(f)
		to.Receive(from, p)
	}
}
