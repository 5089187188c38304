package kv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

func numbered(i int) *Batch {
	b := &Batch{}
	b.Set(fmt.Appendf(nil, "key %06d", i), fmt.Appendf(nil, "value %d", i))
	b.Set([]byte("last"), binary.BigEndian.AppendUint32(nil, uint32(i)))
	return b
}

// prefix returns the number of numbered batches in a store. It fails if they are not batches 0 to n-1, each complete.
func prefix(t *testing.T, r Reader) int {
	t.Helper()
	n := 0
	err := r.Scan([]byte("key "), []byte("key!"), false, func(k, v []byte) bool {
		if want := fmt.Sprintf("key %06d", n); string(k) != want {
			t.Fatalf("found key %q instead of %q: an earlier batch is missing", k, want)
		}
		n++
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	v, ok, err := r.Get([]byte("last"))
	if err != nil || ok != (n > 0) || ok && int(binary.BigEndian.Uint32(v)) != n-1 {
		t.Fatalf("a batch is incomplete: key last is %x, %v, %v after %d batches", v, ok, err, n)
	}
	return n
}

func TestPebbleKeepsSyncedBatchesAcrossACrash(t *testing.T) {
	for seed := range uint64(10) {
		fs := vfs.NewCrashableMem()
		p := openMemFS(t, fs, false)
		rng := rand.New(rand.NewPCG(seed, 1))
		synced := 0
		for i := range 200 {
			sync := rng.IntN(10) == 0
			if err := p.Apply(numbered(i), sync); err != nil {
				t.Fatal(err)
			}
			if sync {
				synced = i + 1
			}
			if rng.IntN(50) == 0 {
				if err := p.Flush(); err != nil {
					t.Fatal(err)
				}
				synced = i + 1
			}
		}
		after := openMemFS(t, fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: int(seed) * 10, RNG: rng}), false)
		if n := prefix(t, after); n < synced {
			t.Fatalf("%d batches survived, %d were synced", n, synced)
		}
		if err := errors.Join(after.Close(), p.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAnEmptyBatchSyncsEarlierOnes: batches without a sync survive a crash after an empty batch with one.
func TestAnEmptyBatchSyncsEarlierOnes(t *testing.T) {
	fs := vfs.NewCrashableMem()
	p := openMemFS(t, fs, false)
	for i := range 10 {
		if err := p.Apply(numbered(i), false); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Apply(&Batch{}, true); err != nil {
		t.Fatal(err)
	}
	after := openMemFS(t, fs.CrashClone(vfs.CrashCloneCfg{}), false)
	if n := prefix(t, after); n != 10 {
		t.Errorf("%d of 10 batches survived", n)
	}
	if err := errors.Join(after.Close(), p.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestPebbleWithoutLogKeepsAPrefix(t *testing.T) {
	fs := vfs.NewCrashableMem()
	p := openMemFS(t, fs, true)
	lagged := false
	for i := range 6000 { // several memtables
		b := numbered(i)
		b.Set(fmt.Appendf(nil, "ballast %06d", i), make([]byte, 300))
		if err := p.Apply(b, i == 10); err != nil {
			t.Fatal(err)
		}
		if i%1500 != 10 {
			continue
		}
		// After a crash, at least the batches that Durable showed survive, and the survivors are a prefix of all
		// batches.
		v, ok, err := p.Durable([]byte("last"))
		if err != nil || !ok {
			t.Fatalf("durable after a sync: %v %v", ok, err)
		}
		durable := int(binary.BigEndian.Uint32(v)) + 1
		lagged = lagged || durable < i+1
		after := openMemFS(t, fs.CrashClone(vfs.CrashCloneCfg{}), true)
		if n := prefix(t, after); n < durable || n > i+1 {
			t.Fatalf("%d of %d batches survived, Durable had shown %d", n, i+1, durable)
		}
		if err := after.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if !lagged {
		t.Error("every batch was durable at once, so the test does not cover the loss of batches")
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	after := openMemFS(t, fs, true)
	if n := prefix(t, after); n != 6000 {
		t.Fatalf("%d batches after a clean close, want all 6000", n)
	}
	if err := after.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAFailedWriteOrSyncIsFinal(t *testing.T) {
	isLog := func(op errorfs.Op) bool { return strings.HasSuffix(op.Path, ".log") }
	isSync := func(op errorfs.Op) bool {
		return op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo
	}
	for name, hit := range map[string]func(op errorfs.Op) bool{
		"log write":     func(op errorfs.Op) bool { return isLog(op) && op.Kind == errorfs.OpFileWrite },
		"log sync":      func(op errorfs.Op) bool { return isLog(op) && isSync(op) },
		"table write":   func(op errorfs.Op) bool { return strings.HasSuffix(op.Path, ".sst") && op.Kind == errorfs.OpFileWrite },
		"table sync":    func(op errorfs.Op) bool { return strings.HasSuffix(op.Path, ".sst") && isSync(op) },
		"manifest sync": func(op errorfs.Op) bool { return strings.Contains(op.Path, "MANIFEST") && isSync(op) },
		"table create":  func(op errorfs.Op) bool { return strings.HasSuffix(op.Path, ".sst") && op.Kind == errorfs.OpCreate },
	} {
		t.Run(name, func(t *testing.T) {
			var armed, failed atomic.Bool
			var after atomic.Int32 // number of writes that reached the disk after the failed one
			broken := errors.New("input/output error")
			inject := errorfs.InjectorFunc(func(op errorfs.Op) error {
				if failed.Load() && (op.Kind == errorfs.OpFileWrite || op.Kind == errorfs.OpCreate || isSync(op)) {
					after.Add(1)
				}
				// The disk fails once and then works again, like a disk after whose failure the kernel has dropped
				// the dirty pages.
				if armed.Load() && hit(op) && failed.CompareAndSwap(false, true) {
					return broken
				}
				return nil
			})
			p := openMemFS(t, errorfs.Wrap(vfs.NewCrashableMem(), inject), false)
			if err := p.Apply(numbered(0), true); err != nil {
				t.Fatal(err)
			}
			armed.Store(true)
			err := p.Apply(numbered(1), true)
			if err == nil {
				err = p.Flush()
			}
			if !errors.Is(err, broken) {
				t.Fatalf("the call that failed returned %v", err)
			}
			<-p.Failed()
			for range 3 {
				_, _, getErr := p.Get([]byte("last"))
				_, _, durableErr := p.Durable([]byte("last"))
				_, snapErr := p.Snapshot()
				scanErr := p.Scan(nil, nil, false, func(_, _ []byte) bool { return true })
				for i, err := range []error{p.Apply(numbered(2), true), p.Flush(), p.Close(), getErr, durableErr, snapErr, scanErr} {
					if !errors.Is(err, broken) {
						t.Errorf("call %d after the failure returned %v", i, err)
					}
				}
			}
			if n := after.Load(); n > 0 {
				t.Errorf("%d writes reached the disk after the failed one", n)
			}
		})
	}
}

func TestSyncsAreCounted(t *testing.T) {
	p := openMemFS(t, vfs.NewCrashableMem(), false)
	before := p.Syncs()
	for i := range 10 {
		if err := p.Apply(numbered(i), i%2 == 0); err != nil {
			t.Fatal(err)
		}
	}
	if n := p.Syncs() - before; n < 1 || n > 6 {
		t.Errorf("5 synced batches made %d syncs", n)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefusesUnknownFormats(t *testing.T) {
	for _, format := range []byte{FormatVersion - 1, FormatVersion + 1} {
		t.Run(fmt.Sprintf("format %d", format), func(t *testing.T) {
			fs := vfs.NewMem()
			p := openMemFS(t, fs, false)
			b := &Batch{}
			b.Set(formatKey, []byte{0, 0, 0, format})
			if err := errors.Join(p.Apply(b, true), p.Close()); err != nil {
				t.Fatal(err)
			}
			_, err := OpenPebble("store", Options{FS: fs})
			want := fmt.Sprintf("store store has format %d, this program reads format %d: use the program that wrote it", format, FormatVersion)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Fatalf("opening a store of format %d returned %v", format, err)
			}
		})
	}
	t.Run("store of another program", func(t *testing.T) {
		fs := vfs.NewMem()
		db, err := pebble.Open("store", &pebble.Options{FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(db.Set([]byte("a"), nil, pebble.Sync), db.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenPebble("store", Options{FS: fs}); err == nil || !strings.Contains(err.Error(), "no format version") {
			t.Fatalf("opening a store of another program returned %v", err)
		}
	})
}

// lockHelper is the environment variable that makes the test binary open the store at its value and exit.
const lockHelper = "KV_TEST_OPEN_STORE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(lockHelper); dir != "" {
		_, err := OpenPebble(dir, Options{})
		fmt.Println(err)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestStoreIsLockedByOneProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	p, err := OpenPebble(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := "store " + dir + " is in use by another process"
	if _, err := OpenPebble(dir, Options{}); err == nil || err.Error() != want {
		t.Errorf("a second open in this process: %v", err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), lockHelper+"="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != want {
		t.Errorf("open in another process: %q, %v", out, err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if p, err = OpenPebble(dir, Options{}); err != nil {
		t.Fatalf("after a close: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}
