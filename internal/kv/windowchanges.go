package kv

import (
	"bytes"
	"hash/maphash"
	"slices"

	"bdtnode/internal/hashindex"
)

// changes are the changes of some batches that follow each other. Only Apply changes them, and only while they are the
// active ones.
type changes struct {
	*grouped
	rest  *node // of other keys; a value of nil is a deletion
	count int
	bytes int
}

// grouped are the changes of keys that are many.
type grouped struct {
	entries [][]entry       // in pieces of entryPiece
	keys    hashindex.Index // of all entries
	groups  hashindex.Index // of the newest entry of each group, by its first bytes
}

const entryPiece = 1024

// entry is a changed key with its newest value and older ones that a snapshot may read.
type entry struct {
	key   []byte
	next  uint32 // number + 1 of an older entry of its group, 0 if there is none
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

// newChanges returns empty changes, with space for about as many grouped keys as other changes have.
func newChanges(as *changes) *changes {
	g := &grouped{}
	if as != nil {
		g.keys, g.groups = hashindex.New(as.keys.Len()), hashindex.New(as.groups.Len())
	}
	return &changes{grouped: g}
}

func (g *grouped) entry(n uint32) *entry { return &g.entries[n/entryPiece][n%entryPiece] }

// seed makes the hashes of keys, of which other parties choose many, unpredictable.
var seed = maphash.MakeSeed()

func hashOf(key []byte) uint32 { return uint32(maphash.Bytes(seed, key)) }

// find returns the entry of a key, nil if there is none.
func (g *grouped) find(hash uint32, key []byte) *entry {
	for p := g.keys.First(hash); ; {
		n, ok := g.keys.Next(hash, &p)
		if !ok {
			return nil
		}
		if e := g.entry(n); bytes.Equal(e.key, key) {
			return e
		}
	}
}

// group returns the number of the newest entry whose key begins with a prefix.
func (g *grouped) group(hash uint32, prefix []byte) (n uint32, ok bool) {
	for p := g.groups.First(hash); ; {
		if n, ok = g.groups.Next(hash, &p); !ok || bytes.HasPrefix(g.entry(n).key, prefix) {
			return n, ok
		}
	}
}

// add adds an entry of a new key, and returns its number.
func (g *grouped) add(hash uint32, e entry) uint32 {
	n := g.keys.Len()
	if n%entryPiece == 0 {
		g.entries = append(g.entries, make([]entry, 0, entryPiece))
	}
	last := &g.entries[n/entryPiece]
	*last = append(*last, e)
	g.keys.Add(hash, uint32(n))
	return uint32(n)
}

// get returns the version of a key at seq, nil if the changes have none.
func (c *changes) get(groups map[byte]int, key []byte, seq uint64) *version {
	if _, ok := groups[first(key)]; ok {
		if e := c.find(hashOf(key), key); e != nil {
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
	keys := make([]byte, 0, size) // one allocation for all keys
	for i := range b.Ops {
		n := len(keys)
		keys = append(keys, b.Ops[i].Key...)
		c.put(&b.Ops[i], keys[n:len(keys):len(keys)], groups, seq, seen)
	}
}

// put changes a key. key is a copy of the key of op.
func (c *changes) put(op *Op, key []byte, groups map[byte]int, seq, seen uint64) {
	value := op.Value
	if op.Delete {
		value = nil
	} else if value == nil {
		value = []byte{}
	}
	c.bytes += len(key) + len(value)
	prefix, ok := groups[first(key)]
	if !ok {
		c.count++ // an upper bound: the key may be there already
		c.rest = c.rest.insert(key, value, seq)
		return
	}
	hash := hashOf(key)
	if e := c.find(hash, key); e != nil {
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
	e := entry{key: key, fresh: op.New, version: version{value: value, seq: seq}}
	if prefix == 0 || prefix > len(key) {
		c.add(hash, e)
		return
	}
	group := hashOf(key[:prefix])
	before, ok := c.group(group, key[:prefix])
	if ok {
		e.next = before + 1
	}
	if n := c.add(hash, e); ok {
		c.groups.Renumber(group, before, n)
	} else {
		c.groups.Add(group, n)
	}
}

// change is a net change of a key.
type change struct {
	key   []byte
	value []byte // nil if the key is deleted
}

func (c *change) compare(d *change) int { return bytes.Compare(c.key, d.key) }

func sortChanges(list []change) {
	slices.SortFunc(list, func(a, b change) int { return a.compare(&b) })
}

// sorted returns the net changes by key.
func (c *changes) sorted() []change {
	order := make([]sortItem, 0, c.keys.Len())
	for n := range uint32(c.keys.Len()) {
		if e := c.entry(n); e.value != nil || !e.fresh {
			order = append(order, sortItem{n: n})
		}
	}
	sortByKey(order, func(n uint32) []byte { return c.entry(n).key })
	list := make([]change, len(order), c.count)
	for i := range order {
		e := c.entry(order[i].n)
		list[i] = change{e.key, e.value}
	}
	var rest []change
	c.rest.scan(nil, nil, false, func(key, value []byte) bool {
		rest = append(rest, change{key, value})
		return true
	})
	return mergeChanges(list, rest)
}

// within appends the changes of keys from lower to upper at seq to list, in any order.
func (c *changes) within(list []change, groups map[byte]int, lower, upper []byte, seq uint64) []change {
	add := func(e *entry) {
		if bytes.Compare(e.key, lower) >= 0 && (upper == nil || bytes.Compare(e.key, upper) < 0) {
			if v := e.version.at(seq); v != nil {
				list = append(list, change{e.key, v.value})
			}
		}
	}
	prefix := groups[first(lower)]
	if prefix > 0 && len(lower) >= prefix && upper != nil && bytes.Compare(upper, PrefixEnd(lower[:prefix])) <= 0 {
		n, ok := c.group(hashOf(lower[:prefix]), lower[:prefix])
		for ok {
			e := c.entry(n)
			add(e)
			n, ok = e.next-1, e.next > 0
		}
		return list
	}
	for b := range groups {
		if b >= first(lower) && (upper == nil || bytes.Compare([]byte{b}, upper) < 0) {
			for _, piece := range c.entries {
				for i := range piece {
					add(&piece[i])
				}
			}
			break
		}
	}
	c.rest.scan(lower, upper, false, func(key, value []byte) bool {
		list = append(list, change{key, value})
		return true
	})
	return list
}
