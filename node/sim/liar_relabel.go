package sim

import (
	"fmt"

	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/channels"
	toss "bdtnode/protocols/coin"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/mvba"
	"bdtnode/protocols/votes"
)

// Relabelling shows what others have signed as if it were signed for something else: for another epoch, slot, round,
// lane, channel or number. Every such message must be refused: all that is signed names what it is for.
type Relabelling struct{ Rate float64 }

func (a *Relabelling) String() string {
	return fmt.Sprintf("passes %.0f %% for something else", 100*a.Rate)
}

func (a *Relabelling) tamper(n *node, _ protocols.Index, m protocols.Message) []packet {
	out := honestly(m)
	if n.s.rng.Float64() >= a.Rate {
		return out
	}
	if other := n.relabelled(m); other != nil {
		out = append(out, packet{frame: replica.Encode(other), message: other, forged: "signatures of something else"})
	}
	return out
}

// relabelled is a message with the same signatures and another name, or nil if it carries none of others or is not known
// here.
func (n *node) relabelled(m protocols.Message) protocols.Message {
	rng := n.s.rng
	on := 1 + rng.Uint64N(3)
	elsewhere := func(at mvba.At) mvba.At {
		if rng.IntN(2) == 0 {
			at.Instance.Epoch += on
		} else {
			at.Round += uint32(on)
		}
		return at
	}
	switch x := m.(type) {
	case *lanes.TipCertificate:
		y := *x
		if rng.IntN(2) == 0 {
			y.Lane = (y.Lane + 1) % protocols.Index(n.s.committee.N())
		} else {
			y.Tip.Seq += on
		}
		return &y
	case *channels.TipCertificate:
		y := *x
		y.Tip.Seq += on
		return &y
	case *lanes.Ack:
		y := *x
		y.Tip.Seq += on
		return &y
	case *bolt.Vote:
		y := *x
		if rng.IntN(2) == 0 {
			y.Slot += on
		} else {
			y.Epoch += on
		}
		return &y
	case *votes.VOTE:
		y := *x
		y.Height += on
		return &y
	case *mvba.Echo:
		y := *x
		y.At = elsewhere(x.At)
		return &y
	case *mvba.Accept:
		y := *x
		y.At = elsewhere(x.At)
		return &y
	case *mvba.Lock:
		y := *x
		y.At = elsewhere(x.At)
		return &y
	case *mvba.Finish:
		y := *x
		y.At = elsewhere(x.At)
		return &y
	case *mvba.PreVote:
		y := *x
		y.At = elsewhere(x.At)
		return &y
	case *mvba.Vote:
		y := *x
		y.At = elsewhere(x.At)
		return &y
	case *mvba.Decision:
		y := *x
		y.At = elsewhere(x.At)
		return &y
	case *toss.Release:
		y := *x
		at := elsewhere(roundOfName(x.Name))
		y.Name.Epoch, y.Name.Round = at.Instance.Epoch, at.Round
		return &y
	case *toss.Relay:
		y := *x
		at := elsewhere(roundOfName(x.Name))
		y.Name.Epoch, y.Name.Round = at.Instance.Epoch, at.Round
		return &y
	}
	return nil
}
