// Package hashindex finds numbered entries by a hash of their keys.
//
// It is the part of a hash table that is the same for all keys. The caller keeps the entries, numbers them, and compares
// keys. A slot has 8 bytes and no pointer, so an index of many entries costs the garbage collector nothing, and a lookup
// reads little more memory than the entry. The caller's hash must be keyed with a secret if other parties choose keys.
package hashindex

// Index maps hashes to numbers of entries. Several entries may have one hash. The zero Index is empty.
type Index struct {
	slots []uint64 // hash in the upper half, number + 1 in the lower; 0 if empty. An entry is in the first slot free from its hash on
	used  int
}

const minSlots = 16

// New returns an empty index with space for count entries.
func New(count int) Index {
	n := minSlots
	for full(count, n) {
		n *= 2
	}
	return Index{slots: make([]uint64, n)}
}

// full reports whether count entries are too many for a number of slots: more than 7 of 8.
func full(count, slots int) bool { return 8*count > 7*slots }

// Len is the number of entries.
func (x *Index) Len() int { return x.used }

// Probe is a place in the search for the entries of one hash.
type Probe uint32

// First begins a search for the entries with a hash.
func (x *Index) First(hash uint32) Probe { return Probe(hash) }

// Next returns the number of the next entry with the hash, and moves p behind it. ok is false if there is none. The index
// must not change between First and Next.
func (x *Index) Next(hash uint32, p *Probe) (n uint32, ok bool) {
	if len(x.slots) == 0 {
		return 0, false
	}
	mask := uint32(len(x.slots) - 1)
	for i := uint32(*p) & mask; ; i = (i + 1) & mask {
		s := x.slots[i]
		if s == 0 {
			return 0, false
		}
		if uint32(s>>32) == hash {
			*p = Probe(i + 1)
			return uint32(s) - 1, true
		}
	}
}

// Add adds an entry. Its number is at most 2^32-2.
func (x *Index) Add(hash, n uint32) {
	if full(x.used+1, len(x.slots)) {
		x.grow()
	}
	x.used++
	x.put(uint64(hash)<<32 | uint64(n+1))
}

func (x *Index) put(s uint64) {
	mask := uint32(len(x.slots) - 1)
	i := uint32(s>>32) & mask
	for x.slots[i] != 0 {
		i = (i + 1) & mask
	}
	x.slots[i] = s
}

func (x *Index) grow() {
	old := x.slots
	x.slots = make([]uint64, max(minSlots, 2*len(old)))
	for _, s := range old {
		if s != 0 {
			x.put(s)
		}
	}
}

// slot returns the slot of an entry. It panics if there is no such entry.
func (x *Index) slot(hash, n uint32) uint32 {
	mask := uint32(len(x.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		switch x.slots[i] {
		case uint64(hash)<<32 | uint64(n+1):
			return i
		case 0:
			panic("hashindex: no such entry")
		}
	}
}

// Renumber gives the entry with a hash and a number another number. It panics if there is no such entry.
func (x *Index) Renumber(hash, from, to uint32) {
	x.slots[x.slot(hash, from)] = uint64(hash)<<32 | uint64(to+1)
}

// Remove removes an entry. It panics if there is no such entry.
func (x *Index) Remove(hash, n uint32) {
	mask := uint32(len(x.slots) - 1)
	gap := x.slot(hash, n)
	for i := (gap + 1) & mask; x.slots[i] != 0; i = (i + 1) & mask {
		home := uint32(x.slots[i]>>32) & mask
		if (i-home)&mask >= (i-gap)&mask { // the gap is on the way from its first slot
			x.slots[gap], gap = x.slots[i], i
		}
	}
	x.slots[gap] = 0
	x.used--
}

// Clear removes all entries and keeps the memory.
func (x *Index) Clear() {
	clear(x.slots)
	x.used = 0
}
