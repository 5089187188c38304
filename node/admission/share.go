package admission

// shares counts the use of a limited resource, in items and bytes, by party. A party may hold at most as much as is
// free. So a single party reaches half of the resource, k parties that take all they can reach 1/(k+1) each, and a
// party that comes later can hold as much as one of them.
type shares struct {
	maxItems, maxBytes int
	items, bytes       int
	of                 map[Party]held
}

type held struct{ items, bytes int }

func newShares(maxItems, maxBytes int) shares {
	return shares{maxItems: maxItems, maxBytes: maxBytes, of: make(map[Party]held)}
}

// allows reports whether a party may hold one more item of the given size.
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
		panic("admission: a party releases more than it holds")
	}
	s.items--
	s.bytes -= size
	if h.items == 1 {
		delete(s.of, p)
		return
	}
	s.of[p] = held{h.items - 1, h.bytes - size}
}
