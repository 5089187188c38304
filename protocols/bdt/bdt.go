// Package bdt composes the protocols of one shard into one machine. Lanes spread data, channels bring deliveries of other
// shards, and bolt orders cuts of both while the leader of the epoch works. If the leader does not work, an agreement ends
// the epoch (docs/design.md §4.3).
//
// It is Bolt-Dumbo Transformer (arXiv 2103.09425) over lanes (arXiv 2401.10369), with one validated agreement (package
// mvba) in place of the paper's pace synchronisation and fallback. Each replica that leaves an epoch sends a [Status]. The
// replicas agree on an [Input] made of n-f Status. The input determines where the slots of the epoch end and which cut its
// last block orders.
//
// Guarantee: every delivered block is final and the same at all honest replicas, under any delays. Every epoch that f+1
// honest replicas leave ends. The last block of an epoch orders, at the latest, every position that f+1 honest replicas
// knew to be certified when they left the epoch. The reasons are in docs/consensus-epochs.md.
package bdt

import (
	"fmt"
	"slices"
	"time"

	"bdtnode/internal/sig"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/coin"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
)

const (
	// deliverAhead is the largest number of blocks that are handed to the executor before it has executed the first of them.
	deliverAhead = 32
	// EpochSlots is the default number of slots of an epoch. It bounds an epoch, so leaders take turns also if none fails.
	EpochSlots = 1 << 14
)

// Delivery is a committed block whose data is held: the next block to execute.
type Delivery struct {
	Block *bolt.Block
	LDs   []inbound.Ref // applied before Refs
	Refs  []lanes.Ref
}

// Step is one step of the machine.
type Step = protocols.Step[*Delivery]

// Config has the parameters of a machine. All but Self, Signer and Shares are the same at all replicas of a shard.
type Config struct {
	Committee     *protocols.Committee
	Self          protocols.Index
	Signer        sig.Signer
	Coin          coin.Scheme
	Shares        coin.Holder // makes the coin shares of Self
	GenesisTimeMS uint64
	Shards        int    // in the network
	Dumbo         bool   // no fast lane: every epoch is one block
	Slots         uint64 // slots of an epoch; 0 means EpochSlots
	Window        int    // payload bytes of a lane above the last commit; 0 means lanes.WindowBytes
	WallClock     *protocols.WallClock
}

// Machine is the consensus of one replica.
type Machine struct {
	cfg     Config
	lanes   *lanes.Machine
	inbound *inbound.Machine
	now     epoch
	past    []*epoch // ended epochs without a certified header above their last block, oldest first
	future  futureMessages

	ends     Ends
	patience patience
	marks    []mark // one for each lane, then one for each channel, then one for the slots

	base      *bolt.Block      // last committed block
	delivered *bolt.Block      // last block handed to the executor
	pending   []bolt.Committed // blocks committed after delivered
	running   []*bolt.Block    // blocks delivered and not executed
	executed  uint64           // height
	open      []*bolt.Block    // committed blocks without a certified header
}

// New makes a machine at genesis, or restores one from the records of an earlier one in stored. executed is the height up to
// which the executor has durable effects. Start delivers the committed blocks above it again. New returns an error if the
// records are damaged or do not fit to executed.
func New(cfg Config, executed uint64, stored protocols.Stored) (*Machine, error) {
	if cfg.Slots == 0 {
		cfg.Slots = EpochSlots
	}
	genesis := bolt.Genesis(cfg.Committee, cfg.GenesisTimeMS, cfg.Shards)
	m := &Machine{
		cfg: cfg, executed: executed, base: genesis, future: newFutureMessages(cfg.Committee.N()),
		marks: make([]mark, cfg.Committee.N()+cfg.Shards+1),
	}
	if executed == 0 {
		m.delivered = genesis
	}
	for key, value := range stored(CommitKey(executed), CommitKey(^uint64(0))) {
		b, err := DecodeCommit(cfg.Committee, value)
		if err != nil {
			return nil, fmt.Errorf("commit record %x: %w: the store is damaged", key, err)
		}
		switch {
		case b.Height == executed:
			m.delivered = b
		case m.delivered == nil || b.Height != m.base.Height+1 || b.Parent != m.base.Digest():
			return nil, fmt.Errorf("committed block %d does not follow block %d: the store is damaged", b.Height, m.base.Height)
		default:
			m.pending = append(m.pending, bolt.Committed{Block: b})
		}
		m.base = b
	}
	if m.delivered == nil {
		return nil, fmt.Errorf("the ledger is at height %d but its committed block is not in the consensus store: the two do not belong together", executed)
	}
	m.patience.begins()
	var err error
	m.lanes, err = lanes.Restore(lanes.Config{
		Committee: cfg.Committee, Self: cfg.Self, Signer: cfg.Signer, AckAtOnce: cfg.Dumbo, Window: cfg.Window,
		WallClock: cfg.WallClock,
	}, m.delivered.Cut, stored)
	if err != nil {
		return nil, err
	}
	m.inbound, err = inbound.Restore(inbound.Config{
		Committee: cfg.Committee, Self: cfg.Self, Signer: cfg.Signer, Shards: cfg.Shards,
	}, m.delivered.Inbound, stored)
	if err != nil {
		return nil, err
	}
	if err := m.restoreEpochs(genesis, stored); err != nil {
		return nil, err
	}
	for _, p := range m.pending {
		m.open = append(m.open, p.Block)
	}
	return m, nil
}

