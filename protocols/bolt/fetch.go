package bolt

import (
	"bytes"
	"slices"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/protocols"
)

// want is a request for a block that is not held and that a QC, Finalize messages or a child name.
type want struct {
	slot  uint64
	d     digest.Digest
	turn  int            // added to the leader's index: the next peer to ask
	next  protocols.Time // time of the next request
	pause time.Duration  // until the request after that; doubles up to fetchRetryMax
}

func (m *Machine) want(now protocols.Time, s uint64, d digest.Digest) {
	if m.wants[d] == nil {
		w := &want{slot: s, d: d, next: now.Add(fetchGrace), pause: fetchRetryMin}
		if m.left {
			w.turn = 1 // begin after the leader, which is the least likely to answer
		}
		m.wants[d] = w
	}
}

// Wake is the time at which the machine next needs a Tick, or zero.
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

// Tick does everything that is due: it sends requests, proposes, and votes for blocks that waited for the clock.
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
		// Ask the other replicas in turn, beginning with the leader.
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

// HandleFetchBlock answers a peer that lacks a block of a slot that is not forgotten. It sends no answer for an older block:
// the peer gets that one by catching up.
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
