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

// wants has the requests of an epoch.
type wants struct {
	committee *protocols.Committee
	self      protocols.Index
	leader    protocols.Index
	epoch     uint64
	open      map[digest.Digest]*want
	firstTurn int // turn of a new request
}

func newWants(cfg *Config) wants {
	return wants{committee: cfg.Committee, self: cfg.Self, leader: cfg.Leader, epoch: cfg.Epoch, open: make(map[digest.Digest]*want)}
}

// request requests a block, if it is not requested yet.
func (r *wants) request(now protocols.Time, s uint64, d digest.Digest) {
	if r.open[d] == nil {
		r.open[d] = &want{slot: s, d: d, turn: r.firstTurn, next: now.Add(fetchGrace), pause: fetchRetryMin}
	}
}

func (r *wants) has(d digest.Digest) bool { return r.open[d] != nil }

func (r *wants) arrived(d digest.Digest) { delete(r.open, d) }

// forget ends the requests for blocks of all slots up to slot.
func (r *wants) forget(slot uint64) {
	for d, w := range r.open {
		if w.slot <= slot {
			delete(r.open, d)
		}
	}
}

// skipLeader lets new requests begin after the leader.
func (r *wants) skipLeader() { r.firstTurn = 1 }

// send sends the requests that are due.
func (r *wants) send(now protocols.Time, st *Step) {
	var due []*want
	for _, w := range r.open {
		if now >= w.next {
			due = append(due, w)
		}
	}
	slices.SortFunc(due, func(a, b *want) int { return bytes.Compare(a.d[:], b.d[:]) })
	for _, w := range due {
		// Ask the other replicas in turn, beginning with the leader.
		to := protocols.Index((int(r.leader) + w.turn) % r.committee.N())
		w.turn++
		if to == r.self {
			to = protocols.Index((int(r.leader) + w.turn) % r.committee.N())
			w.turn++
		}
		w.next = now.Add(w.pause)
		w.pause = min(2*w.pause, fetchRetryMax)
		st.Send(to, &FetchBlock{Epoch: r.epoch, Slot: w.slot, Digest: w.d})
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
	for _, x := range m.wants.open {
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
	m.wants.send(now, &st)
	return st
}

// HandleFetchBlock answers a peer that lacks a block of a slot that is not forgotten. It sends no answer for an older block:
// the peer gets that one by catching up.
func (m *Machine) HandleFetchBlock(from protocols.Index, f *FetchBlock) Step {
	var st Step
	if f.Epoch == m.cfg.Epoch {
		if x := m.slots.kept[f.Slot]; x != nil {
			if p := x.blocks[f.Digest]; p != nil {
				st.Send(from, p)
			}
		}
	}
	return st
}
