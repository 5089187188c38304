package adversary

import (
	"strings"
	"time"

	"bdtnode/node/sim/clock"
	"bdtnode/node/sim/network"
	"bdtnode/protocols"
	"bdtnode/shard/settlement"
)

// Turns runs several behaviours in one replica, each for a while.
type Turns struct {
	Each       time.Duration
	Behaviours []Behaviour
}

func (a *Turns) String() string {
	var all []string
	for _, b := range a.Behaviours {
		all = append(all, b.String())
	}
	return strings.Join(all, " and then ")
}

// now is the behaviour whose turn it is.
func (a *Turns) now(v *View) Behaviour {
	return a.Behaviours[int(v.Now().Sub(clock.Begin)/a.Each)%len(a.Behaviours)]
}

func (a *Turns) Replace(v *View, to protocols.Index, m protocols.Message) []network.Packet {
	return a.now(v).Replace(v, to, m)
}

func (a *Turns) Receive(v *View, from protocols.Index, m protocols.Message) {
	for _, b := range a.Behaviours {
		if x, ok := b.(Receiver); ok {
			x.Receive(v, from, m)
		}
	}
}

func (a *Turns) ReplaceLD(v *View, ld *settlement.LD) []network.Packet {
	if x, ok := a.now(v).(CrossShard); ok {
		return x.ReplaceLD(v, ld)
	}
	return []network.Packet{{Frame: ld.Encode()}}
}

func (a *Turns) ReplaceCL(v *View, to uint16, cl *settlement.CL) []network.Packet {
	if x, ok := a.now(v).(CrossShard); ok {
		return x.ReplaceCL(v, to, cl)
	}
	return []network.Packet{{Frame: cl.Encode()}}
}

func (a *Turns) Position(v *View, next uint64) uint64 {
	if x, ok := a.now(v).(CrossShard); ok {
		return x.Position(v, next)
	}
	return next
}

// Counts is the number of incorrect messages of all behaviours, by kind.
func (a *Turns) Counts() map[string]int {
	all := make(map[string]int)
	for _, b := range a.Behaviours {
		for kind, count := range CountsOf(b) {
			all[kind] += count
		}
	}
	return all
}

// Parts is the behaviours of a replica: those that take turns, or the one that it has.
func Parts(b Behaviour) []Behaviour {
	if t, ok := b.(*Turns); ok {
		return t.Behaviours
	}
	return []Behaviour{b}
}
