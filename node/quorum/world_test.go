package quorum

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"bdtnode/protocols"
)

// world is a question to a shard in which f replicas are Byzantine, on a virtual clock. What is asked for has a version
// at each honest replica, which grows by blocks that all execute, each some time after the first.
type world struct {
	cfg      Config
	rng      *rand.Rand
	liars    protocols.Set
	lag      []time.Duration // of each honest replica behind the first
	changes  []time.Duration // times of the versions
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

// version is what an honest replica holds at a time.
func (w *world) version(at protocols.Time, i protocols.Index) int {
	v := 0
	for _, c := range w.changes {
		if protocols.Time(c+w.lag[i]) <= at {
			v++
		}
	}
	return v
}

// reply is what comes of an ask that is made now, and reports whether anything does.
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
	case 3: // the same invention as other liars
		return arrival{now.Add(delay), a, "lie"}, true
	}
	return arrival{now.Add(10 * delay), a, Key(fmt.Sprint("lie ", w.rng.IntN(3)))}, true
}

// run drives the question to its end, and answers what was decided, whether anything was, and when it ended.
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
			t.Fatalf("time goes back from %d to %d", now, at)
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

// holds reports whether an honest replica held what was decided.
func (w *world) holds(key Key) bool {
	for v := range w.versions + 1 {
		if key == Key(fmt.Sprint("v", v)) {
			return true
		}
	}
	return false
}

const seeds = 20_000

// Whatever f replicas answer, nothing is decided that no honest one held, nobody is asked more often than rounds allow,
// and the question ends by its deadline.
func TestNoInventionIsDecided(t *testing.T) {
	for seed := range uint64(seeds) {
		w := newWorld(t, seed, false)
		key, ok, end := w.run(t)
		if ok && !w.holds(key) {
			t.Fatalf("seed %d: %q was decided, honest replicas hold up to version %d", seed, key, w.versions)
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

// What does not change is decided, and Byzantine replicas delay that by no more than one Silence each.
func TestWhatRestsIsDecided(t *testing.T) {
	for seed := range uint64(seeds) {
		w := newWorld(t, seed, true)
		key, ok, end := w.run(t)
		f := w.cfg.Committee.F()
		limit := w.slow
		for range f {
			limit += w.cfg.Patience + w.slow
		}
		if !ok || key != "v0" || time.Duration(end) > limit {
			t.Fatalf("seed %d: decided %q, %v, after %v with %d liars, answers within %v", seed, key, ok, time.Duration(end), f, w.slow)
		}
	}
}

// One replica's word is not enough: with that bug the worlds above find inventions, and soon.
func TestOneAnswerIsFoundOut(t *testing.T) {
	for seed := range uint64(100) {
		w := newWorld(t, seed, false)
		w.cfg.Need = 1
		if key, ok, _ := w.run(t); ok && !w.holds(key) {
			return
		}
	}
	t.Error("no invention was decided on one replica's word")
}
