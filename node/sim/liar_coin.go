package sim

import (
	"slices"

	"bdtnode/node/replica"
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
	lies   lies
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

func (a *BadCoin) hear(_ *node, from protocols.Index, m protocols.Message) {
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

func (a *BadCoin) tamper(n *node, _ protocols.Index, m protocols.Message) []packet {
	at, ok := placeOf(m)
	if !ok {
		return honestly(m)
	}
	switch x := m.(type) {
	case *toss.Release:
		if a.Withholds {
			a.lies.told("no share")
			return nil
		}
		return a.release(n, x)
	case *toss.Relay:
		if a.Withholds {
			a.lies.told("no relay")
			return nil
		}
		return a.relay(n, x)
	}
	out := honestly(m)
	if a.Withholds || n.s.rng.IntN(4) > 0 {
		return out
	}
	return append(out, a.early(n, at)...)
}

// early is a valid share that no replica should have yet, or one that has been known for long.
func (a *BadCoin) early(n *node, at mvba.At) []packet {
	rng := n.s.rng
	switch rng.IntN(4) {
	case 0:
		a.lies.told("early in its round")
		return honestly(n.share(tossOf(at)))
	case 1:
		a.lies.told("a round ahead")
		at.Round += 1 + rng.Uint32N(6)
		return honestly(n.share(tossOf(at)))
	case 2:
		a.lies.told("an epoch ahead")
		at.Instance.Epoch++
		at.Round = 1 + rng.Uint32N(3)
		return honestly(n.share(tossOf(at)))
	}
	for _, s := range a.shares {
		if s.release.Name.Epoch < at.Instance.Epoch {
			a.lies.told("an old toss")
			return honestly(n.share(s.release.Name))
		}
	}
	return nil
}

// release is the message in place of its own share.
func (a *BadCoin) release(n *node, x *toss.Release) []packet {
	rng := n.s.rng
	right, lie := honestly(x), copied(n, x)
	var why string
	switch rng.IntN(6) {
	case 0:
		lie.Share[rng.IntN(32)] ^= 1 << rng.IntN(8)
		why = "a share with a bit flipped"
	case 1:
		name := x.Name
		name.Round++
		lie.Share = n.share(name).Share
		why = "a share of another round"
	case 2:
		name := x.Name
		name.Epoch++
		lie.Share = n.share(name).Share
		why = "a share of another epoch"
	case 3:
		k := slices.IndexFunc(a.shares, func(s heardShare) bool { return s.from != n.id && s.release.Name == x.Name })
		if k < 0 {
			return right
		}
		lie.Share = a.shares[k].release.Share
		why = "another replica's share"
	case 4:
		a.lies.told("a share twice")
		return append(right, right...)
	default:
		a.lies.told("no share")
		return nil
	}
	a.lies.told(why)
	return append(forged(lie, why), right...)
}

// relay is the message in place of a known coin.
func (a *BadCoin) relay(n *node, x *toss.Relay) []packet {
	rng := n.s.rng
	right, lie := honestly(x), copied(n, x)
	var why string
	members := lie.Shares.Holders.Members()
	switch rng.IntN(6) {
	case 0:
		lie.Shares.Shares[rng.IntN(len(members))][rng.IntN(32)] ^= 1
		why = "a relay with a bit flipped"
	case 1:
		lie.Shares.Holders.Remove(members[len(members)-1])
		lie.Shares.Shares = lie.Shares.Shares[:len(members)-1]
		why = "a relay of too few shares"
	case 2:
		slices.Reverse(lie.Shares.Shares)
		why = "a relay of shares in each other's name"
	case 3:
		lie.Name.Round++
		why = "a relay of another round's shares"
	case 4:
		a.lies.told("no relay")
		return nil
	default:
		if len(a.relays) == 0 {
			return right
		}
		a.lies.told("an old relay")
		return append(right, packet{frame: replica.Encode(a.relays[0]), message: a.relays[0]})
	}
	a.lies.told(why)
	return append(forged(lie, why), right...)
}
