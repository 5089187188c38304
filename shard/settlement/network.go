package settlement

import (
	"bdtnode/internal/digest"
	"bdtnode/ledger"
	"bdtnode/protocols"
	"bdtnode/shard"
)

// Network has the committees of all shards, with which LDs of other shards are verified. It is immutable.
type Network struct {
	id         digest.Digest
	committees []*protocols.Committee
}

// NewNetwork returns the network of a genesis. It is an error if a committee of the genesis is not valid.
func NewNetwork(g *shard.Genesis) (*Network, error) {
	committees := make([]*protocols.Committee, len(g.Shards))
	for s := range committees {
		c, err := g.Committee(uint16(s))
		if err != nil {
			return nil, err
		}
		committees[s] = c
	}
	return NetworkOf(committees), nil
}

// NetworkOf returns the network of these committees, one for each shard in the order of shards. There must be at
// least one.
func NetworkOf(committees []*protocols.Committee) *Network {
	return &Network{id: committees[0].Network(), committees: committees}
}

// ID is the id of the genesis.
func (n *Network) ID() digest.Digest { return n.id }

// Shards is the number of shards.
func (n *Network) Shards() int { return len(n.committees) }

// Home returns the home shard of a.
func (n *Network) Home(a ledger.Address) uint16 { return shard.Home(a, len(n.committees)) }

// Committee returns the committee of a shard, nil if there is no such shard.
func (n *Network) Committee(s uint16) *protocols.Committee {
	if int(s) >= len(n.committees) {
		return nil
	}
	return n.committees[s]
}
