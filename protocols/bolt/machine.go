// Package bolt is the fast lane of one epoch (docs/design.md §4.2; Bolt-Dumbo Transformer, arXiv 2103.09425, §4: Bolt).
//
// One leader proposes a block for each slot. All replicas vote. n-f votes make a QC. A replica with the QC sends
// Finalize. n-f Finalize messages commit the block and all blocks before it. That is three message delays: propose,
// vote, commit.
//
// Guarantee: no two honest replicas commit different blocks at one height, for any behaviour of the network and of up to f
// replicas. Liveness in the epoch needs an honest leader and a network that delivers. Leaving an epoch is the task of
// package bdt.
//
// Why the thresholds suffice. An honest replica votes once in a slot. Two QCs of one slot would share an honest voter,
// so a slot has at most one QC digest. An honest replica votes only for a block whose parent it voted for, or has a QC,
// or is committed. So, by induction, there is one chain of QCs below a QC. (A vote for a block that is already final
// adds only to the QC that an honest replica has.) A Finalize is sent only with the QC on disk. n-f Finalize messages
// mean that f+1 honest replicas hold the QC on disk, also after crashes, so a replica that gets answers from n-f
// replicas learns of the QC.
//
// Differences from the paper: blocks contain positions in the lanes instead of transactions; slots are pipelined; a
// replica may vote for a block whose data is certified without holding the data.
package bolt

