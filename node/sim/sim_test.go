package sim

import (
	"errors"
	"flag"
	"os"
	"runtime/debug"
	"testing"
	"time"
)

var (
	seeds   = flag.Int("sim.seeds", 40, "how many seeds TestSweep runs")
	first   = flag.Uint64("sim.first", 1, "the first of them")
	tracing = flag.Bool("sim.events", false, "print the last events of a violation")
)

func TestMain(m *testing.M) {
	flag.Parse()
	debug.SetGCPercent(400) // a run makes much that is soon forgotten
	os.Exit(m.Run())
}

func report(t *testing.T, err error) {
	t.Helper()
	var v *Violation
	if errors.As(err, &v) && *tracing {
		t.Errorf("%s", v.Story())
		return
	}
	t.Error(err)
}

func TestSweep(t *testing.T) {
	for k := range *seeds {
		cfg := Scenario(*first + uint64(k))
		t.Run(cfg.String(), func(t *testing.T) {
			t.Parallel()
			begun := time.Now()
			r, err := Run(cfg)
			if err != nil {
				report(t, err)
				return
			}
			t.Logf("%v: height %d, %d settled, %d rejected, %d crashes, %d refused, %d events, %s", time.Since(begun).Round(time.Millisecond),
				r.Height, r.Settled, r.Rejected, r.Crashes, r.Refused, r.Events, r.Hash.Short())
		})
	}
}
