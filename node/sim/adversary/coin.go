package adversary

import (
	"slices"

	"bdtnode/node/replica"
	"bdtnode/node/sim/network"
	"bdtnode/protocols"
	toss "bdtnode/protocols/coin"
	"bdtnode/protocols/mvba"
)

// BadCoin sends invalid shares of the coin, or shares of another toss or replica as its own. It sends valid shares of
// rounds that have not begun, repeats old ones, relays shares that do not make a coin, or sends no share at all.
type BadCoin struct {
	Withholds bool // it neither releases nor relays a share

	shares []heardShare // received lately
	relays []*toss.Relay
	tally
}

type heardShare struct {
	from    protocols.Index
	release *toss.Release
}

func (a *BadCoin) String() string {
	if a.Withholds {
		return "withholds its shares of the coin"
	}
	return "forges shares of the coin"
}

func (a *BadCoin) Receive(_ *View, from protocols.Index, m protocols.Message) {
	switch x := m.(type) {
	case *toss.Release:
		if a.shares = append(a.shares, heardShare{from, x}); len(a.shares) > 64 {
			a.shares = a.shares[1:]
		}
	case *toss.Relay:
		if a.relays = append(a.relays, x); len(a.relays) > 16 {
			a.relays = a.relays[1:]
		}
	}
}

func (a *BadCoin) Replace(v *View, _ protocols.Index, m protocols.Message) []network.Packet {
	at, ok := placeOf(m)
	if !ok {
		return Unchanged(m)
	}
	switch x := m.(type) {
	case *toss.Release:
		if a.Withholds {
			a.note("no share")
			return nil
		}
		return a.release(v, x)
	case *toss.Relay:
		if a.Withholds {
			a.note("no relay")
			return nil
		}
		return a.relay(v, x)
	}
	out := Unchanged(m)
	if a.Withholds || v.Rand.IntN(4) > 0 {
		return out
	}
	return append(out, a.early(v, at)...)
}

// early is a valid share that no replica should have yet, or one that has been known for long.
func (a *BadCoin) early(v *View, at mvba.At) []network.Packet {
	rng := v.Rand
	switch rng.IntN(4) {
	case 0:
		a.note("early in its round")
		return Unchanged(v.share(tossOf(at)))
	case 1:
		a.note("a round ahead")
		at.Round += 1 + rng.Uint32N(6)
		return Unchanged(v.share(tossOf(at)))
	case 2:
		a.note("an epoch ahead")
		at.Instance.Epoch++
		at.Round = 1 + rng.Uint32N(3)
		return Unchanged(v.share(tossOf(at)))
	}
	for _, s := range a.shares {
		if s.release.Name.Epoch < at.Instance.Epoch {
			a.note("an old toss")
			return Unchanged(v.share(s.release.Name))
		}
	}
	return nil
}

// release is the message in place of its own share.
func (a *BadCoin) release(v *View, x *toss.Release) []network.Packet {
	rng := v.Rand
	right, bad := Unchanged(x), copied(v, x)
	var why string
	switch rng.IntN(6) {
	case 0:
		bad.Share[rng.IntN(32)] ^= 1 << rng.IntN(8)
		why = "a share with a bit flipped"
	case 1:
		name := x.Name
		name.Round++
		bad.Share = v.share(name).Share
		why = "a share of another round"
	case 2:
		name := x.Name
		name.Epoch++
		bad.Share = v.share(name).Share
		why = "a share of another epoch"
	case 3:
		k := slices.IndexFunc(a.shares, func(s heardShare) bool { return s.from != v.Self && s.release.Name == x.Name })
		if k < 0 {
			return right
		}
		bad.Share = a.shares[k].release.Share
		why = "another replica's share"
	case 4:
		a.note("a share twice")
		return append(right, right...)
	default:
		a.note("no share")
		return nil
	}
	a.note(why)
	return append(forged(bad, why), right...)
}

// relay is the message in place of a known coin.
func (a *BadCoin) relay(v *View, x *toss.Relay) []network.Packet {
	rng := v.Rand
	right, bad := Unchanged(x), copied(v, x)
	var why string
	members := bad.Shares.Holders.Members()
	switch rng.IntN(6) {
	case 0:
		bad.Shares.Shares[rng.IntN(len(members))][rng.IntN(32)] ^= 1
		why = "a relay with a bit flipped"
	case 1:
		bad.Shares.Holders.Remove(members[len(members)-1])
		bad.Shares.Shares = bad.Shares.Shares[:len(members)-1]
		why = "a relay of too few shares"
	case 2:
		slices.Reverse(bad.Shares.Shares)
		why = "a relay of shares in each other's name"
	case 3:
		bad.Name.Round++
		why = "a relay of another round's shares"
	case 4:
		a.note("no relay")
		return nil
	default:
		if len(a.relays) == 0 {
			return right
		}
		a.note("an old relay")
		return append(right, network.Packet{Frame: replica.Encode(a.relays[0]), Message: a.relays[0]})
	}
	a.note(why)
	return append(forged(bad, why), right...)
}
