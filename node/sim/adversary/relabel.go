package adversary

import (
	"fmt"

	"bdtnode/node/replica"
	"bdtnode/node/sim/network"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/certify"
	toss "bdtnode/protocols/coin"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/mvba"
)

// Relabelling sends signatures of other replicas with a changed place: another epoch, slot, round, lane, channel or
// number. Receivers must refuse every such message, because each signature covers its place.
type Relabelling struct{ Rate float64 }

func (a *Relabelling) String() string {
	return fmt.Sprintf("changes the place of %.0f %% of signatures", 100*a.Rate)
}

func (a *Relabelling) Replace(v *View, _ protocols.Index, m protocols.Message) []network.Packet {
	out := Unchanged(m)
	if v.Rand.Float64() >= a.Rate {
		return out
	}
	if other := v.relabelled(m); other != nil {
		out = append(out, network.Packet{Frame: replica.Encode(other), Message: other, Forged: "signatures of something else"})
	}
	return out
}

// relabelled is a message with the same signatures and another place. It is nil if the message carries no signatures of
// others, or if its type is not handled here.
func (v *View) relabelled(m protocols.Message) protocols.Message {
	rng := v.Rand
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
			y.Lane = (y.Lane + 1) % protocols.Index(v.Committee.N())
		} else {
			y.Tip.Seq += on
		}
		return &y
	case *inbound.TipCertificate:
		return with(x, func(y *inbound.TipCertificate) { y.Tip.Seq += on })
	case *lanes.Ack:
		return with(x, func(y *lanes.Ack) { y.Tip.Seq += on })
	case *bolt.Vote:
		y := *x
		if rng.IntN(2) == 0 {
			y.Slot += on
		} else {
			y.Epoch += on
		}
		return &y
	case *certify.VOTE:
		return with(x, func(y *certify.VOTE) { y.Height += on })
	case *mvba.Echo:
		return with(x, func(y *mvba.Echo) { y.At = elsewhere(y.At) })
	case *mvba.Accept:
		return with(x, func(y *mvba.Accept) { y.At = elsewhere(y.At) })
	case *mvba.Lock:
		return with(x, func(y *mvba.Lock) { y.At = elsewhere(y.At) })
	case *mvba.Finish:
		return with(x, func(y *mvba.Finish) { y.At = elsewhere(y.At) })
	case *mvba.PreVote:
		return with(x, func(y *mvba.PreVote) { y.At = elsewhere(y.At) })
	case *mvba.Vote:
		return with(x, func(y *mvba.Vote) { y.At = elsewhere(y.At) })
	case *mvba.Decision:
		return with(x, func(y *mvba.Decision) { y.At = elsewhere(y.At) })
	case *toss.Release:
		return with(x, func(y *toss.Release) { y.Name = tossOf(elsewhere(roundOf(y.Name))) })
	case *toss.Relay:
		return with(x, func(y *toss.Relay) { y.Name = tossOf(elsewhere(roundOf(y.Name))) })
	}
	return nil
}

// with is a copy of a message with a change.
func with[M any](x *M, change func(*M)) *M {
	y := *x
	change(&y)
	return &y
}
