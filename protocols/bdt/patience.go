package bdt

import (
	"slices"
	"time"

	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
)

// This file has the policy of leaving an epoch. Safety does not depend on it: a replica may leave at any time.

// Bounds of the patience. Between the bounds it follows the time that commits take.
const (
	firstPatience = 2 * time.Second        // before the first sample
	minPatience   = 400 * time.Millisecond // shorter delays are scheduling noise, not a silent leader
	maxPatience   = 16 * time.Second
	// passedOver is the number of slots that may be committed, after the leader was sent the certificate of a position,
	// without ordering the position. It is well above the pipeline, since proposals that are in flight when the leader gets
	// the certificate must not count.
	passedOver = 64
)

// patience is the time for which a position may be pending.
type patience struct {
	mean, deviation time.Duration // smoothed, of the time from pending to committed; zero before the first sample
	emptyEpochs     uint          // number of epochs in a row in which the fast lane committed nothing
	ceiling         time.Duration // upper bound in the current epoch; zero for none
}

// begins is called when an epoch begins. In one epoch patience grows at most to twice its value at the beginning, or to
// firstPatience if that is more. Without this bound, a leader that commits more and more slowly, each time just before the
// patience of the others ends, would raise their patience and stay leader. With it, a network that has become slow costs one
// epoch for each doubling of the delay.
func (p *patience) begins() { p.ceiling = max(2*p.limit(), firstPatience) }

// limit is the current patience. It allows for the observed variation, as retransmission timers do. It doubles with every
// epoch without commits, since a network that is too slow for the patience gives no samples.
func (p *patience) limit() time.Duration {
	d := firstPatience
	if p.mean > 0 {
		d = max(4*(p.mean+p.deviation), minPatience)
	}
	for range min(p.emptyEpochs, 8) {
		d *= 2
	}
	if p.ceiling > 0 {
		d = min(d, p.ceiling)
	}
	return min(d, maxPatience)
}

// observe adds a sample: the time for which a position was pending until the fast lane committed it.
func (p *patience) observe(took time.Duration) {
	p.emptyEpochs = 0
	took = max(took, time.Microsecond)
	if p.mean == 0 {
		p.mean, p.deviation = took, took/2
		return
	}
	off := took - p.mean
	p.mean += off / 8
	p.deviation += (max(off, -off) - p.deviation) / 4
}

// ended records whether the fast lane committed something in the epoch that ended.
func (p *patience) ended(fruitful bool) {
	if !fruitful {
		p.emptyEpochs++
	}
}

// waiting has the pending positions that this replica waits for, and the patience for them.
type waiting struct {
	patience patience
	marks    []mark // one for each lane, then one for each channel, then one for the slots
}

func newWaiting(cfg *Config) waiting {
	w := waiting{marks: make([]mark, cfg.Committee.N()+cfg.Shards+1)}
	w.patience.begins()
	return w
}

// begins is called when the next epoch begins. The waiting times count from here for the new leader. fruitful reports whether
// the fast lane committed something in the epoch that ended.
func (w *waiting) begins(fruitful bool) {
	w.patience.ended(fruitful)
	w.patience.begins()
	clear(w.marks)
}

// any reports whether a position is pending.
func (w *waiting) any() bool {
	return slices.ContainsFunc(w.marks, func(k mark) bool { return k.since != 0 })
}

// deadline is the next time at which something must be done about a mark, or zero.
func (w *waiting) deadline() protocols.Time {
	var at protocols.Time
	limit := w.patience.limit()
	for k := range w.marks {
		at = protocols.Earliest(at, w.marks[k].deadline(limit))
	}
	return at
}

// update updates all marks with the positions that are pending and ordered in the lanes and channels of d and in the slots.
func (w *waiting) update(now protocols.Time, d *data, slots *bolt.Machine) {
	before := w.patience.limit() // the deadlines so far were set with this value
	for k := range w.marks {
		pending, ordered := d.pendingAt(k, slots)
		mark := &w.marks[k]
		late := mark.wasSuspended(now, before)
		if took, done := mark.update(now, pending, ordered); done {
			w.patience.observe(took)
		} else if late {
			mark.since, mark.certSent = now, 0
		}
	}
}

// takeCertificatesDue lists the marks whose certificates must be sent to the leader now, and records that they are sent.
func (w *waiting) takeCertificatesDue(now protocols.Time, committedSlot uint64) []int {
	var due []int
	limit := w.patience.limit()
	for k := range w.marks {
		mark := &w.marks[k]
		if mark.since != 0 && mark.certSent == 0 && now >= mark.deadline(limit) {
			mark.certSent, mark.slot = now, committedSlot
			due = append(due, k)
		}
	}
	return due
}

// expired reports whether a mark has expired.
func (w *waiting) expired(now protocols.Time, committedSlot, blockMS uint64, wall *protocols.WallClock) bool {
	limit := w.patience.limit()
	return slices.ContainsFunc(w.marks, func(k mark) bool { return k.expired(now, limit, committedSlot, blockMS, wall) })
}

// outwaited reports whether a position was pending for longer than the patience after the leader was sent its certificate.
func (w *waiting) outwaited(now protocols.Time) bool {
	limit := w.patience.limit()
	return slices.ContainsFunc(w.marks, func(k mark) bool { return k.certSent != 0 && now >= k.certSent.Add(limit) })
}

// mark is the first pending position that was seen in one place: a lane, a channel, or the slots.
type mark struct {
	position uint64         // number in the lane or channel, or slot
	since    protocols.Time // when it was first seen pending; zero if nothing is pending
	certSent protocols.Time // when its certificate was sent to the leader; zero before
	slot     uint64         // last committed slot at that time
}

// update updates a mark with the positions up to which its place is pending and ordered. If the marked position is ordered
// now, it returns the time for which it was pending and true.
func (k *mark) update(now protocols.Time, pending, ordered uint64) (took time.Duration, done bool) {
	if k.since != 0 && ordered >= k.position {
		took, done = now.Sub(k.since), true
		*k = mark{}
	}
	if k.since == 0 && pending > ordered {
		*k = mark{position: pending, since: now}
	}
	return took, done
}

// deadline is the next time at which something must be done about a mark: first send the leader its certificate, then leave.
// It is zero if nothing is pending.
func (k *mark) deadline(limit time.Duration) protocols.Time {
	switch {
	case k.since == 0:
		return 0
	case k.certSent == 0:
		return k.since.Add(limit / 4)
	}
	return k.certSent.Add(limit)
}

// wasSuspended reports whether the deadline of the mark passed so long ago that this replica itself must have been suspended.
// Then the leader is not at fault.
func (k *mark) wasSuspended(now protocols.Time, limit time.Duration) bool {
	return k.since != 0 && now > k.deadline(limit).Add(limit/2)
}

// expired reports whether the patience has passed since the leader was sent the certificate, or whether too many slots were
// committed since without the position. In the second case the last of these slots must have a block time (blockMS) well
// after the certificate was sent: a replica that was suspended receives many old slots at once. (A leader that gives its
// blocks old times gains nothing: it loses its epoch by the patience.)
func (k *mark) expired(now protocols.Time, limit time.Duration, committedSlot, blockMS uint64, wall *protocols.WallClock) bool {
	return k.certSent != 0 && (now >= k.certSent.Add(limit) || committedSlot >= k.slot+passedOver && blockMS >= wall.At(k.certSent.Add(limit/2)).Millis())
}
