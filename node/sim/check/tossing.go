package check

import (
	"bdtnode/internal/digest"
	"bdtnode/node/replica"
	"bdtnode/node/sim/observe"
	"bdtnode/node/sim/trace"
	"bdtnode/protocols"
	toss "bdtnode/protocols/coin"
	"bdtnode/protocols/mvba"
)

// tossing: a replica releases its share of a round's coin only when n-f broadcasts of the round are complete. Once it
// knows the coin, it signs for none of the round's broadcasts any more (design §4.4). Otherwise an adversary that knows
// the coin could choose which broadcast it elects, or complete one that others have pre-voted against.
type tossing struct {
	s      *Shard
	rounds map[roundOf]*tossed
}

// roundOf is a round of an agreement, at one replica.
type roundOf struct {
	who protocols.Index
	at  mvba.At
}

type tossed struct {
	finished protocols.Set // broadcasters whose proof of completion reached the replica in any life
	shares   protocols.Set // holders whose shares reached it in this life
	known    bool          // so the coin is known
	signed   map[signature]bool
}

// signature is a signature of one phase of a broadcast.
type signature struct {
	kind        protocols.Kind
	broadcaster protocols.Index
	digest      digest.Digest
}

func newTossing(s *Shard) tossing { return tossing{s: s, rounds: make(map[roundOf]*tossed)} }

func (c *tossing) at(who protocols.Index, at mvba.At) *tossed {
	k := roundOf{who, at}
	x := c.rounds[k]
	if x == nil {
		x = &tossed{signed: make(map[signature]bool)}
		c.rounds[k] = x
	}
	return x
}

func roundOfName(n toss.Name) mvba.At {
	return mvba.At{Instance: mvba.Instance{Epoch: n.Epoch, Kind: n.Kind, Index: n.Index}, Round: n.Round}
}

// passed is called before the replica handles a message.
func (c *tossing) passed(n observe.Replica, from protocols.Index, m protocols.Message) {
	switch x := m.(type) {
	case *mvba.Finish:
		c.at(n.ID(), x.At).finished.Add(from)
	case *toss.Release:
		if r := c.at(n.ID(), roundOfName(x.Name)); x.Name.Epoch == n.Status().Epoch {
			r.shares.Add(from)
			r.known = r.known || r.shares.Len() >= c.s.Committee.WeakQuorum()
		}
	case *toss.Relay:
		if x.Name.Epoch == n.Status().Epoch { // messages of later epochs wait, those of earlier ones are dropped
			c.at(n.ID(), roundOfName(x.Name)).known = true
		}
	}
}

// stepped is called with the messages of a replica's step. The replica handles its own broadcast messages at once.
func (c *tossing) stepped(n observe.Replica, st *replica.Step) {
	for _, x := range st.Sends {
		switch m := x.Message.(type) {
		case *mvba.Finish:
			c.at(n.ID(), m.At).finished.Add(n.ID())
		case *toss.Release:
			r := c.at(n.ID(), roundOfName(m.Name))
			if have := r.finished.Len(); have < c.s.Committee.Quorum() {
				c.s.Fail("tossing", "replica %d releases its share of the coin of epoch %d round %d, and holds %d complete broadcasts",
					n.ID(), m.Name.Epoch, m.Name.Round, have)
			}
		case *mvba.Echo:
			c.signs(n, m, m.At, signature{m.Kind(), m.Broadcaster, m.Digest})
		case *mvba.Accept:
			c.signs(n, m, m.At, signature{m.Kind(), m.Broadcaster, m.Digest})
		}
	}
}

func (c *tossing) signs(n observe.Replica, m protocols.Message, at mvba.At, what signature) {
	r := c.at(n.ID(), at)
	if r.known && !r.signed[what] {
		c.s.Fail("tossing", "replica %d knows the coin, and sends %s", n.ID(), trace.Describe(m))
	}
	r.signed[what] = true
}

// crashed: the replica may no longer know a coin.
func (c *tossing) crashed(n observe.Replica) {
	for k, r := range c.rounds {
		if k.who == n.ID() {
			r.known, r.shares = false, protocols.Set{}
		}
	}
}
