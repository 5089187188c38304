package bdt

import (
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
)

// fromLanes takes over a step of the lanes. Upon an output bolt may progress, and a delivery may have become complete.
func (m *Machine) fromLanes(now protocols.Time, st *Step, child lanes.Step) {
	for _, o := range protocols.Absorb(st, child) {
		if o.Progressed {
			m.fromBolt(now, st, m.current.bolt.Progress(now))
			m.chain.deliver(now, st, &m.data)
			return // one Progress is enough for all outputs of the step
		}
	}
}

// fromInbound takes over a step of the inbound channels.
func (m *Machine) fromInbound(now protocols.Time, st *Step, child inbound.Step) {
	for _, o := range protocols.Absorb(st, child) {
		if o.Progressed {
			m.fromBolt(now, st, m.current.bolt.Progress(now))
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
		m.fromBolt(now, st, m.current.bolt.Progress(now))
		return
	}
	m.chain.deliver(now, st, &m.data)
}

// commit commits a block: it records it, moves the windows of lanes and channels, and queues it for delivery. It reports
// whether lanes or channels can progress because of that.
func (m *Machine) commit(now protocols.Time, st *Step, c bolt.Committed) bool {
	m.chain.add(st, c)
	return m.data.ordered(now, st, c.Block)
}
