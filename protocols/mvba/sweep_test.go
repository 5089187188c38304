package mvba

import (
	"flag"
	"fmt"
	"testing"
)

var (
	sweepSeeds = flag.Int("mvba.seeds", 0, "instances to simulate at each n (0: 600, 250 and 40, and some at 5 and 6)")
	hunting    = flag.Bool("mvba.hunt", false, "simulate enough instances to find the rarest mutant")
	sweepFrom  = flag.Uint64("mvba.from", 1, "first seed")
)

// TestSweep: every instance ends, decides one valid value, reports no fault of an honest replica, and has no two signed
// statements for one place. The number of rounds is small.
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
		total, most, faults, restarts := 0, uint32(0), 0, 0
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
			faults += w.faults
			restarts += w.crashed
		}
		mean := float64(total) / float64(c.seeds)
		t.Logf("n=%d: %d instances, %.3f rounds on average, at most %d; %d restarts; %d faults of Byzantine replicas seen",
			c.n, c.seeds, mean, most, restarts, faults)
		if restarts == 0 || faults == 0 {
			t.Errorf("n=%d: %d restarts and %d faults seen, want some", c.n, restarts, faults)
		}
		if mean >= 3 || most > 30 {
			t.Errorf("n=%d: %.3f rounds on average, at most %d", c.n, mean, most)
		}
	}
}

// TestRoundSkipping: a Byzantine replica that shows the first-phase proof of the elected value as soon as the coin is known
// cannot move others out of a round that is about to decide. The number of rounds stays small.
func TestRoundSkipping(t *testing.T) {
	for _, n := range []int{4, 7, 16} {
		total, seeds := 0, 240/n
		for seed := range uint64(seeds) {
			w, err := newWorld(plan{n: n, seed: seed + 1, byzantine: (n - 1) / 3, strategy: "round-skipping", schedule: "adversarial"})
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

// TestRealCryptography runs some instances with Ed25519 and the Diffie-Hellman coin, under the same faults.
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

// TestRunsRepeat: a run depends only on its plan.
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
			trace[k] = fmt.Sprint(w.delivered, w.order, w.now, w.faults, w.rounds, string(w.value))
		}
		if trace[0] != trace[1] {
			t.Errorf("seed %d: %s, then %s", seed, trace[0], trace[1])
		}
	}
}
