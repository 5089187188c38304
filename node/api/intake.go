package api

import (
	"net/netip"
	"sync"

	"bdtnode/internal/fairshare"
)

// intake bounds the number of submissions in progress and the total size of their bodies. It has no queue, because by
// the time a queued client is served the replica would be even busier.
//
// Client addresses have the shares of a [fairshare.Pool]. As long as there is space at all, each address may hold one
// submission and one body of the largest size.
type intake struct {
	mu           sync.Mutex
	slots, bytes fairshare.Pool[netip.Prefix]
}

func newIntake(slots int, bytes, body int64) *intake {
	return &intake{slots: fairshare.NewPool[netip.Prefix](int64(slots), 1), bytes: fairshare.NewPool[netip.Prefix](bytes, body)}
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
	if !in.slots.Take(client, 1) {
		return nil
	}
	return &submission{intake: in, client: client}
}

// grow reserves n more bytes. It returns false if there is no space.
func (s *submission) grow(n int64) bool {
	s.intake.mu.Lock()
	defer s.intake.mu.Unlock()
	ok := s.intake.bytes.Take(s.client, n)
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
		s.intake.bytes.Give(s.client, spare)
		s.bytes = n
	}
}

// leave releases the place and the bytes.
func (s *submission) leave() {
	s.intake.mu.Lock()
	defer s.intake.mu.Unlock()
	s.intake.slots.Give(s.client, 1)
	s.intake.bytes.Give(s.client, s.bytes)
}
