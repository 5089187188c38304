package kv

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// valuesSuffix ends the names of files of values. They are written once and hardly ever read, so their pages leave memory
// after the sync. Otherwise each batch takes new pages of the machine, whose allocation costs several times the copy, until the
// kernel has to take them from others.
const valuesSuffix = ".blob"

// failStop is a file system that stops all writes after the first failed one, and counts syncs
// and written bytes. Pebble itself retries
// a failed flush and trusts a sync that succeeds after a failed one, although the data of the failed sync may be
// lost. failStop prevents both: the call that met the failure, and every later write, never returns.
type failStop struct {
	vfs.FS
	syncs  atomic.Uint64
	bytes  atomic.Uint64 // written to files
	armed  atomic.Bool   // failing calls block for ever; before it is set, while the store is being opened, they return the error
	once   sync.Once
	failed chan struct{}
	err    error // set before failed is closed
}

func newFailStop(fs vfs.FS) *failStop { return &failStop{FS: fs, failed: make(chan struct{})} }

// fail records the first failure.
func (f *failStop) fail(err error) {
	f.once.Do(func() {
		f.err = err
		close(f.failed)
	})
}

// failure returns the first failure, or nil.
func (f *failStop) failure() error {
	select {
	case <-f.failed:
		return f.err
	default:
		return nil
	}
}

// before is called before every write.
func (f *failStop) before() error {
	if err := f.failure(); err != nil {
		return f.stop(err)
	}
	return nil
}

// after is called with the result of every write; op and name are its operation and its file.
func (f *failStop) after(err error, op, name string) error {
	if err == nil {
		return nil
	}
	f.fail(fmt.Errorf("%s of %s failed, so the store has stopped and the replica must stop: %w", op, name, err))
	return f.stop(f.err)
}

func (f *failStop) stop(err error) error {
	if f.armed.Load() {
		select {} // block for ever: the process is about to end
	}
	return err
}

func (f *failStop) Unwrap() vfs.FS { return f.FS }

func (f *failStop) file(g vfs.File, err error, op, name string) (vfs.File, error) {
	if err := f.after(err, op, name); err != nil {
		return nil, err
	}
	return &failStopFile{File: g, fs: f, name: name}, nil
}

func (f *failStop) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.before(); err != nil {
		return nil, err
	}
	g, err := f.FS.Create(name, category)
	return f.file(g, err, "creation", name)
}

func (f *failStop) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	if err := f.before(); err != nil {
		return nil, err
	}
	g, err := f.FS.OpenReadWrite(name, category, opts...)
	return f.file(g, err, "opening", name)
}

func (f *failStop) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.before(); err != nil {
		return nil, err
	}
	g, err := f.FS.ReuseForWrite(oldname, newname, category)
	return f.file(g, err, "reuse", newname)
}

func (f *failStop) OpenDir(name string) (vfs.File, error) {
	g, err := f.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &failStopFile{File: g, fs: f, name: name}, nil
}

func (f *failStop) Link(oldname, newname string) error {
	if err := f.before(); err != nil {
		return err
	}
	return f.after(f.FS.Link(oldname, newname), "link", newname)
}

func (f *failStop) Rename(oldname, newname string) error {
	if err := f.before(); err != nil {
		return err
	}
	return f.after(f.FS.Rename(oldname, newname), "rename", newname)
}

// Remove is guarded too: after a failed write, a log must not be deleted whose content did not reach its table.
func (f *failStop) Remove(name string) error {
	if err := f.before(); err != nil {
		return err
	}
	return f.FS.Remove(name)
}

func (f *failStop) MkdirAll(dir string, perm os.FileMode) error {
	if err := f.before(); err != nil {
		return err
	}
	return f.after(f.FS.MkdirAll(dir, perm), "creation", dir)
}

type failStopFile struct {
	vfs.File
	fs   *failStop
	name string
}

func (g *failStopFile) Write(p []byte) (int, error) {
	if err := g.fs.before(); err != nil {
		return 0, err
	}
	n, err := g.File.Write(p)
	g.fs.bytes.Add(uint64(n))
	return n, g.fs.after(err, "write", g.name)
}

func (g *failStopFile) WriteAt(p []byte, off int64) (int, error) {
	if err := g.fs.before(); err != nil {
		return 0, err
	}
	n, err := g.File.WriteAt(p, off)
	g.fs.bytes.Add(uint64(n))
	return n, g.fs.after(err, "write", g.name)
}

func (g *failStopFile) Sync() error {
	if err := g.fs.before(); err != nil {
		return err
	}
	g.fs.syncs.Add(1)
	return g.fs.after(g.File.Sync(), "sync", g.name)
}

func (g *failStopFile) SyncData() error {
	if err := g.fs.before(); err != nil {
		return err
	}
	g.fs.syncs.Add(1)
	err := g.fs.after(g.File.SyncData(), "sync", g.name)
	if fd := g.Fd(); err == nil && fd != vfs.InvalidFd && strings.HasSuffix(g.name, valuesSuffix) {
		dropPages(fd)
	}
	return err
}

func (g *failStopFile) SyncTo(length int64) (bool, error) {
	if err := g.fs.before(); err != nil {
		return false, err
	}
	full, err := g.File.SyncTo(length)
	if full {
		g.fs.syncs.Add(1)
	}
	return full, g.fs.after(err, "sync", g.name)
}
