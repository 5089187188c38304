package bdt

import (
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/lanes"
)

// Horizon is what a replica can use at one moment. It never changes, so that those who verify messages may ask it while
// the machine goes on: what is of no use needs no verification. An old one errs on the side of verifying: what was of no
// use once never is, and what was ahead is asked for again.
type Horizon struct {
	epoch  uint64
	oldest uint64        // ended epochs down to this one are answered for
	heard  protocols.Set // whose Status of the epoch is here
	full   protocols.Set // of whom no more messages of the next epoch are kept
	bolt   bolt.Horizon
	lanes  lanes.Horizon
}

// Horizon is the present one.
func (m *Machine) Horizon() Horizon {
	h := Horizon{epoch: m.now.number, oldest: m.now.number, full: m.early.full, bolt: m.now.bolt.Horizon(), lanes: m.lanes.Horizon()}
	if len(m.past) > 0 {
		h.oldest = m.past[0].number
	}
	for i, s := range m.now.statuses {
		if s != nil {
			h.heard.Add(protocols.Index(i))
		}
	}
	return h
}

// Sift says what is to be done with a message that was decoded and not verified: the message itself, to verify it and
// hand it to the machine; or a [Beyond], to hand over at once in its place; or nil, nothing.
func (h *Horizon) Sift(from protocols.Index, m protocols.Message) protocols.Message {
	switch h.sees(from, m) {
	case protocols.Useless:
		return nil
	case protocols.Ahead:
		return beyond(m)
	}
	return m
}

func (h *Horizon) sees(from protocols.Index, m protocols.Message) protocols.Relevance {
	number, ok := epochOf(m)
	if !ok {
		return h.lanes.Sees(from, m)
	}
	switch {
	case number < h.oldest:
		return protocols.Useless // a block after it is certified: who lacks its last one catches up
	case number > h.epoch+1, number == h.epoch+1 && h.full.Has(from):
		return protocols.Ahead
	case number > h.epoch:
		return protocols.Useful
	}
	switch m.(type) {
	case *bolt.Propose, *bolt.Vote, *bolt.Commit:
		if number < h.epoch {
			return protocols.Useless
		}
		return h.bolt.Sees(m)
	case *Status:
		if number == h.epoch && h.heard.Has(from) {
			return protocols.Useless
		}
	}
	return protocols.Useful
}

// Beyond stands for a message that was dropped unverified because it was ahead of what is taken, so that it can be asked
// for later. It never goes over the wire.
type Beyond struct {
	Epoch, Slot uint64          // Slot is 0 if it is of no slot
	Lane        protocols.Index // if Epoch is 0: a batch of its owner
	Number      uint64
}

// Kind is 0, which no message on the wire has.
func (*Beyond) Kind() protocols.Kind { return 0 }

// Append panics: a Beyond is handed over, never encoded.
func (*Beyond) Append([]byte) []byte { panic("bdt: a Beyond is not a wire message") }

func beyond(m protocols.Message) *Beyond {
	switch x := m.(type) {
	case *lanes.Batch:
		return &Beyond{Lane: x.Lane, Number: x.Seq}
	case *bolt.Propose:
		return &Beyond{Epoch: x.Block.Epoch, Slot: x.Block.Slot}
	case *bolt.Vote:
		return &Beyond{Epoch: x.Epoch, Slot: x.Slot}
	case *bolt.Commit:
		return &Beyond{Epoch: x.Epoch, Slot: x.Slot}
	}
	number, _ := epochOf(m)
	return &Beyond{Epoch: number}
}

// ahead notes what was dropped. The position may have moved to it since.
func (m *Machine) ahead(now protocols.Time, st *Step, from protocols.Index, x *Beyond) {
	switch {
	case x.Epoch == 0:
		m.fromLanes(now, st, m.lanes.HandleAhead(x.Lane, x.Number))
	case x.Epoch == m.now.number && x.Slot > 0:
		m.now.bolt.HandleAhead(from, x.Slot)
	default:
		m.early.refuse(from, x.Epoch)
	}
}
