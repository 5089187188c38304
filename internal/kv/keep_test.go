package kv

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"bdtnode/internal/kv/kvtest"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"pgregory.net/rapid"
)

// keptStore is a store with kept states that can crash.
type keptStore interface {
	Store
	Keeper
	RangeDeleter
}

// crashes makes the store as it is after a crash.
type crashes func(t *rapid.T) keptStore

// checkKept applies random batches, and keeps, reads and forgets states. A kept state has the contents of its time, and keeps
// them while it is open. After a crash, all states are there that a later batch or a flush followed.
func checkKept(t *rapid.T, s keptStore, crash crashes) {
	type state struct {
		after int // number of batches
		want  map[string]string
	}
	ranges := []Range{{[]byte("g"), []byte("h")}, {[]byte("p"), []byte("q")}}
	visible := func(m map[string]string) map[string]string {
		out := maps.Clone(m)
		maps.DeleteFunc(out, func(k, _ string) bool { return k[0] != 'g' && k[0] != 'p' })
		return out
	}
	read := func(r Reader) map[string]string {
		out := contents(t, r, "g", "h")
		maps.Copy(out, contents(t, r, "p", "q"))
		return out
	}
	now := make(map[string]string)
	history := []map[string]string{{}} // after each number of batches
	flushed := 0                       // batches
	kept := make(map[uint64]state)
	secure := make(map[uint64]bool) // followed by a flush
	type view struct {
		snap Snapshot
		want map[string]string
	}
	var views []view
	number := uint64(0)
	check := func(n uint64) {
		snap, ok, err := s.ReadKept(n)
		if err != nil || !ok {
			t.Fatalf("state %d: %v %v", n, ok, err)
		}
		if got := read(snap); !maps.Equal(got, kept[n].want) {
			t.Fatalf("state %d has %v, want %v", n, got, kept[n].want)
		}
		if rapid.Bool().Draw(t, "open") {
			views = append(views, view{snap, kept[n].want})
		} else if err := snap.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for range rapid.IntRange(1, 40).Draw(t, "steps") {
		switch rapid.IntRange(0, 9).Draw(t, "step") {
		case 0, 1:
			number += uint64(rapid.IntRange(1, 9).Draw(t, "number"))
			if err := s.Keep(number, ranges); err != nil {
				t.Fatal(err)
			}
			kept[number] = state{len(history) - 1, visible(now)}
		case 2:
			if len(kept) > 0 {
				check(rapid.SampledFrom(slices.Sorted(maps.Keys(kept))).Draw(t, "which"))
			}
		case 3:
			if len(kept) > 0 {
				n := rapid.SampledFrom(slices.Sorted(maps.Keys(kept))).Draw(t, "gone")
				check(n) // waits until it is on disk
				if err := s.Forget(n); err != nil {
					t.Fatal(err)
				}
				delete(kept, n)
				if snap, ok, err := s.ReadKept(n); ok || err != nil {
					t.Fatalf("the forgotten state %d is still there: %v %v", n, snap, err)
				}
			}
		case 4:
			if err := s.Flush(); err != nil {
				t.Fatal(err)
			}
			flushed = len(history) - 1
			for n := range kept {
				secure[n] = true
			}
		case 5:
			for _, v := range views {
				if err := v.snap.Close(); err != nil {
					t.Fatal(err)
				}
			}
			views = nil
			s = crash(t)
			got := contents(t, s, "", "")
			at := slices.IndexFunc(history, func(m map[string]string) bool { return maps.Equal(m, got) })
			if at < flushed {
				t.Fatalf("after a crash: %v, which is none of the last %d states", got, len(history)-flushed)
			}
			history, now = history[:at+1], maps.Clone(history[at])
			there, err := s.Kept()
			if err != nil || !slices.IsSorted(there) {
				t.Fatal(there, err)
			}
			for n, k := range kept {
				if has := slices.Contains(there, n); !has {
					if k.after < at || secure[n] {
						t.Fatalf("state %d of batch %d is lost in a crash after batch %d", n, k.after, at)
					}
					delete(kept, n)
				} else if k.after > at {
					t.Fatalf("state %d of batch %d survived a crash after batch %d", n, k.after, at)
				}
			}
			flushed = at
		case 6:
			r := rapid.SampledFrom([]Range{{[]byte("d"), []byte("dc")}, {[]byte("db"), []byte("e")}}).Draw(t, "range")
			maps.DeleteFunc(now, func(k, _ string) bool { return k >= string(r.Lower) && k < string(r.Upper) })
			if err := s.DeleteRanges(r, Range{[]byte("x"), []byte("y")}); err != nil {
				t.Fatal(err)
			}
			if err := s.Flush(); err != nil {
				t.Fatal(err)
			}
			if got := contents(t, s, "", ""); !maps.Equal(got, now) {
				t.Fatalf("after a deletion: %v, want %v", got, now)
			}
			history[len(history)-1] = maps.Clone(now)
			flushed = len(history) - 1
			for n := range kept {
				secure[n] = true
			}
		default:
			var b Batch
			for range rapid.IntRange(1, 5).Draw(t, "changes") {
				k := rapid.SampledFrom([]string{"g1", "g2", "p", "o", "d"}).Draw(t, "kind") + rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key")
				if rapid.Bool().Draw(t, "delete") {
					b.Delete([]byte(k))
					delete(now, k)
				} else {
					v := rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "value")
					b.Set([]byte(k), []byte(v))
					now[k] = v
				}
			}
			b.Set([]byte("o"), fmt.Appendf(nil, "%d", len(history))) // all states differ
			now["o"] = fmt.Sprint(len(history))
			if err := s.Apply(&b, false); err != nil {
				t.Fatal(err)
			}
			history = append(history, maps.Clone(now))
		}
		for _, v := range views {
			if got := read(v.snap); !maps.Equal(got, v.want) {
				t.Fatalf("an open state has %v, want %v", got, v.want)
			}
		}
	}
	for n := range kept {
		check(n)
	}
	for _, v := range views {
		if err := v.snap.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestKeptStatesOfAWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		options := WindowOptions{Keys: rapid.SampledFrom([]int{1, 3, 10, 1000}).Draw(t, "keys"), Groups: map[byte]int{'g': 2, 'p': 0}}
		fs := kvtest.NewCrashFS()
		w := openWindow(t, fs, options)
		checkKept(t, w, func(t *rapid.T) keptStore {
			fs = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rapid.SampledFrom([]int{0, 50, 100}).Draw(t, "unsynced"), RNG: rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))})
			_ = w.Close()
			w = openWindow(t, fs, options)
			return w
		})
	})
}

