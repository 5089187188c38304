package load

import (
	"slices"
	"time"

	"bdtnode/ledger"
)

// Kind is the reason for which a transfer of a load is invalid.
type Kind string

// The kinds. A transfer across shards has one bad input, and good ones in other shards if it spends there.
const (
	Spent       Kind = "spent"        // an input was spent by a settled transfer
	Unknown     Kind = "unknown"      // an input that never exists
	WrongAmount Kind = "wrong_amount" // an input declares another amount than the output has
	WrongOwner  Kind = "wrong_owner"  // the key of an input is not that of the owner
	Expired     Kind = "expired"      // the expiry is in the past
	// OneShard spends good outputs of some shards and a spent one of another, across shards. It is submitted to a shard in
	// which its inputs are good, and to that one only: the others learn of it from an LD.
	OneShard Kind = "one_shard"
	// Conflict are two transfers across shards with the same good inputs in two shards. One is submitted to the first of
	// the shards only, the other one to the second at the same time. At most one may settle.
	Conflict Kind = "conflict"
)

// Kinds are all kinds of invalid transfers.
var Kinds = []Kind{Spent, Unknown, WrongAmount, WrongOwner, Expired, OneShard, Conflict}

// longAgo is the time since the expiry of an expired transfer.
const longAgo = time.Hour

// spreadExpiry is the number of different expiries at one moment, in milliseconds. Transfers with the same inputs and
// outputs have different ids because their expiries differ.
const spreadExpiry = 4096

// needsCross reports whether only a transfer across shards can be of the kind.
func (k Kind) needsCross() bool { return k == OneShard || k == Conflict }

// needsSpent reports whether a transfer of the kind spends an output that is spent already.
func (k Kind) needsSpent() bool { return k == Spent || k == OneShard }

// spoil draws the kind of an invalid transfer, and the bad input if that is no output of the pool. Kinds that are not
// possible yet are left out: nothing has been spent, or the transfer does not go across shards. A conflict takes one more
// transfer of those to be generated.
func (g *generator) spoil(t *transfer) {
	spent := g.pickSpent()
	possible := make([]Kind, 0, len(Kinds))
	for _, k := range Kinds {
		switch {
		case k.needsCross() && !t.cross:
		case k.needsSpent() && spent == nil:
		case k == WrongOwner && !g.neighbours():
		case k == Conflict && (g.left == 0 || g.cross == 0 || g.invalid == 0):
		default:
			possible = append(possible, k)
		}
	}
	t.kind = possible[g.rng.IntN(len(possible))]
	switch t.kind {
	case Spent, OneShard:
		spent.last = max(g.expiry(g.cfg.Horizon/2), spent.last+1)
		t.spends, t.expiry = []coin{spent.coin}, spent.last
	case Unknown:
		var id ledger.TxID
		for i := range id {
			id[i] = byte(g.rng.Uint32())
		}
		owner := g.rng.IntN(len(g.accounts.addresses))
		t.spends, t.expiry = []coin{{point: ledger.Outpoint{Tx: id}, amount: 1, owner: owner}}, g.expiry(g.cfg.Horizon/2)
	case Conflict:
		g.left, g.cross, g.invalid = g.left-1, g.cross-1, g.invalid-1
	case WrongAmount, WrongOwner, Expired:
	}
}

// neighbours reports whether a shard is the home of two accounts.
func (g *generator) neighbours() bool {
	return slices.ContainsFunc(g.accounts.at, func(at []int) bool { return len(at) > 1 })
}

// spoilInputs sets the inputs of an invalid transfer with good coins. A coin that the transfer can never consume is given
// back after the answer.
func (g *generator) spoilInputs(t *transfer, good []coin) {
	expiry := g.expiry(g.cfg.Horizon / 2)
	if t.cross {
		expiry = g.expiry(min(shortExpiry, g.cfg.Horizon/2))
	}
	g.serial++
	expiry += g.serial % spreadExpiry
	first := g.accounts.home[good[0].owner]
	switch t.kind {
	case Spent, Unknown, OneShard:
		t.bad = g.rng.IntN(len(good) + 1)
		t.spends = slices.Insert(good, t.bad, t.spends[0])
		if t.kind == Spent { // it may come to the shard with the bad input first
			first = g.accounts.home[t.spends[0].owner]
		}
		t.once = t.kind == OneShard
	case WrongAmount, WrongOwner:
		t.bad = g.rng.IntN(len(good))
		c := &good[t.bad]
		t.lent = []coin{*c}
		if at := g.accounts.at[g.accounts.home[c.owner]]; t.kind == WrongOwner && len(at) > 1 {
			other := at[g.rng.IntN(len(at)-1)]
			if other == c.owner {
				other = at[len(at)-1]
			}
			c.owner = other
		} else {
			t.kind = WrongAmount
			c.amount++
		}
		t.spends = good
	case Expired:
		t.spends, t.lent = good, slices.Clone(good)
		expiry = uint64(time.Now().Add(-longAgo).UnixMilli()) + g.serial%spreadExpiry
	case Conflict:
		t.spends, t.once, t.pair = good, true, &pair{}
		t.partner = &transfer{
			bad: -1, cross: true, kind: Conflict, once: true, pair: t.pair, spends: []coin{good[1], good[0]},
			expiry: expiry + 1, to: g.accounts.home[good[1].owner],
		}
		g.pay(t.partner, []int{int(first), int(t.partner.to)})
		g.serial++
	}
	t.expiry, t.to = expiry, first
}

// two draws two shards with coins, nil if there are fewer.
func (g *generator) two() []int {
	funded := g.pool.funded()
	if len(funded) < 2 {
		return nil
	}
	g.rng.Shuffle(len(funded), func(i, j int) { funded[i], funded[j] = funded[j], funded[i] })
	return funded[:2]
}
