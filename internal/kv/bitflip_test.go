package kv

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// logBlock is the size in bytes of the blocks of the engine's log.
const logBlock = 32 << 10

// liveLog returns the name of the log that the store was writing.
func liveLog(t *testing.T, fs vfs.FS) string {
	t.Helper()
	names, err := fs.List("store")
	if err != nil {
		t.Fatal(err)
	}
	newest := ""
	for _, name := range names {
		if strings.HasSuffix(name, ".log") && name > newest {
			newest = name
		}
	}
	return fs.PathJoin("store", newest)
}

// flip changes one bit of a file.
func flip(t *testing.T, fs vfs.FS, name string, at int) {
	t.Helper()
	f, err := fs.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	if _, err := f.ReadAt(b[:], int64(at)); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	b[0] ^= 4
	if _, err := f.WriteAt(b[:], int64(at)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// damageLog writes synced batches, crashes, flips one bit of the log at the offset that where returns, and opens the
// store again. It returns the number of batches written, the number of batches found, and the error of opening.
func damageLog(t *testing.T, fs *vfs.MemFS, p *Pebble, where func(size int) int) (wrote, left int, err error) {
	t.Helper()
	const batches = 300 // not enough to fill the first memtable, which would end the log
	for i := range batches {
		b := numbered(i)
		b.Set([]byte("ballast"), make([]byte, 500))
		if err := p.Apply(b, true); err != nil {
			t.Fatal(err)
		}
	}
	crashed := fs.CrashClone(vfs.CrashCloneCfg{})
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	name := liveLog(t, crashed)
	info, err := crashed.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() < 4*logBlock {
		t.Fatalf("the log has %d bytes, too few for this test", info.Size())
	}
	flip(t, crashed, name, where(int(info.Size())))
	p, err = OpenPebble("store", Options{FS: crashed, CacheBytes: 1 << 20})
	if err != nil {
		return batches, 0, err
	}
	left = prefix(t, p)
	return batches, left, p.Close()
}

func TestDamageInsideTheLogIsRefused(t *testing.T) {
	for name, where := range map[string]func(size int) int{
		"first block":               func(int) int { return 100 },
		"middle":                    func(size int) int { return size / 2 },
		"two blocks before the end": func(size int) int { return size - 2*logBlock },
	} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewCrashableMem()
			wrote, left, err := damageLog(t, fs, openMemFS(t, fs, false), where)
			if err == nil {
				t.Fatalf("a store with a damaged log opened, with %d of %d synced batches", left, wrote)
			}
			if !strings.Contains(err.Error(), "store store is damaged") {
				t.Errorf("the error does not say that the store is damaged: %v", err)
			}
		})
	}
}

// TestDamageAtTheEndOfTheLogIsNotSeen checks the limit that the comment of Pebble states. If a later engine finds
// such damage, this test fails and the comment has to be changed.
func TestDamageAtTheEndOfTheLogIsNotSeen(t *testing.T) {
	fs := vfs.NewCrashableMem()
	wrote, left, err := damageLog(t, fs, openMemFS(t, fs, false), func(size int) int { return size - 2000 })
	if err != nil || left >= wrote || left < wrote-logBlock/500 {
		t.Errorf("%d of %d synced batches left, error %v; want a loss of less than a block without an error", left, wrote, err)
	}
}

// TestTheFirstLogOfANewStoreHidesDamage shows why OpenPebble flushes a new store: without the flush, one flipped bit
// loses all batches, and the store looks new.
func TestTheFirstLogOfANewStoreHidesDamage(t *testing.T) {
	fs := vfs.NewCrashableMem()
	p, err := openEngine("store", Options{FS: fs, CacheBytes: 1 << 20, MemTableBytes: DefaultMemTableBytes})
	if err != nil {
		t.Fatal(err)
	}
	if _, left, err := damageLog(t, fs, p, func(int) int { return 100 }); err != nil || left != 0 {
		t.Errorf("%d batches left, error %v: the engine now finds the damage, so OpenPebble need not flush a new store", left, err)
	}
}

// TestDamageInATableIsRefused: and damage in a file of values likewise.
func TestDamageInATableIsRefused(t *testing.T) {
	begin := func(int) int { return 60 }
	t.Run("table", func(t *testing.T) { damageFiles(t, ".sst", begin) })
	t.Run("values", func(t *testing.T) { damageFiles(t, ".blob", begin) })
	t.Run("end of a file of values", func(t *testing.T) { damageFiles(t, ".blob", func(size int) int { return size - 10 }) })
}

func damageFiles(t *testing.T, kind string, where func(size int) int) {
	t.Helper()
	fs := vfs.NewMem()
	p := openMemFS(t, fs, kind == ".sst")
	for i := range 100 {
		if err := p.Apply(numbered(i), false); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(p.Flush(), p.Close()); err != nil {
		t.Fatal(err)
	}
	names, err := fs.List("store")
	if err != nil {
		t.Fatal(err)
	}
	damaged := 0
	for _, name := range names {
		if strings.HasSuffix(name, kind) {
			info, err := fs.Stat(fs.PathJoin("store", name))
			if err != nil {
				t.Fatal(err)
			}
			flip(t, fs, fs.PathJoin("store", name), where(int(info.Size())))
			damaged++
		}
	}
	if damaged == 0 {
		t.Fatalf("the store has no file %s", kind)
	}
	p, err = OpenPebble("store", Options{FS: fs, NoLog: true})
	if err == nil { // otherwise the damage was found when opening, which is right too
		read := 0
		err = p.Scan([]byte("key "), []byte("key!"), false, func(_, _ []byte) bool { read++; return true })
		if err == nil || read > 0 {
			t.Fatalf("%d entries of a damaged file were read, %v", read, err)
		}
		if again := p.Apply(numbered(1), false); !errors.Is(again, err) {
			t.Errorf("a call after damaged data was read returned %v", again)
		}
	}
}
