// Package bolt is the fast lane of one epoch (DESIGN §4.2; Bolt-Dumbo Transformer, arXiv 2103.09425, §4: Bolt).
//
// One leader proposes a block for each slot; all vote; n-f votes make a QC; whoever holds the QC sends Commit; n-f
// Commits commit the block and all before it. That is three message delays: propose, vote, commit.
//
// Guarantee: no two honest replicas commit different blocks at one height, whatever the network and up to f
// replicas do. Liveness in the epoch needs an honest leader and a network that delivers; leaving an epoch is not
// this package's job.
//
// Why the thresholds suffice. An honest replica votes once a slot, so two QCs of one slot would share an honest
// voter: there is one QC digest a slot. It votes only for a block whose parent it voted for, or which has a QC, or
// is committed: so below a QC there is one chain of QCs, by induction. (A vote for a block that is final already adds to
// the QC that an honest replica has, and makes no other.) A Commit is sent only with the QC, and n-f
// Commits mean that f+1 honest replicas hold it, on disk, whatever crashes: who asks n-f replicas hears of it.
//
// Differences from the paper: blocks carry positions in the lanes instead of transactions; slots are pipelined; a
// replica may vote for a block whose data is certified without holding it.
package bolt

import (
	"time"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// Bounds of the pipeline.
const (
	// Pipeline is how many slots a leader proposes ahead of its last commit (K in DESIGN §4.2).
	Pipeline = 16
	// ExecutionLag is how many blocks beyond its own execution a replica votes (X in DESIGN §4.2).
	ExecutionLag = 128
	// CommitLag is how many blocks beyond its own execution a replica commits before it waits for the executor. One step
	// that commits several may go beyond it by what is in the window.
	CommitLag = 4 * ExecutionLag
	// window is how many slots above the last commit messages are kept for. What is further ahead is refused: a
	// replica that far behind catches up by certified headers.
	window = 4 * Pipeline
	// MaxClockAhead is how far ahead of its own clock a replica lets a block's time be.
	MaxClockAhead = 500 * time.Millisecond

	maxClockWait = 1_000 // milliseconds after which a block from the future is looked at again: the clock may have been set

	fetchGrace    = 60 * time.Millisecond
	fetchRetryMin = 150 * time.Millisecond
	fetchRetryMax = 3 * time.Second
)

// Data is what bolt asks of the lanes.
type Data interface {
	View(now protocols.Time, parent lanes.Cut) (lanes.Cut, []*lanes.TipCertificate)
	CheckCut(now protocols.Time, parent, cut lanes.Cut, hint protocols.Index) (lanes.Step, lanes.Verdict)
	Lock(now protocols.Time, parent, cut lanes.Cut) lanes.Step
	HandleCertificate(now protocols.Time, c *lanes.TipCertificate) lanes.Step
	// HeldUp reports a slot of this leader's that got its QC so much later than usual, since late voted later than they
	// usually do, and says whether that is put down to a lane.
	HeldUp(now protocols.Time, parent, cut lanes.Cut, late protocols.Set, wait time.Duration) bool
}

// Inbound is what bolt asks of the channels from other shards.
type Inbound interface {
	View(parent lanes.Cut) lanes.Cut
	Check(now protocols.Time, parent, cut lanes.Cut, hint protocols.Index) lanes.Verdict
}

// Committed is a block that is final, in order of height. Signers sent Commit or voted for it, and most of them hold its data:
// not those that had committed it before they voted.
type Committed struct {
	Block   *Block
	Signers protocols.Set
}

// Step is one step of the machine.
type Step = protocols.Step[Committed]

// Config is what a machine is made of.
type Config struct {
	Committee *protocols.Committee
	Self      protocols.Index
	Signer    sig.Signer
	Epoch     uint64
	Leader    protocols.Index
	Slots     uint64 // of the epoch: there is none after this one
	Data      Data
	Inbound   Inbound
	Wall      *protocols.Wall
}

// Machine is one replica in one epoch's fast lane.
type Machine struct {
	cfg      Config
	base     *Block // last committed
	executed uint64 // height
	slots    map[uint64]*slot
	floor    uint64 // slots at or below it are forgotten: their heights are certified
	wants    map[digest.Digest]*want
	ahead    protocols.Set // peers who sent something beyond the window, which was refused
	aheadOf  uint64        // the lowest slot of it; zero if there is none
	top      *QC           // the highest that this replica sent Commit for; nil before the first
	final    uint64        // the highest slot that n-f Commits were counted for
	left     bool          // nothing is signed any more
	decided  *Block        // where the epoch ended, as far as slots go; nil while that is open
	holders  protocols.Set // of decided

	// of the leader
	last       *Block // last proposed, or base
	lastAt     protocols.Time
	pace       pace
	usual      []time.Duration // of each replica, from a proposal to its vote, smoothed; zero before the first
	proposeDue protocols.Time
	clockDue   protocols.Time // a block's time is ahead of the clock until then
}

type slot struct {
	proposal *Propose                   // the first of the leader, the only one that may be voted for
	blocks   map[digest.Digest]*Propose // with those that a QC or Commits name
	vote     *Vote                      // own
	voters   protocols.Set              // whose first vote was counted
	votes    map[digest.Digest]*protocols.Tally
	qc       *QC
	commit   *Commit // own
	senders  protocols.Set
	commits  map[digest.Digest]*protocols.Set
	final    digest.Digest // n-f Commits name it
	equivoc  bool          // the leader was blamed for two blocks
	objected bool          // the leader was told what stands against the cut
	refused  bool          // the proposal does not extend its parent
	response *response     // to the own proposal; nil in other replicas' epochs, and after a restart
	owed     *Block        // final here, and voted for when execution allows it; nil if there is none
}

// New makes the machine of an epoch whose first slot extends base.
func New(cfg Config, base *Block, executed uint64) *Machine {
	return &Machine{
		cfg: cfg, base: base, last: base, executed: executed,
		slots: make(map[uint64]*slot), wants: make(map[digest.Digest]*want),
		floor: baseSlot(cfg.Epoch, base), pace: newPace(), usual: make([]time.Duration, cfg.Committee.N()),
	}
}

// baseSlot is the slot after which an epoch goes on from b.
func baseSlot(epoch uint64, b *Block) uint64 {
	if b.Epoch == epoch {
		return b.Slot
	}
	return 0
}

// Leader is the epoch's leader.
func (m *Machine) Leader() protocols.Index { return m.cfg.Leader }

// Base is the last committed block.
func (m *Machine) Base() *Block { return m.base }

// OpenSlots is how many slots this leader proposed above the last commit.
func (m *Machine) OpenSlots() uint64 {
	return baseSlot(m.cfg.Epoch, m.last) - min(baseSlot(m.cfg.Epoch, m.last), baseSlot(m.cfg.Epoch, m.base))
}

func (m *Machine) slot(s uint64) *slot {
	x := m.slots[s]
	if x == nil {
		x = &slot{
			blocks:  make(map[digest.Digest]*Propose),
			votes:   make(map[digest.Digest]*protocols.Tally),
			commits: make(map[digest.Digest]*protocols.Set),
		}
		m.slots[s] = x
	}
	return x
}

// inWindow reports whether messages of slot s are kept. Who sent one that is further ahead is remembered.
func (m *Machine) inWindow(from protocols.Index, epoch, s uint64) bool {
	if epoch != m.cfg.Epoch || s <= m.floor || s > m.cfg.Slots {
		return false
	}
	if s <= baseSlot(m.cfg.Epoch, m.base)+window {
		return true
	}
	m.HandleAhead(from, s)
	return false
}

// HandleAhead notes that something of a peer's was refused because its slot is ahead of the window.
func (m *Machine) HandleAhead(from protocols.Index, s uint64) {
	m.ahead.Add(from)
	if m.aheadOf == 0 || s < m.aheadOf {
		m.aheadOf = s
	}
}

// Refused is the peers of whom something was refused for being beyond the window and is not any more, so that they
// must be asked to send again: nobody repeats itself, and the slots refused may be those that are open now. They are
// forgotten by the call.
func (m *Machine) Refused() protocols.Set {
	var set protocols.Set
	if m.aheadOf != 0 && m.aheadOf <= baseSlot(m.cfg.Epoch, m.base)+Pipeline {
		set, m.ahead, m.aheadOf = m.ahead, protocols.Set{}, 0
	}
	return set
}

// Progress is called when the lanes grew or time passed: the leader may propose, and blocks that lacked something
// may be voted for.
func (m *Machine) Progress(now protocols.Time) Step {
	var st Step
	m.propose(now, &st)
	m.voteAll(now, &st)
	return st
}

// upon the leader's view of the lanes moving: propose the next slot, at most Pipeline ahead of the last commit.
func (m *Machine) propose(now protocols.Time, st *Step) {
	m.proposeDue = 0
	if m.left || m.cfg.Self != m.cfg.Leader || m.OpenSlots() >= Pipeline || baseSlot(m.cfg.Epoch, m.last) >= m.cfg.Slots ||
		m.last.Height+1 > m.executed+ExecutionLag {
		return
	}
	cut, certs := m.cfg.Data.View(now, m.last.Cut)
	b := &Block{
		Epoch: m.cfg.Epoch, Slot: baseSlot(m.cfg.Epoch, m.last) + 1, Height: m.last.Height + 1,
		Parent: m.last.digest, TimeMS: max(m.cfg.Wall.At(now).Millis(), m.last.TimeMS), Cut: cut, Inbound: m.cfg.Inbound.View(m.last.Inbound),
	}
	if !b.Grows(m.last) {
		return
	}
	if due := m.lastAt.Add(m.pace.gap()); m.OpenSlots() > 0 && now < due {
		m.proposeDue = due
		return
	}
	b.seal(m.cfg.Committee)
	p := &Propose{Leader: m.cfg.Self, Block: b, Certificates: certs}
	p.Signature = m.cfg.Signer.Sign(proposeStatement(m.cfg.Committee, m.cfg.Self, b))
	x := m.slot(b.Slot)
	x.response = &response{at: now, parent: m.last.Cut, took: make([]time.Duration, m.cfg.Committee.N())}
	m.last, m.lastAt = b, now
	m.pace.proposed(now, b.Slot)
	st.Record(proposalKey(b.Epoch, b.Slot), p.Append(nil))
	st.Broadcast(p)
	x.proposal, x.blocks[b.digest] = p, p
}

// HandlePropose is called upon a checked proposal, from the leader or in answer to a FetchBlock.
func (m *Machine) HandlePropose(now protocols.Time, from protocols.Index, p *Propose) Step {
	var st Step
	b := p.Block
	if b.Epoch == m.cfg.Epoch && p.Leader != m.cfg.Leader {
		st.Blame(from, "sent a proposal of replica %d, who does not lead epoch %d", p.Leader, b.Epoch)
		return st
	}
	_, wanted := m.wants[b.digest]
	if !wanted && !m.inWindow(from, b.Epoch, b.Slot) {
		return st
	}
	x := m.slot(b.Slot)
	if x.blocks[b.digest] != nil {
		return st
	}
	if x.proposal != nil && !x.equivoc {
		x.equivoc = true
		st.Blame(p.Leader, "proposed two blocks for epoch %d slot %d", b.Epoch, b.Slot)
	}
	if x.proposal != nil && !wanted && !m.named(x, b.digest) {
		return st
	}
	m.pace.proposed(now, b.Slot)
	delete(m.wants, b.digest)
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

func (m *Machine) named(x *slot, d digest.Digest) bool {
	return x.votes[d] != nil || x.commits[d] != nil || x.final == d || x.qc != nil && x.qc.Digest == d
}

// voteAll votes for every proposal above the last commit that can be voted for now, in order of slot, so that a
// vote makes the next slot's parent votable.
func (m *Machine) voteAll(now protocols.Time, st *Step) {
	m.clockDue = 0
	if m.left {
		return
	}
	first := baseSlot(m.cfg.Epoch, m.base) + 1
	for s := first; s < first+window; s++ {
		x := m.slots[s]
		if x == nil || x.proposal == nil || x.vote != nil || x.refused {
			continue
		}
		m.vote(now, st, x)
	}
}

// upon a proposal whose parent is known good and whose data is held or certified: vote, once a slot.
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
	// A block with its parent's time is no further ahead than blocks that a quorum voted for: without it, a shard whose
	// clocks were all ahead would stand still until that time comes.
	if limit := max(m.cfg.Wall.At(now).Add(MaxClockAhead).Millis(), parent.TimeMS); b.TimeMS > limit { // in milliseconds: in nanoseconds it may wrap around
		due := now.Add(time.Duration(min(b.TimeMS-limit, maxClockWait)) * time.Millisecond)
		if m.clockDue == 0 || due < m.clockDue {
			m.clockDue = due
		}
		return
	}
	check, verdict := m.cfg.Data.CheckCut(now, parent.Cut, b.Cut, m.cfg.Leader)
	if verdict == lanes.Refused && x.objected {
		check.Sends = nil // the leader has heard it
	}
	x.objected = x.objected || verdict == lanes.Refused
	protocols.Absorb(st, check)
	verdict = max(verdict, m.cfg.Inbound.Check(now, parent.Inbound, b.Inbound, m.cfg.Leader))
	if verdict != lanes.Votable {
		return
	}
	protocols.Absorb(st, m.cfg.Data.Lock(now, parent.Cut, b.Cut))
	if m.cfg.Self != m.cfg.Leader {
		st.Record(proposalKey(b.Epoch, b.Slot), x.proposal.Append(nil))
	}
	m.cast(now, st, x, b)
}

// cast signs, persists and sends the slot's vote.
func (m *Machine) cast(now protocols.Time, st *Step, x *slot, b *Block) {
	v := &Vote{Epoch: b.Epoch, Slot: b.Slot, Digest: b.digest}
	v.Signature = m.cfg.Signer.Sign(voteStatement(m.cfg.Committee, b.Epoch, b.Slot, b.digest))
	x.vote = v
	st.Record(voteKey(b.Epoch, b.Slot), b.digest[:])
	st.Broadcast(v)
	m.countVote(now, st, m.cfg.Self, v)
}

// votableParent is b's parent if b may be voted for on top of it: it is the last committed block, was voted for in
// the slot before, or has a QC; and its content is here.
func (m *Machine) votableParent(now protocols.Time, b *Block) *Block {
	if b.Parent == m.base.digest {
		if b.Slot == baseSlot(m.cfg.Epoch, m.base)+1 {
			return m.base
		}
		return nil
	}
	x := m.slots[b.Slot-1]
	if x == nil || !(x.vote != nil && x.vote.Digest == b.Parent || x.qc != nil && x.qc.Digest == b.Parent) {
		return nil
	}
	p := x.blocks[b.Parent]
	if p == nil {
		m.want(now, b.Slot-1, b.Parent)
		return nil
	}
	return p.Block
}

// HandleVote is called upon a checked vote.
func (m *Machine) HandleVote(now protocols.Time, from protocols.Index, v *Vote) Step {
	var st Step
	if m.inWindow(from, v.Epoch, v.Slot) {
		m.countVote(now, &st, from, v)
	}
	return st
}

// upon n-f votes for one digest: that is the slot's QC; send Commit with the QC on disk.
func (m *Machine) countVote(now protocols.Time, st *Step, from protocols.Index, v *Vote) {
	x := m.slot(v.Slot)
	if !x.voters.Add(from) {
		return
	}
	t := x.votes[v.Digest]
	if t == nil {
		t = protocols.NewTally(v.Digest)
		x.votes[v.Digest] = t
	}
	t.Add(from, v.Signature)
	m.answered(now, x, from)
	if t.Len() < m.cfg.Committee.Quorum() || x.qc != nil {
		return
	}
	x.qc = &QC{Epoch: v.Epoch, Slot: v.Slot, Digest: v.Digest, Certificate: t.Certificate()}
	m.judge(now, x)
	if x.blocks[v.Digest] == nil && v.Slot > baseSlot(m.cfg.Epoch, m.base) {
		m.want(now, v.Slot, v.Digest)
	}
	if m.left {
		return
	}
	x.commit = &Commit{Epoch: v.Epoch, Slot: v.Slot, Digest: v.Digest}
	st.Record(commitKey(v.Epoch, v.Slot), x.qc.Append(nil))
	if m.top == nil || m.top.Slot < v.Slot {
		m.top = x.qc
		st.Record(topKey(v.Epoch), x.qc.Append(nil)) // it outlives its slot
	}
	st.Broadcast(x.commit)
	m.countCommit(now, st, m.cfg.Self, x.commit)
	m.voteAll(now, st) // a QC makes the next slot's parent votable
}

// HandleCommit is called upon a Commit.
func (m *Machine) HandleCommit(now protocols.Time, from protocols.Index, c *Commit) Step {
	var st Step
	if m.inWindow(from, c.Epoch, c.Slot) {
		m.countCommit(now, &st, from, c)
	}
	return st
}

// upon n-f Commits for one digest: the block is final, and all before it.
func (m *Machine) countCommit(now protocols.Time, st *Step, from protocols.Index, c *Commit) {
	x := m.slot(c.Slot)
	if !x.senders.Add(from) {
		return
	}
	set := x.commits[c.Digest]
	if set == nil {
		set = &protocols.Set{}
		x.commits[c.Digest] = set
	}
	set.Add(from)
	if set.Len() == m.cfg.Committee.Quorum() {
		x.final = c.Digest
		m.final = max(m.final, c.Slot)
		m.finish(now, st)
	}
}

func (m *Machine) rebase(b *Block) {
	m.base = b
	m.pace.forget(baseSlot(m.cfg.Epoch, b))
	if m.last.Height <= b.Height {
		m.last = b
	}
	for d, w := range m.wants {
		if w.slot <= baseSlot(m.cfg.Epoch, b) {
			delete(m.wants, d)
		}
	}
}

// Adopt makes b, whose header f+1 replicas certified, the last committed block of a replica that was away.
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

// Executed reports the height up to which this replica has executed.
func (m *Machine) Executed(now protocols.Time, height uint64) Step {
	var st Step
	m.executed = height
	m.payVotes(now, &st)
	m.propose(now, &st)
	m.voteAll(now, &st)
	m.finish(now, &st)
	return st
}
