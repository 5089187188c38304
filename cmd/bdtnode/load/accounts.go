package load

import (
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/node/client"
	"bdtnode/shard"
)

// accounts are the accounts of a load and their home shards.
type accounts struct {
	keys      []sig.Signer
	addresses []ledger.Address
	home      []uint16 // home shard, by account
	shards    int
	at        [][]int // accounts with this home, by shard
	homes     []int   // shards that are the home of an account
}

func newAccounts(c *Config) *accounts {
	b := &accounts{keys: c.Funds, shards: len(c.Shards), at: make([][]int, len(c.Shards))}
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

// replicas are the replicas to which transfers may be sent, those of all shards one after another. Every replica
// accepts every transfer; a replica of a shard of the transfer does not have to forward it.
type replicas struct {
	clients []*client.Client
	first   []int // index of the first replica, by shard
	count   []int // number of replicas, by shard
	turn    []int // number of requests sent so far, by shard
}

func newReplicas(shards [][]*client.Client) *replicas {
	r := &replicas{turn: make([]int, len(shards))}
	for _, clients := range shards {
		r.first, r.count = append(r.first, len(r.clients)), append(r.count, len(clients))
		r.clients = append(r.clients, clients...)
	}
	return r
}

// next is the index of the replica of a shard that gets the next request.
func (r *replicas) next(shard uint16) int {
	r.turn[shard]++
	return r.of(shard, r.turn[shard])
}

// of maps consecutive numbers to the indexes of the replicas of a shard, in turn.
func (r *replicas) of(shard uint16, number int) int { return r.first[shard] + number%r.count[shard] }

// after is the index of the replica to try after a failure: first the others of the same shard.
func (r *replicas) after(replica int) int { return (replica + 1) % len(r.clients) }
