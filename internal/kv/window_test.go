package kv

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bdtnode/internal/kv/kvtest"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"pgregory.net/rapid"
)

func openWindow(t interface {
	Helper()
	Fatal(...any)
}, fs vfs.FS, o WindowOptions) *Window {
	t.Helper()
	w, err := OpenWindow("store", Options{FS: fs}, o)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// contents reads all of a state, forwards, backwards and key by key, and compares.
func contents(t *rapid.T, r Reader, lower, upper string) map[string]string {
	out := make(map[string]string)
	var keys []string
	bound := func(s string) []byte {
		if s == "" {
			return nil
		}
		return []byte(s)
	}
	if err := r.Scan(bound(lower), bound(upper), false, func(k, v []byte) bool {
		out[string(k)] = string(v)
		keys = append(keys, string(k))
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if !slices.IsSorted(keys) || len(keys) != len(out) {
		t.Fatalf("scanned %q", keys)
	}
	if err := r.Scan(bound(lower), bound(upper), true, func(k, _ []byte) bool {
		if last := keys[len(keys)-1]; string(k) != last {
			t.Fatalf("backwards %q, want %q", k, last)
		}
		keys = keys[:len(keys)-1]
		return true
	}); err != nil || len(keys) > 0 {
		t.Fatalf("backwards: %q are missing, %v", keys, err)
	}
	return out
}

func within(m map[string]string, lower, upper string) map[string]string {
	out := make(map[string]string)
	for k, v := range m {
		if k >= lower && (upper == "" || k < upper) {
			out[k] = v
		}
	}
	return out
}

// TestWindowMatchesMap applies random batches to a window and to a map. All reads and snapshots must agree with the map.
// After a crash the store has the state after one of the batches, which is no older than the last flush. Some crashes
// come while tables are being written.
func TestWindowMatchesMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		options := WindowOptions{Keys: rapid.SampledFrom([]int{1, 3, 10, 1000}).Draw(t, "keys"), Groups: map[byte]int{'g': 2, 'p': 0}}
		fs := kvtest.NewCrashFS()
		w := openWindow(t, fs, options)
		defer func() { _ = w.Close() }()
		key := rapid.Custom(func(t *rapid.T) string {
			return rapid.SampledFrom([]string{"g1", "g2", "p", "o"}).Draw(t, "kind") + rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "key")
		})
		now := make(map[string]string)
		states := []map[string]string{{}}
		flushed := 0
		type view struct {
			snap Snapshot
			want map[string]string
		}
		var views []view
		for step := range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0:
				snap, err := w.Snapshot()
				if err != nil {
					t.Fatal(err)
				}
				views = append(views, view{snap, maps.Clone(now)})
			case 1:
				if len(views) > 0 {
					i := rapid.IntRange(0, len(views)-1).Draw(t, "which")
					if err := views[i].snap.Close(); err != nil {
						t.Fatal(err)
					}
					views = slices.Delete(views, i, i+1)
				}
			case 2:
				if err := w.Flush(); err != nil {
					t.Fatal(err)
				}
				flushed = len(states) - 1
			case 3:
				clone := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rapid.SampledFrom([]int{0, 50, 100}).Draw(t, "unsynced"), RNG: rand.New(rand.NewPCG(uint64(step), 1))})
				after := openWindow(t, clone, options)
				got := contents(t, after, "", "")
				if !slices.ContainsFunc(states[flushed:], func(m map[string]string) bool { return maps.Equal(m, got) }) {
					t.Fatalf("after a crash: %v, which is none of the last %d states", got, len(states)-flushed)
				}
				if err := after.Close(); err != nil {
					t.Fatal(err)
				}
			default:
				var b Batch
				for range rapid.IntRange(1, 5).Draw(t, "changes") {
					k, v := key.Draw(t, "key"), rapid.SampledFrom([]string{"", "x", "y", "z"}).Draw(t, "value")
					_, exists := now[k]
					switch {
					case rapid.Bool().Draw(t, "delete"):
						b.Delete([]byte(k))
						delete(now, k)
					case exists:
						b.Set([]byte(k), []byte(v))
						now[k] = v
					default:
						b.Create([]byte(k), []byte(v))
						now[k] = v
					}
				}
				if err := w.Apply(&b, false); err != nil {
					t.Fatal(err)
				}
				states = append(states, maps.Clone(now))
			}
			lower := rapid.SampledFrom([]string{"", "g", "g1", "g2", "g2b", "o", "pc"}).Draw(t, "lower")
			upper := rapid.SampledFrom([]string{"", "g1c", "g2", "g3", "h", "p", "z"}).Draw(t, "upper")
			if upper != "" && upper < lower {
				lower, upper = upper, lower
			}
			for _, v := range append(views, view{nil, now}) {
				var r Reader = w
				if v.snap != nil {
					r = v.snap
				}
				if got := contents(t, r, lower, upper); !maps.Equal(got, within(v.want, lower, upper)) {
					t.Fatalf("from %q to %q: %v, want %v", lower, upper, got, within(v.want, lower, upper))
				}
				if v.snap == nil {
					many := rapid.SliceOfN(key, 1, 9).Draw(t, "many")
					got := make(map[int]string)
					var keys [][]byte
					for _, k := range many {
						keys = append(keys, []byte(k))
					}
					if err := w.GetMany(keys, func(n int, value []byte) { got[n] = string(value) }); err != nil {
						t.Fatal(err)
					}
					for n, k := range many {
						value, ok := got[n]
						if want, has := v.want[k]; ok != has || value != want {
							t.Fatalf("key %q of %q: %q %v, want %q %v", k, many, value, ok, want, has)
						}
					}
				}
				k := key.Draw(t, "read")
				got, ok, err := r.Get([]byte(k))
				if want, has := v.want[k]; err != nil || ok != has || string(got) != want {
					t.Fatalf("key %q: %q %v %v, want %q %v", k, got, ok, err, want, has)
				}
			}
		}
		for _, v := range views {
			if err := v.snap.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		for k, want := range now {
			if got, ok, err := w.Durable([]byte(k)); err != nil || !ok || string(got) != want {
				t.Fatalf("after a flush, key %q is durable as %q, %v, %v; want %q", k, got, ok, err, want)
			}
		}
	})
}

