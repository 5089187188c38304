package lanes

import (
	"time"

	"bdtnode/protocols"
)

// Bounds of how long a leader holds back a lane's uncertified tips.
const (
	maxHold  = 10 * time.Second
	minHold  = time.Millisecond // less is none
	chance   = 4                // a lane's part of what the first slot cost that it held up
	halfLife = 5 * time.Second  // of what a slot that was held up cost
)

// lag is what a leader has learnt of how much later than itself the others get a lane's batches. Its tips are proposed
// uncertified when they have been here for that long: the others, or enough of them, have them then when the proposal
// comes. If its certificate comes sooner, that is proposed. So waiting for a batch is never dearer than its certificate,
// and other lanes in the slot do not wait for it. What is learnt is what slots were really held up, and it fades.
type lag struct {
	hold     time.Duration // at since
	since    protocols.Time
	lacking  map[protocols.Index]uint64 // by replica, the number it last asked this one for, above the ordered one
	arrivals []arrival                  // of acknowledged batches above the ordered one, in order
}

type arrival struct {
	seq uint64
	at  protocols.Time
}

// now is how long tips are held back.
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

// charge is called when the lane held up a slot by some time. Once is chance, and costs it a part of that. One that does so
// again before it is forgotten is held back twice as long: it is late as a rule, or its owner gives its batches to some only.
func (g *lag) charge(now protocols.Time, wait time.Duration) {
	have := g.now(now)
	g.hold, g.since = min(have+max(have, wait/chance), maxHold), now
}

func (g *lag) arrived(seq uint64, now protocols.Time) {
	g.arrivals = append(g.arrivals, arrival{seq, now})
}

func (g *lag) lacks(who protocols.Index, seq uint64) {
	if g.lacking == nil {
		g.lacking = make(map[protocols.Index]uint64)
	}
	g.lacking[who] = seq
}

// ordered forgets what is at or below a number.
func (g *lag) ordered(seq uint64) {
	k := 0
	for k < len(g.arrivals) && g.arrivals[k].seq <= seq {
		k++
	}
	g.arrivals = g.arrivals[k:]
	for who, s := range g.lacking {
		if s <= seq {
			delete(g.lacking, who)
		}
	}
}

// ripe is the highest acknowledged position of a lane that has been here for long enough.
func (m *Machine) ripe(now protocols.Time, l *lane) Tip {
	hold, arrivals := l.lag.now(now), l.lag.arrivals
	if hold == 0 || len(arrivals) == 0 {
		return l.tip
	}
	top := l.ordered
	if before := arrivals[0].seq - 1; before > top.Seq {
		top = Tip{before, l.acked[before]} // from before a restart
	}
	for _, a := range arrivals {
		due := a.at.Add(hold)
		if now < due {
			m.ripeAt = protocols.Earliest(m.ripeAt, due)
			break
		}
		top = Tip{a.seq, l.acked[a.seq]}
	}
	return top
}

// HeldUp is called when a slot of this leader's got its QC so much later than usual, since more than f replicas voted late.
// It is put down to the lanes whose new and uncertified batches one of these asked for.
func (m *Machine) HeldUp(now protocols.Time, parent, cut Cut, late protocols.Set, wait time.Duration) bool {
	blamed := false
	for i, t := range cut {
		l := m.lanes[i]
		held := false
		for who, seq := range l.lag.lacking {
			held = held || late.Has(who) && seq > parent[i].Seq && seq <= t.Seq
		}
		if held && wait > 0 {
			l.lag.charge(now, wait)
			blamed = true
		}
	}
	return blamed
}
