package settlement

import (
	"bdtnode/internal/digest"
	"bdtnode/ledger"
	"bdtnode/protocols"
	"bdtnode/shard"
)

// Network is what it takes to check what other shards say: who runs each. It is immutable.
type Network struct {
	id         digest.Digest
	committees []*protocols.Committee
}

// NewNetwork reads a genesis, once for all checks to come.
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

// NetworkOf is the network that these committees run, one for each shard, in their order.
func NetworkOf(committees []*protocols.Committee) *Network {
	return &Network{id: committees[0].Network(), committees: committees}
}

// ID is the genesis's.
func (n *Network) ID() digest.Digest { return n.id }

// Shards is how many there are.
func (n *Network) Shards() int { return len(n.committees) }

// Home is the shard that holds a's outputs.
func (n *Network) Home(a ledger.Address) uint16 { return shard.Home(a, len(n.committees)) }

// Committee is the replicas of a shard, nil if there is no such shard.
func (n *Network) Committee(s uint16) *protocols.Committee {
	if int(s) >= len(n.committees) {
		return nil
	}
	return n.committees[s]
}
