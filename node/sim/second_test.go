package sim

import (
	"strings"
	"testing"
	"time"

	"bdtnode/node/sim/twins"
)

// TestSecondProcess: of two processes of a replica at least one ends, and the others agree. A second process with an
// old copy ends before it signs.
func TestSecondProcess(t *testing.T) {
	t.Parallel()
	reasons, contradictions := make(map[string]int), 0
	for seed := uint64(1); seed <= 12; seed++ {
		cfg := stories["a second process"](seed)
		second := cfg.Shards[0].Byzantine[0].Behaviour.(*twins.SecondProcess)
		var copied time.Duration
		ended := 0
		_, err := Run(t.Context(), cfg, func(e Event) {
			switch {
			case e.What == "copied":
				copied = e.At
			case e.What == "contradicts":
				contradictions++
			case e.What == "lost":
				ended++
				why, _ := e.Detail.(string)
				reasons[why]++
				t.Logf("seed %d, %s: node %d after %v: %s", seed, second, e.Who, e.At-copied, why)
			}
		})
		if err != nil {
			report(t, err)
			continue
		}
		if copied == 0 || ended == 0 {
			t.Errorf("seed %d: copied at %v, %d processes ended", seed, copied, ended)
		}
	}
	if contradictions == 0 {
		t.Error("the two processes never sign two values for one place")
	}
	count := func(what string) (n int) {
		for why, times := range reasons {
			if strings.Contains(why, what) {
				n += times
			}
		}
		return n
	}
	for _, what := range []string{"know a later start", "its store has not"} {
		if count(what) == 0 {
			t.Errorf("no process ended because of %q", what)
		}
	}
}
