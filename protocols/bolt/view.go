package bolt

import (
	"bdtnode/internal/digest"
	"bdtnode/protocols"
)

// View is a snapshot of the fast lane of an epoch, for operators.
type View struct {
	LastSlot      uint64            `json:"last_slot"`       // of the epoch
	Committed     uint64            `json:"committed_slot"`  // last committed slot, 0 if there is none
	Proposed      uint64            `json:"proposed_slot"`   // highest slot with a proposal here
	Final         uint64            `json:"final_slot"`      // highest slot with n-f Finalizes here
	Top           uint64            `json:"top_slot"`        // highest slot for which this replica sent Finalize
	Left          bool              `json:"left"`            // this replica signs nothing more in the epoch
	CommitDelayMS int64             `json:"commit_delay_ms"` // smoothed time from a proposal to its commit
	GapMS         int64             `json:"gap_ms"`          // least time between two proposals while slots are open
	WantedBlocks  int               `json:"wanted_blocks"`   // blocks that were requested and are not here
	KeptSlots     int               `json:"kept_slots"`      // committed slots that are kept for replicas that may lack a Finalize
	Refused       []protocols.Index `json:"refused_from"`    // replicas whose messages were too far ahead, and are asked again
	Slots         []SlotView        `json:"slots"`           // open slots, in order
}

// SlotView is a snapshot of an open slot: one above the last commit.
type SlotView struct {
	Slot      uint64            `json:"slot"`
	Height    uint64            `json:"height"`       // of the proposed block, 0 without a proposal
	Digest    string            `json:"block"`        // first hexadecimal digits of its digest
	Proposed  bool              `json:"proposed"`     // the leader's proposal is here
	SinceMS   int64             `json:"since_ms"`     // time since the proposal was made or arrived, 0 without one
	VotedBy   []protocols.Index `json:"voted_by"`     // replicas whose Vote is here
	QC        bool              `json:"qc"`           // n-f of them voted for one block
	Finalized []protocols.Index `json:"finalized_by"` // replicas whose Finalize is here
	Final     bool              `json:"final"`        // n-f of them name one block
	OwnVote   OwnVote           `json:"own_vote"`
	WaitsFor  SlotWait          `json:"waits_for"`
	Missing   []protocols.Index `json:"missing"` // replicas without the Vote or Finalize that is waited for, or the leader
	Needed    int               `json:"needed"`  // number of further Votes or Finalizes that are needed
}

// OwnVote is the state of this replica's own vote in a slot.
type OwnVote string

// The states of the own vote.
const (
	VoteCast      OwnVote = "cast"
	VoteLeft      OwnVote = "left"      // this replica has left the epoch
	VoteProposal  OwnVote = "proposal"  // the proposal is not here
	VoteRefused   OwnVote = "refused"   // the block does not extend its parent
	VoteParent    OwnVote = "parent"    // the block before it has neither the own vote nor a QC here
	VoteExecution OwnVote = "execution" // the block is too far beyond the own execution
	VoteClock     OwnVote = "clock"     // the time of the block is too far ahead of the own clock
	VoteData      OwnVote = "data"      // data that the block orders is not here, or conflicts with an acknowledged header
)

// SlotWait is the thing that a slot waits for.
type SlotWait string

// The things that a slot can wait for.
const (
	WaitProposal  SlotWait = "proposal"
	WaitVotes     SlotWait = "votes"
	WaitFinalizes SlotWait = "finalizes"
	WaitBlock     SlotWait = "block"     // a block up to this slot is not here, and was requested
	WaitExecution SlotWait = "execution" // this replica commits nothing more before it has executed a block
	WaitEarlier   SlotWait = "earlier"   // it is final, and commits together with the slots before it
)

// Inspect takes a snapshot.
func (m *Machine) Inspect(now protocols.Time) View {
	v := View{
		LastSlot: m.cfg.Slots, Committed: m.CommittedSlot(), Final: m.final, Left: m.left,
		CommitDelayMS: m.pace.delays.Smoothed.Milliseconds(), GapMS: m.Gap().Milliseconds(),
		WantedBlocks: len(m.wants.open), Refused: m.slots.ahead.Members(), Slots: []SlotView{},
	}
	if m.top != nil {
		v.Top = m.top.Slot
	}
	for s, x := range m.slots.kept {
		if s <= v.Committed {
			v.KeptSlots++
		}
		if x.proposal != nil {
			v.Proposed = max(v.Proposed, s)
		}
	}
	i := inspection{m, now}
	first := v.Committed + 1
	for s := first; s < first+window; s++ {
		if x := m.slots.kept[s]; x != nil {
			v.Slots = append(v.Slots, i.slot(s, x))
		}
	}
	return v
}

// inspection makes the snapshots of the slots of a machine at a time. It changes nothing.
type inspection struct {
	machine *Machine
	now     protocols.Time
}

func (i inspection) slot(s uint64, x *slot) SlotView {
	m := i.machine
	v := SlotView{
		Slot: s, Proposed: x.proposal != nil, SinceMS: protocols.AgeMS(i.now, m.pace.seen[s]), VotedBy: x.voters.Members(),
		QC: x.qc != nil, Finalized: x.senders.Members(), Final: !x.final.IsZero(), OwnVote: i.ownVote(x),
		Missing: []protocols.Index{},
	}
	if x.proposal != nil {
		v.Height, v.Digest = x.proposal.Block.Height, x.proposal.Block.digest.Short()
	}
	n, quorum := m.cfg.Committee.N(), m.cfg.Committee.Quorum()
	switch {
	case v.Final && Lags(m.base.Height, m.executed):
		v.WaitsFor = WaitExecution
	case v.Final && m.Block(s, x.final) == nil:
		v.WaitsFor = WaitBlock
	case v.Final:
		v.WaitsFor = WaitEarlier
	case v.QC:
		most := 0
		for _, set := range x.finalizers {
			most = max(most, set.Len())
		}
		v.WaitsFor, v.Missing, v.Needed = WaitFinalizes, x.senders.Others(n), quorum-most
	case x.proposal == nil && x.voters.Len() == 0:
		v.WaitsFor, v.Missing = WaitProposal, []protocols.Index{m.cfg.Leader}
	default:
		most := 0
		for _, t := range x.votes {
			most = max(most, t.Len())
		}
		v.WaitsFor, v.Missing, v.Needed = WaitVotes, x.voters.Others(n), quorum-most
	}
	return v
}

// ownVote is the reason why the own vote is not cast, by the same conditions as Machine.vote, and without requesting anything.
func (i inspection) ownVote(x *slot) OwnVote {
	m := i.machine
	switch {
	case x.vote != nil:
		return VoteCast
	case m.left:
		return VoteLeft
	case x.proposal == nil:
		return VoteProposal
	case x.refused:
		return VoteRefused
	}
	b := x.proposal.Block
	parent := m.base
	if b.Parent != m.base.digest {
		before := m.slots.kept[b.Slot-1]
		if before == nil || before.blocks[b.Parent] == nil || !before.votableAs(b.Parent) {
			return VoteParent
		}
		parent = before.blocks[b.Parent].Block
	}
	switch {
	case b.Height > m.executed+ExecutionLag:
		return VoteExecution
	case b.TimeMS > max(m.cfg.WallClock.At(i.now).Add(MaxClockAhead).Millis(), parent.TimeMS):
		return VoteClock
	}
	return VoteData
}

// votableAs reports whether a block of the slot may be the parent of a block that this replica votes for.
func (x *slot) votableAs(d digest.Digest) bool {
	return x.vote != nil && x.vote.Digest == d || x.qc != nil && x.qc.Digest == d
}
