package lanes

import (
	"time"

	"bdtnode/protocols"
)

// Bounds on the time for which a leader holds back the uncertified tips of a lane.
const (
	maxHold       = 10 * time.Second
	minHold       = time.Millisecond // a shorter time counts as zero
	chargeDivisor = 4                // the first held-up slot adds the lost time divided by this
	halfLife      = 5 * time.Second  // the hold decays by half in this time
)

// lag is the leader's estimate of how much later than the leader the other replicas receive the batches of a lane. A tip
// of the lane is proposed uncertified only when it has been here for the time hold: then the other replicas, or enough of
// them, have it when the proposal arrives. If its certificate arrives sooner, the tip is proposed at once. So a lane never
// waits longer than for its certificate, and other lanes in the slot do not wait for it. The estimate is raised only by
// slots that were really held up, and it decays.
type lag struct {
	hold     time.Duration // as it was at time since
	since    protocols.Time
	lacking  map[protocols.Index]uint64 // by replica: the last number above the ordered one that it requested from this replica
	arrivals []arrival                  // of acknowledged batches above the ordered position, by number
}

type arrival struct {
	seq uint64
	at  protocols.Time
}

// now is the time for which tips are held back, decayed to the time now.
func (g *lag) now(now protocols.Time) time.Duration {
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
func (g *lag) charge(now protocols.Time, wait, age time.Duration) {
	have := g.now(now)
	g.hold, g.since = min(max(have+max(have, wait/chargeDivisor), 2*age), maxHold), now
}

// age is the time for which a batch has been here at a time, zero if its arrival is not known.
func (g *lag) age(now protocols.Time, seq uint64) time.Duration {
	for _, a := range g.arrivals {
		if a.seq == seq {
			return max(0, now.Sub(a.at))
		}
	}
	return 0
}

// arrived records the time of an acknowledgement.
func (g *lag) arrived(seq uint64, now protocols.Time) {
	g.arrivals = append(g.arrivals, arrival{seq, now})
}

// lacks records that a peer requested a number.
func (g *lag) lacks(peer protocols.Index, seq uint64) {
	if g.lacking == nil {
		g.lacking = make(map[protocols.Index]uint64)
	}
	g.lacking[peer] = seq
}

// ordered forgets all numbers up to seq.
func (g *lag) ordered(seq uint64) {
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

// proposable is the highest acknowledged position of a lane that has been held back for long enough. It sets tipDue to the
// time at which the next one will be.
func (m *Machine) proposable(now protocols.Time, l *lane) Tip {
	hold, arrivals := l.lag.now(now), l.lag.arrivals
	if hold == 0 || len(arrivals) == 0 {
		return l.tip
	}
	top := l.ordered
	if before := arrivals[0].seq - 1; before > top.Seq {
		top = Tip{before, l.acked[before]} // acknowledged before a restart: arrival time unknown
	}
	for _, a := range arrivals {
		due := a.at.Add(hold)
		if now < due {
			m.tipDue = protocols.Earliest(m.tipDue, due)
			break
		}
		top = Tip{a.seq, l.acked[a.seq]}
	}
	return top
}

// HeldUp is called when a slot of this leader got its QC by the time wait later than usual, because more than f replicas
// (the set late) voted late. It charges the lanes whose new uncertified batches one of these replicas requested, and
// reports whether there is such a lane.
func (m *Machine) HeldUp(now protocols.Time, parent, cut Cut, late protocols.Set, wait time.Duration) bool {
	blamed := false
	for i, t := range cut {
		l := m.lanes[i]
		held, age := false, time.Duration(0)
		for peer, seq := range l.lag.lacking {
			if late.Has(peer) && seq > parent[i].Seq && seq <= t.Seq {
				held, age = true, max(age, l.lag.age(now.Add(-wait), seq))
			}
		}
		if held && wait > 0 {
			l.lag.charge(now, wait, age)
			blamed = true
		}
	}
	return blamed
}
