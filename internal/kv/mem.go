package kv

import (
	"bytes"
	"sync"
)

// Mem is a store in memory that can crash. Each batch makes a new version, which shares all unchanged nodes with the
// version before, so that a snapshot and a crash cost nothing.
type Mem struct {
	mu       sync.Mutex
	now      *node
	durable  *node   // the version that was synced last
	unsynced []*node // the version after each later batch
	edit     uint64
	syncs    uint64
	err      error // the error that all calls return after a failure, crash or close
	failed   chan struct{}
}

// maxUnsynced is the number of versions that a crash can choose from. Older unsynced batches count as synced, as a
// disk would have written them by then.
const maxUnsynced = 4096

// NewMem returns an empty store.
func NewMem() *Mem { return &Mem{failed: make(chan struct{})} }

// Crash returns a store with the data that survives a crash of m now: everything synced, and of the batches applied
// since then the first keep, or all if there are fewer. Afterwards all calls of m return an error, like those of a
// dead process.
func (m *Mem) Crash(keep int) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	root := m.durable
	if keep = min(keep, len(m.unsynced)); keep > 0 {
		root = m.unsynced[keep-1]
	}
	m.fail(ErrClosed)
	return &Mem{now: root, durable: root, edit: m.edit, failed: make(chan struct{})}
}

// Fork returns an independent store with the current data of m, as if all of it were synced. It copies nothing.
func (m *Mem) Fork() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &Mem{now: m.now, durable: m.now, edit: m.edit, failed: make(chan struct{})}
}

// Unsynced returns the number of batches that a crash now may lose.
func (m *Mem) Unsynced() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.unsynced)
}

// Fail makes all later calls return err, as after a failed write.
func (m *Mem) Fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail(err)
}

func (m *Mem) fail(err error) {
	if m.err == nil {
		m.err = err
		close(m.failed)
	}
}

func (m *Mem) root() (*node, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now, m.err
}

// Get implements [Reader].
func (m *Mem) Get(key []byte) ([]byte, bool, error) {
	n, err := m.root()
	if err != nil {
		return nil, false, err
	}
	v, ok := n.get(key)
	return v, ok, nil
}

// Scan implements [Reader].
func (m *Mem) Scan(lower, upper []byte, reverse bool, yield func(key, value []byte) bool) error {
	n, err := m.root()
	if err != nil {
		return err
	}
	n.scan(lower, upper, reverse, yield)
	return nil
}

// Snapshot implements [Store].
func (m *Mem) Snapshot() (Snapshot, error) {
	n, err := m.root()
	return memSnapshot{n}, err
}

// Apply implements [Store].
func (m *Mem) Apply(b *Batch, sync bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	m.edit++
	data := make([]byte, 0, b.Size())
	keep := func(p []byte) []byte {
		at := len(data)
		data = append(data, p...)
		return data[at:len(data):len(data)]
	}
	for i := range b.Ops {
		op := &b.Ops[i]
		if op.Delete {
			m.now = m.now.remove(op.Key, m.edit)
		} else {
			m.now = m.now.insert(keep(op.Key), keep(op.Value), m.edit)
		}
	}
	if m.unsynced = append(m.unsynced, m.now); len(m.unsynced) > maxUnsynced {
		m.durable = m.unsynced[0]
		m.unsynced = m.unsynced[1:]
	}
	if sync {
		m.sync()
	}
	return nil
}

func (m *Mem) sync() {
	m.durable = m.now
	clear(m.unsynced)
	m.unsynced = m.unsynced[:0]
	m.syncs++
}

// Flush implements [Store].
func (m *Mem) Flush() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		m.sync()
	}
	return m.err
}

// Durable implements [Store].
func (m *Mem) Durable(key []byte) ([]byte, bool, error) {
	m.mu.Lock()
	n, err := m.durable, m.err
	m.mu.Unlock()
	if err != nil {
		return nil, false, err
	}
	v, ok := n.get(key)
	return v, ok, nil
}

// Syncs implements [Store].
func (m *Mem) Syncs() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.syncs
}