// TestWindowCrashes stops the file system at every write of a run: the store has the state after a batch, not older than
// the last flush that returned, and opens again.
func TestWindowCrashes(t *testing.T) {
	for at := int32(0); ; at++ {
		mem := kvtest.NewCrashFS()
		var mu sync.Mutex // full windows are written in the background
		writes := int32(0)
		var clone *kvtest.CrashFS
		fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			mu.Lock()
			defer mu.Unlock()
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
				if writes == at && clone == nil {
					clone = mem.CrashClone(vfs.CrashCloneCfg{})
				}
				writes++
			}
			return nil
		}))
		crashed := func() bool {
			mu.Lock()
			defer mu.Unlock()
			return clone != nil
		}
		w := openWindow(t, fs, WindowOptions{Keys: 30, Groups: map[byte]int{'k': 4}})
		flushed, done := 0, 0
		for i := range 40 {
			if crashed() {
				break
			}
			if err := w.Apply(numbered(i), false); err != nil {
				t.Fatal(err)
			}
			done = i + 1
			if i%15 == 14 {
				if err := w.Flush(); err != nil {
					t.Fatal(err)
				}
				if !crashed() {
					flushed = i + 1
				}
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if !crashed() {
			return
		}
		after, err := OpenWindow("store", Options{FS: clone}, WindowOptions{})
		if err != nil {
			t.Fatalf("after a crash at write %d: %v", at, err)
		}
		if n := prefix(t, after); n < flushed || n > done {
			t.Fatalf("after a crash at write %d: %d batches, %d were flushed and %d applied", at, n, flushed, done)
		}
		if err := after.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWindowWritesNetChanges: a key that is created and deleted in one window takes no space on disk.
func TestWindowWritesNetChanges(t *testing.T) {
	w := openWindow(t, vfs.NewMem(), WindowOptions{Groups: map[byte]int{'k': 4}})
	value := bytes.Repeat([]byte{7}, 1000)
	for i := range 5000 {
		var b Batch
		b.Create(fmt.Appendf(nil, "key %d", i), value)
		if err := w.Apply(&b, false); err != nil {
			t.Fatal(err)
		}
		b = Batch{}
		b.Delete(fmt.Appendf(nil, "key %d", i))
		if err := w.Apply(&b, false); err != nil {
			t.Fatal(err)
		}
	}
	before := w.Written()
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if n := w.Written() - before; n > 10_000 {
		t.Errorf("%d bytes were written", n)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestAFailedWindowStops: a failed write of a table fails the store, and no call waits for ever.
func TestAFailedWindowStops(t *testing.T) {
	broken := errors.New("input/output error")
	var fail atomic.Bool // read in the background, by the writer
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if fail.Load() && strings.Contains(op.Path, unfinished) {
			return broken
		}
		return nil
	}))
	w := openWindow(t, fs, WindowOptions{Keys: 10, Groups: map[byte]int{'k': 4}})
	fail.Store(true)
	var err error
	for i := 0; err == nil && i < 100; i++ {
		err = w.Apply(numbered(i), false)
	}
	if !errors.Is(err, broken) {
		t.Fatalf("Apply returned %v", err)
	}
	select {
	case <-w.Failed():
	case <-time.After(10 * time.Second):
		t.Fatal("the failure is not reported")
	}
	if err := w.Flush(); !errors.Is(err, broken) {
		t.Errorf("Flush returned %v", err)
	}
	if _, _, err := w.Get([]byte("last")); !errors.Is(err, broken) {
		t.Errorf("Get returned %v", err)
	}
	if err := w.Close(); !errors.Is(err, broken) {
		t.Errorf("Close returned %v", err)
	}
}

// TestBeforeChangesAreDurable: Before has returned when changes become durable, also when a full window is written in the
// background. If it fails, they never do, and the store has failed.
func TestBeforeChangesAreDurable(t *testing.T) {
	fs := kvtest.NewCrashFS()
	after := func() *Window {
		return openWindow(t, fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))}), WindowOptions{})
	}
	var failure error
	calls := 0
	w := openWindow(t, fs, WindowOptions{Keys: 2, Before: func() error {
		calls++
		x := after()
		defer func() { _ = x.Close() }()
		if _, ok, err := x.Get(fmt.Append(nil, "b", calls)); ok || err != nil {
			t.Errorf("call %d: the change is durable before (%v)", calls, err)
		}
		return failure
	}})
	apply := func(keys ...string) {
		var b Batch
		for _, k := range keys {
			b.Set([]byte(k), []byte("v"))
		}
		if err := w.Apply(&b, false); err != nil {
			t.Error(err)
		}
	}
	apply("a1", "b1") // fills the window
	if err := w.Flush(); err != nil || calls != 1 {
		t.Fatalf("flush: %v, %d calls", err, calls)
	}
	apply("b2")
	if err := w.Flush(); err != nil || calls != 2 {
		t.Fatalf("flush: %v, %d calls", err, calls)
	}
	failure = errors.New("the other store has failed")
	apply("b3")
	if err := w.Flush(); !errors.Is(err, failure) || calls != 3 {
		t.Errorf("flush after a failure: %v, %d calls", err, calls)
	}
	if err := w.Apply(&Batch{}, false); !errors.Is(err, failure) {
		t.Errorf("after the failure: %v", err)
	}
	x := after()
	for key, want := range map[string]bool{"a1": true, "b1": true, "b2": true, "b3": false} {
		if _, ok, err := x.Get([]byte(key)); ok != want || err != nil {
			t.Errorf("after a crash %s is there: %v (%v)", key, ok, err)
		}
	}
	if err := x.Close(); err != nil {
		t.Error(err)
	}
}
