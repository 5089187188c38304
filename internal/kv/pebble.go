package kv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/ipfs/go-log/v2"
)

var logger = log.Logger("bdt/kv")

// Default memory of a store in bytes. With it, four replicas of two stores each fit in 512 MiB.
const (
	DefaultCacheBytes    = 16 << 20
	DefaultMemTableBytes = 16 << 20
)

// Open files of a store: DefaultOpenFiles is the greatest number from which it benefits, MinOpenFiles the least with
// which it works. Of the latter, 64 are tables, which the engine may always keep open; the others are its log, its
// manifest and the outputs of compactions.
const (
	DefaultOpenFiles = 512
	MinOpenFiles     = 96
)

// maxValueFiles is the number of files of values to which one table may refer. A compaction rewrites the values of tables
// that would refer to more.
const maxValueFiles = 1 << 12

// bloomBits is the number of bits per key of a table's Bloom filter. With 10 bits, about 1% of the lookups of a
// missing key read blocks of a table.
const bloomBits = 10

// Options of a store on disk. The zero Options are the defaults, with a log.
type Options struct {
	// NoLog omits the write-ahead log. Batches are cheaper, but a crash loses all that was not flushed, see
	// [Store.Apply]; Apply with sync flushes, which is slow.
	NoLog         bool
	CacheBytes    int64  // size of the cache of blocks; 0 for the default
	MemTableBytes uint64 // size of one memtable, of which there are up to four; 0 for the default
	OpenFiles     int    // approximate greatest number of open files; 0 for the default, at least [MinOpenFiles]
	FS            vfs.FS // file system; nil for the disk
	// LargeValues is the least size in bytes of a value that is stored in a file of values in place of a table; 0 stores all
	// values in tables. Compactions do not rewrite files of values. It is for values that are hardly ever deleted: a file is
	// removed only when all its values are deleted. A store may be opened with another number than before.
	LargeValues   int
	NoCompression bool // of tables and files of values

	window bool // of a [Window]
}

// Pebble is a store in a directory.
//
// Tables have a checksum for each block, so a flipped bit in a table is found when the block is read. The log is
// weaker: a flipped bit in it may look like a write that a crash cut short. In the format used here, each record of
// the log also says up to where the log was synced before it. OpenPebble returns an error for a damaged log if a
// later 32 KiB block of the log has a record that shows that the damaged part was synced. Damage in the last blocks
// is not found: the log is taken to end there, and synced batches after the damage are lost without an error. Callers
// that must not lose them have to detect the loss by other means.
type Pebble struct {
	db     *pebble.DB
	dir    string
	opts   Options
	engine *pebble.Options
	fs     *failStop
	noLog  bool
	mu     sync.Mutex
	idle   *sync.Cond // signalled when calls drops to 0
	calls  int        // number of calls in progress
	closed bool
	tables atomic.Uint64 // number of tables that a Window has written
	work   chan func()   // to idle workers, see guard
	ended  chan struct{} // closed when the store is closed

	keptMu  sync.Mutex
	readers map[uint64]*keptReader // open kept states
}

// OpenPebble opens the store in dir, and creates one if dir has none. It is an error if another process has the store
// open, if the store is damaged, or if this program does not know its format.
func OpenPebble(dir string, opts Options) (*Pebble, error) {
	if opts.FS == nil {
		opts.FS = vfs.Default
	}
	if opts.CacheBytes == 0 {
		opts.CacheBytes = DefaultCacheBytes
	}
	if opts.OpenFiles == 0 {
		opts.OpenFiles = DefaultOpenFiles
	}
	if opts.MemTableBytes == 0 {
		opts.MemTableBytes = DefaultMemTableBytes
	}
	p, err := openEngine(dir, opts)
	if err != nil {
		return nil, openError(dir, err)
	}
	if err := p.checkFormat(dir); err != nil {
		return nil, errors.Join(err, p.db.Close())
	}
	p.fs.armed.Store(true)
	return p, nil
}

