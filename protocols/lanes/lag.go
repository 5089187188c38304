package lanes

import (
	"time"

	"bdtnode/protocols"
)

// Bounds on the time for which a leader holds back the uncertified tips of a lane or channel.
const (
	maxHold       = 10 * time.Second
	minHold       = time.Millisecond // a shorter time counts as zero
	chargeDivisor = 4                // the first held-up slot adds the lost time divided by this
	halfLife      = 5 * time.Second  // the hold decays by half in this time
)

// Lag is the leader's estimate of how much later than the leader the other replicas receive the batches of a lane, or the
// LDs of a channel from another shard. A tip of the lane is proposed uncertified only when it has been here for the time
// hold: then the other replicas, or enough of them, have it when the proposal arrives. If its certificate arrives sooner (of
// an LD: f+1 SIGN), the tip is proposed at once. So a lane never waits longer than for its certificate, and other lanes in the
// slot do not wait for it. The estimate is raised only by slots that were really held up, and it decays.
type Lag struct {
	hold     time.Duration // as it was at time since
	since    protocols.Time
	lacking  map[protocols.Index]uint64 // by replica: the last number above the ordered one that it requested from this replica
	arrivals []arrival                  // above the ordered position, by number
}

// arrival is the time at which this replica got a batch and acknowledged it, or got an LD and signed it.
type arrival struct {
	seq uint64
	at  protocols.Time
}

// Hold is the time for which tips are held back, decayed to the time now.
func (g *Lag) Hold(now protocols.Time) time.Duration {
	if g.hold == 0 {
		return 0
	}
	past := max(now.Sub(g.since), 0)
	d := g.hold >> min(past/halfLife, 62)
	d -= time.Duration(int64(d) / 2 * int64(past%halfLife) / int64(halfLife))
	if d < minHold {
		return 0
	}
	return d
}

// charge is called when the lane held up a slot by the time wait, with a batch that the leader had had for the time age when
// it proposed it. The first time may be chance and adds only a part of wait. A lane that does it again before the hold has
// decayed is held back at least twice as long: either its batches are usually late, or its owner sends its batches only to
// some replicas. In both cases the estimate must exceed age, since another replica lacked the batch after that time.
func (g *Lag) charge(now protocols.Time, wait, age time.Duration) {
	have := g.Hold(now)
	g.hold, g.since = min(max(have+max(have, wait/chargeDivisor), 2*age), maxHold), now
}

// age is the time for which a batch has been here at a time, zero if its arrival is not known.
func (g *Lag) age(now protocols.Time, seq uint64) time.Duration {
	for _, a := range g.arrivals {
		if a.seq == seq {
			return max(0, now.Sub(a.at))
		}
	}
	return 0
}

// Arrived records the time at which this replica got the data of a number, in ascending order of numbers.
func (g *Lag) Arrived(seq uint64, now protocols.Time) {
	g.arrivals = append(g.arrivals, arrival{seq, now})
}

// Lacks records that a peer requested a number.
func (g *Lag) Lacks(peer protocols.Index, seq uint64) {
	if g.lacking == nil {
		g.lacking = make(map[protocols.Index]uint64)
	}
	g.lacking[peer] = seq
}

// Ordered forgets all numbers up to seq.
func (g *Lag) Ordered(seq uint64) {
	k := 0
	for k < len(g.arrivals) && g.arrivals[k].seq <= seq {
		k++
	}
	g.arrivals = g.arrivals[k:]
	for peer, s := range g.lacking {
		if s <= seq {
			delete(g.lacking, peer)
		}
	}
}

// HeldBack returns the first number that is held back, and when it will not be any more. The number is 0 if there is none.
// Data that arrived before a restart is not held back, since its times are not known.
func (g *Lag) HeldBack(now protocols.Time) (seq uint64, until protocols.Time) {
	hold := g.Hold(now)
	if hold == 0 {
		return 0, 0
	}
	for _, a := range g.arrivals {
		if due := a.at.Add(hold); now < due {
			return a.seq, due
		}
	}
	return 0, 0
}

// HeldUp is called when a slot that newly orders the numbers above after, up to seq, got its QC by the time wait later than
// usual, because more than f replicas (the set late) voted late. If one of these replicas requested one of the numbers,
// later numbers are held back for longer, and HeldUp returns true.
func (g *Lag) HeldUp(now protocols.Time, after, seq uint64, late protocols.Set, wait time.Duration) bool {
	held, age := false, time.Duration(0)
	for peer, s := range g.lacking {
		if late.Has(peer) && s > after && s <= seq {
			held, age = true, max(age, g.age(now.Add(-wait), s))
		}
	}
	if !held || wait <= 0 {
		return false
	}
	g.charge(now, wait, age)
	return true
}

// proposable is the highest acknowledged position of a lane that has been held back for long enough. It sets tipDue to the
// time at which the next one will be.
func (m *Machine) proposable(now protocols.Time, l *lane) Tip {
	seq, until := l.lag.HeldBack(now)
	if seq == 0 {
		return l.tip
	}
	m.tipDue = protocols.Earliest(m.tipDue, until)
	if seq-1 <= l.ordered.Seq {
		return l.ordered
	}
	return Tip{seq - 1, l.acked[seq-1]}
}

// HeldUp is called when a slot of this leader got its QC by the time wait later than usual, because more than f replicas
// (the set late) voted late. It holds back the lanes whose new uncertified batches one of these replicas requested, and
// reports whether there is such a lane.
func (m *Machine) HeldUp(now protocols.Time, parent, cut Cut, late protocols.Set, wait time.Duration) bool {
	blamed := false
	for i, t := range cut {
		blamed = m.lanes[i].lag.HeldUp(now, parent[i].Seq, t.Seq, late, wait) || blamed
	}
	return blamed
}
