package sim

import (
	"fmt"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/lanes"
)

// SecondProcess runs two processes of one replica: the second one starts with a copy of the stores while the first
// continues. Both are honest and start as a replica of the node does, so that they detect each other. Until then they
// count as one of the f that may fail. A peer has one session for both. It ends the session of the process that it does
// not keep when the other one sends Hello ([replica.Hello]), and answers each further Hello of the ended one with
// Fenced.
type SecondProcess struct {
	After time.Duration // time of the copy
	// Late: the second process starts only when all peers have newer signatures of the first than the copy has. Then it
	// must be found lost before it signs. Otherwise it starts at once.
	Late bool
	// Again: the first process is restarted meanwhile, so that both have the same number of starts.
	Again bool
	// Apart is the time for which the first process and one peer are partitioned from the second process and the
	// others. So the two processes sign different values before any peer can detect it.
	Apart time.Duration

	of   [2]*node  // the first process and the second
	kept []session // by place of the peer
	said map[saying]digest.Digest
}

// session is the process that a peer keeps.
type session struct {
	*node
	boot uint64
}

func (a *SecondProcess) String() string {
	return fmt.Sprintf("has a second process from a copy of its stores after %v, late %v, again %v, apart for %v", a.After, a.Late, a.Again, a.Apart)
}

// start keeps the second process down until the copy is made.
func (a *SecondProcess) start(s *cluster) {
	for _, n := range s.nodes {
		if n.adversary == a {
			a.of[min(1, n.place/s.cfg.Nodes)] = n
		}
	}
	a.kept, a.said = make([]session, s.cfg.places()), make(map[saying]digest.Digest)
	a.of[1].dead = true
	s.after(a.After, func() { a.copy(s) })
}

// copy makes the copy, and starts the second process with it.
func (a *SecondProcess) copy(s *cluster) {
	first, second := a.of[0], a.of[1]
	store, effects, life := first.store.Fork(), first.effects.Fork(), first.life
	said, made := s.check.identity.spoke[first.id], s.now
	var look func()
	look = func() {
		switch {
		case !s.active:
		case !first.alive || first.life != life || s.now.Sub(made) > copyAge:
			a.copy(s)
		case a.Late && !s.check.identity.later(first, said, false):
			s.after(5*time.Millisecond, look)
		default:
			second.store, second.effects, second.replaced = store, effects, a.Late
			second.dead, second.fresh = false, false
			s.trace.add(s.now, "copied", second.place, -1, nil, nil)
			if a.Apart > 0 {
				side := make([]bool, s.cfg.places())
				side[first.place], side[(first.place+1)%s.cfg.Nodes] = true, true
				s.after(a.Apart, s.network.part(side))
			}
			if a.Again {
				first.crash()
				s.after(s.between(0, 200*time.Millisecond), func() { s.guard(first, first.start) })
			}
			s.guard(second, second.start)
		}
	}
	s.after(0, look)
}

// greeted is called when a peer takes a message of one of the processes.
func (a *SecondProcess) greeted(peer, from *node, m protocols.Message) {
	h, ok := m.(*replica.Hello)
	if !ok {
		return
	}
	k := &a.kept[peer.place]
	before := k.node
	if before == nil || h.Boot > k.boot {
		*k = session{from, h.Boot}
	}
	if before != nil && k.node != before {
		peer.s.network.sever(peer.place, before.place)
	}
}

// reaches reports whether a peer's message reaches a process: the peer keeps that process, or the message belongs to
// the opening of a session.
func (a *SecondProcess) reaches(peer, to *node, m protocols.Message) bool {
	switch m.(type) {
	case *replica.Hello, *replica.Known, *replica.Fenced, *replica.Position:
		return true
	}
	k := a.kept[peer.place]
	return k.node == nil || k.node == to
}

func (a *SecondProcess) tamper(n *node, _ protocols.Index, m protocols.Message) []packet {
	at := saying{kind: m.Kind()}
	var d digest.Digest
	switch x := m.(type) {
	case *lanes.Batch:
		at.lane, at.a, d = x.Lane, x.Seq, x.Digest()
	case *bolt.Vote:
		at.lane, at.a, at.b, d = n.id, x.Epoch, x.Slot, x.Digest
	default:
		return honestly(m)
	}
	if have, ok := a.said[at]; ok && have != d && at.lane == n.id {
		n.s.trace.add(n.s.now, "contradicts", n.place, -1, nil, describe(m))
	}
	a.said[at] = d
	return honestly(m)
}

// ended checks, after some time without faults of the network, that no process runs of which f+1 peers keep the other
// one.
func (a *SecondProcess) ended(s *cluster) {
	for _, n := range a.of {
		others := 0
		for _, k := range a.kept {
			if k.node != nil && k.node != n {
				others++
			}
		}
		if n.alive && n.core.Standing().Running && others >= s.committee.WeakQuorum() {
			s.fail("identity", "a process of replica %d continues, though %d peers keep the other one", n.id, others)
		}
	}
}

// guards reports whether a node starts as a replica of the node does: with a record, and without signatures before 2f
// answers.
func (n *node) guards() bool {
	_, second := n.adversary.(*SecondProcess)
	return n.adversary == nil || second
}
