package sim

import (
	"flag"
	"fmt"
	"slices"
	"testing"

	"bdtnode/node/sim/disturbance"
)

var logSeeds = flag.Int("sim.log", 12, "how many seeds TestLogSweep runs")

// logRun is the run of a seed with a log in place of payments, with the disturbances and the Byzantine replicas of that seed. A
// replica whose disk is lost may lose accepted payloads, so none is.
func logRun(seed uint64) Config {
	cfg, x := alone(seed)
	cfg.Log = true
	x.Disturbances = slices.DeleteFunc(x.Disturbances, func(d disturbance.Disturbance) bool {
		switch d.(type) {
		case disturbance.LosesDisk, disturbance.OldStore:
			return true
		}
		return false
	})
	return cfg
}

// TestLogSweep: with crashes, partitions and Byzantine replicas, all honest replicas have the same log, and it has every
// accepted payload as often as it was brought, in the order of its request and at the place of the answer.
func TestLogSweep(t *testing.T) {
	sweep(t, *logSeeds, logRun, func(r *Report) string {
		return fmt.Sprintf("height %d, %d epochs, %d crashes", r.Commits, r.Epochs, r.Crashes)
	})
}