// Start delivers the committed blocks of before a restart and starts the protocols. Call it once, before all other methods.
func (m *Machine) Start(now protocols.Time) Step {
	var st Step
	if n := len(m.pending); n > 0 {
		last := m.pending[n-1].Block
		protocols.Absorb(&st, m.lanes.Ordered(now, last.Cut))
		protocols.Absorb(&st, m.inbound.Ordered(last.Inbound))
	}
	m.deliver(now, &st)
	for _, e := range m.past {
		m.fromPast(&st, e, e.agreement.Start(now))
	}
	m.fromAgreement(now, &st, m.now.agreement.Start(now))
	m.fromBolt(now, &st, m.now.bolt.Resume(now))
	m.advance(now, &st)
	return st
}

// HasRoom reports whether the own lane may grow.
func (m *Machine) HasRoom() bool { return m.lanes.HasRoom() }

// Uncertified is the number of own batches that are neither certified nor committed.
func (m *Machine) Uncertified() int { return m.lanes.Uncertified() }

// Pending reports whether this replica knows of data to commit: own batches that are neither certified nor committed, or a
// position with a mark.
func (m *Machine) Pending() bool {
	return m.lanes.Uncertified() > 0 || slices.ContainsFunc(m.marks, func(k mark) bool { return k.since != 0 })
}

// Base is the last committed block.
func (m *Machine) Base() *bolt.Block { return m.base }

// Epoch is the current epoch.
func (m *Machine) Epoch() uint64 { return m.now.number }

// Leader is the leader of the current epoch. Without a fast lane the leader has no task.
func (m *Machine) Leader() protocols.Index { return m.now.leader }

// Patience is the time for which something may be pending, after its certificate was sent to the leader, before this replica
// leaves the epoch.
func (m *Machine) Patience() time.Duration { return m.patience.limit() }

// NextLD is the number of the first LD of a channel that this replica lacks.
func (m *Machine) NextLD(source uint16) uint64 { return m.inbound.Next(source) }

// Gap is the least time between two proposals under load. A shorter time between batches has no use.
func (m *Machine) Gap() time.Duration { return m.now.bolt.Gap() }

// Append makes the next batch of the own lane from a payload with count entries. It panics if HasRoom is false.
func (m *Machine) Append(now protocols.Time, payload []byte, count int) (Step, *lanes.Batch) {
	var st Step
	child, batch := m.lanes.Append(now, payload, count)
	m.fromLanes(now, &st, child)
	m.advance(now, &st)
	return st, batch
}

// Handle is called upon a checked message of the packages lanes, inbound, bolt, mvba, coin and this one. It
// reports false for any other message.
func (m *Machine) Handle(now protocols.Time, from protocols.Index, msg protocols.Message) (Step, bool) {
	var st Step
	switch x := msg.(type) {
	case *lanes.Batch:
		m.fromLanes(now, &st, m.lanes.HandleBatch(now, from, x))
	case *lanes.Ack:
		m.fromLanes(now, &st, m.lanes.HandleAck(now, from, x))
	case *lanes.TipCertificate:
		m.fromLanes(now, &st, m.lanes.HandleCertificate(now, x))
	case *lanes.Fetch:
		m.fromLanes(now, &st, m.lanes.HandleFetch(now, from, x))
	case *lanes.Conflict:
		m.fromLanes(now, &st, m.lanes.HandleConflict(x))
	case *inbound.LD:
		m.fromInbound(now, &st, m.inbound.HandleLD(now, x))
	case *inbound.SIGN:
		m.fromInbound(now, &st, m.inbound.HandleSIGN(from, x))
	case *inbound.TipCertificate:
		m.fromInbound(now, &st, m.inbound.HandleCertificate(now, x))
	case *inbound.FetchLD:
		m.fromInbound(now, &st, m.inbound.HandleFetchLD(from, x))
	default:
		number, ok := epochOf(msg)
		if !ok {
			return st, false
		}
		m.route(now, &st, from, number, msg)
	}
	m.advance(now, &st)
	return st, true
}

