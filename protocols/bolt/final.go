package bolt

import "bdtnode/protocols"

// Lags reports whether a replica must wait for its executor before it commits more blocks. Up to f honest replicas may be
// slower than the others, which make quorums without them: all blocks that the others order would accumulate at a slow
// replica. Both arguments are heights.
func Lags(committed, executed uint64) bool { return committed >= executed+CommitLag }

// finish commits the final blocks above the last commit, if all blocks of the chain between are held.
func (m *Machine) finish(now protocols.Time, st *Step) {
	if Lags(m.base.Height, m.executed) {
		return
	}
	top := m.slots.committed
	if m.decided != nil && m.decided.Slot > top {
		m.finishUpTo(now, st, m.decided.Slot)
		return
	}
	for s := m.slots.end(); s > top; s-- {
		if x := m.slots.kept[s]; x != nil && !x.final.IsZero() {
			m.finishUpTo(now, st, s)
			return
		}
	}
}

// finishUpTo commits all blocks up to the final block of slot s, or requests the first missing one.
func (m *Machine) finishUpTo(now protocols.Time, st *Step, s uint64) {
	first := m.slots.committed + 1
	chain := make([]*Block, s-first+1)
	d := m.slots.kept[s].final
	for k := s; k >= first; k-- {
		b := m.Block(k, d)
		if b == nil {
			m.wants.request(now, k, d)
			return
		}
		chain[k-first] = b
		d = b.Parent
	}
	if d != m.base.digest {
		panic("bolt: a final block does not extend the last committed one: more than f replicas are Byzantine")
	}
	for k, b := range chain {
		m.pace.committed(now, b.Slot)
		signers := m.slots.at(first + uint64(k)).signers(b.digest)
		signers.Remove(m.cfg.Self)
		st.Emit(Committed{Block: b, Signers: signers})
	}
	m.rebase(chain[len(chain)-1])
	for _, b := range chain {
		m.voteFinal(now, st, b)
	}
	m.propose(now, st)
	m.voteAll(now, st)
}

// upon a block that became final here before this replica voted in its slot: vote for it, with or without its content,
// as soon as execution is near enough. The other replicas may need this vote for their QC, and then this replica's
// Finalize: a Byzantine replica that sends its Finalize only to this replica would leave the others with an open slot.
//
// Why the vote is safe:
//   - No other block of a slot up to a final one can have a QC. The final slot has a QC, so n-2f honest replicas voted in it
//     before any block of it was final. Each of them had voted for the block below, or knew that block to have a QC or to be
//     committed, and so on down to this slot. A QC for another block would need n-2f other honest voters, but there are only
//     n-f honest replicas. This replica still votes once in the slot: a vote that it cast before is its only one, also after
//     a restart. At or below the floor, where it may have forgotten a vote, it casts none.
//   - The vote acknowledges no tip (no Data.AckCut), and no tip needs it: the n-2f honest voters acknowledged every
//     header that the block added, or had its certificate, and they keep the data until it is executed. The cut of the
//     block is ordered here, and at or below the ordered position this replica acknowledges nothing.
//   - The record of the vote needs no record of the proposal, since the block is committed in the same step or before.
//   - The signers are only a hint where to request data: a signer without the data does not answer, and all others are asked
//     in turn.
//   - A replica that left the epoch casts no vote, so it signs nothing after its Status.
func (m *Machine) voteFinal(now protocols.Time, st *Step, b *Block) {
	x := m.slots.kept[b.Slot]
	if m.left || x == nil || x.vote != nil || b.Slot <= m.slots.floor || b.Last {
		return
	}
	if b.Height > m.executed+ExecutionLag {
		x.pendingVote = b
		return
	}
	x.pendingVote = nil
	m.cast(now, st, x, b)
}

// castPendingVotes casts the votes for final blocks that wait for execution and are near enough to it now.
func (m *Machine) castPendingVotes(now protocols.Time, st *Step) {
	for s := m.slots.floor + 1; s <= m.slots.committed; s++ {
		if x := m.slots.kept[s]; x != nil && x.pendingVote != nil {
			if x.pendingVote.Height > m.executed+ExecutionLag {
				return
			}
			m.voteFinal(now, st, x.pendingVote)
		}
	}
}
