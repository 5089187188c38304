package sim

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
)

// undisturbed is a run of one shard with the given faults and no others.
func undisturbed(seed uint64, nodes int, faults ...Fault) Config {
	return Config{
		Seed: seed, Active: 40 * time.Second, Settle: settleAlone, Load: 6,
		Shards: []Shard{{Nodes: nodes, Delay: 10 * time.Millisecond, Faults: faults}},
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

// wired is a shard of connected replicas without work, which reports every event.
func wired(t *testing.T, nodes int) (*cluster, *[]Event) {
	t.Helper()
	cfg := undisturbed(1, nodes)
	w := newWorld(context.Background(), cfg)
	var seen []Event
	w.log.watch = func(e Event) { seen = append(seen, e) }
	if err := w.found(); err != nil {
		t.Fatal(err)
	}
	s := w.shards[0]
	for _, n := range s.nodes {
		s.guard(n, n.start)
	}
	w.play(epoch.Add(time.Second))
	seen = nil
	return s, &seen
}

// finalize is a message that a replica may send at any time, and that has no effect.
func finalize(slot uint64) packet {
	m := &bolt.Finalize{Epoch: 1, Slot: slot, Digest: digest.Of("bdt/test/1", []byte{byte(slot)})}
	return packet{frame: replica.Encode(m), message: m}
}

// delivered lists the slots of the Finalize messages that one node received from another.
func delivered(seen []Event, from, to int) []uint64 {
	var slots []uint64
	for _, e := range seen {
		if c, ok := e.Detail.(*bolt.Finalize); ok && e.What == "message" && e.Who == from && e.To == to {
			slots = append(slots, c.Slot)
		}
	}
	return slots
}

// TestStall: nothing arrives on a stalled link, and the other direction stays open. At the end all frames arrive in
// order, or none.
func TestStall(t *testing.T) {
	for _, lost := range []bool{false, true} {
		s, seen := wired(t, 4)
		resume := s.network.stall(0, 1)
		for slot := range uint64(20) {
			s.network.send(0, 1, finalize(slot+1))
			s.network.send(1, 0, finalize(slot+1))
		}
		s.play(s.now.Add(time.Second))
		if got := delivered(*seen, 0, 1); len(got) != 0 {
			t.Errorf("slots %v came over a stalled link", got)
		}
		if got := delivered(*seen, 1, 0); len(got) != 20 {
			t.Errorf("%d came the other way, want 20", len(got))
		}
		resume(lost)
		s.play(s.now.Add(time.Second))
		got := delivered(*seen, 0, 1)
		if want := map[bool]int{false: 20, true: 0}[lost]; len(got) != want || !slices.IsSorted(got) {
			t.Errorf("lost %v: slots %v came in the end, want %d in order", lost, got, want)
		}
		if !s.network.pairs[0][1].linked || s.network.links[0][1].count != 0 {
			t.Errorf("lost %v: linked %v, %d still under way", lost, s.network.pairs[0][1].linked, s.network.links[0][1].count)
		}
	}
}

// TestStallNoConnection: a connection that breaks while one direction is stalled does not come up before the end of the
// stall, nor before the end of faults.
func TestStallNoConnection(t *testing.T) {
	s, _ := wired(t, 4)
	resume := s.network.stall(2, 3)
	s.network.sever(2, 3)
	s.play(s.now.Add(5 * time.Second))
	if s.network.pairs[2][3].linked {
		t.Error("a connection was made over a stalled link")
	}
	resume(false)
	s.play(s.now.Add(time.Second))
	if !s.network.pairs[2][3].linked {
		t.Error("no connection after the stall")
	}

	s.network.stall(2, 3)
	s.network.send(2, 3, finalize(1))
	s.play(s.now.Add(time.Second))
	s.active = false
	s.heal()
	s.play(s.now.Add(time.Second))
	if l := s.network.links[2][3]; l.count != 0 || l.stalls != 0 {
		t.Errorf("after the end of faults %d messages wait for %d stalls", l.count, l.stalls)
	}
}

// TestOneWay: while a direction is stalled nothing arrives in it. Single links and groups are stalled. Both kinds of
// end occur.
func TestOneWay(t *testing.T) {
	const n = 5
	var stalls [n][n]int
	groups, singles, back, breaks := 0, 0, 0, 0
	var at time.Duration
	together := 0
	for _, e := range events(t, undisturbed(2, n, OneWay{Every: 2 * time.Second, Lasts: time.Second})) {
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
		divided(events(t, undisturbed(3, n, Halves{Every: 3 * time.Second, Lasts: 2 * time.Second})),
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
	f := Flapping{Every: 4 * time.Second, Lasts: 3 * time.Second, Turn: 300 * time.Millisecond}
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
			cfg := undisturbed(5, n, CutOff{Every: 2 * time.Second, Shortest: 8 * time.Second, Longest: 20 * time.Second})
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
			cfg := undisturbed(6, 4, SlowLeader{Min: least, Max: late})
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

// TestTargeted: the chosen messages are delayed, and no others. The choices cover kinds, links, senders and receivers.
func TestTargeted(t *testing.T) {
	const n = 7
	cfg := undisturbed(7, n)
	w := newWorld(t.Context(), cfg)
	if err := w.found(); err != nil {
		t.Fatal(err)
	}
	f := Targeted{Every: time.Second, Most: 2 * time.Second}
	byKind, everything, sender, receiver, some := 0, 0, 0, 0, 0
	for range 400 {
		x := f.choose(w.shards[0])
		chosen := 0
		var from, to protocols.Set
		for i := range protocols.Index(n) {
			for j := range protocols.Index(n) {
				for _, kinds := range targets {
					late, aside := x.delay(w.shards[0], i, j, packet{frame: []byte{byte(kinds[0])}})
					switch {
					case late < 0 || late > f.Most:
						t.Fatalf("late by %v", late)
					case late > 0 && (!x.links[i][j] || x.kinds != nil && !x.kinds[kinds[0]]):
						t.Fatal("late though not chosen")
					case aside != (late > 0 && x.kinds != nil):
						t.Fatal("only what is chosen by kind is overtaken")
					case late > 0:
						chosen++
						from.Add(i)
						to.Add(j)
					}
				}
			}
		}
		switch {
		case chosen == 0:
			t.Fatal("nothing is chosen")
		case from.Len() == 1:
			sender++
		case to.Len() == 1:
			receiver++
		case chosen < n*n:
			some++
		}
		if x.kinds == nil {
			everything++
		} else {
			byKind++
		}
	}
	if byKind == 0 || everything == 0 || sender == 0 || receiver == 0 || some == 0 {
		t.Errorf("%d by kind, %d all, %d senders, %d receivers, %d others; want some of all", byKind, everything, sender, receiver, some)
	}
}

// TestAside: other messages overtake one that a hindrance sets aside. One that is only delayed holds up its stream.
func TestAside(t *testing.T) {
	for _, aside := range []bool{false, true} {
		s, seen := wired(t, 4)
		s.network.hinder(func(_, _ protocols.Index, p packet) (time.Duration, bool) {
			if c, ok := p.message.(*bolt.Finalize); ok && c.Slot == 1 {
				return time.Second, aside
			}
			return 0, false
		})
		s.network.send(0, 1, finalize(1))
		s.network.send(0, 1, finalize(2))
		s.play(s.now.Add(2 * time.Second))
		want := []uint64{1, 2}
		if aside {
			want = []uint64{2, 1}
		}
		if got := delivered(*seen, 0, 1); !slices.Equal(got, want) {
			t.Errorf("aside %v: slots %v, want %v", aside, got, want)
		}
	}
}
