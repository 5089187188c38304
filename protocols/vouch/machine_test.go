package vouch

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// TestWeakQuorumOfVouches: a held batch is good when f+1 distinct replicas vouched for it, its owner among them, and not
// before. Vouches are counted by sender and not by message, before and after the batch arrives.
func TestWeakQuorumOfVouches(t *testing.T) {
	for n := 4; n <= 10; n++ {
		for _, early := range []bool{false, true} {
			b := newBench(t, n)
			m, r := b.machine(0), ref(1, 1, "a")
			if !early {
				m.Held(t0, r, large)
			}
			for i := 2; i < 2+b.c.F()-1; i++ {
				for range 3 {
					m.HandleVouch(t0, protocols.Index(i), vouchFor(r))
				}
			}
			if early {
				m.Held(t0, r, large)
			}
			if k := m.Knows(r, large); k != Unknown {
				t.Fatalf("n = %d, early %v: %v with %d vouches", n, early, k, b.c.F())
			}
			m.HandleVouch(t0, protocols.Index(2+b.c.F()-1), vouchFor(r))
			if k := m.Knows(r, large); k != Vouched || !k.Good() {
				t.Errorf("n = %d, early %v: %v with %d vouches", n, early, k, b.c.WeakQuorum())
			}
		}
	}
}

// TestVouchIsForOneDigest: a vouch for another digest, number or lane does not count for a batch.
func TestVouchIsForOneDigest(t *testing.T) {
	b := newBench(t, 4)
	m, r := b.machine(0), ref(1, 2, "a")
	m.Held(t0, r, large)
	for _, other := range []lanes.Ref{ref(1, 2, "b"), ref(1, 3, "a"), ref(2, 2, "a")} {
		for _, from := range []protocols.Index{2, 3} {
			if other.Lane != from {
				m.HandleVouch(t0, from, vouchFor(other))
			}
		}
		if k := m.Knows(r, large); k != Unknown {
			t.Errorf("%v after vouches for %v", k, other)
		}
	}
}

// TestBadByOwnCheckAlone: no message makes a batch bad. The own check does, and then the batch stays bad although others
// vouch for it, since that would take more than f Byzantine replicas.
func TestBadByOwnCheckAlone(t *testing.T) {
	b := newBench(t, 4)
	m, r, fork := b.machine(2), ref(1, 1, "a"), ref(1, 1, "b")
	m.Held(t0, fork, large)
	m.Checked([]Result{{fork, false}})
	if m.Knows(fork, large) != Bad {
		t.Fatal("a bad batch is not bad")
	}
	m.Held(t0, r, large)
	if k := m.Knows(r, large); k != Unknown {
		t.Errorf("a batch of an owner with a bad one is %v without a check", k)
	}
	m.HandleVouch(t0, 3, vouchFor(r))
	if k := m.Knows(r, large); k != Vouched {
		t.Errorf("a batch of an owner with a bad one is %v with f+1 vouches", k)
	}
	m.HandleVouch(t0, 3, vouchFor(fork))
	m.HandleVouch(t0, 0, vouchFor(fork))
	if m.Knows(fork, large) != Bad {
		t.Error("vouches make a bad batch good")
	}
}

// TestRanks: for each number of a lane the replicas but the owner have the ranks 1 to n-1, once each, and over n-1 numbers
// each replica has each rank once. So all have an equal part of the checks.
func TestRanks(t *testing.T) {
	for n := 4; n <= 13; n++ {
		b := newBench(t, n)
		m := b.machine(0)
		for lane := range n {
			had := make(map[[2]int]bool)
			for seq := uint64(1); seq < uint64(n); seq++ {
				seen := make(map[int]bool)
				for i := range n {
					if i == lane {
						continue
					}
					k := m.rank(ref(protocols.Index(lane), seq, "a"), protocols.Index(i))
					if k < 1 || k >= n || seen[k] || had[[2]int{i, k}] {
						t.Fatalf("n = %d: replica %d has rank %d for batch %d of lane %d", n, i, k, seq, lane)
					}
					seen[k], had[[2]int{i, k}] = true, true
				}
			}
		}
	}
}

