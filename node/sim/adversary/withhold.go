package adversary

import (
	"fmt"
	"time"

	"bdtnode/node/sim/clock"
	"bdtnode/node/sim/draw"
	"bdtnode/node/sim/network"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	toss "bdtnode/protocols/coin"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/mvba"
)

// Withholding never sends messages of certain kinds to f of the others, which must make progress without them. If no
// kind is set, it withholds the batches of its own lane.
type Withholding struct {
	Proposals  bool // proposals of the fast lane
	Votes      bool // and Finalize messages
	Statuses   bool
	Agreement  bool          // messages of the agreement except shares of the coin
	Shares     bool          // and relays of them
	NotBatches bool          // batches are sent
	Each       time.Duration // time after which it chooses other replicas; 0 is never

	tally
}

// NewWithholding withholds batches, or some of the other kinds.
func NewWithholding(d draw.Source) *Withholding {
	a := &Withholding{}
	if d.IntN(3) > 0 {
		some := func() bool { return d.IntN(2) == 0 }
		a.Proposals, a.Votes, a.Statuses, a.Agreement, a.Shares, a.NotBatches = some(), some(), some(), some(), some(), some()
	}
	if d.IntN(2) == 0 {
		a.Each = d.Milliseconds(200, 8000)
	}
	return a
}

func (a *Withholding) String() string {
	s := "withholds"
	for _, x := range []struct {
		is   bool
		what string
	}{
		{!a.NotBatches, "batches"}, {a.Proposals, "proposals"}, {a.Votes, "votes"}, {a.Statuses, "Status"},
		{a.Agreement, "the agreement"}, {a.Shares, "shares"},
	} {
		if x.is {
			s += " " + x.what
		}
	}
	if a.Each > 0 {
		s += fmt.Sprintf(" from others each %v", a.Each)
	}
	return s
}

func (a *Withholding) Replace(v *View, to protocols.Index, m protocols.Message) []network.Packet {
	if what := a.withheld(v, m); what != "" && a.victim(v, to) {
		a.note(what)
		return nil
	}
	return Unchanged(m)
}

// victim reports whether a replica is one of the f from which it withholds messages.
func (a *Withholding) victim(v *View, to protocols.Index) bool {
	c := v.Committee
	first := int(v.Self) + 1
	if a.Each > 0 {
		first += int(v.Now().Sub(clock.Begin) / a.Each)
	}
	return (int(to)-first%c.N()+c.N())%c.N() < c.F()
}

// withheld is the kind of m if it is withheld, else empty.
func (a *Withholding) withheld(v *View, m protocols.Message) string {
	is := func(what string, yes bool) string {
		if yes {
			return what
		}
		return ""
	}
	switch x := m.(type) {
	case *lanes.Batch:
		return is("batches", x.Lane == v.Self && !a.NotBatches)
	case *bolt.Propose:
		return is("proposals", a.Proposals)
	case *bolt.Vote, *bolt.Finalize:
		return is("votes", a.Votes)
	case *bdt.Status:
		return is("Status", a.Statuses)
	case *toss.Release, *toss.Relay:
		return is("shares", a.Shares)
	}
	_, agreement := mvba.InstanceOf(m)
	return is("the agreement", agreement && a.Agreement)
}
