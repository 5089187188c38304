package bolt

import (
	"bdtnode/internal/digest"
	"bdtnode/protocols"
)

// Lags reports whether nothing more is committed before the executor has done some of what is. f honest replicas may be
// slower than the others, whose votes do without them: all that these order would pile up here.
func Lags(committed, executed uint64) bool { return committed >= executed+CommitLag }

// finish commits what is final, from the last commit up, as far as the chain of blocks is here.
func (m *Machine) finish(now protocols.Time, st *Step) {
	if Lags(m.base.Height, m.executed) {
		return
	}
	top := baseSlot(m.cfg.Epoch, m.base)
	if m.decided != nil && m.decided.Slot > top {
		m.finishUpTo(now, st, m.decided.Slot)
		return
	}
	for s := top + window; s > top; s-- {
		if x := m.slots[s]; x != nil && !x.final.IsZero() {
			m.finishUpTo(now, st, s)
			return
		}
	}
}

func (m *Machine) finishUpTo(now protocols.Time, st *Step, s uint64) {
	first := baseSlot(m.cfg.Epoch, m.base) + 1
	chain := make([]*Block, s-first+1)
	d := m.slots[s].final
	for k := s; k >= first; k-- {
		b := m.Block(k, d)
		if b == nil {
			m.want(now, k, d)
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
		st.Emit(Committed{Block: b, Signers: m.signers(first+uint64(k), b.digest)})
	}
	m.rebase(chain[len(chain)-1])
	for _, b := range chain {
		m.voteFinal(now, st, b)
	}
	m.propose(now, st)
	m.voteAll(now, st)
}

// upon a block that became final here before this replica voted in its slot: vote for it all the same, content or not, as
// soon as execution is near enough. The others may lack this vote for their QC, and then this replica's Commit: a Byzantine
// replica that sends its Commit to one alone would leave them with an open slot.
//
// It is as safe as no vote at all:
//   - Of a slot up to a final one no other block can have a QC. The final slot has a QC, and so n-2f honest replicas that
//     voted in it before anything was final; each of them voted for the block below or knew it to have a QC or to be
//     committed, and so on down. Another QC would need as many other honest voters, and there are n-f in all. This replica
//     votes once in the slot, as ever: a vote that it cast before counts, also after a restart, and at or below the
//     floor, where it may have forgotten one, it casts none.
//   - It acknowledges no tip (Data.Lock), and no tip needs it: the n-2f honest voters acknowledged every header that the
//     block added, or had its certificate, and they keep the data until it is executed. Its cut is ordered here, and at or
//     below the ordered position nothing is acknowledged, whatever was before.
//   - Its record needs no proposal beside it, since the commit of the block is in the same step, or was before.
//   - Signers that data is asked of are a hint: one that has none does not answer, and all others are asked in turn.
//   - A replica that left the epoch casts none, so its Status stays its last word.
func (m *Machine) voteFinal(now protocols.Time, st *Step, b *Block) {
	x := m.slots[b.Slot]
	if m.left || x == nil || x.vote != nil || b.Slot <= m.floor || b.Last {
		return
	}
	if b.Height > m.executed+ExecutionLag {
		x.owed = b
		return
	}
	x.owed = nil
	m.cast(now, st, x, b)
}

// payVotes casts the votes for final blocks that execution has come near enough to.
func (m *Machine) payVotes(now protocols.Time, st *Step) {
	for s := m.floor + 1; s <= baseSlot(m.cfg.Epoch, m.base); s++ {
		if x := m.slots[s]; x != nil && x.owed != nil {
			if x.owed.Height > m.executed+ExecutionLag {
				return
			}
			m.voteFinal(now, st, x.owed)
		}
	}
}

func (m *Machine) signers(s uint64, d digest.Digest) protocols.Set {
	var set protocols.Set
	x := m.slot(s)
	if m.decided != nil && m.decided.Slot == s {
		set = m.holders
	} else if t := x.votes[d]; t != nil {
		set = t.Signers()
	} else if c := x.commits[d]; c != nil {
		set = *c
	}
	set.Remove(m.cfg.Self)
	return set
}
