package protocols

// A view is a snapshot of a machine for operators: plain data with JSON names, of bounded size. Taking one changes
// nothing in the machine. Times in a view are ages or distances in milliseconds, so that a reader needs no clock of the
// replica.

// AgeMS is the time from t to now in milliseconds, at least 0. It is 0 if t is 0, which means that there is no time.
func AgeMS(now, t Time) int64 {
	if t == 0 {
		return 0
	}
	return max(0, now.Sub(t).Milliseconds())
}

// UntilMS is the time from now to t in milliseconds, at least 0. It is 0 if t is 0, which means that there is no time.
func UntilMS(now, t Time) int64 {
	if t == 0 {
		return 0
	}
	return max(0, t.Sub(now).Milliseconds())
}

// Others lists the replicas of a shard of n that are not in the set, in ascending order.
func (s *Set) Others(n int) []Index {
	out := make([]Index, 0, n)
	for i := range Index(n) {
		if !s.Has(i) {
			out = append(out, i)
		}
	}
	return out
}
