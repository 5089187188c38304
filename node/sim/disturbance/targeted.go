package disturbance

import (
	"fmt"
	"time"

	"bdtnode/node/sim/machine"
	"bdtnode/node/sim/network"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/certify"
	toss "bdtnode/protocols/coin"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/mvba"
)

// Targeted delays chosen messages by up to some seconds, and repeats the choice: messages of some kinds, all messages
// on some links, or from one replica, or to it. Other messages overtake those chosen by kind.
type Targeted struct {
	Every time.Duration // mean, from one choice to the next
	Most  time.Duration // maximal delay
}

func (f Targeted) String() string {
	return fmt.Sprintf("chosen messages delayed by up to %v, a new choice every %v", f.Most, f.Every)
}

// targets are kinds of messages that are chosen together.
var targets = [][]protocols.Kind{
	{lanes.KindBatch}, {lanes.KindAck}, {lanes.KindCertified}, {lanes.KindFetch},
	{inbound.KindSIGN, inbound.KindCertificate},
	{bolt.KindPropose}, {bolt.KindVote}, {bolt.KindFinalize}, {bolt.KindFetchBlock},
	{certify.KindVOTE}, {bdt.KindStatus}, {toss.KindRelease}, {toss.KindRelay}, {toss.KindRelease, toss.KindRelay},
	{mvba.KindProposal}, {mvba.KindEcho}, {mvba.KindLock}, {mvba.KindAccept}, {mvba.KindFinish}, {mvba.KindPreVote},
	{mvba.KindVote}, {mvba.KindDecision}, {mvba.KindFetchValue, mvba.KindValue},
}

// target is one choice.
type target struct {
	kinds map[protocols.Kind]bool // nil is all
	links [][]bool                // by sender and receiver
	late  time.Duration           // at most
}

func (f Targeted) Start(s *machine.Shard) {
	t := f.choose(s)
	s.Repeat(f.Every, func() { t = f.choose(s) })
	s.Network.Hinder(func(from, to protocols.Index, p network.Packet) (time.Duration, bool) { return t.delay(s, from, to, p) })
}

// delay is a hindrance.
func (t *target) delay(s *machine.Shard, from, to protocols.Index, p network.Packet) (late time.Duration, aside bool) {
	if !t.links[from][to] || t.kinds != nil && !t.kinds[protocols.Kind(p.Frame[0])] {
		return 0, false
	}
	return s.Between(t.late/4, t.late), t.kinds != nil
}

func (f Targeted) choose(s *machine.Shard) target {
	n := len(s.Machines)
	t := target{late: s.Between(f.Most/10, f.Most)}
	one, links := s.Rand.IntN(n), s.Rand.IntN(4)
	for i := range n {
		t.links = append(t.links, make([]bool, n))
		for j := range n {
			switch links {
			case 0:
				t.links[i][j] = i == one
			case 1:
				t.links[i][j] = j == one
			case 2:
				t.links[i][j] = s.Rand.IntN(3) == 0
			default:
				t.links[i][j] = true
			}
		}
	}
	if links == 3 || s.Rand.IntN(2) == 0 {
		t.kinds = make(map[protocols.Kind]bool)
		for range 1 + s.Rand.IntN(3) {
			for _, k := range targets[s.Rand.IntN(len(targets))] {
				t.kinds[k] = true
			}
		}
	}
	return t
}
