package mvba

import (
	"flag"
	"time"
	"testing"
)

var (
	sweepSeeds = flag.Int("mvba.seeds", 0, "instances to simulate at each of n = 4, 7 and 16 (0: 600, 250 and 40)")
	hunting    = flag.Bool("mvba.hunt", false, "simulate enough for the rarest mutant")
	sweepFrom  = flag.Uint64("mvba.from", 1, "first seed")
)

// Every instance agrees on a valid value, ends, blames nobody honest, signs nothing twice, and few rounds suffice.
func TestSweep(t *testing.T) {
	for _, c := range []struct{ n, seeds int }{{4, 600}, {7, 250}, {16, 40}} {
		if *sweepSeeds > 0 {
			c.seeds = *sweepSeeds
		}
		if *hunting {
			c.seeds *= 10
		}
		total, most, blames := 0, uint32(0), 0
		for seed := *sweepFrom; seed < *sweepFrom+uint64(c.seeds); seed++ {
			w, err := newWorld(planOf(c.n, seed))
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			err = w.run()
			if d := time.Since(start); d > 300*time.Millisecond {
				t.Logf("SLOW n=%d seed=%d %s %s %v rounds %d delivered %d dup %v breaks %v crashes %v", c.n, seed, w.strategy, w.schedule, d, w.rounds, w.delivered, w.duplicate, w.breaks, w.crashes)
			}
			if err != nil {
				t.Fatalf("n=%d seed=%d (%s Byzantine, %s schedule): %v", c.n, seed, w.strategy, w.schedule, err)
			}
			total += int(w.rounds)
			most = max(most, w.rounds)
			blames += w.blames
		}
		mean := float64(total) / float64(c.seeds)
		t.Logf("n=%d: %d instances, %.3f rounds on average, at most %d; %d faults of Byzantine replicas seen", c.n, c.seeds, mean, most, blames)
		if mean >= 3 || most > 30 {
			t.Errorf("n=%d: %.3f rounds on average, at most %d", c.n, mean, most)
		}
	}
}
