package kv

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"
)

// failer is the common interface of *testing.T and *rapid.T.
type failer interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// openMemFS opens a store as replicas do: with a log it keeps large values in files of their own, here from 5 bytes on.
func openMemFS(t failer, fs vfs.FS, noLog bool) *Pebble {
	t.Helper()
	opts := Options{FS: fs, NoLog: noLog, MemTableBytes: 256 << 10, CacheBytes: 1 << 20}
	if !noLog {
		opts.LargeValues, opts.NoCompression = 5, true
	}
	p, err := OpenPebble("store", opts)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// model is the simplest implementation of a store: a Go map.
type model map[string]string

func (m model) apply(b *Batch) model {
	next := maps.Clone(m)
	for _, op := range b.Ops {
		if op.Delete {
			delete(next, string(op.Key))
		} else {
			next[string(op.Key)] = string(op.Value)
		}
	}
	return next
}

func (m model) check(t failer, r Reader, lower, upper []byte) {
	t.Helper()
	keys := slices.Sorted(maps.Keys(m))
	var want []string
	for _, k := range keys {
		if k >= string(lower) && (upper == nil || k < string(upper)) {
			want = append(want, k+"="+m[k])
		}
	}
	for _, reverse := range []bool{false, true} {
		var got []string
		err := r.Scan(lower, upper, reverse, func(k, v []byte) bool {
			got = append(got, string(k)+"="+string(v))
			return true
		})
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("scan [%q,%q) reverse %v: %q, %v; want %q", lower, upper, reverse, got, err, want)
		}
		slices.Reverse(want)
	}
	for _, k := range append(keys, "a", "b", "zz") {
		v, ok, err := r.Get([]byte(k))
		w, has := m[k]
		if err != nil || ok != has || string(v) != w {
			t.Fatalf("get %q: %q %v %v, want %q %v", k, v, ok, err, w, has)
		}
	}
}

func drawBatch(t *rapid.T) *Batch {
	b := &Batch{}
	for range rapid.IntRange(0, 8).Draw(t, "ops") {
		k := []byte(rapid.StringMatching(`[a-e]{1,3}`).Draw(t, "key"))
		if rapid.IntRange(0, 3).Draw(t, "kind") == 0 {
			b.Delete(k)
		} else {
			b.Set(k, []byte(rapid.StringMatching(`[0-9]{0,9}`).Draw(t, "value")))
		}
	}
	return b
}

func checkAgainstModel(t *rapid.T, s Store) {
	now := model{}
	type frozen struct {
		snap Snapshot
		want model
	}
	var snaps []frozen
	for range rapid.IntRange(1, 30).Draw(t, "steps") {
		switch rapid.IntRange(0, 5).Draw(t, "step") {
		case 0:
			snap, err := s.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			snaps = append(snaps, frozen{snap, now})
		case 1:
			if err := s.Flush(); err != nil {
				t.Fatal(err)
			}
			for k, v := range now {
				if got, ok, err := s.Durable([]byte(k)); err != nil || !ok || string(got) != v {
					t.Fatalf("after a flush %q is %q, %v, %v; want %q", k, got, ok, err, v)
				}
			}
		default:
			b := drawBatch(t)
			if err := s.Apply(b, rapid.Bool().Draw(t, "sync")); err != nil {
				t.Fatal(err)
			}
			now = now.apply(b)
		}
		lower := []byte(rapid.StringMatching(`[a-e]{0,2}`).Draw(t, "lower"))
		upper := []byte(rapid.StringMatching(`[a-f]{1,2}`).Draw(t, "upper"))
		if bytes.Compare(lower, upper) < 0 {
			now.check(t, s, lower, upper)
		}
	}
	now.check(t, s, nil, nil)
	for _, f := range snaps {
		f.want.check(t, f.snap, nil, nil)
		if err := f.snap.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Get([]byte("a")); err == nil {
		t.Fatal("a call of a closed store did not fail")
	}
}

func TestMemMatchesModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { checkAgainstModel(t, NewMem()) })
}

func TestPebbleMatchesModel(t *testing.T) {
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		checkAgainstModel(rt, openMemFS(t, vfs.NewMem(), n%2 == 0))
	})
}

func TestMemCrashKeepsSyncedBatches(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := NewMem()
		states := []model{{}} // from the state that was synced last
		for range rapid.IntRange(1, 20).Draw(t, "batches") {
			b := drawBatch(t)
			sync := rapid.IntRange(0, 3).Draw(t, "sync") == 0
			if err := m.Apply(b, sync); err != nil {
				t.Fatal(err)
			}
			states = append(states, states[len(states)-1].apply(b))
			if sync {
				states = states[len(states)-1:]
			}
		}
		if m.Unsynced() != len(states)-1 {
			t.Fatalf("%d batches unsynced, want %d", m.Unsynced(), len(states)-1)
		}
		keep := rapid.IntRange(0, len(states)-1).Draw(t, "keep")
		before, err := m.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		after := m.Crash(keep)
		states[keep].check(t, after, nil, nil)
		if err := m.Apply(&Batch{}, false); err == nil {
			t.Fatal("a crashed store accepted a batch")
		}
		b := drawBatch(t) // batches of the survivor must not change the versions it shares
		if err := after.Apply(b, true); err != nil {
			t.Fatal(err)
		}
		states[keep].apply(b).check(t, after, nil, nil)
		states[len(states)-1].check(t, before, nil, nil)
	})
}

func TestMemIsBalanced(t *testing.T) {
	m := NewMem()
	for i := range 20_000 {
		b := &Batch{}
		b.Set(fmt.Appendf(nil, "key %08d", i), nil)
		if err := m.Apply(b, false); err != nil {
			t.Fatal(err)
		}
	}
	var depth func(n *node) int
	depth = func(n *node) int {
		if n == nil {
			return 0
		}
		return 1 + max(depth(n.left), depth(n.right))
	}
	if d := depth(m.share()); d > 50 { // a random treap of 20,000 keys has a depth of about 35
		t.Fatalf("20,000 ascending keys make a tree of depth %d", d)
	}
}

func TestPrefixEnd(t *testing.T) {
	for _, c := range []struct{ prefix, want string }{
		{"a", "b"}, {"a\xff", "b"}, {"\x01\xfe\xff\xff", "\x01\xff"}, {"\xff\xff", ""}, {"", ""},
	} {
		if got := string(PrefixEnd([]byte(c.prefix))); got != c.want {
			t.Errorf("prefix %q ends at %q, want %q", c.prefix, got, c.want)
		}
	}
}

// TestEach: the first error of the function ends the scan and is returned; without one the scan ends when the function returns false.
func TestEach(t *testing.T) {
	s := NewMem()
	defer s.Close()
	var b Batch
	for _, k := range []string{"a", "b", "c", "d"} {
		b.Set([]byte(k), nil)
	}
	if err := s.Apply(&b, false); err != nil {
		t.Fatal(err)
	}
	bad := errors.New("bad value")
	for name, want := range map[string]struct {
		seen string
		err  error
	}{"fails": {"ab", bad}, "stops": {"ab", nil}, "goes on": {"abcd", nil}} {
		var seen string
		err := Each(s, []byte("a"), nil, false, func(key, _ []byte) (bool, error) {
			seen += string(key)
			if len(seen) == 2 && name == "fails" {
				return true, bad
			}
			return len(seen) < 2 || name == "goes on", nil
		})
		if seen != want.seen || !errors.Is(err, want.err) || (err == nil) != (want.err == nil) {
			t.Errorf("%s: %q, %v", name, seen, err)
		}
	}
}
