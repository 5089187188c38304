package kv

import (
	"bytes"
	"slices"
	"sync"
)

// Mem is a store in memory that can crash. A map has the present values, and a tree the order of the keys: a change reaches
// the tree only when the order is needed, for a scan or a copy. Mem keeps the earlier values of the keys that unsynced batches
// changed, so that a crash can undo them.
type Mem struct {
	mu      sync.Mutex
	cells   map[string]*cell
	tree    *node
	changed []*cell // that may differ in the tree
	dead    int     // cells of deleted keys
	spare   []cell  // cells to be used
	undo    []undo  // of the changes of the unsynced batches, in their order
	ends    []int   // of the changes of each batch in undo
	first   int     // batches before it count as synced
	applied uint64  // number of all batches
	kept    []memKept
	edit    uint64
	syncs   uint64
	err     error // the error that all calls return after a failure, crash or close
	failed  chan struct{}
}

// cell is a key with its value, nil if it is deleted and the tree may have it.
type cell struct {
	key, value []byte
	changed    bool // the cell is in Mem.changed
}

// undo is the value of a key before a change, nil if it had none.
type undo struct {
	key, value []byte
}

// maxUnsynced is the number of versions that a crash can choose from. Older unsynced batches count as synced, as a
// disk would have written them by then.
const maxUnsynced = 4096

// maxDead bounds the cells of deleted keys, beyond half of all cells.
const maxDead = 1024

// NewMem returns an empty store.
func NewMem() *Mem { return newMem(nil, 0) }

func newMem(tree *node, edit uint64) *Mem {
	m := &Mem{cells: make(map[string]*cell), tree: tree, edit: edit, failed: make(chan struct{})}
	tree.scan(nil, nil, false, func(key, value []byte) bool {
		m.cells[string(key)] = &cell{key: key, value: value}
		return true
	})
	return m
}

// Crash returns a store with the data that survives a crash of m now: everything synced, and of the batches applied
// since then the first keep, or all if there are fewer. Afterwards all calls of m return an error, like those of a
// dead process.
func (m *Mem) Crash(keep int) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	survive := m.applied - uint64(m.unsynced()-min(keep, m.unsynced()))
	kept := slices.DeleteFunc(m.kept, func(k memKept) bool { return !k.synced && k.after >= survive })
	changes := m.undo[m.begin(m.first+min(keep, m.unsynced())):]
	for i := len(changes) - 1; i >= 0; i-- {
		m.set(changes[i].key, changes[i].value)
	}
	c := &Mem{cells: m.cells, tree: m.tree, changed: m.changed, dead: m.dead, applied: survive, kept: kept, edit: m.edit, failed: make(chan struct{})}
	m.kept = nil
	m.cells, m.tree, m.changed, m.undo, m.ends, m.first = nil, nil, nil, nil, nil, 0
	m.fail(ErrClosed)
	return c
}

// Fork returns an independent store with the current data of m, as if all of it were synced.
func (m *Mem) Fork() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := newMem(m.share(), m.edit)
	c.applied, c.kept = m.applied, slices.Clone(m.kept)
	return c
}

// share returns the present tree. Later changes copy its nodes.
func (m *Mem) share() *node {
	m.update()
	m.edit++
	return m.tree
}

// update brings the changes into the tree.
func (m *Mem) update() {
	for _, c := range m.changed {
		if c.value == nil {
			m.tree = m.tree.remove(c.key, m.edit)
			delete(m.cells, string(c.key))
			continue
		}
		m.tree = m.tree.insert(c.key, c.value, m.edit)
		c.changed = false
	}
	clear(m.changed)
	m.changed, m.dead = m.changed[:0], 0
}

// set sets the value of a key, or deletes the key with nil, and returns the value before. It keeps key and value.
func (m *Mem) set(key, value []byte) (before []byte) {
	c := m.cells[string(key)]
	if c == nil {
		if value == nil {
			return nil
		}
		c = m.newCell()
		c.key = key
		m.cells[string(key)] = c
		m.dead++
	}
	before, c.value = c.value, value
	switch {
	case before == nil && value != nil:
		m.dead--
	case before != nil && value == nil:
		m.dead++
	}
	if !c.changed {
		c.changed = true
		m.changed = append(m.changed, c)
	}
	return before
}

// newCell returns an empty cell. Cells are allocated in groups, since a store gets many.
func (m *Mem) newCell() *cell {
	if len(m.spare) == 0 {
		m.spare = make([]cell, 64)
	}
	c := &m.spare[0]
	m.spare = m.spare[1:]
	return c
}

// begin is the place in undo of the first change of a batch.
func (m *Mem) begin(batch int) int {
	if batch == 0 {
		return 0
	}
	return m.ends[batch-1]
}

func (m *Mem) unsynced() int { return len(m.ends) - m.first }

