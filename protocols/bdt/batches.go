package bdt

import (
	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// Batches is the part of a machine for the signatures of the transactions in batches.
type Batches struct{ m *Machine }

// Batches is the part of the machine for the signatures of the transactions in batches.
func (m *Machine) Batches() Batches { return Batches{m} }

// Header is the header of a held batch that is not executed, nil if it is not held.
func (b Batches) Header(r lanes.Ref) *lanes.SignedHeader { return b.m.data.lanes.Header(r) }

// Held lists the held batches that are not executed, by lane and number.
func (b Batches) Held() []lanes.Ref { return b.m.data.lanes.HeldBatches() }

// Bad is called when a batch of a lane, with a number, has a bad signature, see [lanes.Machine.Bad].
func (b Batches) Bad(lane protocols.Index, seq uint64) Step {
	var st Step
	protocols.Absorb(&st, b.m.data.lanes.Bad(lane, seq))
	return st
}

// BadLanes is the set of the lanes for which Bad was called, also before a restart.
func (b Batches) BadLanes() protocols.Set { return b.m.data.lanes.BadLanes() }
