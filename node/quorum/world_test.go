package quorum

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"bdtnode/protocols"
)

// world is a question to a shard with f Byzantine replicas, on a virtual clock. The answer has a version at each honest
// replica. Versions grow with blocks, which every honest replica executes, each with its own delay.
type world struct {
	cfg      Config
	rng      *rand.Rand
	liars    protocols.Set
	lag      []time.Duration // delay of each honest replica after the first
	changes  []time.Duration // times of new versions
	slow     time.Duration   // longest delay of an honest replica's answer
	asks     []int
	versions int // highest version of any honest replica at the end
}

type arrival struct {
	at  protocols.Time
	ask Ask
	key Key // "" is a failure
}

func newWorld(t testing.TB, seed uint64, quiet bool) *world {
	rng := rand.New(rand.NewPCG(seed, 7))
	c := committee(t, []int{4, 5, 7, 10}[rng.IntN(4)])
	w := &world{rng: rng, asks: make([]int, c.N()), slow: time.Duration(1+rng.IntN(250)) * ms, cfg: Config{
		Committee: c, Need: c.WeakQuorum(), Items: 1, First: protocols.Index(rng.IntN(c.N())),
		Patience: 300 * ms, Silence: 300 * ms, Pause: 100 * ms, Rounds: 3, Deadline: protocols.Time(5 * time.Second),
	}}
	for w.liars.Len() < c.F() {
		w.liars.Add(protocols.Index(rng.IntN(c.N())))
	}
	for range c.N() {
		w.lag = append(w.lag, time.Duration(rng.IntN(200))*ms)
	}
	if !quiet {
		every := time.Duration(1+rng.IntN(300)) * ms
		for at := time.Duration(0); at < 6*time.Second; at += every {
			w.changes = append(w.changes, at)
		}
	}
	return w
}

// version is the version of an honest replica at a time.
func (w *world) version(at protocols.Time, i protocols.Index) int {
	v := 0
	for _, c := range w.changes {
		if protocols.Time(c+w.lag[i]) <= at {
			v++
		}
	}
	return v
}

// reply returns the answer to an ask made now, and false if there is none.
func (w *world) reply(now protocols.Time, a Ask) (arrival, bool) {
	delay := time.Duration(w.rng.Int64N(int64(w.slow)))
	if !w.liars.Has(a.To) {
		v := w.version(now.Add(delay/2), a.To)
		w.versions = max(w.versions, v)
		return arrival{now.Add(delay), a, Key(fmt.Sprint("v", v))}, true
	}
	switch w.rng.IntN(5) {
	case 0:
		return arrival{}, false // silent
	case 1:
		return arrival{now, a, ""}, true
	case 2: // behind, or ahead of all
		return arrival{now, a, Key(fmt.Sprint("v", w.rng.IntN(8)))}, true
	case 3: // the same false answer as other Byzantine replicas
		return arrival{now.Add(delay), a, "lie"}, true
	}
	return arrival{now.Add(10 * delay), a, Key(fmt.Sprint("lie ", w.rng.IntN(3)))}, true
}

// run drives the question to its end. It returns the decision, if any, and the time of the end.
func (w *world) run(t testing.TB) (key Key, ok bool, end protocols.Time) {
	now := protocols.Time(0)
	m, asks := New(w.cfg, now)
	var coming []arrival
	for !m.Done() {
		for _, a := range asks {
			w.asks[a.To]++
			if x, comes := w.reply(now, a); comes {
				coming = append(coming, x)
			}
		}
		next, at := -1, m.Wake()
		for i, x := range coming {
			if x.at < at {
				next, at = i, x.at
			}
		}
		if at < now {
			t.Fatalf("time decreases from %d to %d", now, at)
		}
		now = at
		if next < 0 {
			asks = m.Tick(now)
			continue
		}
		x := coming[next]
		coming = append(coming[:next], coming[next+1:]...)
		if x.key == "" {
			asks = m.Failed(now, x.ask)
		} else {
			asks = m.Answered(now, x.ask, []Key{x.key})
		}
	}
	key, _, ok = m.Decided(0)
	return key, ok, now
}

// holds reports whether an honest replica had the decided version.
func (w *world) holds(key Key) bool {
	for v := range w.versions + 1 {
		if key == Key(fmt.Sprint("v", v)) {
			return true
		}
	}
	return false
}

const seeds = 20_000

// For all answers of f Byzantine replicas: every decision was an honest replica's answer, no replica is asked more
// often than Rounds, and the question ends at its deadline at the latest.
func TestNoFalseAnswerIsDecided(t *testing.T) {
	for seed := range uint64(seeds) {
		w := newWorld(t, seed, false)
		key, ok, end := w.run(t)
		if ok && !w.holds(key) {
			t.Fatalf("seed %d: %q was decided, honest replicas have versions up to %d", seed, key, w.versions)
		}
		if end > w.cfg.Deadline {
			t.Fatalf("seed %d: ended at %v", seed, time.Duration(end))
		}
		for i, n := range w.asks {
			if n > w.cfg.Rounds {
				t.Fatalf("seed %d: replica %d was asked %d times", seed, i, n)
			}
		}
	}
}

// An answer that does not change is decided, and each Byzantine replica delays that by at most one Silence.
func TestUnchangedAnswerIsDecided(t *testing.T) {
	for seed := range uint64(seeds) {
		w := newWorld(t, seed, true)
		key, ok, end := w.run(t)
		f := w.cfg.Committee.F()
		limit := w.slow
		for range f {
			limit += w.cfg.Patience + w.slow
		}
		if !ok || key != "v0" || time.Duration(end) > limit {
			t.Fatalf("seed %d: decided %q, %v, after %v with %d Byzantine replicas, answers within %v", seed, key, ok, time.Duration(end), f, w.slow)
		}
	}
}

// One answer is not enough: with Need = 1 the worlds above decide false answers, after few seeds.
func TestOneAnswerIsNotEnough(t *testing.T) {
	for seed := range uint64(100) {
		w := newWorld(t, seed, false)
		w.cfg.Need = 1
		if key, ok, _ := w.run(t); ok && !w.holds(key) {
			return
		}
	}
	t.Error("no false answer was decided with one answer")
}
