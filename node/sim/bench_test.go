package sim

import (
	"runtime/debug"
	"testing"
	"time"
)

// BenchmarkHour runs an hour of virtual time of one shard at 1 tx/s, and reports how much faster than real time it is. The heap
// grows between collections as in the commands of the simulator.
func BenchmarkHour(b *testing.B) {
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	p := Plan{Shards: 1, Nodes: []int{4}, For: time.Hour, Delay: 50 * time.Millisecond, Load: 1, Consensus: "bdt"}
	virtual := 0.0
	for b.Loop() {
		cfg, err := p.Scenario(1)
		if err != nil {
			b.Fatal(err)
		}
		r, err := Run(b.Context(), cfg, nil)
		if err != nil {
			b.Fatal(err)
		}
		virtual += r.Virtual.Seconds()
	}
	b.ReportMetric(virtual/b.Elapsed().Seconds(), "virtual-s/s")
}
