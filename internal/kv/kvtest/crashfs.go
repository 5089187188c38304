// Package kvtest has a file system for tests of stores.
package kvtest

import (
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// CrashFS is a file system in memory, of which a copy can be made as it would be after a crash. It is a [vfs.MemFS] whose
// links and copies exclude each other: Link of a MemFS takes the read lock of CrashClone twice, so both wait for ever if a
// copy begins in between.
type CrashFS struct {
	*vfs.MemFS
	mu sync.Mutex
}

// NewCrashFS returns an empty file system.
func NewCrashFS() *CrashFS { return &CrashFS{MemFS: vfs.NewCrashableMem()} }

// Link implements [vfs.FS].
func (f *CrashFS) Link(oldname, newname string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.MemFS.Link(oldname, newname)
}

// CrashClone returns a copy that lacks some of the data that is not synced.
func (f *CrashFS) CrashClone(cfg vfs.CrashCloneCfg) *CrashFS {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &CrashFS{MemFS: f.MemFS.CrashClone(cfg)}
}
