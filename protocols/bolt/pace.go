package bolt

import (
	"time"

	"bdtnode/protocols"
)

// Bounds of the gap between proposals while slots are open.
const (
	MinGap = 4 * time.Millisecond
	MaxGap = 25 * time.Millisecond
	// gapShare is the number of proposals that are sent in the time that one takes to commit, as far as the bounds allow.
	// A busy machine makes fewer and fuller blocks, and a network with long delays does not carry nearly empty ones.
	gapShare = 4
	// smoothing is the weight of the past in the observed delay, in eighths.
	smoothing = 7
)

// pace observes how long blocks take from their proposal to their commit.
type pace struct {
	seen  map[uint64]protocols.Time // by open slot: when its proposal was made or arrived
	delay time.Duration             // smoothed; zero before the first commit
}

func newPace() pace { return pace{seen: make(map[uint64]protocols.Time)} }

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
	d := max(0, now.Sub(at))
	if p.delay == 0 {
		p.delay = d
		return
	}
	p.delay = (p.delay*smoothing + d) / (smoothing + 1)
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
func (p *pace) gap() time.Duration { return min(max(p.delay/gapShare, MinGap), MaxGap) }

// CommitDelay is the smoothed time from proposal to commit at this replica, zero before the first commit.
func (m *Machine) CommitDelay() time.Duration { return m.pace.delay }

// Gap is the least time between two proposals while slots are open.
func (m *Machine) Gap() time.Duration { return m.pace.gap() }
