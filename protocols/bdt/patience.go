package bdt

import (
	"time"

	"bdtnode/protocols"
)

// The policy of leaving an epoch. Safety never depends on it: a replica may leave when it likes.

// Bounds of the patience. Between them it follows what commits take.
const (
	firstPatience = 2 * time.Second        // before anything was observed
	minPatience   = 400 * time.Millisecond // below it is scheduling noise, not a leader's silence
	maxPatience   = 16 * time.Second
	// passedOver is how many slots may be committed after the leader was sent a certificate without ordering what it
	// certifies. It is well above the pipeline: what is under way when the leader hears of it does not count.
	passedOver = 64
)

// patience is how long something may be pending.
type patience struct {
	mean, deviation time.Duration // of the time from pending to committed, smoothed; zero before the first sample
	fruitless       uint          // epochs in a row in which the fast lane committed nothing
	ceiling         time.Duration // in the current epoch; zero is none
}

// begins is called when an epoch begins. In one epoch patience grows to twice what it was, and a little more where it
// was small: a leader who commits ever more slowly, each time just before the others lose it, would else teach them to
// wait for long, and stay. A network that has become that slow costs an epoch for each doubling.
func (p *patience) begins() { p.ceiling = max(2*p.limit(), firstPatience) }

// limit is the patience now. It leaves room for the variation seen, as retransmission timers do, and doubles with
// every fruitless epoch, since a network that has become too slow for it gives no samples.
func (p *patience) limit() time.Duration {
	d := firstPatience
	if p.mean > 0 {
		d = max(4*(p.mean+p.deviation), minPatience)
	}
	for range min(p.fruitless, 8) {
		d *= 2
	}
	if p.ceiling > 0 {
		d = min(d, p.ceiling)
	}
	return min(d, maxPatience)
}

// observe takes the time that something was pending until the fast lane committed it.
func (p *patience) observe(took time.Duration) {
	p.fruitless = 0
	took = max(took, time.Microsecond)
	if p.mean == 0 {
		p.mean, p.deviation = took, took/2
		return
	}
	off := took - p.mean
	p.mean += off / 8
	p.deviation += (max(off, -off) - p.deviation) / 4
}

// ended takes note of how an epoch ended.
func (p *patience) ended(fruitful bool) {
	if !fruitful {
		p.fruitless++
	}
}

// mark is the first thing seen pending in one place: a lane, a channel, or the slots.
type mark struct {
	position uint64         // number or slot
	since    protocols.Time // zero if nothing is pending
	told     protocols.Time // when the leader was sent its certificate; zero before
	slot     uint64         // committed then
}

// follow brings a mark up to date with how far its place is pending and ordered. It reports the time the marked thing
// took if it was ordered now.
func (k *mark) follow(now protocols.Time, pending, ordered uint64) (took time.Duration, done bool) {
	if k.since != 0 && ordered >= k.position {
		took, done = now.Sub(k.since), true
		*k = mark{}
	}
	if k.since == 0 && pending > ordered {
		*k = mark{position: pending, since: now}
	}
	return took, done
}

// due is when something is to be done about a mark: tell the leader, then leave. Zero if nothing is pending.
func (k *mark) due(limit time.Duration) protocols.Time {
	switch {
	case k.since == 0:
		return 0
	case k.told == 0:
		return k.since.Add(limit / 4)
	}
	return k.told.Add(limit)
}

// overslept reports whether this replica looks so late that it must have stood still itself, which is no leader's
// fault.
func (k *mark) overslept(now protocols.Time, limit time.Duration) bool {
	return k.since != 0 && now > k.due(limit).Add(limit/2)
}

// tired reports whether a mark has waited too long since the leader was told, or was passed over for too many slots of
// which the last, of a block of the time blockMS, was made well after: a replica that stood still finds many slots at
// once that are old. (A leader that gives its blocks old times only loses its epoch by the time.)
func (k *mark) tired(now protocols.Time, limit time.Duration, committedSlot, blockMS uint64, wall *protocols.Wall) bool {
	return k.told != 0 && (now >= k.told.Add(limit) || committedSlot >= k.slot+passedOver && blockMS >= wall.At(k.told.Add(limit/2)).Millis())
}
