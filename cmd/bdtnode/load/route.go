package load

import "slices"

// routeTries is how often a way across shards is drawn before one is made of what there is.
const routeTries = 4

// route draws the shards that a transfer spends in, and those that it creates outputs in. Each shard to spend in has a
// coin in the purse, but for that of the coin which an invalid transfer spends again.
func (m *mint) route(t *transfer) (from, to []int) {
	funded := m.purse.funded()
	start := -1
	if t.invalid {
		start = int(m.bank.home[t.spends[0].owner])
	}
	if t.cross {
		for range routeTries {
			from, to := m.across(start)
			if !slices.ContainsFunc(from, func(s int) bool { return s != start && !slices.Contains(funded, s) }) {
				return from, to
			}
		}
	}
	if start < 0 {
		start = funded[m.rng.IntN(len(funded))]
	}
	if !t.cross {
		return []int{start}, []int{start}
	}
	homes := m.bank.homes
	other := homes[m.rng.IntN(len(homes)-1)]
	if other == start {
		other = homes[len(homes)-1]
	}
	return []int{start}, []int{other}
}

// across draws two shards, or three where there are as many, and which of them a transfer spends in, receives in, or
// both. One that only receives comes first among those that do, so that a transfer with too little to pay all of them
// still goes across. If start is a shard, it is one that is spent in.
func (m *mint) across(start int) (from, to []int) {
	shards := slices.Clone(m.bank.homes)
	m.rng.Shuffle(len(shards), func(i, j int) { shards[i], shards[j] = shards[j], shards[i] })
	if i := slices.Index(shards, start); i > 0 {
		shards[0], shards[i] = shards[i], shards[0]
	}
	n := 2
	if len(shards) > 2 {
		n += m.rng.IntN(2)
	}
	for {
		var both []int
		from, to = nil, nil
		for _, s := range shards[:n] {
			role := m.rng.IntN(3)
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
