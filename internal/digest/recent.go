package digest

// Recent remembers the digests that were added last, up to a number of them. It takes about 100 bytes for each. It is not
// safe for concurrent use.
type Recent struct {
	most  int
	known map[Digest]struct{}
	order []Digest // a ring once it is full
	next  int
}

// NewRecent returns an empty set of at most most digests.
func NewRecent(most int) *Recent { return &Recent{most: most, known: make(map[Digest]struct{})} }

// Has reports whether a digest is remembered.
func (r *Recent) Has(d Digest) bool {
	_, ok := r.known[d]
	return ok
}

// Len is the number of digests that are remembered.
func (r *Recent) Len() int { return len(r.known) }

// Add remembers a digest. The oldest is forgotten for it if there are most others.
func (r *Recent) Add(d Digest) {
	if r.Has(d) {
		return
	}
	r.known[d] = struct{}{}
	if len(r.order) < r.most {
		r.order = append(r.order, d)
		return
	}
	delete(r.known, r.order[r.next])
	r.order[r.next] = d
	r.next = (r.next + 1) % r.most
}
