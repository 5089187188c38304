package ledger

import (
	"maps"
	"testing"

	"pgregory.net/rapid"
)

// TestTableMatchesMap: a table has the rows of a map, in the order in which they were added as long as none is removed.
func TestTableMatchesMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var x table[Outpoint, int]
		model := make(map[Outpoint]int)
		var order []Outpoint
		for step := range rapid.IntRange(1, 200).Draw(t, "steps") {
			o := genesisOut(rapid.IntRange(0, 9).Draw(t, "id"), rapid.IntRange(0, 3).Draw(t, "index"))
			_, has := model[o]
			switch kind := rapid.IntRange(0, 99).Draw(t, "step"); {
			case kind == 0:
				x.reset()
				clear(model)
				order = nil
			case kind < 30:
				x.remove(o)
				delete(model, o)
				if has {
					order = nil
				}
			case !has:
				x.add(o, step)
				model[o] = step
				order = append(order, o)
			}
			if r := x.get(o); (r != nil) != mapHas(model, o) || r != nil && (r.key != o || r.value != model[o]) {
				t.Fatalf("row of %v is %v, want %d", o, r, model[o])
			}
			got := make(map[Outpoint]int)
			for n := range x.len() {
				r := x.row(n)
				got[r.key] = r.value
				if len(order) == x.len() && order[n] != r.key {
					t.Fatalf("row %d is %v, want %v", n, r.key, order[n])
				}
			}
			if !maps.Equal(got, model) {
				t.Fatalf("%v, want %v", got, model)
			}
		}
	})
}

func mapHas[K comparable, V any](m map[K]V, k K) bool {
	_, ok := m[k]
	return ok
}

// TestCacheKeepsUsedRows: a cache has at most limit rows, never another value than the last one, and a row that is used
// all the time stays.
func TestCacheKeepsUsedRows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(2, 20).Draw(t, "limit")
		c := newCache[Address, int](limit)
		model := make(map[Address]int)
		hot := addressOf(0)
		c.put(hot, -1)
		c.get(hot)
		model[hot] = -1
		for step := range rapid.IntRange(1, 300).Draw(t, "steps") {
			a := addressOf(rapid.IntRange(1, 40).Draw(t, "address"))
			if rapid.IntRange(0, 9).Draw(t, "step") == 0 {
				c.remove(a)
				delete(model, a)
			} else {
				c.put(a, step)
				model[a] = step
			}
			if r := c.table.get(a); (r != nil) != mapHas(model, a) { // is no use of the row
				t.Fatalf("row of the last address: %v, want %d", r, model[a])
			}
			if v := c.get(hot); v == nil || *v != -1 {
				t.Fatal("the row that is used all the time is lost")
			}
			if c.len() > limit {
				t.Fatalf("%d rows, at most %d allowed", c.len(), limit)
			}
			for n := range c.len() {
				if r := c.row(n); r.value != model[r.key] {
					t.Fatalf("%v has value %d, want %d", r.key, r.value, model[r.key])
				}
			}
		}
	})
}
