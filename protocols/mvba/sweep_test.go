package mvba

import (
	"flag"
	"fmt"
	"testing"
)

var (
	sweepSeeds = flag.Int("mvba.seeds", 0, "instances to simulate at each n (0: 600, 250 and 40, and some at 5 and 6)")
	hunting    = flag.Bool("mvba.hunt", false, "simulate enough for the rarest mutant")
	sweepFrom  = flag.Uint64("mvba.from", 1, "first seed")
)

// Every instance agrees on a valid value, ends, blames nobody honest, signs nothing twice, and few rounds suffice.
func TestSweep(t *testing.T) {
	for _, c := range []struct{ n, seeds int }{{4, 600}, {5, 150}, {6, 150}, {7, 250}, {16, 40}} {
		if *sweepSeeds > 0 {
			if c.seeds = *sweepSeeds; c.n == 5 || c.n == 6 {
				continue
			}
		}
		if *hunting {
			c.seeds *= 10
		}
		total, most, blames, restarts := 0, uint32(0), 0, 0
		for seed := *sweepFrom; seed < *sweepFrom+uint64(c.seeds); seed++ {
			w, err := newWorld(planOf(c.n, seed))
			if err != nil {
				t.Fatal(err)
			}
			if err := w.run(); err != nil {
				t.Fatalf("n=%d seed=%d (%s Byzantine, %s schedule): %v", c.n, seed, w.strategy, w.schedule, err)
			}
			total += int(w.rounds)
			most = max(most, w.rounds)
			blames += w.blames
			restarts += w.crashed
		}
		mean := float64(total) / float64(c.seeds)
		t.Logf("n=%d: %d instances, %.3f rounds on average, at most %d; %d restarts; %d faults of Byzantine replicas seen",
			c.n, c.seeds, mean, most, restarts, blames)
		if restarts == 0 || blames == 0 {
			t.Errorf("n=%d: %d restarts and %d faults seen, want some", c.n, restarts, blames)
		}
		if mean >= 3 || most > 30 {
			t.Errorf("n=%d: %.3f rounds on average, at most %d", c.n, mean, most)
		}
	}
}

// A Byzantine replica that shows the elected value's first-phase proof as soon as the coin is out drags nobody out
// of a round that is about to decide: rounds stay few.
func TestDragging(t *testing.T) {
	for _, n := range []int{4, 7, 16} {
		total, seeds := 0, 240/n
		for seed := range uint64(seeds) {
			w, err := newWorld(plan{n: n, seed: seed + 1, byzantine: (n - 1) / 3, strategy: "dragger", schedule: "adversarial"})
			if err != nil {
				t.Fatal(err)
			}
			if err := w.run(); err != nil {
				t.Fatalf("n=%d seed=%d: %v", n, seed, err)
			}
			total += int(w.rounds)
		}
		mean := float64(total) / float64(seeds)
		t.Logf("n=%d: %.2f rounds on average", n, mean)
		if mean >= 3 {
			t.Errorf("n=%d: %.2f rounds on average", n, mean)
		}
	}
}

// A few instances with Ed25519 and the Diffie-Hellman coin, under the same faults.
func TestRealCryptography(t *testing.T) {
	for seed := range uint64(6) {
		p := planOf(4, 1000+seed)
		p.real, p.encode = true, seed%2 == 0
		w, err := newWorld(p)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.run(); err != nil {
			t.Errorf("seed=%d (%s Byzantine, %s schedule): %v", p.seed, p.strategy, p.schedule, err)
		}
	}
}

// A run follows from its plan alone.
func TestRunsRepeat(t *testing.T) {
	for seed := range uint64(20) {
		var trace [2]string
		for k := range trace {
			w, err := newWorld(planOf(7, seed))
			if err != nil {
				t.Fatal(err)
			}
			if err := w.run(); err != nil {
				t.Fatal(err)
			}
			trace[k] = fmt.Sprint(w.delivered, w.order, w.now, w.blames, w.rounds, string(w.value))
		}
		if trace[0] != trace[1] {
			t.Errorf("seed %d: %s, then %s", seed, trace[0], trace[1])
		}
	}
}
