package api

import (
	"net/netip"
	"sync"
)

// intake bounds the number of submissions in progress and the total size of their bodies. It has no queue, because by
// the time a queued client is served the replica would be even busier.
//
// Under contention each client address has a share: it may hold up to three times the amount that it leaves free. So
// one address alone gets three quarters, and the next one always finds a free place. As long as there is space at all,
// each address may hold one submission and one body of the largest size.
type intake struct {
	mu           sync.Mutex
	slots, bytes pool
}

// pool is a number of places or bytes that clients share.
type pool struct {
	free  int64
	least int64 // amount that one client may hold as long as there is space
	held  map[netip.Prefix]int64
}

// shareOfFree is the amount that a client may hold for each unit that is left free.
const shareOfFree = 3

func newIntake(slots int, bytes, body int64) *intake {
	return &intake{
		slots: pool{free: int64(slots), least: 1, held: make(map[netip.Prefix]int64)},
		bytes: pool{free: bytes, least: body, held: make(map[netip.Prefix]int64)},
	}
}

func (p *pool) take(client netip.Prefix, n int64) bool {
	free, held := p.free-n, p.held[client]+n
	if free < 0 || held > p.least && held > shareOfFree*free {
		return false
	}
	p.free, p.held[client] = free, held
	return true
}

func (p *pool) give(client netip.Prefix, n int64) {
	p.free += n
	if p.held[client] -= n; p.held[client] == 0 {
		delete(p.held, client)
	}
}

// submission is a place in the intake, with the memory reserved for the part of its body that has arrived.
type submission struct {
	intake *intake
	client netip.Prefix
	bytes  int64
}

// enter takes a place. It returns nil if there is none.
func (in *intake) enter(client netip.Prefix) *submission {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.slots.take(client, 1) {
		return nil
	}
	return &submission{intake: in, client: client}
}

// grow reserves n more bytes. It returns false if there is no space.
func (s *submission) grow(n int64) bool {
	s.intake.mu.Lock()
	defer s.intake.mu.Unlock()
	ok := s.intake.bytes.take(s.client, n)
	if ok {
		s.bytes += n
	}
	return ok
}

// shrink releases the bytes beyond n.
func (s *submission) shrink(n int64) {
	s.intake.mu.Lock()
	defer s.intake.mu.Unlock()
	if spare := s.bytes - n; spare > 0 {
		s.intake.bytes.give(s.client, spare)
		s.bytes = n
	}
}

// leave releases the place and the bytes.
func (s *submission) leave() {
	s.intake.mu.Lock()
	defer s.intake.mu.Unlock()
	s.intake.slots.give(s.client, 1)
	s.intake.bytes.give(s.client, s.bytes)
}
