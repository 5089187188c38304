package admission

// shares counts a resource that parties compete for, in items and bytes. A party may hold as much as is free at most.
// One party alone therefore reaches half of all, k parties that take what they can reach 1/(k+1) each, and a party that
// comes later finds as much as one of them holds.
type shares struct {
	maxItems, maxBytes int
	items, bytes       int
	of                 map[Party]held
}

type held struct{ items, bytes int }

func newShares(maxItems, maxBytes int) shares {
	return shares{maxItems: maxItems, maxBytes: maxBytes, of: make(map[Party]held)}
}

// allows reports whether a party may hold one item more of a size.
func (s *shares) allows(p Party, size int) bool {
	h := s.of[p]
	return h.items < s.maxItems-s.items && h.bytes+size <= s.maxBytes-s.bytes
}

func (s *shares) add(p Party, size int) {
	h := s.of[p]
	s.of[p] = held{h.items + 1, h.bytes + size}
	s.items++
	s.bytes += size
}

func (s *shares) remove(p Party, size int) {
	h := s.of[p]
	if h.items <= 0 || h.bytes < size {
		panic("admission: a party gives back more than it holds")
	}
	s.items--
	s.bytes -= size
	if h.items == 1 {
		delete(s.of, p)
		return
	}
	s.of[p] = held{h.items - 1, h.bytes - size}
}