// TestLaterRanksWait: the next f replicas check a batch when they hold it. Each later rank checks it one wait later,
// unless it is known by then. A replica that checked a good batch vouches for it, once, to all.
func TestLaterRanksWait(t *testing.T) {
	b := newBench(t, 7)
	r := ref(3, 5, "a")
	for i := range 7 {
		self := protocols.Index(i)
		m := b.machine(self)
		st := m.Held(t0, r, large)
		checks, _, _ := outputs(st)
		if self == r.Lane {
			if len(checks) > 0 || m.Wake() != 0 || m.Knows(r, large) != Checked {
				t.Error("the owner checks its own batch")
			}
			continue
		}
		rank := m.rank(r, self)
		if waits := rank - b.c.F(); waits > 0 {
			if len(checks) > 0 || m.Wake() != t0.Add(time.Duration(waits)*firstWait) {
				t.Errorf("rank %d: checks %v at once, wakes after %v", rank, checks, m.Wake().Sub(t0))
			}
			if st := m.Tick(m.Wake()-1, false); len(st.Out) > 0 {
				t.Errorf("rank %d: checks too early", rank)
			}
			checks, _, _ = outputs(m.Tick(m.Wake(), false))
		}
		if len(checks) != 1 || checks[0] != r || m.Wake() != 0 {
			t.Fatalf("rank %d: checks %v", rank, checks)
		}
		st = m.Checked([]Result{{r, true}})
		if len(st.Sends) != 1 || st.Sends[0].To != protocols.Everyone || m.Knows(r, large) != Checked {
			t.Errorf("rank %d: %+v", rank, st)
		}
		if st = m.Checked([]Result{{r, true}}); len(st.Sends)+len(st.Out) > 0 {
			t.Errorf("rank %d vouches twice", rank)
		}
	}
}

// TestVouchesReplaceTheCheck: f+1 vouches end the wait, and drop a check that was requested. Its result, if it comes all
// the same, causes no message.
func TestVouchesReplaceTheCheck(t *testing.T) {
	b := newBench(t, 4)
	m, r := b.machine(0), ref(1, 1, "a") // rank 2: replica 3 is first
	if m.rank(r, 3) != 1 {
		t.Fatal("another replica is first")
	}
	m.Held(t0, r, large)
	wake := m.Wake()
	m.HandleVouch(t0, 3, vouchFor(r))
	if m.Wake() != 0 || len(m.waiting) > 0 {
		t.Error("it waits for a known batch")
	}
	s := ref(1, 4, "b")
	m.Held(t0, s, large)
	if checks, _, _ := outputs(m.Tick(wake.Add(time.Second), false)); len(checks) != 1 {
		t.Fatal("no check of the second batch")
	}
	if _, drops, _ := outputs(m.HandleVouch(t0, 3, vouchFor(s))); len(drops) != 1 || drops[0] != s {
		t.Errorf("drops %v", drops)
	}
	if st := m.Checked([]Result{{s, true}}); len(st.Sends) > 0 {
		t.Error("a vouch for a batch with f+1 vouches")
	}
}

// TestSmallBatches: replicas vouch for no batch with fewer entries than Least: it is good without check or message, since
// it was verified before it was stored. With Least 0 this holds for all batches, and vouches are ignored.
func TestSmallBatches(t *testing.T) {
	b := newBench(t, 4)
	for _, c := range []struct{ least, count int }{{least, 1}, {least, least - 1}, {0, 1}, {0, large}} {
		m := New(Config{Committee: b.c, Self: 0, Least: c.least}, make(lanes.Cut, 4))
		r := ref(1, 1, "a")
		if st := m.Held(t0, r, c.count); len(st.Out)+len(st.Sends) > 0 || m.Wake() != 0 || len(m.batches) > 0 {
			t.Errorf("%+v: %+v", c, st)
		}
		if m.Knows(r, c.count) != Checked {
			t.Errorf("%+v: it is not known", c)
		}
		if c.least == 0 {
			if m.HandleVouch(t0, 2, vouchFor(r)); len(m.batches) > 0 {
				t.Error("a vouch is kept without use")
			}
		}
	}
}

// TestBadBatch: the own check of a bad batch is reported, and later batches of the lane are checked only if a committed
// block needs them, then at once.
func TestBadBatch(t *testing.T) {
	b := newBench(t, 4)
	m, r := b.machine(2), ref(1, 3, "a") // rank 1
	m.Held(t0, r, large)
	_, _, bad := outputs(m.Checked([]Result{{r, false}}))
	if len(bad) != 1 || bad[0] != r || !m.Inspect().Lanes[1].Bad {
		t.Fatalf("bad %v", bad)
	}
	next := ref(1, 6, "b") // rank 1 again
	if st := m.Held(t0, next, large); len(st.Out) > 0 || m.Wake() != 0 {
		t.Errorf("a batch of a bad lane is checked without need: %+v", st)
	}
	if checks, _, _ := outputs(m.Needed(t0, next, large)); len(checks) != 1 || checks[0] != next {
		t.Errorf("a needed batch: checks %v", checks)
	}
	if st := m.Needed(t0, next, large); len(st.Out) > 0 {
		t.Errorf("a needed batch is checked twice: %+v", st)
	}
}

