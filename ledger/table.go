package ledger

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"

	"bdtnode/internal/digest"
	"bdtnode/internal/hashindex"
)

// table is a map whose rows are numbered from 0 in the order in which they were added, until one is removed. It takes less
// memory and time than a Go map, and its rows stay in their place until a row is removed.
type table[K tableKey, V any] struct {
	index  hashindex.Index
	pieces [][]row[K, V] // of rowPiece rows
}

// tableKey is a key of a [table].
type tableKey interface {
	comparable
	hash() uint32
}

type row[K tableKey, V any] struct {
	key   K
	used  bool // for a cache
	value V
}

// rowPiece is the number of rows that are allocated together, and keptPieces the number of pieces that an emptied table
// keeps.
const (
	rowPiece   = 1024
	keptPieces = 64
)

// secret keys the hashes of addresses and ids, which other parties choose. No result depends on it.
var secret = [2]uint64{rand.Uint64(), rand.Uint64()}

func hashDigest(d *digest.Digest) uint32 {
	high, low := bits.Mul64(binary.LittleEndian.Uint64(d[:])^secret[0], binary.LittleEndian.Uint64(d[8:])^secret[1])
	return uint32((high ^ low) >> 16)
}

func (a Address) hash() uint32 { return hashDigest((*digest.Digest)(&a)) }

func (o Outpoint) hash() uint32 {
	return hashDigest((*digest.Digest)(&o.Tx)) + uint32(o.Index)*0x9e3779b1
}

func (t *table[K, V]) len() int { return t.index.Len() }

func (t *table[K, V]) row(n int) *row[K, V] { return &t.pieces[n/rowPiece][n%rowPiece] }

// get returns the row of a key, nil if there is none.
func (t *table[K, V]) get(k K) *row[K, V] {
	n, ok := t.find(k, k.hash())
	if !ok {
		return nil
	}
	return t.row(int(n))
}

func (t *table[K, V]) find(k K, hash uint32) (n uint32, ok bool) {
	for p := t.index.First(hash); ; {
		if n, ok = t.index.Next(hash, &p); !ok || t.row(int(n)).key == k {
			return n, ok
		}
	}
}

// add adds the row of a key that has none.
func (t *table[K, V]) add(k K, v V) *row[K, V] {
	n := t.len()
	if n/rowPiece == len(t.pieces) {
		t.pieces = append(t.pieces, make([]row[K, V], rowPiece))
	}
	t.index.Add(k.hash(), uint32(n))
	r := t.row(n)
	*r = row[K, V]{key: k, value: v}
	return r
}

// remove removes the row of a key if there is one. The last row takes its number.
func (t *table[K, V]) remove(k K) {
	hash := k.hash()
	n, ok := t.find(k, hash)
	if !ok {
		return
	}
	t.index.Remove(hash, n)
	if end := uint32(t.len()); n != end { // the number of the last row
		last := t.row(int(end))
		t.index.Renumber(last.key.hash(), end, n)
		*t.row(int(n)) = *last
	}
}

// reset removes all rows.
func (t *table[K, V]) reset() {
	t.index.Clear()
	t.pieces = t.pieces[:min(len(t.pieces), keptPieces)]
}

// cache has rows of the store, at most limit. A new row then takes the place of the next one, in the order of their
// places, that was not used since the last turn.
type cache[K tableKey, V any] struct {
	table[K, V]
	limit int
	next  int // number of the row that is looked at next
}

func newCache[K tableKey, V any](limit int) cache[K, V] { return cache[K, V]{limit: limit} }

// get returns the value of a key, nil if it is not in the cache. It is valid until the next change of the cache.
func (c *cache[K, V]) get(k K) *V {
	r := c.table.get(k)
	if r == nil {
		return nil
	}
	r.used = true
	return &r.value
}

func (c *cache[K, V]) put(k K, v V) {
	hash := k.hash()
	if n, ok := c.find(k, hash); ok {
		c.row(int(n)).value = v
		return
	}
	if c.len() < c.limit {
		c.add(k, v)
		return
	}
	for {
		if c.next >= c.len() {
			c.next = 0
		}
		r, n := c.row(c.next), uint32(c.next)
		c.next++
		if r.used {
			r.used = false
			continue
		}
		c.index.Remove(r.key.hash(), n)
		c.index.Add(hash, n)
		*r = row[K, V]{key: k, value: v}
		return
	}
}
