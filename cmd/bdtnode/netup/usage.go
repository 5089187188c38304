package netup

import "context"

// Usage is the resource usage of the replicas' processes so far, as a sum.
type Usage struct {
	CPUSeconds float64
	Syncs      uint64
}

// Measure asks each replica for its usage and adds that of its earlier processes. A replica that does not answer counts
// with its value in before.
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

// Difference is the sum over all replicas of the usage between two measurements.
func Difference(before, after map[*Replica]Usage) Usage {
	var sum Usage
	for r, a := range after {
		sum.CPUSeconds += a.CPUSeconds - before[r].CPUSeconds
		sum.Syncs += a.Syncs - before[r].Syncs
	}
	return sum
}
