package bdt

import (
	"bdtnode/internal/wire"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/channels"
	"bdtnode/protocols/lanes"
)

func (m *Machine) fromLanes(now protocols.Time, st *Step, child lanes.Step) {
	for _, o := range protocols.Absorb(st, child) {
		if o.Grew {
			m.fromBolt(now, st, m.now.bolt.Progress(now))
			m.deliver(now, st)
			return // one Progress serves all that grew in the step
		}
	}
}

func (m *Machine) fromChannels(now protocols.Time, st *Step, child channels.Step) {
	for _, o := range protocols.Absorb(st, child) {
		if o.Grew {
			m.fromBolt(now, st, m.now.bolt.Progress(now))
			return
		}
	}
}

func (m *Machine) fromBolt(now protocols.Time, st *Step, child bolt.Step) {
	grew := false
	for _, c := range protocols.Absorb(st, child) {
		grew = m.commit(now, st, c) || grew
	}
	if grew {
		m.fromBolt(now, st, m.now.bolt.Progress(now))
		return
	}
	m.deliver(now, st)
}

// commit makes a block final here: on disk, its lanes' windows moved, in line for delivery. It reports whether the
// lanes grew by it.
func (m *Machine) commit(now protocols.Time, st *Step, c bolt.Committed) bool {
	m.base = c.Block
	st.Record(CommitKey(c.Block.Height), c.Block.Append(nil))
	m.pending = append(m.pending, c)
	m.open = append(m.open, c.Block)
	grew := len(protocols.Absorb(st, m.lanes.Ordered(now, c.Block.Cut))) > 0
	return len(protocols.Absorb(st, m.channels.Ordered(c.Block.Inbound))) > 0 || grew
}

// deliver hands over the next committed blocks whose data is here; missing data is asked for.
func (m *Machine) deliver(now protocols.Time, st *Step) {
	for len(m.pending) > 0 && len(m.running) < deliverAhead {
		next := m.pending[0]
		child, refs, complete := m.lanes.Content(now, m.delivered.Cut, next.Block.Cut, next.Signers)
		protocols.Absorb(st, child)
		lds, received := m.channels.Content(now, m.delivered.Inbound, next.Block.Inbound, next.Signers)
		if !complete || !received {
			m.prefetch(now)
			return
		}
		m.pending = m.pending[1:]
		m.delivered = next.Block
		m.running = append(m.running, next.Block)
		st.Emit(&Delivery{Block: next.Block, LDs: lds, Refs: refs})
	}
}

// prefetch asks for the data of the blocks after the next, so that a replica that was away does not wait for one
// round trip a block.
func (m *Machine) prefetch(now protocols.Time) {
	for k := 1; k < len(m.pending) && k < deliverAhead; k++ {
		prev, next := m.pending[k-1], m.pending[k]
		m.lanes.Prefetch(now, prev.Block.Cut, next.Block.Cut, next.Signers)
		m.channels.Content(now, prev.Block.Inbound, next.Block.Inbound, next.Signers)
	}
}

// CommitKey is where the committed block of a height is kept.
func CommitKey(height uint64) []byte { return wire.AppendU64([]byte("h/b"), height) }

// DecodeCommit reads a committed block's record.
func DecodeCommit(c *protocols.Committee, value []byte) (*bolt.Block, error) {
	r := wire.NewReader(append([]byte(nil), value...))
	b := bolt.ReadBlock(c, r)
	return b, r.Done()
}
