package bolt

import (
	"fmt"
	"maps"
	"slices"

	"bdtnode/internal/digest"
	"bdtnode/protocols"
)

// Leave ends this replica's part in the epoch: it signs nothing more here. It goes on counting, so that it commits
// what others do. The caller has on disk, before anything leaves, that it left.
func (m *Machine) Leave() {
	m.left = true
	m.proposeDue, m.clockDue = 0, 0
}

// Top is the QC of the highest slot that this replica sent Commit for, or nil if it sent none. It is kept whatever
// else is forgotten.
func (m *Machine) Top() *QC { return m.top }

// Full reports whether the epoch's last slot is committed.
func (m *Machine) Full() bool { return m.CommittedSlot() >= m.cfg.Slots }

// Final is the highest slot that n-f Commits were counted for here, 0 if there is none: of any n-f Status one claims as
// much. What is committed may be more, since certified headers and the epoch's decision commit, too.
func (m *Machine) Final() uint64 { return m.final }

// CommittedSlot is the slot of the last committed block, 0 if none of this epoch is committed.
func (m *Machine) CommittedSlot() uint64 { return baseSlot(m.cfg.Epoch, m.base) }

// Open is the lowest slot above the last commit that the leader proposed a block for, or that has a QC; 0 if there
// is none.
func (m *Machine) Open() uint64 {
	first := m.CommittedSlot() + 1
	for s := first; s < first+window; s++ {
		if x := m.slots[s]; x != nil && (x.proposal != nil || x.qc != nil) {
			return s
		}
	}
	return 0
}

// Block is the block of a slot with a digest, if it is here and not forgotten; else nil.
func (m *Machine) Block(slot uint64, d digest.Digest) *Block {
	if m.base.digest == d {
		return m.base
	}
	if m.decided != nil && m.decided.digest == d {
		return m.decided
	}
	if x := m.slots[slot]; x != nil {
		if p := x.blocks[d]; p != nil {
			return p.Block
		}
	}
	return nil
}

// Want asks for the block that a checked QC names, if it is not here and not below the last commit.
func (m *Machine) Want(now protocols.Time, q *QC) {
	if q.Slot > m.CommittedSlot() && m.Block(q.Slot, q.Digest) == nil {
		m.want(now, q.Slot, q.Digest)
	}
}

// Decide commits b, where the epoch was decided to end, and all before it, as soon as these are here. b is a block of
// this epoch or the one that it began with; holders are who voted for it.
func (m *Machine) Decide(now protocols.Time, b *Block, holders protocols.Set) Step {
	var st Step
	m.Leave()
	at, have := baseSlot(m.cfg.Epoch, b), m.CommittedSlot()
	if at < have || at == have && b.digest != m.base.digest {
		panic(fmt.Sprintf("bolt: epoch %d is decided to end at slot %d, block %s, and slot %d, block %s, is committed: more than f replicas are Byzantine",
			m.cfg.Epoch, at, b.digest.Short(), have, m.base.digest.Short()))
	}
	if at > have {
		m.decided, m.holders = b, holders
		m.holders.Remove(m.cfg.Self)
		m.slot(at).final = b.digest
		m.finish(now, &st)
	}
	return st
}

// Forget deletes everything that is on disk of an epoch whose last block has a certified header.
func (m *Machine) Forget() Step {
	var st Step
	for _, s := range slices.Sorted(maps.Keys(m.slots)) {
		m.forget(&st, s)
	}
	if m.top != nil {
		st.Record(topKey(m.cfg.Epoch), nil)
	}
	return st
}