func openEngine(dir string, opts Options) (*Pebble, error) {
	p := &Pebble{dir: dir, opts: opts, fs: newFailStop(opts.FS), noLog: opts.NoLog, readers: make(map[uint64]*keptReader), work: make(chan func()), ended: make(chan struct{})}
	p.idle = sync.NewCond(&p.mu)
	cache := pebble.NewCache(opts.CacheBytes)
	defer cache.Unref() // the engine takes its own reference
	p.engine = p.options(opts, cache)
	p.engine.EnsureDefaults()
	db, err := pebble.Open(dir, p.engine)
	p.db = db
	return p, err
}

func openError(dir string, err error) error {
	switch {
	case errors.Is(err, syscall.EAGAIN), strings.Contains(err.Error(), "lock held by current process"):
		return fmt.Errorf("store %s is in use by another process", dir)
	case pebble.IsCorruptionError(err):
		return fmt.Errorf("store %s is damaged and cannot be opened: %w", dir, err)
	}
	return fmt.Errorf("open store %s: %w", dir, err)
}

// checkFormat checks the format version of the store, or writes it into an empty store.
func (p *Pebble) checkFormat(dir string) error {
	v, ok, err := get(p.db, formatKey)
	if err != nil {
		return fmt.Errorf("read the format of store %s: %w", dir, err)
	}
	if ok {
		if len(v) != 4 {
			return fmt.Errorf("the format version of store %s is damaged: %x", dir, v)
		}
		if have := binary.BigEndian.Uint32(v); have != FormatVersion {
			return fmt.Errorf("store %s has format %d, this program reads format %d: use the program that wrote it, or make a new network", dir, have, FormatVersion)
		}
		return nil
	}
	empty := true
	if err := scan(p.db, nil, nil, false, func(_, _ []byte) bool { empty = false; return false }); err != nil {
		return fmt.Errorf("read store %s: %w", dir, err)
	}
	if !empty {
		return fmt.Errorf("store %s has no format version: it is not a store of this program", dir)
	}
	// The engine creates the log of a new store before it raises the store to the newest format, so that log has an
	// old format. A flush makes the engine start another log.
	err = errors.Join(p.db.Set(formatKey, binary.BigEndian.AppendUint32(nil, FormatVersion), pebble.NoSync), p.db.Flush())
	if err != nil {
		return fmt.Errorf("write the format of store %s: %w", dir, err)
	}
	return nil
}

func (p *Pebble) options(opts Options, cache *pebble.Cache) *pebble.Options {
	o := &pebble.Options{
		FS:                          p.fs,
		Cache:                       cache,
		DisableWAL:                  opts.NoLog,
		FormatMajorVersion:          pebble.FormatNewest,
		MemTableSize:                opts.MemTableBytes,
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       24,
		LBaseMaxBytes:               64 << 20,
		MaxOpenFiles:                opts.OpenFiles,
		BytesPerSync:                1 << 20,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
		Logger:                      engineLogger{p.fs},
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) {
				p.fs.fail(fmt.Errorf("a flush or compaction in the background failed, so the store has stopped and the replica must stop: %w", err))
			},
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				p.fs.fail(fmt.Errorf("the store is damaged: %s", info))
			},
		},
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(bloomBits)
		if opts.NoCompression {
			o.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
		}
		if opts.window { // hashes and numbers hardly shrink, and compression would take more time than it saves
			o.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
			o.Levels[i].BlockSize = 8 << 10
			o.Levels[i].IndexBlockSize = 256 << 10 // so that most tables have an index of one level
		}
	}
	if opts.LargeValues > 0 {
		separation := pebble.ValueSeparationPolicy{
			Enabled: true, MinimumSize: opts.LargeValues, MaxBlobReferenceDepth: maxValueFiles,
			TargetGarbageRatio: 1, // files are not rewritten to free the space of deleted values
		}
		o.Experimental.ValueSeparationPolicy = func() pebble.ValueSeparationPolicy { return separation }
		// A flush makes one file of values, and not one for each 2 MiB: the files remain, and each takes memory.
		o.TargetFileSizes[0] = int64(opts.MemTableBytes)
	}
	o.Experimental.CompactionScheduler = newCompactions()
	if opts.window {
		// Tables of outputs and accounts cover the whole range of keys, so a compaction writes all of them again. The engine
		// compacts when half as many tables of a kind are above each other.
		o.L0CompactionThreshold, o.L0StopWritesThreshold = 16, 64
		o.LBaseMaxBytes = 1 << 30 // so that up to here a table is compacted into one level only
	}
	return o
}

