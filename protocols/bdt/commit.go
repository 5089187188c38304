package bdt

import (
	"bdtnode/internal/wire"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
)

// fromLanes takes over a step of the lanes. Upon an output bolt may progress, and a delivery may have become complete.
func (m *Machine) fromLanes(now protocols.Time, st *Step, child lanes.Step) {
	for _, o := range protocols.Absorb(st, child) {
		if o.Progressed {
			m.fromBolt(now, st, m.now.bolt.Progress(now))
			m.deliver(now, st)
			return // one Progress is enough for all outputs of the step
		}
	}
}

// fromInbound takes over a step of the inbound channels.
func (m *Machine) fromInbound(now protocols.Time, st *Step, child inbound.Step) {
	for _, o := range protocols.Absorb(st, child) {
		if o.Progressed {
			m.fromBolt(now, st, m.now.bolt.Progress(now))
			return
		}
	}
}

// fromBolt takes over a step of the current bolt: it commits the blocks and delivers them.
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

// commit commits a block: it records it, moves the windows of lanes and channels, and queues it for delivery. It reports
// whether lanes or channels can progress because of that.
func (m *Machine) commit(now protocols.Time, st *Step, c bolt.Committed) bool {
	m.base = c.Block
	st.Record(CommitKey(c.Block.Height), c.Block.Append(nil))
	m.pending = append(m.pending, c)
	m.open = append(m.open, c.Block)
	grew := len(protocols.Absorb(st, m.lanes.Ordered(now, c.Block.Cut))) > 0
	return len(protocols.Absorb(st, m.inbound.Ordered(c.Block.Inbound))) > 0 || grew
}

// deliver delivers the next committed blocks whose data is held, and requests missing data.
func (m *Machine) deliver(now protocols.Time, st *Step) {
	for len(m.pending) > 0 && len(m.running) < deliverAhead {
		next := m.pending[0]
		child, refs, complete := m.lanes.Content(now, m.delivered.Cut, next.Block.Cut, next.Signers)
		protocols.Absorb(st, child)
		lds, received := m.inbound.Content(now, m.delivered.Inbound, next.Block.Inbound, next.Signers)
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

// prefetch requests the data of the blocks after the next one. Without it, a replica that was disconnected would need one
// round trip for each block.
func (m *Machine) prefetch(now protocols.Time) {
	for k := 1; k < len(m.pending) && k < deliverAhead; k++ {
		prev, next := m.pending[k-1], m.pending[k]
		m.lanes.Prefetch(now, prev.Block.Cut, next.Block.Cut, next.Signers)
		m.inbound.Content(now, prev.Block.Inbound, next.Block.Inbound, next.Signers)
	}
}

// CommitKey is the key of the record of the committed block at a height.
func CommitKey(height uint64) []byte { return wire.AppendU64([]byte("h/b"), height) }

// DecodeCommit decodes the record of a committed block.
func DecodeCommit(c *protocols.Committee, value []byte) (*bolt.Block, error) {
	r := wire.NewReader(append([]byte(nil), value...))
	b := bolt.ReadBlock(c, r)
	return b, r.Done()
}
