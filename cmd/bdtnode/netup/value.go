package netup

import (
	"context"
	"fmt"

	"bdtnode/node/api"
)

// countValue returns the errors in the value that the replicas hold. It waits while value is between shards, up to
// agreeTimeout.
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
					return nil, fmt.Errorf("audit of %s: %w", r.Name(), err)
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

// total is the counted value of a shard at one height.
type total struct{ unspent, escrow, burned, gained, ceded, genesis uint64 }

func totalOf(a *api.Audit) total {
	return total{a.Unspent, a.Escrow, a.Burned, a.Gained, a.Ceded, a.Genesis}
}

// String formats the total for messages.
func (t total) String() string {
	return fmt.Sprintf("unspent %d, in escrow %d, burned %d, gained %d, ceded %d", t.unspent, t.escrow, t.burned, t.gained, t.ceded)
}

// unbalanced describes why a count is not the value that the shard must have, empty if it is. It computes the sum again
// instead of using the replica's result. The sums fit in 64 bits, as all values are parts of the supply.
func unbalanced(a *api.Audit, supply uint64) string {
	switch t := totalOf(a); {
	case t.genesis != supply:
		return fmt.Sprintf("it reports a genesis value of %d, but genesis has %d", t.genesis, supply)
	case !a.Conserved || t.unspent+t.escrow+t.burned+t.ceded != supply+t.gained:
		return fmt.Sprintf("%s: the sum differs from the genesis supply %d", t, supply)
	}
	return ""
}

// between describes the value that is in no shard, empty if there is none: value in escrow for undecided transactions,
// value ceded by one shard and not yet created in another, or a loss.
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
	case all.unspent+all.burned != all.genesis: // each shard's own sum is correct, so ceded differs from gained
		return fmt.Sprintf("all shards together: %s: the sum differs from the genesis supply %d", all, all.genesis)
	}
	return ""
}