// Failed implements [Store].
func (m *Mem) Failed() <-chan struct{} { return m.failed }

// Close implements [Store]. The data is lost.
func (m *Mem) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		m.err = ErrClosed
	}
	return nil
}

type memSnapshot struct{ root *node }

func (s memSnapshot) Get(key []byte) ([]byte, bool, error) {
	v, ok := s.root.get(key)
	return v, ok, nil
}

func (s memSnapshot) Scan(lower, upper []byte, reverse bool, yield func(key, value []byte) bool) error {
	s.root.scan(lower, upper, reverse, yield)
	return nil
}

func (memSnapshot) Close() error { return nil }

// node is a node of a treap: a search tree by key and a heap by rank. The rank is a hash of the key, so the shape
// depends on the content alone, and the tree is balanced unless keys are chosen to unbalance it. A node belongs to
// the batch that made it, which may change it in place; every other batch copies it before changing it.
type node struct {
	key, value  []byte
	rank        uint64
	edit        uint64
	left, right *node
}

func rankOf(key []byte) uint64 {
	h := uint64(14695981039346656037) // FNV-1a, then mixed: its upper bits alone spread too little
	for _, b := range key {
		h = (h ^ uint64(b)) * 1099511628211
	}
	h ^= h >> 32
	return h * 0x9e3779b97f4a7c15
}

func (n *node) own(edit uint64) *node {
	if n.edit == edit {
		return n
	}
	c := *n
	c.edit = edit
	return &c
}

func (n *node) get(key []byte) ([]byte, bool) {
	for n != nil {
		switch c := bytes.Compare(key, n.key); {
		case c < 0:
			n = n.left
		case c > 0:
			n = n.right
		default:
			return n.value, true
		}
	}
	return nil, false
}

func (n *node) insert(key, value []byte, edit uint64) *node {
	if n == nil {
		return &node{key: key, value: value, rank: rankOf(key), edit: edit}
	}
	n = n.own(edit)
	switch c := bytes.Compare(key, n.key); {
	case c < 0:
		if n.left = n.left.insert(key, value, edit); n.left.rank > n.rank {
			l := n.left
			n.left, l.right = l.right, n
			return l
		}
	case c > 0:
		if n.right = n.right.insert(key, value, edit); n.right.rank > n.rank {
			r := n.right
			n.right, r.left = r.left, n
			return r
		}
	default:
		n.value = value
	}
	return n
}

func (n *node) remove(key []byte, edit uint64) *node {
	if n == nil {
		return nil
	}
	switch c := bytes.Compare(key, n.key); {
	case c < 0:
		if l := n.left.remove(key, edit); l != n.left {
			n = n.own(edit)
			n.left = l
		}
	case c > 0:
		if r := n.right.remove(key, edit); r != n.right {
			n = n.own(edit)
			n.right = r
		}
	default:
		return join(n.left, n.right, edit)
	}
	return n
}

// join merges two treaps, all keys of l being below those of r.
func join(l, r *node, edit uint64) *node {
	switch {
	case l == nil:
		return r
	case r == nil:
		return l
	case l.rank > r.rank:
		l = l.own(edit)
		l.right = join(l.right, r, edit)
		return l
	}
	r = r.own(edit)
	r.left = join(l, r.left, edit)
	return r
}

// scan reports whether the scan continues.
func (n *node) scan(lower, upper []byte, reverse bool, yield func(key, value []byte) bool) bool {
	if n == nil {
		return true
	}
	low := bytes.Compare(n.key, lower) >= 0 // n.key is not below the range
	high := upper == nil || bytes.Compare(n.key, upper) < 0
	first, second, firstIn, secondIn := n.left, n.right, low, high
	if reverse {
		first, second, firstIn, secondIn = second, first, high, low
	}
	if firstIn && !first.scan(lower, upper, reverse, yield) {
		return false
	}
	if low && high && !yield(n.key, n.value) {
		return false
	}
	return !secondIn || second.scan(lower, upper, reverse, yield)
}