// Executed is called when the executor has executed the block at height. It panics if that is not the next delivered block.
func (m *Machine) Executed(now protocols.Time, height uint64) Step {
	var st Step
	if len(m.running) == 0 || m.running[0].Height != height {
		panic(fmt.Sprintf("bdt: block %d was executed out of order", height))
	}
	b := m.running[0]
	m.running = m.running[1:]
	m.executed = height
	protocols.Absorb(&st, m.lanes.Executed(b.Cut))
	protocols.Absorb(&st, m.inbound.Executed(b.Inbound))
	m.fromBolt(now, &st, m.now.bolt.Executed(now, height))
	m.deliver(now, &st)
	m.advance(now, &st)
	return st
}

// Certified is called with the height up to which headers are certified. It deletes the own messages below, and ended epochs
// with a certified block above their last block.
func (m *Machine) Certified(height uint64) Step {
	var st Step
	var last *bolt.Block
	for len(m.open) > 0 && m.open[0].Height <= height {
		last, m.open = m.open[0], m.open[1:]
	}
	if last == nil {
		return st
	}
	// A certified header of the last block of an epoch is not enough to forget the epoch: f Byzantine VOTEs and an honest one
	// certify it, and then the other replicas may know the decision only from that honest replica. A certified block after
	// it shows that f+1 honest replicas have passed it, so that all others can catch up.
	for len(m.past) > 0 && m.past[0].number < last.Epoch {
		m.forget(&st, m.past[0])
		m.past = m.past[1:]
	}
	for _, e := range m.past {
		if e.number == last.Epoch {
			protocols.Absorb(&st, e.bolt.Certified(last))
		}
	}
	if last.Epoch == m.now.number {
		protocols.Absorb(&st, m.now.bolt.Certified(last))
	}
	return st
}

// Adopt takes committed blocks that a certified header proves, from a peer's answer to catching up. It skips blocks that are
// already committed, and stops at the first block that does not follow the one before it. The blocks may include last blocks
// of epochs.
func (m *Machine) Adopt(now protocols.Time, from protocols.Index, blocks []*bolt.Block) Step {
	var st Step
	var holders protocols.Set
	holders.Add(from)
	var within *bolt.Block // last adopted block, if it is in the current epoch
	for _, b := range blocks {
		if b.Height <= m.base.Height {
			continue
		}
		if b.Height != m.base.Height+1 || b.Parent != m.base.Digest() {
			break
		}
		parent := m.base
		m.commit(now, &st, bolt.Committed{Block: b, Signers: holders})
		within = b
		if b.Last {
			m.begin(now, &st, m.now.next(m.cfg.Committee, m.cfg.Slots, parent, b))
			within = nil
		}
	}
	if within != nil {
		m.fromBolt(now, &st, m.now.bolt.Adopt(now, within))
	}
	m.deliver(now, &st)
	m.advance(now, &st)
	return st
}

// TakeRefusedPeers lists the peers that must be asked to send again: a message of theirs was refused for being ahead,
// and would be accepted now. The call clears the list.
func (m *Machine) TakeRefusedPeers() protocols.Set {
	set := m.now.bolt.TakeRefusedPeers()
	refused := m.future.again(m.now.number)
	for _, i := range refused.Members() {
		set.Add(i)
	}
	return set
}

// Wake is the time at which the machine next needs a Tick, or zero.
func (m *Machine) Wake() protocols.Time {
	return protocols.Earliest(m.lanes.Wake(), m.inbound.Wake(), m.now.bolt.Wake(), m.nextDeadline())
}

// Tick does everything that is due.
func (m *Machine) Tick(now protocols.Time) Step {
	var st Step
	m.fromLanes(now, &st, m.lanes.Tick(now))
	m.fromInbound(now, &st, m.inbound.Tick(now))
	m.fromBolt(now, &st, m.now.bolt.Tick(now))
	m.advance(now, &st)
	return st
}

// Resend sends a peer again the messages that it may have missed while it was disconnected.
func (m *Machine) Resend(to protocols.Index) Step {
	var st Step
	protocols.Absorb(&st, m.lanes.Resend(to))
	protocols.Absorb(&st, m.inbound.Resend(to))
	for _, e := range m.past {
		protocols.Absorb(&st, e.agreement.Resend(to))
	}
	protocols.Absorb(&st, m.now.bolt.Resend(to))
	if m.now.status != nil {
		st.Send(to, m.now.status)
	}
	protocols.Absorb(&st, m.now.agreement.Resend(to))
	return st
}
