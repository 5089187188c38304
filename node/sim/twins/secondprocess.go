package twins

import (
	"fmt"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/node/replica"
	"bdtnode/node/sim/adversary"
	"bdtnode/node/sim/machine"
	"bdtnode/node/sim/network"
	"bdtnode/node/sim/trace"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/lanes"
)

// copyAge is the time after which another copy is made, if the first process signed nothing since.
const copyAge = 2 * time.Second

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

	s      *machine.Shard
	of     [2]*machine.Machine // the first process and the second
	kept   []session           // by place of the peer
	signed map[signedPlace]digest.Digest
}

// signedPlace is a place for which a replica signs one value only.
type signedPlace struct {
	kind protocols.Kind
	lane protocols.Index
	a, b uint64
}

// session is the process that a peer keeps.
type session struct {
	machine *machine.Machine
	boot    uint64
}

func (a *SecondProcess) String() string {
	return fmt.Sprintf("has a second process from a copy of its stores after %v, late %v, again %v, apart for %v", a.After, a.Late, a.Again, a.Apart)
}

// Start implements [disturbance.Disturbance]. It keeps the second process down until the copy is made.
func (a *SecondProcess) Start(s *machine.Shard) {
	a.s = s
	for _, n := range s.Machines {
		if n.Behaviour() == a {
			a.of[min(1, n.Place()/s.Config.Replicas)] = n
		}
	}
	a.kept, a.signed = make([]session, s.Config.Places()), make(map[signedPlace]digest.Digest)
	a.of[1].Kill()
	s.After(a.After, func() { a.copy(s) })
}

// copy makes the copy, and starts the second process with it.
func (a *SecondProcess) copy(s *machine.Shard) {
	first, second := a.of[0], a.of[1]
	stores, life := first.CopyStores(), first.Life()
	newer, made := s.Newer(first), s.Now()
	var look func()
	look = func() {
		switch {
		case !s.Active:
		case !first.Alive() || first.Life() != life || s.Now().Sub(made) > copyAge:
			a.copy(s)
		case a.Late && !newer(false):
			s.After(5*time.Millisecond, look)
		default:
			second.SetStores(stores, a.Late)
			second.Revive()
			s.Trace.Add(s.Now(), "copied", second.Place(), -1, nil, nil)
			if a.Apart > 0 {
				side := make([]bool, s.Config.Places())
				side[first.Place()], side[(first.Place()+1)%s.Config.Replicas] = true, true
				s.After(a.Apart, s.Network.Part(side))
			}
			if a.Again {
				first.Crash()
				s.After(s.Between(0, 200*time.Millisecond), first.Start)
			}
			second.Start()
		}
	}
	s.After(0, look)
}

// Greeted implements [machine.Processes].
func (a *SecondProcess) Greeted(peer, from *machine.Machine, m protocols.Message) {
	h, ok := m.(*replica.Hello)
	if !ok {
		return
	}
	k := &a.kept[peer.Place()]
	before := k.machine
	if before == nil || h.Boot > k.boot {
		*k = session{from, h.Boot}
	}
	if before != nil && k.machine != before {
		a.s.Network.Sever(peer.Place(), before.Place())
	}
}

// Reaches implements [machine.Processes]. A message reaches a process if the peer keeps that process, or the message
// belongs to the opening of a session.
func (a *SecondProcess) Reaches(peer, to *machine.Machine, m protocols.Message) bool {
	switch m.(type) {
	case *replica.Hello, *replica.Known, *replica.Fenced, *replica.Position:
		return true
	}
	k := a.kept[peer.Place()]
	return k.machine == nil || k.machine == to
}

func (a *SecondProcess) Replace(v *adversary.View, _ protocols.Index, m protocols.Message) []network.Packet {
	at := signedPlace{kind: m.Kind()}
	var d digest.Digest
	switch x := m.(type) {
	case *lanes.Batch:
		at.lane, at.a, d = x.Lane, x.Seq, x.Digest()
	case *bolt.Vote:
		at.lane, at.a, at.b, d = v.Self, x.Epoch, x.Slot, x.Digest
	default:
		return adversary.Unchanged(m)
	}
	if have, ok := a.signed[at]; ok && have != d && at.lane == v.Self {
		a.s.Trace.Add(a.s.Now(), "contradicts", v.Place, -1, nil, trace.Describe(m))
	}
	a.signed[at] = d
	return adversary.Unchanged(m)
}

// Ended checks, after some time without faults of the network, that no process runs of which f+1 peers keep the other
// one.
func (a *SecondProcess) Ended(s *machine.Shard) {
	for _, n := range a.of {
		others := 0
		for _, k := range a.kept {
			if k.machine != nil && k.machine != n {
				others++
			}
		}
		if n.Alive() && n.Running() && others >= s.Committee.WeakQuorum() {
			s.Fail("identity", "a process of replica %d continues, though %d peers keep the other one", n.ID(), others)
		}
	}
}

// Twins implements [machine.Twins].
func (*SecondProcess) Twins() {}
