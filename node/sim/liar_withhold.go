package sim

import (
	"fmt"
	"time"

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

	lies lies
}

// newWithholding withholds batches, or some of the other kinds.
func newWithholding(d draw) *Withholding {
	a := &Withholding{}
	if d.IntN(3) > 0 {
		some := func() bool { return d.IntN(2) == 0 }
		a.Proposals, a.Votes, a.Statuses, a.Agreement, a.Shares, a.NotBatches = some(), some(), some(), some(), some(), some()
	}
	if d.IntN(2) == 0 {
		a.Each = d.ms(200, 8000)
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

func (a *Withholding) tamper(n *node, to protocols.Index, m protocols.Message) []packet {
	if what := a.withheld(n, m); what != "" && a.victim(n, to) {
		a.lies.told(what)
		return nil
	}
	return honestly(m)
}

// victim reports whether a replica is one of the f from which it withholds messages.
func (a *Withholding) victim(n *node, to protocols.Index) bool {
	c := n.s.committee
	first := int(n.id) + 1
	if a.Each > 0 {
		first += int(n.s.now.Sub(epoch) / a.Each)
	}
	return (int(to)-first%c.N()+c.N())%c.N() < c.F()
}

// withheld is the kind of m if it is withheld, else empty.
func (a *Withholding) withheld(n *node, m protocols.Message) string {
	is := func(what string, yes bool) string {
		if yes {
			return what
		}
		return ""
	}
	switch x := m.(type) {
	case *lanes.Batch:
		return is("batches", x.Lane == n.id && !a.NotBatches)
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

// Garbage sends, besides the correct messages, frames with flipped bits or missing ends.
type Garbage struct{ Rate float64 }

func (a *Garbage) String() string { return fmt.Sprintf("sends %.0f %% garbage", 100*a.Rate) }

func (a *Garbage) tamper(n *node, _ protocols.Index, m protocols.Message) []packet {
	out := honestly(m)
	rng := n.s.rng
	if rng.Float64() >= a.Rate {
		return out
	}
	bad := append([]byte(nil), out[0].frame...)
	switch rng.IntN(3) {
	case 0:
		bad = bad[:1+rng.IntN(len(bad))]
	case 1:
		bad[0] = byte(rng.Uint32())
	default:
		for range 1 + rng.IntN(3) {
			bad[rng.IntN(len(bad))] ^= 1 << rng.IntN(8)
		}
	}
	return append(out, packet{frame: bad})
}
