package bolt

import (
	"bytes"
	"slices"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/protocols"
)

// want is a block that a QC, Commits or a child name and that is not here.
type want struct {
	slot  uint64
	d     digest.Digest
	turn  int
	next  protocols.Time
	pause time.Duration
}

func (m *Machine) want(now protocols.Time, s uint64, d digest.Digest) {
	if m.wants[d] == nil {
		w := &want{slot: s, d: d, next: now.Add(fetchGrace), pause: fetchRetryMin}
		if m.left {
			w.turn = 1 // the leader is the one least likely to answer
		}
		m.wants[d] = w
	}
}

// Wake is when the machine next wants a Tick, or zero.
func (m *Machine) Wake() protocols.Time {
	w := m.proposeDue
	sooner := func(t protocols.Time) {
		if t != 0 && (w == 0 || t < w) {
			w = t
		}
	}
	sooner(m.clockDue)
	for _, x := range m.wants {
		sooner(x.next)
	}
	return w
}

// Tick carries out what has become due: fetches, and what waited for the clock.
func (m *Machine) Tick(now protocols.Time) Step {
	var st Step
	if m.proposeDue != 0 && now >= m.proposeDue || m.clockDue != 0 && now >= m.clockDue {
		st = m.Progress(now)
	}
	var due []*want
	for _, w := range m.wants {
		if now >= w.next {
			due = append(due, w)
		}
	}
	slices.SortFunc(due, func(a, b *want) int { return bytes.Compare(a.d[:], b.d[:]) })
	for _, w := range due {
		// Ask the others in turn, the leader first.
		to := protocols.Index((int(m.cfg.Leader) + w.turn) % m.cfg.Committee.N())
		w.turn++
		if to == m.cfg.Self {
			to = protocols.Index((int(m.cfg.Leader) + w.turn) % m.cfg.Committee.N())
			w.turn++
		}
		w.next = now.Add(w.pause)
		w.pause = min(2*w.pause, fetchRetryMax)
		st.Send(to, &FetchBlock{Epoch: m.cfg.Epoch, Slot: w.slot, Digest: w.d})
	}
	return st
}

// HandleFetchBlock answers a peer that lacks a block whose height is not certified yet; older ones are in the
// answer to its catch-up.
func (m *Machine) HandleFetchBlock(from protocols.Index, f *FetchBlock) Step {
	var st Step
	if f.Epoch == m.cfg.Epoch {
		if x := m.slots[f.Slot]; x != nil {
			if p := x.blocks[f.Digest]; p != nil {
				st.Send(from, p)
			}
		}
	}
	return st
}