import (
	"time"

	"bdtnode/internal/sig"
	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// Bounds of the pipeline.
const (
	// Pipeline is the number of slots that a leader may propose above its last commit (K in docs/design.md §4.2).
	Pipeline = 16
	// ExecutionLag is the number of blocks beyond its own execution for which a replica votes (X in docs/design.md §4.2).
	ExecutionLag = 128
	// CommitLag is the number of blocks beyond its own execution that a replica commits before it waits for the executor.
	// One step that commits several blocks may exceed it by the blocks of the window.
	CommitLag = 4 * ExecutionLag
	// window is the number of slots above the last commit for which messages are kept. Messages of later slots are refused:
	// a replica that far behind catches up by certified headers.
	window = 4 * Pipeline
	// MaxClockAhead is the largest time by which a block may be ahead of the clock of a voter.
	MaxClockAhead = 500 * time.Millisecond

	maxClockWait = 1_000 // ms after which a block ahead of the clock is checked again at the latest: the clock may have been set

	fetchGrace    = 60 * time.Millisecond  // before the first request: the block may already be on its way
	fetchRetryMin = 150 * time.Millisecond // first pause between two requests
	fetchRetryMax = 3 * time.Second        // longest pause
)

// Data is the part of the lanes that bolt uses; see package lanes for the methods.
type Data interface {
	ProposableCut(now protocols.Time, parent lanes.Cut) (lanes.Cut, []*lanes.TipCertificate)
	CheckCut(now protocols.Time, parent, cut lanes.Cut, hint protocols.Index) (lanes.Step, lanes.Verdict)
	AckCut(now protocols.Time, parent, cut lanes.Cut) lanes.Step
	HandleCertificate(now protocols.Time, c *lanes.TipCertificate) lanes.Step
	// HeldUp is called when a slot of this leader got its QC later than usual by the time wait, because the replicas in late
	// voted later than they usually do. It reports whether a lane is the cause.
	HeldUp(now protocols.Time, parent, cut lanes.Cut, late protocols.Set, wait time.Duration) bool
}

// Inbound is the part of the channels from other shards that bolt uses; see package inbound for the methods.
type Inbound interface {
	ProposableCut(now protocols.Time, parent lanes.Cut) lanes.Cut
	CheckCut(now protocols.Time, parent, cut lanes.Cut, hint protocols.Index) lanes.Verdict
	// HeldUp is like that of Data, for the channels.
	HeldUp(now protocols.Time, parent, cut lanes.Cut, late protocols.Set, wait time.Duration) bool
}

// Committed is a final block. Committed blocks come in order of height. Signers are other replicas that voted for the block
// or sent Finalize for it. Most of them hold its data; a replica that had committed the block before it voted may not.
type Committed struct {
	Block   *Block
	Signers protocols.Set
}

// Step is one step of the machine.
type Step = protocols.Step[Committed]

// Config has the parameters of a machine.
type Config struct {
	Committee *protocols.Committee
	Self      protocols.Index
	Signer    sig.Signer
	Epoch     uint64
	Leader    protocols.Index
	Slots     uint64 // last slot of the epoch
	Data      Data
	Inbound   Inbound
	MaxGap    time.Duration // between proposals under lasting load; 0 means MaxGap
	WallClock *protocols.WallClock
}

// Machine is the state of the fast lane of one epoch at one replica.
type Machine struct {
	cfg      Config
	base     *Block // last committed block
	executed uint64 // height up to which this replica executed
	slots    slotWindow
	wants    wants
	top      *QC    // highest QC for which this replica sent Finalize; nil before the first
	final    uint64 // highest slot for which n-f Finalize messages were counted
	left     bool   // Leave was called: nothing is signed any more
	decided  *Block // block at which the epoch was decided to end; nil before

	// Only used by the leader.
	last       *Block // last proposed block, or base
	pace       pace
	responses  responses
	proposeDue protocols.Time // when the next proposal may be made; zero if none waits
	clockDue   protocols.Time // when a block that is ahead of the clock is checked again; zero if there is none
}

// New makes the machine of an epoch whose first slot extends base.
func New(cfg Config, base *Block, executed uint64) *Machine {
	return &Machine{
		cfg: cfg, base: base, last: base, executed: executed,
		slots: newSlotWindow(cfg.Epoch, cfg.Slots, baseSlot(cfg.Epoch, base)), wants: newWants(&cfg),
		pace: newPace(cfg.MaxGap), responses: newResponses(&cfg),
	}
}

// baseSlot is the slot of b in an epoch, 0 if b is of an earlier epoch. The epoch continues after this slot.
func baseSlot(epoch uint64, b *Block) uint64 {
	if b.Epoch == epoch {
		return b.Slot
	}
	return 0
}

// Leader is the leader of the epoch.
func (m *Machine) Leader() protocols.Index { return m.cfg.Leader }

// Base is the last committed block.
func (m *Machine) Base() *Block { return m.base }

// OpenSlots is the number of slots that this leader proposed above the last commit.
func (m *Machine) OpenSlots() uint64 {
	return baseSlot(m.cfg.Epoch, m.last) - min(baseSlot(m.cfg.Epoch, m.last), m.slots.committed)
}

// HandleAhead records that a message of a peer was refused because its slot is above the window.
func (m *Machine) HandleAhead(from protocols.Index, s uint64) { m.slots.refuse(from, s) }

// TakeRefusedPeers lists the peers of which a message was refused for being above the window, if the window has reached
// it by now. They must be asked to send again: a replica does not repeat a message by itself, and the refused messages
// may be of slots that are open now. The call clears the list.
func (m *Machine) TakeRefusedPeers() protocols.Set { return m.slots.takeRefused() }

// Progress is called when the lanes or channels grew or time passed. The leader may propose, and blocks whose data was
// missing may be voted for.
func (m *Machine) Progress(now protocols.Time) Step {
	var st Step
	m.propose(now, &st)
	m.voteAll(now, &st)
	return st
}

// upon growth of the leader's view of the lanes: propose the next slot, at most Pipeline above the last commit.
func (m *Machine) propose(now protocols.Time, st *Step) {
	m.proposeDue = 0
	if m.left || m.cfg.Self != m.cfg.Leader || m.OpenSlots() >= Pipeline || baseSlot(m.cfg.Epoch, m.last) >= m.cfg.Slots ||
		m.last.Height+1 > m.executed+ExecutionLag {
		return
	}
	cut, certs := m.cfg.Data.ProposableCut(now, m.last.Cut)
	b := &Block{
		Epoch: m.cfg.Epoch, Slot: baseSlot(m.cfg.Epoch, m.last) + 1, Height: m.last.Height + 1,
		Parent: m.last.digest, TimeMS: max(m.cfg.WallClock.At(now).Millis(), m.last.TimeMS), Cut: cut, Inbound: m.cfg.Inbound.ProposableCut(now, m.last.Inbound),
	}
	if !b.Grows(m.last) {
		return
	}
	if due := m.pace.due(m.OpenSlots() > 0); now < due {
		m.proposeDue = due
		return
	}
	b.setDigest(m.cfg.Committee)
	p := &Propose{Leader: m.cfg.Self, Block: b, Certificates: certs}
	p.Signature = m.cfg.Signer.Sign(proposeStatement(m.cfg.Committee, m.cfg.Self, b))
	x := m.slots.at(b.Slot)
	x.response = m.responses.begin(now, m.last)
	m.last = b
	m.pace.proposed(now, b.Slot)
	m.pace.spend(now)
	st.Record(proposalKey(b.Epoch, b.Slot), p.Append(nil))
	st.Broadcast(p)
	x.proposal, x.blocks[b.digest] = p, p
}

// HandlePropose is called upon a checked proposal, from the leader or as the answer to a FetchBlock.
func (m *Machine) HandlePropose(now protocols.Time, from protocols.Index, p *Propose) Step {
	var st Step
	b := p.Block
	if b.Epoch == m.cfg.Epoch && p.Leader != m.cfg.Leader {
		st.Blame(from, "sent a proposal of replica %d, which is not the leader of epoch %d", p.Leader, b.Epoch)
		return st
	}
	wanted := m.wants.has(b.digest)
	if !wanted && !m.slots.accepts(from, b.Epoch, b.Slot) {
		return st
	}
	x := m.slots.at(b.Slot)
	if x.blocks[b.digest] != nil {
		return st
	}
	if x.proposal != nil && !x.equivocated {
		x.equivocated = true
		st.Blame(p.Leader, "proposed two blocks for epoch %d slot %d", b.Epoch, b.Slot)
	}
	if x.proposal != nil && !wanted && !x.names(b.digest) {
		return st
	}
	m.pace.proposed(now, b.Slot)
	m.wants.arrived(b.digest)
	x.blocks[b.digest] = p
	if x.proposal == nil {
		x.proposal = p
	}
	for _, c := range p.Certificates {
		protocols.Absorb(&st, m.cfg.Data.HandleCertificate(now, c))
	}
	m.voteAll(now, &st)
	m.finish(now, &st)
	return st
}

// voteAll votes for every proposal above the last commit that can be voted for now. It goes in order of slot, since a vote
// in one slot makes the block a valid parent for the next slot.
func (m *Machine) voteAll(now protocols.Time, st *Step) {
	m.clockDue = 0
	if m.left {
		return
	}
	first := m.slots.committed + 1
	for s := first; s < first+window && s <= m.slots.highest; s++ { // a vote may commit, and then the leader may propose
		x := m.slots.kept[s]
		if x == nil || x.proposal == nil || x.vote != nil || x.refused {
			continue
		}
		m.vote(now, st, x)
	}
}

// upon a proposal whose parent is valid and whose data is held or certified: vote, once in a slot.
func (m *Machine) vote(now protocols.Time, st *Step, x *slot) {
	b := x.proposal.Block
	parent := m.votableParent(now, b)
	if parent == nil {
		return
	}
	if b.Height != parent.Height+1 || b.TimeMS < parent.TimeMS || !b.Grows(parent) {
		x.refused = true
		st.Blame(m.cfg.Leader, "proposed a block for slot %d that does not extend its parent", b.Slot)
		return
	}
	if b.Height > m.executed+ExecutionLag {
		return
	}
	// A block with the time of its parent is no further ahead than blocks that a quorum voted for. Without this rule, a
	// shard whose clocks were once all ahead would stop until that time comes.
	if limit := max(m.cfg.WallClock.At(now).Add(MaxClockAhead).Millis(), parent.TimeMS); b.TimeMS > limit { // in milliseconds, since nanoseconds may wrap around
		due := now.Add(time.Duration(min(b.TimeMS-limit, maxClockWait)) * time.Millisecond)
		if m.clockDue == 0 || due < m.clockDue {
			m.clockDue = due
		}
		return
	}
	check, verdict := m.cfg.Data.CheckCut(now, parent.Cut, b.Cut, m.cfg.Leader)
	if verdict == lanes.Refused && x.conflictSent {
		check.Sends = nil // sent before
	}
	x.conflictSent = x.conflictSent || verdict == lanes.Refused
	protocols.Absorb(st, check)
	verdict = max(verdict, m.cfg.Inbound.CheckCut(now, parent.Inbound, b.Inbound, m.cfg.Leader))
	if verdict != lanes.Votable {
		return
	}
	protocols.Absorb(st, m.cfg.Data.AckCut(now, parent.Cut, b.Cut))
	if m.cfg.Self != m.cfg.Leader {
		st.Record(proposalKey(b.Epoch, b.Slot), x.proposal.Append(nil))
	}
	m.cast(now, st, x, b)
}

// cast signs, persists and sends the vote of a slot.
func (m *Machine) cast(now protocols.Time, st *Step, x *slot, b *Block) {
	v := &Vote{Epoch: b.Epoch, Slot: b.Slot, Digest: b.digest}
	v.Signature = m.cfg.Signer.Sign(voteStatement(m.cfg.Committee, b.Epoch, b.Slot, b.digest))
	x.vote = v
	st.Record(voteKey(b.Epoch, b.Slot), b.digest[:])
	st.Broadcast(v)
	m.countVote(now, st, m.cfg.Self, v)
}

// votableParent is the parent of b if a vote for b on top of it is allowed: it is the last committed block, or was voted for
// in the slot before, or has a QC; and it is held. Else it is nil.
func (m *Machine) votableParent(now protocols.Time, b *Block) *Block {
	if b.Parent == m.base.digest {
		if b.Slot == m.slots.committed+1 {
			return m.base
		}
		return nil
	}
	x := m.slots.kept[b.Slot-1]
	if x == nil || !(x.vote != nil && x.vote.Digest == b.Parent || x.qc != nil && x.qc.Digest == b.Parent) {
		return nil
	}
	p := x.blocks[b.Parent]
	if p == nil {
		m.wants.request(now, b.Slot-1, b.Parent)
		return nil
	}
	return p.Block
}

// HandleVote is called upon a checked vote.
func (m *Machine) HandleVote(now protocols.Time, from protocols.Index, v *Vote) Step {
	var st Step
	if m.slots.accepts(from, v.Epoch, v.Slot) {
		m.countVote(now, &st, from, v)
	}
	return st
}

// upon n-f votes for one digest: that is the QC of the slot; send Finalize with the QC on disk.
func (m *Machine) countVote(now protocols.Time, st *Step, from protocols.Index, v *Vote) {
	x := m.slots.at(v.Slot)
	if !x.voters.Add(from) {
		return
	}
	t := x.votes[v.Digest]
	if t == nil {
		t = protocols.NewTally(v.Digest)
		x.votes[v.Digest] = t
	}
	t.Add(from, v.Signature)
	m.responses.arrived(now, x.response, from)
	if t.Len() < m.cfg.Committee.Quorum() || x.qc != nil {
		return
	}
	x.qc = &QC{Epoch: v.Epoch, Slot: v.Slot, Digest: v.Digest, Certificate: t.Certificate()}
	m.responses.check(now, x)
	if x.blocks[v.Digest] == nil && v.Slot > m.slots.committed {
		m.wants.request(now, v.Slot, v.Digest)
	}
	if m.left {
		return
	}
	x.finalize = &Finalize{Epoch: v.Epoch, Slot: v.Slot, Digest: v.Digest}
	st.Record(finalizeKey(v.Epoch, v.Slot), x.qc.Append(nil))
	if m.top == nil || m.top.Slot < v.Slot {
		m.top = x.qc
		st.Record(topKey(v.Epoch), x.qc.Append(nil)) // kept when the slot is forgotten
	}
	st.Broadcast(x.finalize)
	m.countFinalize(now, st, m.cfg.Self, x.finalize)
	m.voteAll(now, st) // a block with a QC is a valid parent for the next slot
}

// HandleFinalize is called upon a Finalize.
func (m *Machine) HandleFinalize(now protocols.Time, from protocols.Index, f *Finalize) Step {
	var st Step
	if m.slots.accepts(from, f.Epoch, f.Slot) {
		m.countFinalize(now, &st, from, f)
	}
	return st
}

// upon n-f Finalize messages for one digest: the block and all blocks before it are final.
func (m *Machine) countFinalize(now protocols.Time, st *Step, from protocols.Index, f *Finalize) {
	x := m.slots.at(f.Slot)
	if !x.senders.Add(from) {
		return
	}
	set := x.finalizers[f.Digest]
	if set == nil {
		set = &protocols.Set{}
		x.finalizers[f.Digest] = set
	}
	set.Add(from)
	if set.Len() == m.cfg.Committee.Quorum() {
		x.final = f.Digest
		m.final = max(m.final, f.Slot)
		m.finish(now, st)
	}
}

// rebase makes b the last committed block.
func (m *Machine) rebase(b *Block) {
	m.base = b
	m.slots.committed = baseSlot(m.cfg.Epoch, b)
	m.pace.forget(m.slots.committed)
	if m.last.Height <= b.Height {
		m.last = b
	}
	m.wants.forget(m.slots.committed)
}

// Adopt makes b the last committed block of a replica that was behind. f+1 replicas certified the header of b.
func (m *Machine) Adopt(now protocols.Time, b *Block) Step {
	var st Step
	if b.Height > m.base.Height {
		m.rebase(b)
		m.voteFinal(now, &st, b)
		m.propose(now, &st)
		m.voteAll(now, &st)
		m.finish(now, &st)
	}
	return st
}

// Executed is called with the height up to which this replica has executed.
func (m *Machine) Executed(now protocols.Time, height uint64) Step {
	var st Step
	m.executed = height
	m.castPendingVotes(now, &st)
	m.propose(now, &st)
	m.voteAll(now, &st)
	m.finish(now, &st)
	return st
}
