package sim

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"bdtnode/node/sim/disturbance"
)

// undisturbed is a run of one shard with the given faults and no others.
func undisturbed(seed uint64, nodes int, faults ...disturbance.Disturbance) Config {
	return Config{
		Seed: seed, Active: 40 * time.Second, Settle: settleAlone, Load: 6,
		Shards: []Shard{{Nodes: nodes, Delay: 10 * time.Millisecond, Disturbances: faults}},
	}
}

// events runs a configuration and returns the events of its active time.
func events(t *testing.T, cfg Config) []Event {
	t.Helper()
	var all []Event
	_, err := Run(t.Context(), cfg, func(e Event) {
		if e.At < cfg.Active {
			all = append(all, e)
		}
	})
	if err != nil {
		report(t, err)
	}
	return all
}

// TestOneWay: while a direction is stalled nothing arrives in it. Single links and groups are stalled. Both kinds of
// end occur.
func TestOneWay(t *testing.T) {
	const n = 5
	var stalls [n][n]int
	groups, singles, back, breaks := 0, 0, 0, 0
	var at time.Duration
	together := 0
	for _, e := range events(t, undisturbed(2, n, disturbance.OneWay{Every: 2 * time.Second, Lasts: time.Second})) {
		switch e.What {
		case "stalled":
			if stalls[e.Who][e.To]++; e.At != at {
				at, together = e.At, 0
				singles++
			}
			if together++; together == 2 {
				groups, singles = groups+1, singles-1
			}
		case "resumed":
			stalls[e.Who][e.To]--
		case "message":
			if stalls[e.Who][e.To] > 0 {
				t.Fatalf("%s: over a stalled link", e)
			}
			if stalls[e.To][e.Who] > 0 {
				back++
			}
		case "break":
			breaks++
		}
	}
	if groups == 0 || singles == 0 || back == 0 || breaks == 0 {
		t.Errorf("%d groups and %d links were stalled, %d messages came the other way, %d connections broke; want some of all", groups, singles, back, breaks)
	}
}

// divided goes through a run's events. It reports for each message whether its ends are partitioned, and for each
// partition its begin and end.
func divided(all []Event, message func(e Event, parted bool), partition func(side []bool, from, to time.Duration)) {
	type split struct {
		side []bool
		from time.Duration
	}
	var now []split
	for _, e := range all {
		switch e.What {
		case "parted":
			now = append(now, split{e.Detail.([]bool), e.At})
		case "joined":
			k := slices.IndexFunc(now, func(x split) bool { return &x.side[0] == &e.Detail.([]bool)[0] })
			partition(now[k].side, now[k].from, e.At)
			now = slices.Delete(now, k, k+1)
		case "message":
			message(e, slices.ContainsFunc(now, func(x split) bool { return x.side[e.Who] != x.side[e.To] }))
		}
	}
}

func count(side []bool) int {
	n := 0
	for _, in := range side {
		if in {
			n++
		}
	}
	return n
}

// TestHalves: neither half has a quorum, and nothing passes between them.
func TestHalves(t *testing.T) {
	for _, n := range []int{4, 5, 7} {
		parts := 0
		divided(events(t, undisturbed(3, n, disturbance.Halves{Every: 3 * time.Second, Lasts: 2 * time.Second})),
			func(e Event, parted bool) {
				if parted {
					t.Fatalf("%s: across a partition", e)
				}
			},
			func(side []bool, _, _ time.Duration) {
				parts++
				if a := count(side); a != n/2 || n-a >= n-(n-1)/3 {
					t.Errorf("%d of %d replicas on one side", a, n)
				}
			})
		if parts < 3 {
			t.Errorf("n=%d: %d partitions in 40 s, want more", n, parts)
		}
	}
}

