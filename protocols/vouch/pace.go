package vouch

import (
	"slices"
	"time"
)

// Bounds of the wait of each rank. Safety and liveness do not depend on them.
const (
	firstWait = 20 * time.Millisecond // before any vouch was received
	minWait   = 10 * time.Millisecond
	maxWait   = time.Second
	smooth    = 8 // an observed delay counts one part in smooth
)

// pace is the time for which a rank waits for the one before. It is twice the usual delay of a vouch: the median, over the
// replicas, of the smoothed delay of each. Fewer than half of the other replicas are Byzantine, so they cannot move the median beyond
// the delays of honest ones, and cannot lengthen the wait by vouching late.
type pace struct {
	delays []time.Duration // by replica; 0 before its first vouch
}

// observe records the time from holding a batch to the vouch of a replica.
func (p *pace) observe(i int, d time.Duration) {
	d = max(d, 1)
	if old := p.delays[i]; old != 0 {
		d = old + (d-old)/smooth
	}
	p.delays[i] = max(d, 1)
}

// usual is the usual delay of a vouch, 0 before any was received.
func (p *pace) usual() time.Duration {
	var known []time.Duration
	for _, d := range p.delays {
		if d != 0 {
			known = append(known, d)
		}
	}
	if len(known) == 0 {
		return 0
	}
	slices.Sort(known)
	return known[(len(known)-1)/2]
}

// wait is the time from one rank to the next.
func (p *pace) wait() time.Duration {
	d := p.usual()
	if d == 0 {
		return firstWait
	}
	return min(max(2*d, minWait), maxWait)
}
