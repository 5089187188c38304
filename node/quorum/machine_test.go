package quorum

import (
	"slices"
	"testing"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/protocols"
	"bdtnode/protocols/committeetest"
)

func committee(t testing.TB, n int) *protocols.Committee {
	t.Helper()
	return committeetest.Ideal(t, sig.NewIdeal(1), 0, n, digest.Of("test", nil), 1)
}

const ms = time.Millisecond

// question is a question with one item to four replicas.
func question(t testing.TB) Config {
	c := committee(t, 4)
	return Config{
		Committee: c, Need: c.WeakQuorum(), Items: 1, Patience: 300 * ms, Silence: 300 * ms, Pause: 100 * ms,
		Rounds: 3, Deadline: protocols.Time(5 * time.Second),
	}
}

// nothing is the marker of an answer with an empty key.
const nothing Key = "nothing"

// event is an input at a time: an answer if key is set, a failure if only to is set, otherwise a tick.
type event struct {
	at   time.Duration
	to   int // replica plus 1
	key  Key
	asks []int // replicas asked as a result
}

func TestQuestions(t *testing.T) {
	for name, x := range map[string]struct {
		change func(*Config)
		first  []int
		events []event
		want   Key // decided key, empty if undecided
		by     []protocols.Index
		done   bool
		wake   time.Duration // wake time if not done
	}{
		"f+1 agree": {nil, []int{0, 1}, []event{
			{10 * ms, 1, "x", nil}, {20 * ms, 2, "x", nil},
		}, "x", []protocols.Index{0, 1}, true, 0},
		"the order begins at First": {func(c *Config) { c.First = 3 }, []int{3, 0}, []event{
			{10 * ms, 4, "x", nil}, {20 * ms, 1, "x", nil},
		}, "x", []protocols.Index{0, 3}, true, 0},
		"one answer is not enough": {nil, []int{0, 1}, []event{
			{10 * ms, 1, "x", nil},
		}, "", nil, false, 300 * ms},
		"a silent replica is replaced": {nil, []int{0, 1}, []event{
			{10 * ms, 1, "x", nil}, {299 * ms, 0, "", nil}, {300 * ms, 0, "", []int{2}}, {310 * ms, 3, "x", nil},
		}, "x", []protocols.Index{0, 2}, true, 0},
		"a different answer is outvoted": {nil, []int{0, 1}, []event{
			{10 * ms, 1, "lie", nil}, {20 * ms, 2, "x", []int{2}}, {30 * ms, 3, "x", nil},
		}, "x", []protocols.Index{1, 2}, true, 0},
		"a failure is replaced at once": {nil, []int{0, 1}, []event{
			{10 * ms, 1, "", []int{2}}, {20 * ms, 2, "x", nil}, {30 * ms, 3, "x", nil},
		}, "x", []protocols.Index{1, 2}, true, 0},
		"one replica counts once": {nil, []int{0, 1}, []event{
			{10 * ms, 1, "x", nil}, {20 * ms, 1, "x", nil},
		}, "", nil, false, 300 * ms},
		"changing answers are asked again": {nil, []int{0, 1}, []event{
			{10 * ms, 1, "1", nil}, {20 * ms, 2, "2", []int{2}}, {30 * ms, 3, "3", []int{3}}, {40 * ms, 4, "4", nil},
			{139 * ms, 0, "", nil}, {140 * ms, 0, "", []int{0, 1, 2, 3}}, {150 * ms, 1, "4", nil},
		}, "4", []protocols.Index{0, 3}, true, 0},
		"rounds end": {func(c *Config) { c.Rounds = 1 }, []int{0, 1}, []event{
			{10 * ms, 1, "1", nil}, {20 * ms, 2, "2", []int{2}}, {30 * ms, 3, "3", []int{3}}, {40 * ms, 4, "4", nil},
		}, "", nil, true, 0},
		"f silent replicas are not awaited after the last round": {func(c *Config) { c.Rounds = 1 }, []int{0, 1}, []event{
			{10 * ms, 1, "1", nil}, {20 * ms, 2, "2", []int{2}}, {30 * ms, 3, "3", []int{3}}, {300 * ms, 0, "", nil}, {600 * ms, 0, "", nil},
		}, "", nil, true, 0},
		"more than f silent replicas are awaited": {func(c *Config) { c.Rounds = 1 }, []int{0, 1}, []event{
			{10 * ms, 1, "1", nil}, {20 * ms, 2, "", []int{2}}, {300 * ms, 0, "", []int{3}}, {600 * ms, 0, "", nil},
		}, "", nil, false, 5 * time.Second},
		"slow replicas decide": {func(c *Config) { c.Rounds = 1 }, []int{0, 1}, []event{
			{300 * ms, 0, "", []int{2}}, {600 * ms, 0, "", []int{3}}, {900 * ms, 0, "", nil}, {2000 * ms, 3, "x", nil}, {4000 * ms, 1, "x", nil},
		}, "x", []protocols.Index{0, 2}, true, 0},
		"all requests fail": {func(c *Config) { c.Rounds = 2 }, []int{0, 1}, []event{
			{1 * ms, 1, "", []int{2}}, {1 * ms, 2, "", []int{3}}, {1 * ms, 3, "", nil}, {1 * ms, 4, "", nil},
			{101 * ms, 0, "", []int{0, 1, 2, 3}}, {102 * ms, 1, "", nil}, {102 * ms, 2, "", nil}, {102 * ms, 3, "", nil}, {102 * ms, 4, "", nil},
		}, "", nil, true, 0},
		"empty answers are not asked for again": {nil, []int{0, 1}, []event{
			{10 * ms, 1, nothing, []int{2}}, {20 * ms, 2, nothing, []int{3}}, {30 * ms, 3, nothing, nil}, {40 * ms, 4, nothing, nil},
		}, "", nil, true, 0},
		"the deadline ends the question": {nil, []int{0, 1}, []event{{5 * time.Second, 0, "", nil}}, "", nil, true, 0},
		"after the first answer a wait asks others soon": {func(c *Config) { c.Patience, c.Rounds = 3*time.Second, 0 }, []int{0, 1}, []event{
			{300 * ms, 0, "", nil}, {1000 * ms, 1, "settled", nil}, {1300 * ms, 0, "", []int{2}}, {1310 * ms, 3, "settled", nil},
		}, "settled", []protocols.Index{0, 2}, true, 0},
		"a wait lasts until its deadline": {func(c *Config) { c.Rounds = 0 }, []int{0, 1}, []event{
			{1 * ms, 1, "", []int{2}}, {1 * ms, 2, "", []int{3}}, {1 * ms, 3, "", nil}, {1 * ms, 4, "", nil}, {101 * ms, 0, "", []int{0, 1, 2, 3}},
			{102 * ms, 1, "", nil}, {102 * ms, 2, "", nil}, {102 * ms, 3, "", nil}, {102 * ms, 4, "", nil}, {202 * ms, 0, "", []int{0, 1, 2, 3}},
		}, "", nil, false, 502 * ms},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := question(t)
			if x.change != nil {
				x.change(&cfg)
			}
			m, asks := New(cfg, 0)
			open := make(map[int]Ask)
			check := func(asks []Ask, want []int) {
				t.Helper()
				var got []int
				for _, a := range asks {
					got = append(got, int(a.To))
					open[int(a.To)] = a
				}
				if !slices.Equal(got, want) {
					t.Errorf("asks %v, want %v", got, want)
				}
			}
			check(asks, x.first)
			for _, e := range x.events {
				now := protocols.Time(e.at)
				switch {
				case e.to == 0:
					asks = m.Tick(now)
				case e.key == "":
					asks = m.Failed(now, open[e.to-1])
				case e.key == nothing:
					asks = m.Answered(now, open[e.to-1], []Key{""})
				default:
					asks = m.Answered(now, open[e.to-1], []Key{e.key})
				}
				check(asks, e.asks)
			}
			key, by, ok := m.Decided(0)
			if key != x.want || ok != (x.want != "") || !slices.Equal(by.Members(), x.by) || m.Done() != x.done {
				t.Errorf("decided %q by %v, %v; done %v", key, by.Members(), ok, m.Done())
			}
			if !x.done && m.Wake() != protocols.Time(x.wake) {
				t.Errorf("wakes at %v, want %v", time.Duration(m.Wake()), x.wake)
			}
		})
	}
}

// Items are decided separately, and an item without keys keeps the question open.
func TestItems(t *testing.T) {
	cfg := question(t)
	cfg.Items = 3
	m, asks := New(cfg, 0)
	more := m.Answered(1, asks[0], []Key{"a", "", "c"}) // item 1 has no key yet, so a third replica is needed
	if len(more) != 1 || more[0].To != 2 {
		t.Fatalf("asks %v", more)
	}
	if further := m.Answered(2, asks[1], []Key{"a", "b", "z"}); len(further) != 0 {
		t.Fatalf("asks %v", further)
	}
	if key, _, ok := m.Decided(0); !ok || key != "a" {
		t.Errorf("item 0: %q, %v", key, ok)
	}
	if key, by := m.Most(2); key != "c" || by.Len() != 1 {
		t.Errorf("item 2: most gave %q", key)
	}
	m.Answered(3, more[0], []Key{"other", "b", "z"})
	for i, want := range []Key{"a", "b", "z"} {
		if key, by, ok := m.Decided(i); !ok || key != want || by.Len() != 2 {
			t.Errorf("item %d: %q by %v", i, key, by.Members())
		}
	}
	if !m.Done() {
		t.Error("not done")
	}
}
