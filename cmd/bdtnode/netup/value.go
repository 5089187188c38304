package netup

import (
	"context"
	"fmt"

	"bdtnode/node/api"
)

// countValue is what is wrong with the value that the replicas hold. While some is between shards it waits.
func (c *Cluster) countValue(ctx context.Context, shards [][]*Replica) (problems []string, err error) {
	waiting, cancel := context.WithTimeout(ctx, agreeTimeout)
	defer cancel()
	for {
		problems = nil
		sums := make([]total, len(shards))
		for s, alive := range shards {
			var first api.Audit
			for i, r := range alive {
				a, err := r.Client.Audit(ctx)
				if err != nil {
					return nil, fmt.Errorf("%s does not say what it holds: %w", r.Name(), err)
				}
				if why := unbalanced(&a, c.Genesis.Supply(r.Shard)); why != "" {
					problems = append(problems, fmt.Sprintf("%s at height %d: %s", r.Name(), a.Height, why))
				}
				if i == 0 {
					first, sums[s] = a, totalOf(&a)
				} else if t := totalOf(&a); a.Height == first.Height && t != sums[s] {
					problems = append(problems, fmt.Sprintf("at height %d %s counts %s, and %s %s", a.Height, alive[0].Name(), sums[s], r.Name(), t))
				}
			}
		}
		if len(problems) > 0 {
			return problems, nil
		}
		open := between(sums)
		if open == "" || !sleep(waiting, 5*pollEvery) {
			if open != "" {
				problems = []string{open}
			}
			return problems, ctx.Err()
		}
	}
}

// total is a shard's value at one height, as counted.
type total struct{ unspent, escrow, burned, gained, ceded, genesis uint64 }

func totalOf(a *api.Audit) total {
	return total{a.Unspent, a.Escrow, a.Burned, a.Gained, a.Ceded, a.Genesis}
}

// String is the total for people.
func (t total) String() string {
	return fmt.Sprintf("unspent %d, in escrow %d, burned %d, gained %d, ceded %d", t.unspent, t.escrow, t.burned, t.gained, t.ceded)
}

// unbalanced is why a count is not the value that one shard must have, empty if it is. The sum is done again here, not
// believed; all values are parts of a supply that fits in 64 bits.
func unbalanced(a *api.Audit, supply uint64) string {
	switch t := totalOf(a); {
	case t.genesis != supply:
		return fmt.Sprintf("it says that it was born with %d, and genesis has %d", t.genesis, supply)
	case !a.Conserved || t.unspent+t.escrow+t.burned+t.ceded != supply+t.gained:
		return fmt.Sprintf("%s: that does not make up the genesis supply %d", t, supply)
	}
	return ""
}

// between is what of the value is in no shard, empty if all is: held for transactions that are not decided, or let go
// of in one shard and not yet created in another, or not conserved.
func between(sums []total) string {
	var all total
	for _, t := range sums {
		all.unspent += t.unspent
		all.escrow += t.escrow
		all.burned += t.burned
		all.gained += t.gained
		all.ceded += t.ceded
		all.genesis += t.genesis
	}
	switch {
	case all.escrow > 0:
		return fmt.Sprintf("%d is still in escrow for transactions between shards", all.escrow)
	case all.unspent+all.burned != all.genesis: // each shard's own sum holds, so this says that ceded is not gained
		return fmt.Sprintf("all shards together: %s: that does not make up the genesis supply %d", all, all.genesis)
	}
	return ""
}
