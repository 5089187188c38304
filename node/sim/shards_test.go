package sim

import (
	"flag"
	"testing"
	"time"
)

var networks = flag.Int("sim.networks", 6, "how many seeds TestNetworkSweep runs")

func TestNetworkSweep(t *testing.T) {
	for k := range *networks {
		cfg := NetworkScenario(*first + uint64(k))
		t.Run(cfg.String(), func(t *testing.T) {
			t.Parallel()
			begun := time.Now()
			r, err := RunNetwork(cfg)
			if err != nil {
				report(t, err)
				return
			}
			t.Logf("%v: heights %v, %d settled, %d returned, %d LDs, %d crashes, %d refused, %d events, %s", time.Since(begun).Round(time.Millisecond),
				r.Heights, r.Settled, r.Returned, r.LDs, r.Crashes, r.Refused, r.Events, r.Hash.Short())
		})
	}
}
