package load

import "slices"

// routeTries is the number of random routes across shards that are tried before one is built from the shards with
// coins.
const routeTries = 4

// route draws the shards in which a transfer spends, and those in which it creates outputs. Each shard of from has a
// coin in the pool, except that of the bad input of an invalid transfer.
func (g *generator) route(t *transfer) (from, to []int) {
	funded := g.pool.funded()
	start := -1
	if len(t.spends) > 0 {
		start = int(g.accounts.home[t.spends[0].owner])
	}
	if t.cross {
		for range routeTries {
			from, to := g.across(start)
			if !slices.ContainsFunc(from, func(s int) bool { return s != start && !slices.Contains(funded, s) }) {
				return from, to
			}
		}
	}
	if start < 0 {
		start = funded[g.rng.IntN(len(funded))]
	}
	if !t.cross {
		return []int{start}, []int{start}
	}
	homes := g.accounts.homes
	other := homes[g.rng.IntN(len(homes)-1)]
	if other == start {
		other = homes[len(homes)-1]
	}
	return []int{start}, []int{other}
}

// across draws two shards, or three if there are as many, and the role of each: the transfer spends there, creates
// outputs there, or both. In to, shards without a spent coin come first, so that a transfer whose value is too small
// for all of them still goes across. If start is a shard, from contains it.
func (g *generator) across(start int) (from, to []int) {
	shards := slices.Clone(g.accounts.homes)
	g.rng.Shuffle(len(shards), func(i, j int) { shards[i], shards[j] = shards[j], shards[i] })
	if i := slices.Index(shards, start); i > 0 {
		shards[0], shards[i] = shards[i], shards[0]
	}
	n := 2
	if len(shards) > 2 {
		n += g.rng.IntN(2)
	}
	for {
		var both []int
		from, to = nil, nil
		for _, s := range shards[:n] {
			role := g.rng.IntN(3)
			switch {
			case role == 0 || s == start && role == 1:
				from, both = append(from, s), append(both, s)
			case role == 1:
				to = append(to, s)
			default:
				from = append(from, s)
			}
		}
		if to = append(to, both...); len(from) > 0 && len(to) > 0 {
			return from, to
		}
	}
}