// enter begins a call. If it returns no error, leave must end the call.
func (p *Pebble) enter() error {
	if err := p.fs.failure(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	p.calls++
	return nil
}

func (p *Pebble) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.calls--; p.calls == 0 {
		p.idle.Broadcast()
	}
}

// guard runs work that may wait for the disk. If the store fails meanwhile, guard returns without waiting for work,
// which may never end.
func (p *Pebble) guard(work func() error) error {
	done := make(chan error, 1)
	do := func() { done <- work() }
	select {
	case p.work <- do:
	default:
		go p.worker(do)
	}
	select {
	case err := <-done:
		if err != nil {
			p.fs.fail(err)
			return p.fs.err
		}
		return p.fs.failure()
	case <-p.fs.failed:
		return p.fs.err
	}
}

// worker does work, and then that of further calls of guard, until the store is closed or has failed. The engine needs a deep
// stack: a new goroutine for each call would grow and copy its stack each time. There are as many workers as calls were in
// progress at a time.
func (p *Pebble) worker(do func()) {
	for {
		do()
		select {
		case do = <-p.work:
		case <-p.ended:
			return
		case <-p.fs.failed:
			return
		}
	}
}

// read makes an error of reading permanent, since damaged data stays damaged.
func (p *Pebble) read(err error) error {
	if err != nil {
		p.fs.fail(fmt.Errorf("reading the store failed: %w", err))
		return p.fs.err
	}
	return nil
}

// Get implements [Reader].
func (p *Pebble) Get(key []byte) ([]byte, bool, error) {
	if err := p.enter(); err != nil {
		return nil, false, err
	}
	defer p.leave()
	v, ok, err := get(p.db, key)
	return v, ok, p.read(err)
}

// Scan implements [Reader].
func (p *Pebble) Scan(lower, upper []byte, reverse bool, yield func(key, value []byte) bool) error {
	if err := p.enter(); err != nil {
		return err
	}
	defer p.leave()
	if len(lower) == 0 {
		lower = []byte{1} // keys below belong to the store itself
	}
	return p.read(scan(p.db, lower, upper, reverse, yield))
}

// Snapshot implements [Store].
func (p *Pebble) Snapshot() (Snapshot, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	return &pebbleSnapshot{p, p.db.NewSnapshot()}, nil
}

// Apply implements [Store].
func (p *Pebble) Apply(b *Batch, sync bool) error {
	if err := p.enter(); err != nil {
		return err
	}
	defer p.leave()
	batch := p.db.NewBatchWithSize(b.Size() + 12*len(b.Ops) + 32)
	for i := range b.Ops {
		op := &b.Ops[i]
		var err error
		if op.Delete {
			err = batch.Delete(op.Key, nil)
		} else {
			err = batch.Set(op.Key, op.Value, nil)
		}
		if err != nil {
			return errors.Join(err, batch.Close())
		}
	}
	write := pebble.NoSync
	if sync && !p.noLog {
		write = pebble.Sync
	}
	err := p.guard(func() error {
		apply := func() error { return p.db.Apply(batch, write) }
		if batch.Empty() && write == pebble.Sync {
			apply = func() error { return p.db.LogData(nil, write) } // Pebble does not sync for an empty batch
		}
		if err := apply(); err != nil {
			return fmt.Errorf("write a batch: %w", err)
		}
		return batch.Close()
	})
	if err == nil && sync && p.noLog {
		err = p.guard(p.db.Flush)
	}
	return err
}

// Flush implements [Store].
func (p *Pebble) Flush() error {
	if err := p.enter(); err != nil {
		return err
	}
	defer p.leave()
	return p.guard(p.db.Flush)
}

// Durable implements [Store].
func (p *Pebble) Durable(key []byte) (value []byte, ok bool, err error) {
	if err := p.enter(); err != nil {
		return nil, false, err
	}
	defer p.leave()
	it, err := p.db.NewIter(&pebble.IterOptions{LowerBound: key, OnlyReadGuaranteedDurable: true})
	if err != nil {
		return nil, false, p.read(err)
	}
	if it.SeekGE(key) && string(it.Key()) == string(key) {
		value, err = valueAt(it)
		value, ok = append([]byte(nil), value...), err == nil
	}
	return value, ok, p.read(errors.Join(err, it.Close()))
}

