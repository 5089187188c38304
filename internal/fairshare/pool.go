// Package fairshare shares a limited resource, such as places or bytes of memory, among the parties that ask for it.
package fairshare

import "fmt"

// ofFree is the amount that a party may hold for each unit that it leaves free.
const ofFree = 3

// Pool is an amount that parties share. Each party may hold three times the amount that it leaves free. So one party
// alone reaches three quarters of all, and the next one always finds something. As long as there is so much at all, each
// party may hold a least amount. A Pool has no lock.
type Pool[P comparable] struct {
	free, least int64
	held        map[P]int64
}

// NewPool returns a pool of an amount. With a least amount of all, a single party may hold all.
func NewPool[P comparable](amount, least int64) Pool[P] {
	return Pool[P]{free: amount, least: least, held: make(map[P]int64)}
}

// Take gives n more to a party, and reports whether its share allows it.
func (p *Pool[P]) Take(party P, n int64) bool {
	free, held := p.free-n, p.held[party]+n
	if free < 0 || held > p.least && held > ofFree*free {
		return false
	}
	p.free, p.held[party] = free, held
	return true
}

// Give returns n of the amount that a party holds. It panics if the party holds less.
func (p *Pool[P]) Give(party P, n int64) {
	held := p.held[party] - n
	if held < 0 {
		panic(fmt.Sprintf("fairshare: party %v returns %d and holds %d", party, n, p.held[party]))
	}
	p.free += n
	if p.held[party] = held; held == 0 {
		delete(p.held, party)
	}
}

// Free is the amount that no party holds.
func (p *Pool[P]) Free() int64 { return p.free }

// Parties is the number of parties that hold a part.
func (p *Pool[P]) Parties() int { return len(p.held) }
