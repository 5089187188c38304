package bolt

import (
	"cmp"
	"time"

	"bdtnode/protocols"
)

// Bounds of the gap between proposals.
const (
	MinGap = 4 * time.Millisecond
	// MaxGap is the gap under lasting load, unless [Config].MaxGap sets another.
	MaxGap = 25 * time.Millisecond
	// gapShare is the number of proposals that are sent in the time that one takes to commit, as far as the bounds allow,
	// while slots are open. A busy machine makes fewer and fuller blocks, and a network with long delays does not carry
	// nearly empty ones.
	gapShare = 4
	// burst is the number of proposals that a leader sends at the pace above before the gap grows; after as many again the
	// gap is the greatest. A block costs all replicas some milliseconds of processor time, also an empty one. So a shard under
	// lasting load makes one block in that time, and the blocks of a shard with less load do not wait.
	burst = 8
	// A busy machine commits later than it can. BusyGap bounds the gap then. The gap is busyShare of the time by which
	// commits take longer than busyFrom times their least time: blocks become fewer, so that processor time is left for
	// transactions, and a wait for the next block stays small beside a commit. A long delay of the network is no sign of it.
	BusyGap   = 100 * time.Millisecond
	busyShare = 2
	busyFrom  = 2
	// leastPeriod is the time for which the least time is kept, once or twice, since the network may change.
	leastPeriod = time.Minute
	// smoothing is the weight of the past in the observed delay, in eighths.
	smoothing = 7
)

// Delays are the times from proposals to commits at this replica in one epoch.
type Delays struct {
	Smoothed time.Duration // zero before the first commit
	Last     time.Duration
	Count    uint64 // of commits
}

// pace observes how long blocks take from their proposal to their commit, and how many the leader proposes.
type pace struct {
	max    time.Duration             // greatest gap of a machine that is not busy
	seen   map[uint64]protocols.Time // by open slot: when its proposal was made or arrived
	delays Delays
	least  [2]time.Duration // least time of a commit in this period and in the one before
	begun  protocols.Time   // begin of this period

	last  protocols.Time // when the leader proposed last, zero before its first proposal
	spent time.Duration  // max for each proposal, less the time since then; as of last
}

func newPace(greatest time.Duration) pace {
	return pace{max: cmp.Or(greatest, MaxGap), seen: make(map[uint64]protocols.Time)}
}

func (p *pace) proposed(now protocols.Time, slot uint64) {
	if _, ok := p.seen[slot]; !ok {
		p.seen[slot] = now
	}
}

func (p *pace) committed(now protocols.Time, slot uint64) {
	at, ok := p.seen[slot]
	if !ok {
		return
	}
	delete(p.seen, slot)
	d := &p.delays
	d.Last = max(0, now.Sub(at))
	d.Count++
	switch {
	case d.Count == 1:
		p.least, p.begun = [2]time.Duration{d.Last, d.Last}, now
	case now.Sub(p.begun) >= leastPeriod:
		p.least, p.begun = [2]time.Duration{d.Last, p.least[0]}, now
	default:
		p.least[0] = min(p.least[0], d.Last)
	}
	if d.Smoothed == 0 {
		d.Smoothed = d.Last
		return
	}
	d.Smoothed = (d.Smoothed*smoothing + d.Last) / (smoothing + 1)
}

// forget deletes the times of all slots up to slot.
func (p *pace) forget(slot uint64) {
	for s := range p.seen {
		if s <= slot {
			delete(p.seen, s)
		}
	}
}

// gap is the least time between two proposals while slots are open.
func (p *pace) gap() time.Duration {
	usual := min(max(p.delays.Smoothed/gapShare, MinGap), p.max)
	busy := min((p.delays.Smoothed-busyFrom*min(p.least[0], p.least[1]))/busyShare, BusyGap)
	return max(usual, busy)
}

// spend counts a proposal of the leader.
func (p *pace) spend(now protocols.Time) {
	p.spent = min(p.left(now)+p.max, 2*burst*p.max)
	p.last = now
}

// left is the part of spent that is not used up at a time.
func (p *pace) left(now protocols.Time) time.Duration {
	return max(0, p.spent-max(0, now.Sub(p.last)))
}

// due is the earliest time of the next proposal. The gap is zero for a burst, and grows to the greatest in a second one; while
// slots are open, it is gap at least.
func (p *pace) due(open bool) protocols.Time {
	if p.last == 0 {
		return 0
	}
	wait := max(0, p.spent-burst*p.max) / burst
	if open {
		wait = max(wait, p.gap())
	}
	return p.last.Add(wait)
}

// Delays are the times that commits have taken.
func (m *Machine) Delays() Delays { return m.pace.delays }

// Gap is the least time between two proposals while slots are open.
func (m *Machine) Gap() time.Duration { return m.pace.gap() }
