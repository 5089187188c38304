package kv

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// valueOf is the value of a key in a round: 10,000 bytes that do not compress.
func valueOf(key, round int) []byte {
	var seed [32]byte
	seed[0], seed[1] = byte(key), byte(round)
	b := make([]byte, 10_000)
	rand.NewChaCha8(seed).Read(b) // never fails
	return b
}

// writeLarge writes 100 large values in each round, one in a batch, and flushes the store after each round.
func writeLarge(t *testing.T, p *Pebble, from, to int) (size uint64) {
	t.Helper()
	for round := from; round < to; round++ {
		for key := range 100 {
			var b Batch
			b.Set(fmt.Appendf(nil, "%d/%d", key, round), valueOf(key, round))
			size += uint64(b.Size())
			if err := p.Apply(&b, false); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	return size
}

func checkLarge(t *testing.T, p *Pebble, rounds int) {
	t.Helper()
	for round := range rounds {
		for key := range 100 {
			k := fmt.Appendf(nil, "%d/%d", key, round)
			if v, ok, err := p.Get(k); err != nil || !ok || !bytes.Equal(v, valueOf(key, round)) {
				t.Fatalf("value %s of %d bytes: %v, %v", k, len(v), ok, err)
			}
		}
	}
}

// TestCompactionsKeepLargeValues: a compaction of all tables rewrites no large value, and all values can be read after it.
func TestCompactionsKeepLargeValues(t *testing.T) {
	p := openMemFS(t, vfs.NewMem(), false)
	size := writeLarge(t, p, 0, 10)
	before := p.Written()
	if before > 2*size+size/10 {
		t.Errorf("%d bytes were written for %d bytes of values, want twice as many: to the log and to files of values", before, size)
	}
	if err := p.db.Compact(t.Context(), []byte("0"), []byte("z"), false); err != nil {
		t.Fatal(err)
	}
	if wrote := p.Written() - before; wrote == 0 || wrote > size/20 {
		t.Errorf("the compaction wrote %d bytes beside values of %d bytes", wrote, size)
	}
	checkLarge(t, p, 10)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestLargeValuesMayBeginAndEnd: a store can be opened with another least size of a large value, also with none.
func TestLargeValuesMayBeginAndEnd(t *testing.T) {
	fs := vfs.NewMem()
	for round, large := range []int{0, 5_000, 20_000, 100, 0} {
		p, err := OpenPebble("store", Options{FS: fs, LargeValues: large, CacheBytes: 1 << 20, MemTableBytes: 256 << 10})
		if err != nil {
			t.Fatal(err)
		}
		writeLarge(t, p, round, round+1)
		err = p.db.Compact(t.Context(), []byte("0"), []byte("z"), false)
		checkLarge(t, p, round+1)
		if err := errors.Join(err, p.Close()); err != nil {
			t.Fatal(err)
		}
	}
}
