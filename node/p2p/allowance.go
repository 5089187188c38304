package p2p

import "sync"

// allowance bounds the amount of a resource that members may take, for each member and in total. A small part is
// reserved for each member, so that the others together cannot leave a member without any. It is safe for concurrent
// use.
type allowance struct {
	all  int64 // shared part
	each int64 // largest amount of one member
	own  int64 // part of it that is reserved for the member

	mu    sync.Mutex
	left  int64 // free amount of the shared part
	taken map[*member]int64
}

func newAllowance(each, own, all int64) *allowance {
	return &allowance{all: all, each: each, own: min(own, each), left: all, taken: make(map[*member]int64)}
}

// take takes n for a member. If there is not enough left, it takes nothing and returns false.
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

// give returns n of the amount that a member took.
func (a *allowance) give(m *member, n int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	before := a.taken[m]
	if n > before {
		panic("p2p: more was returned to the allowance than taken")
	}
	a.left += a.shared(before) - a.shared(before-n)
	if a.taken[m] = before - n; before == n {
		delete(a.taken, m)
	}
}

// use is the amount that is taken of the shared part, and the shared part.
func (a *allowance) use() Use {
	a.mu.Lock()
	defer a.mu.Unlock()
	return Use{a.all - a.left, a.all}
}

// shared is the part of a member's amount n that comes from the shared part.
func (a *allowance) shared(n int64) int64 { return max(0, n-a.own) }

// of is the amount that a member has taken.
func (a *allowance) of(m *member) int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.taken[m]
}

// share is the amount that one request has taken of an allowance. It is not safe for concurrent use.
type share struct {
	from  *allowance
	by    *member
	taken int64
}

// take takes n more. It returns false if there is not enough left.
func (s *share) take(n int64) bool {
	if !s.from.take(s.by, n) {
		return false
	}
	s.taken += n
	return true
}

// give returns n of the share.
func (s *share) give(n int64) {
	s.from.give(s.by, n)
	s.taken -= n
}

// end returns the whole share.
func (s *share) end() { s.give(s.taken) }

// Parts of the allowances that are reserved for each member.
const (
	ownOpen = 1
	ownHeld = 64 << 10
)

// requests bounds the number of open requests in one direction, and the bytes held for them.
type requests struct {
	open *allowance // number of requests
	held *allowance // number of bytes
}

func newRequests(l Limits) requests {
	return requests{newAllowance(int64(l.Serving), ownOpen, int64(l.ServingAll)), newAllowance(l.HeldBytes, ownHeld, l.HeldBytesAll)}
}
