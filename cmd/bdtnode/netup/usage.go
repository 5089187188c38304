package netup

import "context"

// Usage is what the replicas' processes have used so far, summed up.
type Usage struct {
	CPUSeconds float64
	Syncs      uint64
}

// Measure asks each replica what it has used, through all its processes that this program replaced. One that does not
// answer counts with what it said last, in before.
func (c *Cluster) Measure(ctx context.Context, before map[*Replica]Usage) map[*Replica]Usage {
	out := make(map[*Replica]Usage, len(c.Replicas))
	for _, r := range c.Replicas {
		past := r.pastUsage()
		out[r] = Usage{CPUSeconds: max(before[r].CPUSeconds, past.CPUSeconds), Syncs: max(before[r].Syncs, past.Syncs)}
		if st, err := r.Client.Status(ctx); err == nil {
			out[r] = Usage{CPUSeconds: past.CPUSeconds + st.CPUSeconds, Syncs: past.Syncs + st.Syncs}
		}
	}
	return out
}

// Difference is the sum over replicas of what was used between two measures.
func Difference(before, after map[*Replica]Usage) Usage {
	var sum Usage
	for r, a := range after {
		sum.CPUSeconds += a.CPUSeconds - before[r].CPUSeconds
		sum.Syncs += a.Syncs - before[r].Syncs
	}
	return sum
}