// Unsynced returns the number of batches that a crash now may lose.
func (m *Mem) Unsynced() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.unsynced()
}

// Applied is the number of all batches, of which the newest are the unsynced ones. Batches of the stores that m was made from
// count too.
func (m *Mem) Applied() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return int(m.applied)
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

// Get implements [Reader].
func (m *Mem) Get(key []byte) ([]byte, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.get(key)
}

func (m *Mem) get(key []byte) ([]byte, bool, error) {
	if m.err != nil {
		return nil, false, m.err
	}
	if c := m.cells[string(key)]; c != nil && c.value != nil {
		return c.value, true, nil
	}
	return nil, false, nil
}

// Scan implements [Reader].
func (m *Mem) Scan(lower, upper []byte, reverse bool, yield func(key, value []byte) bool) error {
	m.mu.Lock()
	n, err := m.share(), m.err // yield may change the store
	m.mu.Unlock()
	if err != nil {
		return err
	}
	n.scan(lower, upper, reverse, yield)
	return nil
}

// Snapshot implements [Store].
func (m *Mem) Snapshot() (Snapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return memSnapshot{m.share()}, m.err
}

// Apply implements [Store].
func (m *Mem) Apply(b *Batch, sync bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	data := make([]byte, 0, b.Size())
	keep := func(p []byte) []byte {
		at := len(data)
		data = append(data, p...)
		return data[at:len(data):len(data)] // not nil
	}
	for i := range b.Ops {
		op := &b.Ops[i]
		x := undo{key: keep(op.Key)}
		if op.Delete {
			if x.value = m.set(x.key, nil); x.value == nil {
				continue
			}
		} else {
			x.value = m.set(x.key, keep(op.Value))
		}
		m.undo = append(m.undo, x)
	}
	if m.dead > len(m.cells)/2+maxDead {
		m.update()
	}
	m.ends = append(m.ends, len(m.undo))
	m.applied++
	if m.unsynced() > maxUnsynced {
		m.forget()
	}
	if sync {
		m.sync()
	}
	return nil
}

// forget counts the oldest unsynced batch as synced.
func (m *Mem) forget() {
	if m.first++; m.first <= maxUnsynced {
		return
	}
	cut := m.begin(m.first)
	m.undo = slices.Delete(m.undo, 0, cut)
	m.ends = slices.Delete(m.ends, 0, m.first)
	for i := range m.ends {
		m.ends[i] -= cut
	}
	m.first = 0
}

func (m *Mem) sync() {
	clear(m.undo) // so that the old values are freed
	m.undo, m.ends, m.first = m.undo[:0], m.ends[:0], 0
	for i := range m.kept {
		m.kept[i].synced = true
	}
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
	defer m.mu.Unlock()
	if m.err != nil {
		return nil, false, m.err
	}
	for i := m.begin(m.first); i < len(m.undo); i++ {
		if x := &m.undo[i]; bytes.Equal(x.key, key) {
			return x.value, x.value != nil, nil // before its first change since the last sync
		}
	}
	return m.get(key)
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

// memKept is a kept state. It survives a crash if a later batch does, or if there was a sync since then.
type memKept struct {
	number uint64
	tree   *node
	after  uint64 // number of the batches that it has
	synced bool
}

// Keep implements [Keeper].
func (m *Mem) Keep(number uint64, _ []Range) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil || slices.ContainsFunc(m.kept, func(k memKept) bool { return k.number == number }) {
		return m.err
	}
	m.kept = append(m.kept, memKept{number: number, tree: m.share(), after: m.applied})
	return nil
}

// Kept implements [Keeper].
func (m *Mem) Kept() ([]uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []uint64
	for i := range m.kept {
		out = append(out, m.kept[i].number)
	}
	slices.Sort(out)
	return out, m.err
}

// ReadKept implements [Keeper].
func (m *Mem) ReadKept(number uint64) (Snapshot, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.kept {
		if k := &m.kept[i]; k.number == number && m.err == nil {
			return memSnapshot{k.tree}, true, nil
		}
	}
	return nil, false, m.err
}

// Forget implements [Keeper].
func (m *Mem) Forget(number uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept = slices.DeleteFunc(m.kept, func(k memKept) bool { return k.number == number })
	return m.err
}

// DeleteRanges implements [RangeDeleter].
func (m *Mem) DeleteRanges(ranges ...Range) error {
	var b Batch
	for _, r := range ranges {
		if err := m.Scan(r.Lower, r.Upper, false, func(key, _ []byte) bool {
			b.Delete(bytes.Clone(key))
			return true
		}); err != nil {
			return err
		}
	}
	if b.Len() == 0 {
		return nil
	}
	return m.Apply(&b, false)
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
// the edit that made it, which may change it in place; every other edit copies it before changing it.
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
