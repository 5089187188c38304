package bolt

import (
	"slices"
	"time"

	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// How much later than usual a vote must come to be late: a share of what is usual, and more than noise.
const (
	lateShare = 4
	lateNoise = 10 * time.Millisecond
)

// response is how the others answered a proposal of this leader's.
type response struct {
	at     protocols.Time
	parent lanes.Cut
	took   []time.Duration // until each one's vote came, zero before
	late   protocols.Set   // who was when there was a QC
	blamed bool            // a lane was, for these
	judged bool
}

// answered notes when a vote came.
func (m *Machine) answered(now protocols.Time, x *slot, from protocols.Index) {
	r := x.response
	if r == nil || from == m.cfg.Self {
		return
	}
	r.took[from] = max(now.Sub(r.at), 1)
	if r.judged {
		m.learn(r, from)
	}
}

// upon the QC of an own proposal: see whether it was held up. It was if more than f of the others are later than each of
// them usually is: f Byzantine ones alone hold nothing up, nor can they make it look so.
func (m *Machine) judge(now protocols.Time, x *slot) {
	r := x.response
	if r == nil || r.judged || x.proposal == nil || x.proposal.Block.digest != x.qc.Digest {
		return
	}
	r.judged = true
	elapsed := now.Sub(r.at)
	for j, usual := range m.usual {
		took := r.took[j]
		if took == 0 {
			took = elapsed
		}
		if protocols.Index(j) != m.cfg.Self && usual > 0 && took > usual+max(usual/lateShare, lateNoise) {
			r.late.Add(protocols.Index(j))
		}
	}
	if r.late.Len() > m.cfg.Committee.F() {
		r.blamed = m.cfg.Data.HeldUp(now, r.parent, x.proposal.Block.Cut, r.late, elapsed-m.usualQC())
	}
	for j, took := range r.took {
		if took > 0 {
			m.learn(r, protocols.Index(j))
		}
	}
}

// learn takes a vote's delay for usual, unless a lane was to blame for it.
func (m *Machine) learn(r *response, j protocols.Index) {
	if r.blamed && r.late.Has(j) {
		return
	}
	if m.usual[j] == 0 {
		m.usual[j] = r.took[j]
		return
	}
	m.usual[j] = (m.usual[j]*smoothing + r.took[j]) / (smoothing + 1)
}

// usualQC is how long a QC usually takes, this replica's own vote being there at once.
func (m *Machine) usualQC() time.Duration {
	return slices.Sorted(slices.Values(m.usual))[m.cfg.Committee.Quorum()-1]
}
