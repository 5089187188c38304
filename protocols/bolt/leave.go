package bolt

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/protocols"
)

// Leave ends the part of this replica in the epoch: it signs nothing more in it. It still counts votes and Finalize
// messages, so that it commits the blocks that others commit. The caller must persist that it left before any later
// message is sent.
func (m *Machine) Leave() {
	m.left = true
	m.wants.skipLeader() // the leader is the least likely to answer
	m.proposeDue, m.clockDue = 0, 0
}

// HighestQC is the QC of the highest slot for which this replica sent Finalize, or nil if it sent none. It is kept also
// when its slot is forgotten.
func (m *Machine) HighestQC() *QC { return m.top }

// LastSlotCommitted reports whether the epoch's last slot is committed.
func (m *Machine) LastSlotCommitted() bool { return m.CommittedSlot() >= m.cfg.Slots }

// HighestFinalSlot is the highest slot for which n-f Finalize messages were counted here, 0 if there is none. Of any
// n-f Status, at least one claims this slot or a later one. The last commit may be higher, since certified headers and
// the decision of the epoch commit too.
func (m *Machine) HighestFinalSlot() uint64 { return m.final }

// CommittedSlot is the slot of the last committed block, 0 if no block of this epoch is committed.
func (m *Machine) CommittedSlot() uint64 { return m.slots.committed }

// LowestOpenSlot is the lowest slot above the last commit for which there is a proposal of the leader or a QC; 0 if
// there is none.
func (m *Machine) LowestOpenSlot() uint64 {
	for s := m.CommittedSlot() + 1; s <= m.slots.end(); s++ {
		if x := m.slots.kept[s]; x != nil && (x.proposal != nil || x.qc != nil) {
			return s
		}
	}
	return 0
}

// Block is the block of a slot with a digest, or nil if it is not held.
func (m *Machine) Block(slot uint64, d digest.Digest) *Block {
	if m.base.digest == d {
		return m.base
	}
	if m.decided != nil && m.decided.digest == d {
		return m.decided
	}
	if x := m.slots.kept[slot]; x != nil {
		if p := x.blocks[d]; p != nil {
			return p.Block
		}
	}
	return nil
}

// RequestBlock requests the block that a checked QC names, if it is not held and not at or below the last commit.
func (m *Machine) RequestBlock(now protocols.Time, q *QC) {
	if q.Slot > m.CommittedSlot() && m.Block(q.Slot, q.Digest) == nil {
		m.wants.request(now, q.Slot, q.Digest)
	}
}

// Decide commits b, the block at which the epoch was decided to end, and all blocks before it, as soon as they are held. b is
// a block of this epoch or the one that the epoch began with. holders are the replicas that voted for it. Decide panics if
// b is below the last commit or conflicts with it.
func (m *Machine) Decide(now protocols.Time, b *Block, holders protocols.Set) Step {
	var st Step
	m.Leave()
	at, have := baseSlot(m.cfg.Epoch, b), m.CommittedSlot()
	if at < have || at == have && b.digest != m.base.digest {
		panic(fmt.Sprintf("bolt: epoch %d is decided to end at slot %d, block %s, and slot %d, block %s, is committed: more than f replicas are Byzantine",
			m.cfg.Epoch, at, b.digest.Short(), have, m.base.digest.Short()))
	}
	if at > have {
		m.decided = b
		holders.Remove(m.cfg.Self)
		x := m.slots.at(at)
		x.final, x.holders = b.digest, &holders
		m.finish(now, &st)
	}
	return st
}

// Forget deletes all records of an epoch. It is called when the last block of the epoch has a certified header.
func (m *Machine) Forget() Step {
	var st Step
	m.slots.forgetAll(&st)
	if m.top != nil {
		st.Record(topKey(m.cfg.Epoch), nil)
	}
	return st
}
