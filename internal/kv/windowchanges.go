package kv

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
)

// changes are the changes of some batches that follow each other. Only Apply changes them, and only while they are the
// active ones.
type changes struct {
	grouped map[string]*entry
	groups  map[string]*entry // by the first bytes of a key: the first of a list of entries
	rest    *node             // of other keys; a value of nil is a deletion
	count   int
	bytes   int
	slab    []entry // memory for entries
}

// entry is a changed key with its newest value and older ones that a snapshot may read.
type entry struct {
	key   string
	next  *entry // in its group
	fresh bool   // the key is not in the store below
	version
}

// version is the value of a key from the batch with number seq on; nil if it is deleted.
type version struct {
	value []byte
	seq   uint64
	older *version
}

// at returns the newest version that the batch with number seq or an earlier one made, nil if there is none.
func (v *version) at(seq uint64) *version {
	for v != nil && v.seq > seq {
		v = v.older
	}
	return v
}

func newChanges() *changes {
	return &changes{grouped: make(map[string]*entry), groups: make(map[string]*entry)}
}

// get returns the version of a key at seq, nil if the changes have none.
func (c *changes) get(groups map[byte]int, key []byte, seq uint64) *version {
	if _, ok := groups[first(key)]; ok {
		if e := c.grouped[string(key)]; e != nil {
			return e.version.at(seq)
		}
		return nil
	}
	if v, ok := c.rest.get(key); ok {
		return &version{value: v}
	}
	return nil
}

func first(key []byte) byte {
	if len(key) == 0 {
		return 0
	}
	return key[0]
}

// apply makes the changes of the batch with number seq. seen is the greatest number of a batch that an open snapshot reads.
func (c *changes) apply(b *Batch, groups map[byte]int, seq, seen uint64) {
	size := 0
	for i := range b.Ops {
		size += len(b.Ops[i].Key)
	}
	all := make([]byte, 0, size)
	for i := range b.Ops {
		all = append(all, b.Ops[i].Key...)
	}
	keys := string(all) // one allocation for all keys
	for i := range b.Ops {
		n := len(b.Ops[i].Key)
		c.put(&b.Ops[i], keys[:n], groups, seq, seen)
		keys = keys[n:]
	}
}

// put changes a key. key is the key of op.
func (c *changes) put(op *Op, key string, groups map[byte]int, seq, seen uint64) {
	value := op.Value
	if op.Delete {
		value = nil
	} else if value == nil {
		value = []byte{}
	}
	c.bytes += len(op.Key) + len(value)
	prefix, ok := groups[first(op.Key)]
	if !ok {
		c.count++ // an upper bound: the key may be there already
		c.rest = c.rest.insert(bytes.Clone(op.Key), value, seq)
		return
	}
	if e := c.grouped[key]; e != nil {
		switch {
		case seen == 0: // no snapshot reads an older version
			e.older = nil
		case e.seq <= seen:
			older := e.version
			e.older = &older
		}
		e.value, e.seq = value, seq
		return
	}
	c.count++
	if len(c.slab) == 0 {
		c.slab = make([]entry, min(256, 4+c.count))
	}
	e := &c.slab[0]
	c.slab = c.slab[1:]
	*e = entry{key: key, fresh: op.New, version: version{value: value, seq: seq}}
	c.grouped[e.key] = e
	if prefix > 0 && prefix <= len(e.key) {
		e.next = c.groups[e.key[:prefix]]
		c.groups[e.key[:prefix]] = e
	}
}

// change is a net change of a key.
type change struct {
	head  uint64 // first bytes of the key, by which it is compared first
	key   string
	value []byte // nil if the key is deleted
}

func newChange(key string, value []byte) change {
	c := change{key: key, value: value}
	var head [8]byte
	copy(head[:], key)
	c.head = binary.BigEndian.Uint64(head[:])
	return c
}

func (c *change) compare(d *change) int {
	if c.head != d.head {
		return cmp.Compare(c.head, d.head)
	}
	return cmp.Compare(c.key, d.key)
}

// sorted returns the net changes by key.
func (c *changes) sorted() []change {
	list := make([]change, 0, c.count)
	for _, e := range c.grouped {
		if e.value != nil || !e.fresh {
			list = append(list, newChange(e.key, e.value))
		}
	}
	c.rest.scan(nil, nil, false, func(key, value []byte) bool {
		list = append(list, newChange(string(key), value))
		return true
	})
	slices.SortFunc(list, func(a, b change) int { return a.compare(&b) })
	return list
}

// within appends the changes of keys from lower to upper at seq to list, in any order.
func (c *changes) within(list []change, groups map[byte]int, lower, upper []byte, seq uint64) []change {
	add := func(e *entry) {
		if (len(lower) == 0 || e.key >= string(lower)) && (upper == nil || e.key < string(upper)) {
			if v := e.version.at(seq); v != nil {
				list = append(list, newChange(e.key, v.value))
			}
		}
	}
	prefix := groups[first(lower)]
	if prefix > 0 && len(lower) >= prefix && upper != nil && bytes.Compare(upper, PrefixEnd(lower[:prefix])) <= 0 {
		for e := c.groups[string(lower[:prefix])]; e != nil; e = e.next {
			add(e)
		}
		return list
	}
	for b := range groups {
		if b >= first(lower) && (upper == nil || bytes.Compare([]byte{b}, upper) < 0) {
			for _, e := range c.grouped {
				add(e)
			}
			break
		}
	}
	c.rest.scan(lower, upper, false, func(key, value []byte) bool {
		list = append(list, newChange(string(key), value))
		return true
	})
	return list
}
