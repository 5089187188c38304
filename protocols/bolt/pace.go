package bolt

import (
	"time"

	"bdtnode/protocols"
)

// Bounds of the gap between proposals while slots are open.
const (
	MinGap = 4 * time.Millisecond
	MaxGap = 25 * time.Millisecond
	// gapShare is how many proposals fit into the time that one takes to commit, as far as the bounds allow: a
	// machine that is busy gets fewer and fuller blocks, and a far network is not filled with nearly empty ones.
	gapShare = 4
	// smoothing is the weight of the past in the observed delay, in eighths.
	smoothing = 7
)

// pace observes how long blocks take from their proposal to their commit.
type pace struct {
	seen  map[uint64]protocols.Time // when each open slot's proposal was made or came
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

// forget drops what was seen of slots up to one that was committed elsewhere.
func (p *pace) forget(slot uint64) {
	for s := range p.seen {
		if s <= slot {
			delete(p.seen, s)
		}
	}
}

// gap is how long after a proposal the next may follow while slots are open.
func (p *pace) gap() time.Duration { return min(max(p.delay/gapShare, MinGap), MaxGap) }

// CommitDelay is how long blocks have lately taken from their proposal to their commit here, zero if none has.
func (m *Machine) CommitDelay() time.Duration { return m.pace.delay }

// Gap is the pace at which proposals follow each other while slots are open.
func (m *Machine) Gap() time.Duration { return m.pace.gap() }
