package vouch

import "bdtnode/protocols"

// View is a snapshot for operators.
type View struct {
	Least  int        `json:"least"` // entries of a batch from which on replicas vouch for it, 0 if they vouch for none
	Lanes  []LaneView `json:"lanes"`
	Usual  int64      `json:"usual_us"` // usual delay of a vouch in microseconds, 0 before any was received
	Wait   int64      `json:"wait_us"`  // wait of each later rank in microseconds
	Sample int        `json:"samples"`  // executed batches that are to be checked in idle time
}

// LaneView is the knowledge about the batches of a lane that are not executed.
type LaneView struct {
	Lane     protocols.Index `json:"lane"`
	Unknown  int             `json:"unknown"`  // held batches that are not known to be good or bad
	Checking int             `json:"checking"` // of these, own checks that are not finished
	Early    int             `json:"early"`    // batches with vouches that are not held
	Bad      bool            `json:"bad"`      // an own check found a bad signature: no acks and no proposals any more
}

// Counts are the batches since the start.
func (m *Machine) Counts() Counts { return m.counts }

// Inspect takes a snapshot.
func (m *Machine) Inspect() View {
	v := View{
		Least: m.cfg.Least, Lanes: make([]LaneView, len(m.lanes)),
		Usual: m.pace.usual().Microseconds(), Wait: m.pace.wait().Microseconds(), Sample: len(m.samples.list),
	}
	for i := range m.lanes {
		v.Lanes[i] = LaneView{Lane: protocols.Index(i), Bad: m.lanes[i].bad}
	}
	for r, b := range m.batches {
		x := &v.Lanes[r.Lane]
		switch {
		case !b.held:
			x.Early++
		case b.known == Unknown:
			x.Unknown++
			if b.checking {
				x.Checking++
			}
		}
	}
	return v
}
