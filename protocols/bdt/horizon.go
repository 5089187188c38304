package bdt

import (
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/lanes"
)

// Horizon is a snapshot of the messages that a replica can use. It never changes, so the workers that verify messages can
// read it while the machine continues. A useless message needs no verification. An old snapshot is safe: a message that was
// useless once is useless for ever, and a message that was ahead is requested again.
type Horizon struct {
	epoch    uint64
	oldest   uint64        // oldest ended epoch for which messages are answered
	statuses protocols.Set // replicas whose Status of the epoch is held
	full     protocols.Set // peers of which no more messages of the next epoch are kept
	bolt     bolt.Horizon
	lanes    lanes.Horizon
}

// Horizon takes the current snapshot.
func (m *Machine) Horizon() Horizon {
	h := Horizon{
		epoch: m.current.number, oldest: m.past.oldest(m.current.number), full: m.future.full,
		bolt: m.current.bolt.Horizon(), lanes: m.data.lanes.Horizon(),
	}
	for i, s := range m.current.statuses {
		if s != nil {
			h.statuses.Add(protocols.Index(i))
		}
	}
	return h
}

// Relevance decides about a decoded message that is not verified yet. A useful message is verified and then given to
// [Machine.Handle]. Of a message that is ahead, only its place ([AheadOf]) is given to [Machine.HandleAhead], without
// verification. A useless message is dropped.
func (h *Horizon) Relevance(from protocols.Index, m protocols.Message) protocols.Relevance {
	number, ok := epochOf(m)
	if !ok {
		return h.lanes.Relevance(from, m)
	}
	switch {
	case number < h.oldest:
		return protocols.Useless // a block after the epoch is certified: a replica that lacks its last block catches up
	case number > h.epoch+1, number == h.epoch+1 && h.full.Has(from):
		return protocols.Ahead
	case number > h.epoch:
		return protocols.Useful
	}
	switch m.(type) {
	case *bolt.Propose, *bolt.Vote, *bolt.Finalize:
		if number < h.epoch {
			return protocols.Useless
		}
		return h.bolt.Relevance(m)
	case *Status:
		if number == h.epoch && h.statuses.Has(from) {
			return protocols.Useless
		}
	}
	return protocols.Useful
}

// Ahead is the place of a message that was dropped unverified because it is ahead of the messages that are accepted. With
// it, the machine can request the message later.
type Ahead struct {
	Epoch, Slot uint64          // Slot is 0 if the message has no slot
	Lane        protocols.Index // if Epoch is 0: the message is a batch from the owner of Lane
	Number      uint64          // number of that batch
}

// AheadOf is the place of a message whose relevance is [protocols.Ahead].
func AheadOf(m protocols.Message) Ahead {
	switch x := m.(type) {
	case *lanes.Batch:
		return Ahead{Lane: x.Lane, Number: x.Seq}
	case *bolt.Propose:
		return Ahead{Epoch: x.Block.Epoch, Slot: x.Block.Slot}
	case *bolt.Vote:
		return Ahead{Epoch: x.Epoch, Slot: x.Slot}
	case *bolt.Finalize:
		return Ahead{Epoch: x.Epoch, Slot: x.Slot}
	}
	number, _ := epochOf(m)
	return Ahead{Epoch: number}
}

// HandleAhead is called with the place of a message that was dropped because it was ahead. The message is requested when
// this replica has reached the place, or at once if it has reached the place since.
func (m *Machine) HandleAhead(now protocols.Time, from protocols.Index, x Ahead) Step {
	var st Step
	switch {
	case x.Epoch == 0:
		m.fromLanes(now, &st, m.data.lanes.HandleAhead(x.Lane, x.Number))
	case x.Epoch == m.current.number && x.Slot > 0:
		m.current.bolt.HandleAhead(from, x.Slot)
	default:
		m.future.refuse(from, x.Epoch)
	}
	m.advance(now, &st)
	return st
}
