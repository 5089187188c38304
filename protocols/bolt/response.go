package bolt

import (
	"slices"
	"time"

	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// A vote is late if it comes later than usual by more than usual/lateShare and by more than lateNoise.
const (
	lateShare = 4
	lateNoise = 10 * time.Millisecond
)

// response has the times at which other replicas voted for a proposal of this leader.
type response struct {
	at       protocols.Time
	parent   lanes.Cut
	took     []time.Duration // by replica: from the proposal to its vote, zero before
	late     protocols.Set   // replicas that were late when there was a QC
	laneHeld bool            // a lane is the cause that they were late
	checked  bool            // checkHeldUp was done
}

// voteArrived records the time of a vote.
func (m *Machine) voteArrived(now protocols.Time, x *slot, from protocols.Index) {
	r := x.response
	if r == nil || from == m.cfg.Self {
		return
	}
	r.took[from] = max(now.Sub(r.at), 1)
	if r.checked {
		m.updateUsual(r, from)
	}
}

// upon the QC of an own proposal: check whether the slot was held up. It was if more than f other replicas are later than
// each of them usually is, or never voted for a proposal of this leader: while f replicas are silent, one late vote is
// enough to hold up a slot. So f Byzantine replicas alone can neither hold up a slot nor make it appear held up.
func (m *Machine) checkHeldUp(now protocols.Time, x *slot) {
	r := x.response
	if r == nil || r.checked || x.proposal == nil || x.proposal.Block.digest != x.qc.Digest {
		return
	}
	r.checked = true
	elapsed := now.Sub(r.at)
	for j, usual := range m.usual {
		took := r.took[j]
		silent := took == 0
		if silent {
			took = elapsed
		}
		if usual == 0 && !silent || protocols.Index(j) == m.cfg.Self {
			continue
		}
		if usual == 0 || took > usual+max(usual/lateShare, lateNoise) {
			r.late.Add(protocols.Index(j))
		}
	}
	if r.late.Len() > m.cfg.Committee.F() {
		r.laneHeld = m.cfg.Data.HeldUp(now, r.parent, x.proposal.Block.Cut, r.late, elapsed-m.usualQC())
	}
	for j, took := range r.took {
		if took > 0 {
			m.updateUsual(r, protocols.Index(j))
		}
	}
}

// updateUsual adds the delay of a vote to the usual delay of replica j, unless a lane caused the delay.
func (m *Machine) updateUsual(r *response, j protocols.Index) {
	if r.laneHeld && r.late.Has(j) {
		return
	}
	if m.usual[j] == 0 {
		m.usual[j] = r.took[j]
		return
	}
	m.usual[j] = (m.usual[j]*smoothing + r.took[j]) / (smoothing + 1)
}

// usualQC is the usual time from a proposal to its QC. The own vote counts as immediate. A replica that never voted for a
// proposal of this leader does not count, so that the QC needs the others.
func (m *Machine) usualQC() time.Duration {
	voters := []time.Duration{0}
	for j, usual := range m.usual {
		if usual > 0 && protocols.Index(j) != m.cfg.Self {
			voters = append(voters, usual)
		}
	}
	slices.Sort(voters)
	return voters[min(m.cfg.Committee.Quorum(), len(voters))-1]
}
