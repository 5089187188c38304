package sim

import (
	"strings"
	"time"

	"bdtnode/protocols"
	"bdtnode/shard/settlement"
)

// Turns runs several adversaries in one replica, each for a while.
type Turns struct {
	Each       time.Duration
	Behaviours []Adversary
}

func (a *Turns) String() string {
	var all []string
	for _, b := range a.Behaviours {
		all = append(all, b.String())
	}
	return strings.Join(all, " and then ")
}

// now is the adversary whose turn it is.
func (a *Turns) now(n *node) Adversary {
	return a.Behaviours[int(n.s.now.Sub(epoch)/a.Each)%len(a.Behaviours)]
}

func (a *Turns) tamper(n *node, to protocols.Index, m protocols.Message) []packet {
	return a.now(n).tamper(n, to, m)
}

// start starts the parts of adversaries that run in addition to messages, independent of the turn.
func (a *Turns) start(s *cluster) {
	for _, b := range a.Behaviours {
		if f, ok := b.(Fault); ok {
			f.start(s)
		}
	}
}

func (a *Turns) hear(n *node, from protocols.Index, m protocols.Message) {
	for _, b := range a.Behaviours {
		if x, ok := b.(listener); ok {
			x.hear(n, from, m)
		}
	}
}

func (a *Turns) tell(n, to *node, ld *settlement.LD) []packet {
	if x, ok := a.now(n).(stranger); ok {
		return x.tell(n, to, ld)
	}
	return []packet{{frame: ld.Encode()}}
}

func (a *Turns) position(n *node, next uint64) uint64 {
	if x, ok := a.now(n).(stranger); ok {
		return x.position(n, next)
	}
	return next
}
