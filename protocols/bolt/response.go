package bolt

import (
	"slices"
	"time"

	"bdtnode/protocols"
)

// A vote is late if it comes later than usual by more than usual/lateShare and by more than lateNoise.
const (
	lateShare = 4
	lateNoise = 10 * time.Millisecond
)

// response has the times at which other replicas voted for a proposal of this leader.
type response struct {
	at      protocols.Time
	parent  *Block
	took    []time.Duration // by replica: from the proposal to its vote, zero before
	late    protocols.Set   // replicas that were late when there was a QC
	blamed  bool            // a lane or a channel is the cause that they were late
	checked bool            // check was done
}

// responses has the usual delays of the votes for proposals of this leader.
type responses struct {
	committee *protocols.Committee
	self      protocols.Index
	data      Data
	inbound   Inbound
	usual     []time.Duration // by replica: smoothed time from a proposal to its vote; zero before the first
}

func newResponses(cfg *Config) responses {
	return responses{committee: cfg.Committee, self: cfg.Self, data: cfg.Data, inbound: cfg.Inbound, usual: make([]time.Duration, cfg.Committee.N())}
}

// begin is called when this leader proposes a block. parent is the block before it.
func (u *responses) begin(now protocols.Time, parent *Block) *response {
	return &response{at: now, parent: parent, took: make([]time.Duration, u.committee.N())}
}

// arrived records the time of a vote. r is nil if the slot has no proposal of this leader.
func (u *responses) arrived(now protocols.Time, r *response, from protocols.Index) {
	if r == nil || from == u.self {
		return
	}
	r.took[from] = max(now.Sub(r.at), 1)
	if r.checked {
		u.update(r, from)
	}
}

// upon the QC of an own proposal: check whether the slot was held up. It was if more than f other replicas are later than
// each of them usually is, or never voted for a proposal of this leader: while f replicas are silent, one late vote is
// enough to hold up a slot. So f Byzantine replicas alone can neither hold up a slot nor make it appear held up.
func (u *responses) check(now protocols.Time, x *slot) {
	r := x.response
	if r == nil || r.checked || x.proposal == nil || x.proposal.Block.digest != x.qc.Digest {
		return
	}
	r.checked = true
	elapsed := now.Sub(r.at)
	for j, usual := range u.usual {
		took := r.took[j]
		silent := took == 0
		if silent {
			took = elapsed
		}
		if usual == 0 && !silent || protocols.Index(j) == u.self {
			continue
		}
		if usual == 0 || took > usual+max(usual/lateShare, lateNoise) {
			r.late.Add(protocols.Index(j))
		}
	}
	if r.late.Len() > u.committee.F() {
		b, wait := x.proposal.Block, elapsed-u.usualQC()
		byLane := u.data.HeldUp(now, r.parent.Cut, b.Cut, r.late, wait)
		r.blamed = u.inbound.HeldUp(now, r.parent.Inbound, b.Inbound, r.late, wait) || byLane
	}
	for j, took := range r.took {
		if took > 0 {
			u.update(r, protocols.Index(j))
		}
	}
}

// update adds the delay of a vote to the usual delay of replica j, unless a lane or a channel caused the delay.
func (u *responses) update(r *response, j protocols.Index) {
	if r.blamed && r.late.Has(j) {
		return
	}
	if u.usual[j] == 0 {
		u.usual[j] = r.took[j]
		return
	}
	u.usual[j] = (u.usual[j]*smoothing + r.took[j]) / (smoothing + 1)
}

// usualQC is the usual time from a proposal to its QC. The own vote counts as immediate. A replica that never voted for a
// proposal of this leader does not count, so that the QC needs the others.
func (u *responses) usualQC() time.Duration {
	voters := []time.Duration{0}
	for j, usual := range u.usual {
		if usual > 0 && protocols.Index(j) != u.self {
			voters = append(voters, usual)
		}
	}
	slices.Sort(voters)
	return voters[min(u.committee.Quorum(), len(voters))-1]
}