// Syncs implements [Store].
func (p *Pebble) Syncs() uint64 { return p.fs.syncs.Load() }

// Written is the number of bytes written to files since the store was opened: log, tables and their compactions.
func (p *Pebble) Written() uint64 { return p.fs.bytes.Load() }

// DiskUse is the size of a store's files in bytes.
type DiskUse struct{ Log, Tables uint64 }

// DiskUse reads the sizes of the files. It returns zero once the store is closed.
func (p *Pebble) DiskUse() DiskUse {
	if p.enter() != nil {
		return DiskUse{}
	}
	defer p.leave()
	m := p.db.Metrics()
	log := m.WAL.PhysicalSize + m.WAL.ObsoletePhysicalSize
	return DiskUse{Log: log, Tables: m.DiskSpaceUsage() - min(log, m.DiskSpaceUsage())}
}

// Failed implements [Store].
func (p *Pebble) Failed() <-chan struct{} { return p.fs.failed }

// Close implements [Store]. If the store has failed, Close returns the failure and releases nothing, since calls of
// the engine may be blocked. The directory stays locked until the process ends.
func (p *Pebble) Close() error {
	if err := p.fs.failure(); err != nil {
		return err
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return ErrClosed
	}
	p.closed = true
	for p.calls > 0 {
		p.idle.Wait()
	}
	p.mu.Unlock()
	if p.noLog {
		if err := p.guard(p.db.Flush); err != nil {
			return err
		}
	}
	defer close(p.ended)
	return p.guard(p.db.Close)
}

// damaged makes a panic of the engine an error: Pebble 2.1.7 panics when it opens a damaged file of values
// (cockroachdb/pebble issue 5127). The engine is not used afterwards, since the store has failed.
func damaged(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("the store is damaged: %v", r)
	}
}

func get(r pebble.Reader, key []byte) (value []byte, ok bool, err error) {
	defer damaged(&err)
	v, closer, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	v = append([]byte(nil), v...)
	return v, true, closer.Close()
}

func scan(r pebble.Reader, lower, upper []byte, reverse bool, yield func(key, value []byte) bool) error {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return err
	}
	first, next := it.First, it.Next
	if reverse {
		first, next = it.Last, it.Prev
	}
	for ok := first(); ok; {
		var value []byte
		if value, err = valueAt(it); err != nil {
			break
		}
		ok = yield(it.Key(), value) && next()
	}
	return errors.Join(err, it.Close()) // Close returns an error of the iterator too
}

func valueAt(it *pebble.Iterator) (value []byte, err error) {
	defer damaged(&err)
	return it.ValueAndErr()
}

type pebbleSnapshot struct {
	store *Pebble
	snap  *pebble.Snapshot
}

func (s *pebbleSnapshot) Get(key []byte) ([]byte, bool, error) {
	if err := s.store.enter(); err != nil {
		return nil, false, err
	}
	defer s.store.leave()
	v, ok, err := get(s.snap, key)
	return v, ok, s.store.read(err)
}

func (s *pebbleSnapshot) Scan(lower, upper []byte, reverse bool, yield func(key, value []byte) bool) error {
	if err := s.store.enter(); err != nil {
		return err
	}
	defer s.store.leave()
	if len(lower) == 0 {
		lower = []byte{1}
	}
	return s.store.read(scan(s.snap, lower, upper, reverse, yield))
}

func (s *pebbleSnapshot) Close() error {
	if err := s.store.enter(); err != nil {
		return err
	}
	defer s.store.leave()
	return s.snap.Close()
}

// engineLogger receives the log messages of the engine. A fatal message stops the store.
type engineLogger struct{ fs *failStop }

func (engineLogger) Infof(format string, args ...any)  { logger.Debugf(format, args...) }
func (engineLogger) Errorf(format string, args ...any) { logger.Errorf(format, args...) }

// Fatalf must not return, since the engine expects that the process has ended. So it blocks for ever.
func (l engineLogger) Fatalf(format string, args ...any) {
	l.fs.fail(fmt.Errorf("the storage engine cannot continue: "+format, args...))
	l.fs.armed.Store(true)
	_ = l.fs.stop(nil)
}