func TestKeptStatesOfMem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := NewMem()
		checkKept(t, m, func(t *rapid.T) keptStore {
			m = m.Crash(rapid.IntRange(0, m.Unsynced()).Draw(t, "keep"))
			return m
		})
	})
}

// TestKeptStatesSurviveACrashAtAnyWrite stops the file system at every write of a run that keeps every tenth state: a state is
// there with its contents if the store has a later batch.
func TestKeptStatesSurviveACrashAtAnyWrite(t *testing.T) {
	for at := int32(0); ; at += 3 {
		mem := kvtest.NewCrashFS()
		var mu sync.Mutex // windows are written by another goroutine
		writes, clone := int32(0), (*kvtest.CrashFS)(nil)
		crashed := func() bool {
			mu.Lock()
			defer mu.Unlock()
			return clone != nil
		}
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
		w := openWindow(t, fs, WindowOptions{Keys: 30, Groups: map[byte]int{'k': 4}})
		for i := 1; i <= 40; i++ {
			if crashed() {
				break
			}
			if err := w.Apply(numbered(i-1), false); err != nil {
				t.Fatal(err)
			}
			if i%10 == 0 {
				if err := w.Keep(uint64(i), []Range{{[]byte{1}, []byte{255}}}); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if !crashed() {
			return
		}
		after := openWindow(t, clone, WindowOptions{})
		has := prefix(t, after)
		kept, err := after.Kept()
		if err != nil {
			t.Fatal(err)
		}
		for n := 10; n < has; n += 10 {
			if !slices.Contains(kept, uint64(n)) {
				t.Fatalf("after a crash at write %d: %d batches, and states %v are kept", at, has, kept)
			}
		}
		for _, n := range kept {
			snap, ok, err := after.ReadKept(n)
			if err != nil || !ok {
				t.Fatalf("after a crash at write %d: state %d: %v %v", at, n, ok, err)
			}
			if got := prefix(t, snap); got != int(n) {
				t.Fatalf("after a crash at write %d: state %d has %d batches", at, n, got)
			}
			if err := snap.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if err := after.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestKeptUse: the tables of a kept state count as those of the store until a compaction replaces them, and then as kept ones
// until the state is forgotten.
func TestKeptUse(t *testing.T) {
	w := openWindow(t, vfs.NewMem(), WindowOptions{Groups: map[byte]int{'k': 0}})
	write := func() {
		var b Batch
		for i := range 1000 {
			b.Set(fmt.Appendf(nil, "k%d", i), make([]byte, 1000))
		}
		if err := w.Apply(&b, false); err != nil {
			t.Fatal(err)
		}
	}
	use := func() uint64 {
		kinds := w.KindUse(nil)
		return kinds[len(kinds)-1].Bytes
	}
	write()
	if err := errors.Join(w.Keep(1, []Range{{[]byte("k"), []byte("l")}}), w.Flush()); err != nil {
		t.Fatal(err)
	}
	if n := use(); n != 0 {
		t.Errorf("%d bytes before a compaction", n)
	}
	write()
	if err := errors.Join(w.Flush(), w.disk.db.Compact(t.Context(), []byte("a"), []byte("z"), false)); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); use() == 0 && time.Now().Before(deadline); { // the store removes tables in the background
		time.Sleep(time.Millisecond)
	}
	if n := use(); n < 1_000_000 || n > 1_100_000 {
		t.Errorf("%d bytes after a compaction", n)
	}
	if err := w.Forget(1); err != nil {
		t.Fatal(err)
	}
	if n := use(); n != 0 {
		t.Errorf("%d bytes when the state is forgotten", n)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}