// TestLateBatches: a batch that was ordered before it arrived is checked after a wait by every rank. A certified
// header makes it good before that.
func TestLateBatches(t *testing.T) {
	b := newBench(t, 4)
	r := ref(1, 3, "a")
	m := b.machine(2) // rank 1
	m.Ordered(cutAt(4, r))
	if st := m.Held(t0, r, large); len(st.Out) > 0 || m.Wake() != t0.Add(firstWait) {
		t.Errorf("checked at once: %+v", st)
	}
	m.Certified(r, large)
	if m.Knows(r, large) != ByHeader || m.Wake() != 0 {
		t.Errorf("%v, wakes at %v", m.Knows(r, large), m.Wake())
	}
}

// TestBounds: vouches for batches that are not held are kept in the window of the lane only, and up to maxEarly of each
// replica. A replica that uses up its part takes nothing from the others. Executed batches are forgotten.
func TestBounds(t *testing.T) {
	b := newBench(t, 4)
	m := b.machine(0)
	for i := range uint64(10 * maxEarly) {
		m.HandleVouch(t0, 3, vouchFor(ref(1, 1+i%reach, fmt.Sprint(i))))
	}
	if len(m.batches) != maxEarly || m.early[3] != maxEarly {
		t.Errorf("%d batches are kept, %d of replica 3", len(m.batches), m.early[3])
	}
	r := ref(1, 1, "a")
	m.HandleVouch(t0, 2, vouchFor(r))
	if m.early[2] != 1 {
		t.Error("another replica's vouch is not kept")
	}
	if m.HandleVouch(t0, 2, vouchFor(ref(1, reach+1, "far"))); m.early[2] != 1 {
		t.Error("a vouch beyond the window is kept")
	}
	if m.HandleVouch(t0, 2, vouchFor(ref(0, 1, "own"))); m.early[2] != 1 {
		t.Error("a vouch for the own lane is kept")
	}
	m.Held(t0, r, large)
	if m.early[2] != 0 || m.Knows(r, large) != Vouched {
		t.Errorf("%d early vouches of replica 2, %v", m.early[2], m.Knows(r, large))
	}
	m.Executed(t0, cutAt(4, ref(1, reach, "last")))
	if len(m.batches) > 0 || m.early[3] != 0 || m.early[2] != 0 {
		t.Errorf("%d batches are kept after their execution", len(m.batches))
	}
	if m.HandleVouch(t0, 2, vouchFor(r)); len(m.batches) > 0 {
		t.Error("a vouch for an executed batch is kept")
	}
}

// TestResend: a new session repeats the own vouches for batches that are not executed, without those for the peer's lane.
func TestResend(t *testing.T) {
	b := newBench(t, 4)
	m := b.machine(0)
	var results []Result
	for seq := uint64(1); seq <= MaxRefs+1; seq++ {
		for _, lane := range []protocols.Index{1, 2} {
			m.Held(t0, ref(lane, seq, "a"), large)
			results = append(results, Result{ref(lane, seq, "a"), true})
		}
	}
	m.Checked(results)
	m.Held(t0, ref(3, 1, "a"), large) // not checked
	m.Executed(t0, cutAt(4, ref(1, 1, "a")))
	st := m.Resend(2)
	count := 0
	for _, s := range st.Sends {
		v := s.Message.(*Vouch)
		if _, err := DecodeVouch(v.Append(nil)); err != nil || s.To != 2 {
			t.Errorf("to %d: %v", s.To, err)
		}
		for _, r := range v.Batches {
			if count++; r.Lane != 1 || r.Tip.Seq == 1 {
				t.Errorf("vouches again for batch %d of lane %d", r.Tip.Seq, r.Lane)
			}
		}
	}
	if count != MaxRefs {
		t.Errorf("%d vouches are repeated", count)
	}
}

// TestSamples: an idle replica checks the batches that it executed on the word of others, the newest first, and stops
// when that is done. A busy one does not. A bad batch is a contradiction that names the replicas.
func TestSamples(t *testing.T) {
	b := newBench(t, 4)
	m := b.machine(0)
	for seq := uint64(1); seq <= 3; seq++ {
		m.Held(t0, ref(1, seq, "a"), large)
		m.HandleVouch(t0, 3, vouchFor(ref(1, seq, "a")))
	}
	m.Executed(t0, cutAt(4, ref(1, 3, "a")))
	if m.Wake() == 0 {
		t.Fatal("no sample is planned")
	}
	if st := m.Tick(m.Wake(), false); len(st.Out) > 0 {
		t.Error("a busy replica samples")
	}
	for seq := uint64(3); seq > 1; seq-- {
		checks, _, _ := outputs(m.Tick(m.Wake(), true))
		if len(checks) != 1 || checks[0] != ref(1, seq, "a") {
			t.Fatalf("samples %v", checks)
		}
		if st := m.Checked([]Result{{checks[0], true}}); len(st.Sends)+len(st.Out) > 0 {
			t.Errorf("a sample causes %+v", st)
		}
	}
	m.Tick(m.Wake(), true)
	if m.Wake() != 0 {
		t.Error("samples are planned and there is none")
	}
	defer func() {
		r, _ := recover().(string)
		if !strings.HasPrefix(r, "vouch: batch 1 of lane 1") || !strings.Contains(r, "[1 3] vouched") {
			t.Errorf("the panic is %q", r)
		}
	}()
	m.Checked([]Result{{ref(1, 1, "a"), false}})
}