// TestFlapping: in each run the same partition is made and removed for some seconds, each time for less than its turn,
// and other partitions follow. From one partition of a series to the next pass at most two turns: one partitioned,
// one connected. The end of the run cuts the last series short, so only series that had their full time are counted.
func TestFlapping(t *testing.T) {
	f := disturbance.Flapping{Every: 4 * time.Second, Lasts: 3 * time.Second, Turn: 300 * time.Millisecond}
	for seed := range uint64(4) {
		cfg := undisturbed(seed+2, 4, f)
		times, begun := make(map[string]int), make(map[string]time.Duration)
		divided(events(t, cfg),
			func(e Event, parted bool) {
				if parted {
					t.Fatalf("seed %d: %s: across a partition", cfg.Seed, e)
				}
			},
			func(side []bool, from, to time.Duration) {
				if d := to - from; d < f.Turn/10 || d > f.Turn {
					t.Errorf("seed %d: parted for %v, want at most %v", cfg.Seed, d, f.Turn)
				}
				s := fmt.Sprint(side)
				if times[s]++; times[s] == 1 {
					begun[s] = from
				}
			})
		if len(times) < 2 {
			t.Errorf("seed %d: partitions %v, want several", cfg.Seed, times)
		}
		least := int(f.Lasts / (2 * f.Turn))
		for s, n := range times {
			if n < least && begun[s] <= cfg.Active-f.Lasts {
				t.Errorf("seed %d: partition %s of %v came %d times, want %d or more", cfg.Seed, s, begun[s], n, least)
			}
		}
	}
}

// growth is the number of heights that no replica of a group had committed before, in an interval of a run.
func growth(all []Event, among func(i int) bool, from, to time.Duration) int {
	before, during := uint64(0), uint64(0)
	for _, e := range all {
		if h, ok := e.Detail.(uint64); ok && e.What == "executed" && among(e.Who) {
			if e.At < from {
				before = max(before, h)
			} else if e.At < to {
				during = max(during, h)
			}
		}
	}
	return int(during - min(before, during))
}

// TestCutOff: while f replicas are cut off, the others commit in every interval of four seconds. The leader is among
// the f in some runs. The test runs with and without a fast lane.
func TestCutOff(t *testing.T) {
	for _, n := range []int{4, 7} {
		for _, dumbo := range []bool{false, true} {
			cfg := undisturbed(5, n, disturbance.CutOff{Every: 2 * time.Second, Shortest: 8 * time.Second, Longest: 20 * time.Second})
			cfg.Dumbo, cfg.Active = dumbo, 150*time.Second
			all := events(t, cfg)
			parts := 0
			divided(all, func(e Event, parted bool) {
				if parted {
					t.Fatalf("%s: across a cut", e)
				}
			}, func(side []bool, from, to time.Duration) {
				parts++
				if c := count(side); c != (n-1)/3 || to-from < 8*time.Second || to-from > 20*time.Second {
					t.Errorf("%d of %d replicas cut off for %v", c, n, to-from)
				}
				for ; from+4*time.Second <= to; from += 4 * time.Second {
					if g := growth(all, func(i int) bool { return !side[i] }, from, from+4*time.Second); g == 0 {
						t.Errorf("n=%d, dumbo %v: no commit from %v to %v, while %v were cut off", n, dumbo, from, from+4*time.Second, side)
					}
				}
			})
			if parts < 4 {
				t.Errorf("n=%d: %d cuts, want more", n, parts)
			}
		}
	}
}

// TestSlowLeader: every message of the current leader is delayed by up to 10 s, and the shard continues to commit.
func TestSlowLeader(t *testing.T) {
	for _, late := range []time.Duration{time.Second, 3 * time.Second, 10 * time.Second} {
		for _, least := range slices.Compact([]time.Duration{time.Second, late}) {
			cfg := undisturbed(6, 4, disturbance.SlowLeader{Min: least, Max: late})
			cfg.Active = 150 * time.Second
			all := events(t, cfg)
			for from := time.Duration(0); from < cfg.Active; from += 30 * time.Second {
				if g := growth(all, func(int) bool { return true }, from, from+30*time.Second); g == 0 {
					t.Errorf("leader %v to %v late: no commit in the 30 s from %v", least, late, from)
				}
			}
		}
	}
}
