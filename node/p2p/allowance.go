package p2p

import "sync"

// allowance bounds what members may take of something, each and all together. A small part of it is each member's own,
// so that the others together cannot leave a member with nothing. It is safe for concurrent use.
type allowance struct {
	each int64 // most that one member may take
	own  int64 // of which so much is never shared

	mu    sync.Mutex
	left  int64 // of the shared part
	taken map[*member]int64
}

func newAllowance(each, own, all int64) *allowance {
	return &allowance{each: each, own: min(own, each), left: all, taken: make(map[*member]int64)}
}

// take takes n for a member, or takes nothing and reports that there is not so much left.
func (a *allowance) take(m *member, n int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	before := a.taken[m]
	if n > a.each-before {
		return false
	}
	shared := a.shared(before+n) - a.shared(before)
	if shared > a.left {
		return false
	}
	a.left -= shared
	a.taken[m] = before + n
	return true
}

// give returns n of what a member took.
func (a *allowance) give(m *member, n int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	before := a.taken[m]
	if n > before {
		panic("p2p: more is given back than was taken")
	}
	a.left += a.shared(before) - a.shared(before-n)
	if a.taken[m] = before - n; before == n {
		delete(a.taken, m)
	}
}

// shared is the part of a member's n that comes out of what all share.
func (a *allowance) shared(n int64) int64 { return max(0, n-a.own) }

// of is what a member has taken.
func (a *allowance) of(m *member) int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.taken[m]
}

// share is what one request has taken of an allowance. It is not safe for concurrent use.
type share struct {
	from  *allowance
	by    *member
	taken int64
}

// take takes n more, or reports that there is not so much left.
func (s *share) take(n int64) bool {
	if !s.from.take(s.by, n) {
		return false
	}
	s.taken += n
	return true
}

// give returns n of it.
func (s *share) give(n int64) {
	s.from.give(s.by, n)
	s.taken -= n
}

// end returns all of it.
func (s *share) end() { s.give(s.taken) }

// Each member's own share of what all share.
const (
	ownOpen = 1
	ownHeld = 64 << 10
)

// requests bounds the requests that are open in one direction, and the bytes held for them.
type requests struct {
	open *allowance // requests
	held *allowance // bytes
}

func newRequests(l Limits) requests {
	return requests{newAllowance(int64(l.Serving), ownOpen, int64(l.ServingAll)), newAllowance(l.HeldBytes, ownHeld, l.HeldBytesAll)}
}