// TestContradiction: a bad batch with f+1 vouches, or with a certified header, stops the replica, also when the check was
// requested before and ends after the execution. A header contradicts the check only once the block is executed with it.
func TestContradiction(t *testing.T) {
	for name, do := range map[string]func(m *Machine, r lanes.Ref){
		"vouched": func(m *Machine, r lanes.Ref) { m.HandleVouch(t0, 3, vouchFor(r)) },
		"header":  func(m *Machine, r lanes.Ref) { m.Certified(r, large) },
		"executed": func(m *Machine, r lanes.Ref) {
			m.HandleVouch(t0, 3, vouchFor(r))
			m.Executed(t0, cutAt(4, r))
		},
	} {
		t.Run(name, func(t *testing.T) {
			m, r := newBench(t, 4).machine(2), ref(1, 3, "a") // rank 1
			if checks, _, _ := outputs(m.Held(t0, r, large)); len(checks) != 1 {
				t.Fatal("not checked at once")
			}
			do(m, r)
			defer func() {
				if x, _ := recover().(string); !strings.Contains(x, "more than f replicas are Byzantine") {
					t.Errorf("the panic is %q", x)
				}
			}()
			m.Checked([]Result{{r, false}})
			if name == "header" {
				m.Executed(t0, cutAt(4, r))
			}
		})
	}
}

// TestCheckDuringExecution: a check that finds a batch bad while its block is executed on the word of the certified header
// is no contradiction, if the header names the batch as bad.
func TestCheckDuringExecution(t *testing.T) {
	m, r := newBench(t, 4).machine(2), ref(1, 3, "a")
	m.Held(t0, r, large)
	m.Certified(r, large)
	if _, _, bad := outputs(m.Checked([]Result{{r, false}})); len(bad) != 1 {
		t.Errorf("%d bad batches", len(bad))
	}
	m.FoundBad(r)
	m.Executed(t0, cutAt(4, r))
	if c := m.Counts(); c.Header != 0 || c.Bad != 1 {
		t.Errorf("%+v", c)
	}
}

// TestPace: the wait is twice the median of the replicas' delays. A minority of late replicas does not lengthen it beyond
// the delays of the others, and it has bounds.
func TestPace(t *testing.T) {
	p := pace{delays: make([]time.Duration, 7)}
	if p.wait() != firstWait {
		t.Error("another first wait")
	}
	for range 100 {
		for i := 1; i < 7; i++ {
			d := 30 * time.Millisecond
			if i <= 2 {
				d = time.Minute
			}
			p.observe(i, d)
		}
	}
	if w := p.wait(); w != 60*time.Millisecond {
		t.Errorf("waits %v", w)
	}
	quick, slow := pace{delays: []time.Duration{1}}, pace{delays: []time.Duration{time.Hour}}
	if quick.wait() != minWait || slow.wait() != maxWait {
		t.Errorf("waits %v and %v", quick.wait(), slow.wait())
	}
}

// TestExecutionFindsBadBatch: a batch that was taken as good on the word of a header, and that execution found to be bad, is
// bad. It is no sample later. For a batch with f+1 vouches the same is a contradiction.
func TestExecutionFindsBadBatch(t *testing.T) {
	b := newBench(t, 4)
	m, r := b.machine(0), ref(1, 3, "a")
	m.Held(t0, r, large)
	m.Certified(r, large)
	m.FoundBad(r)
	if c := m.Counts(); m.Knows(r, large) != Bad || c.Header != 0 || c.Bad != 1 || !m.Inspect().Lanes[1].Bad {
		t.Errorf("%v, %+v", m.Knows(r, large), c)
	}
	if m.Executed(t0, cutAt(4, r)); m.Wake() != 0 {
		t.Error("a bad batch is a sample")
	}
	m.FoundBad(r)
	s := ref(2, 1, "b")
	m.Held(t0, s, large)
	m.HandleVouch(t0, 3, vouchFor(s))
	defer func() {
		if x, _ := recover().(string); !strings.Contains(x, "more than f replicas are Byzantine") {
			t.Errorf("the panic is %q", x)
		}
	}()
	m.FoundBad(s)
}
