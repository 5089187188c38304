package load

import (
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/node/api/client"
	"bdtnode/shard"
)

// bank is the accounts of a load and where they are at home.
type bank struct {
	keys      []sig.Signer
	addresses []ledger.Address
	home      []uint16 // by account
	shards    int
	at        [][]int // by shard, the accounts at home there
	homes     []int   // shards with accounts
}

func newBank(c *Config) *bank {
	b := &bank{keys: c.Funds, shards: len(c.Shards), at: make([][]int, len(c.Shards))}
	for i, f := range c.Funds {
		a := ledger.AddressOf(f.Public())
		s := shard.Home(a, b.shards)
		b.addresses, b.home = append(b.addresses, a), append(b.home, s)
		b.at[s] = append(b.at[s], i)
	}
	for s := range b.at {
		if len(b.at[s]) > 0 {
			b.homes = append(b.homes, s)
		}
	}
	return b
}

// replicas are whom transfers may be sent to: those of all shards in a row. Any takes any transfer, but one of a shard
// that the transfer concerns needs nobody else to pass it on.
type replicas struct {
	clients []*client.Client
	first   []int // by shard, the place of its first
	count   []int // by shard
	turn    []int // by shard, how many requests went there
}

func newReplicas(shards [][]*client.Client) *replicas {
	r := &replicas{turn: make([]int, len(shards))}
	for _, clients := range shards {
		r.first, r.count = append(r.first, len(r.clients)), append(r.count, len(clients))
		r.clients = append(r.clients, clients...)
	}
	return r
}

// next is the place of the replica of a shard that the next request goes to.
func (r *replicas) next(shard uint16) int {
	r.turn[shard]++
	return r.of(shard, r.turn[shard])
}

// of is the place of one replica of a shard, another for each number.
func (r *replicas) of(shard uint16, number int) int { return r.first[shard] + number%r.count[shard] }

// after is whom to turn to when a replica does not do: the others of its shard first.
func (r *replicas) after(replica int) int { return (replica + 1) % len(r.clients) }
