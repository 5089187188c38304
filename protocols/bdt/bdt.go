// Package bdt composes the protocols of one shard into one machine: lanes carry data, channels bring deliveries of
// other shards, bolt orders cuts of both while an epoch's leader does its work, and an agreement ends the epoch when it
// does not (DESIGN §4.3).
//
// It is Bolt-Dumbo Transformer (arXiv 2103.09425) over lanes (arXiv 2401.10369), with one validated agreement (package
// mvba) in place of the paper's pace synchronisation and fallback: replicas that leave an epoch exchange a [Status]
// each, and agree on an [Input] made of n-f of them, which says both where the epoch's slots end and what its last
// block orders.
//
// Guarantee: whatever is delivered is final and the same everywhere, under any delays; every epoch that f+1 honest
// replicas leave ends; and what f+1 honest replicas knew to be certified when they left is ordered by its last block.
// Why: docs/consensus-epochs.md.
package bdt

import (
	"fmt"
	"slices"
	"time"

	"bdtnode/internal/sig"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/channels"
	"bdtnode/protocols/coin"
	"bdtnode/protocols/lanes"
)

const (
	// deliverAhead bounds how many blocks are handed to the executor ahead of its answers.
	deliverAhead = 32
	// EpochSlots is how many slots an epoch has if nothing else is configured: leaders take turns though none fails.
	EpochSlots = 1 << 14
)

// Delivery is a committed block whose data is all here: what the executor is to execute next.
type Delivery struct {
	Block *bolt.Block
	LDs   []channels.Ref // to be applied first
	Refs  []lanes.Ref
}

// Step is one step of the machine.
type Step = protocols.Step[*Delivery]

// Config is what a machine is made of. All but Self, Signer and Shares is the same at all replicas of a shard.
type Config struct {
	Committee     *protocols.Committee
	Self          protocols.Index
	Signer        sig.Signer
	Coin          coin.Scheme
	Shares        coin.Holder // of Self
	GenesisTimeMS uint64
	Shards        int    // in the network
	Dumbo         bool   // there is no fast lane: every epoch is one block
	Slots         uint64 // of an epoch; 0 is EpochSlots
	Window        int    // bytes of a lane above the last commit; 0 is lanes.WindowBytes
	Wall          *protocols.Wall
}

// Machine is one replica's consensus.
type Machine struct {
	cfg      Config
	lanes    *lanes.Machine
	channels *channels.Machine
	now      epoch
	past     []*epoch // that ended with no certified header above their last block yet, oldest first
	early    early

	patience patience
	marks    []mark // of lanes, channels and slots, in this order

	base      *bolt.Block      // last committed
	delivered *bolt.Block      // last handed to the executor
	pending   []bolt.Committed // committed after it
	running   []*bolt.Block    // delivered and not executed
	executed  uint64
	open      []*bolt.Block // committed, headers not certified
}

// New makes a machine at genesis, or where an earlier one stopped: executed is the height whose effects the
// executor still has, and stored what was persisted. Blocks committed above it are delivered again.
func New(cfg Config, executed uint64, stored protocols.Stored) (*Machine, error) {
	if cfg.Slots == 0 {
		cfg.Slots = EpochSlots
	}
	genesis := bolt.Genesis(cfg.Committee, cfg.GenesisTimeMS, cfg.Shards)
	m := &Machine{
		cfg: cfg, executed: executed, base: genesis, early: newEarly(cfg.Committee.N()),
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
		Wall: cfg.Wall,
	}, m.delivered.Cut, stored)
	if err != nil {
		return nil, err
	}
	m.channels, err = channels.Restore(channels.Config{
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

// Start delivers what was committed before a restart and sets the protocols going. Call it once, first.
func (m *Machine) Start(now protocols.Time) Step {
	var st Step
	if n := len(m.pending); n > 0 {
		last := m.pending[n-1].Block
		protocols.Absorb(&st, m.lanes.Ordered(now, last.Cut))
		protocols.Absorb(&st, m.channels.Ordered(last.Inbound))
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

// Room reports whether the own lane may grow.
func (m *Machine) Room() bool { return m.lanes.Room() }

// Uncertified is how many own batches have neither a certificate nor a commit.
func (m *Machine) Uncertified() int { return m.lanes.Uncertified() }

// Pending reports whether this replica knows of something to commit: its own batches that are neither certified nor
// committed, or what patience waits for.
func (m *Machine) Pending() bool {
	return m.lanes.Uncertified() > 0 || slices.ContainsFunc(m.marks, func(k mark) bool { return k.since != 0 })
}

// Base is the last committed block.
func (m *Machine) Base() *bolt.Block { return m.base }

// Epoch is the current epoch.
func (m *Machine) Epoch() uint64 { return m.now.number }

// Leader is the current epoch's leader. Without a fast lane it has nothing to do.
func (m *Machine) Leader() protocols.Index { return m.now.leader }

// Patience is how long this replica lets something wait, after it told the leader, before it leaves the epoch.
func (m *Machine) Patience() time.Duration { return m.patience.limit() }

// NextLD is the number of the first LD of a channel that this replica lacks.
func (m *Machine) NextLD(source uint16) uint64 { return m.channels.Next(source) }

// Gap is the pace at which blocks follow each other under load: batches need not come faster.
func (m *Machine) Gap() time.Duration { return m.now.bolt.Gap() }

// Append makes payload the next batch of the own lane; there must be Room.
func (m *Machine) Append(now protocols.Time, payload []byte, count int) (Step, *lanes.Batch) {
	var st Step
	child, batch := m.lanes.Append(now, payload, count)
	m.fromLanes(now, &st, child)
	m.advance(now, &st)
	return st, batch
}

// Handle is called upon a checked message of the packages lanes, channels, bolt, mvba, coin and this one, or a [Beyond]. It
// reports false for any other.
func (m *Machine) Handle(now protocols.Time, from protocols.Index, msg protocols.Message) (Step, bool) {
	var st Step
	switch x := msg.(type) {
	case *Beyond:
		m.ahead(now, &st, from, x)
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
	case *channels.LD:
		m.fromChannels(now, &st, m.channels.HandleLD(now, x))
	case *channels.SIGN:
		m.fromChannels(now, &st, m.channels.HandleSIGN(from, x))
	case *channels.TipCertificate:
		m.fromChannels(now, &st, m.channels.HandleCertificate(now, x))
	case *channels.FetchLD:
		m.fromChannels(now, &st, m.channels.HandleFetchLD(from, x))
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

// Executed reports that the executor is done with the block at height.
func (m *Machine) Executed(now protocols.Time, height uint64) Step {
	var st Step
	if len(m.running) == 0 || m.running[0].Height != height {
		panic(fmt.Sprintf("bdt: block %d was executed out of turn", height))
	}
	b := m.running[0]
	m.running = m.running[1:]
	m.executed = height
	protocols.Absorb(&st, m.lanes.Executed(b.Cut))
	protocols.Absorb(&st, m.channels.Executed(b.Inbound))
	m.fromBolt(now, &st, m.now.bolt.Executed(now, height))
	m.deliver(now, &st)
	m.advance(now, &st)
	return st
}

// Certified reports the height up to which headers are certified: own messages below need not be kept.
func (m *Machine) Certified(height uint64) Step {
	var st Step
	var last *bolt.Block
	for len(m.open) > 0 && m.open[0].Height <= height {
		last, m.open = m.open[0], m.open[1:]
	}
	if last == nil {
		return st
	}
	// f Byzantine VOTEs and an honest one certify an epoch's last block, though the others may have nothing but that one's
	// word for the decision. A block after it shows that f+1 honest replicas have come past it, so that all can catch up.
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

// Adopt takes committed blocks that a certified header vouches for, from a peer's answer to catching up. Those
// that are known already are passed over, and so is all from the first that does not follow. They may lead through
// ends of epochs.
func (m *Machine) Adopt(now protocols.Time, from protocols.Index, blocks []*bolt.Block) Step {
	var st Step
	var holders protocols.Set
	holders.Add(from)
	var within *bolt.Block // adopted last, in the current epoch
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

// Refused is the peers that must be asked to send again: something of theirs came too early, and would be taken now.
// They are forgotten by the call.
func (m *Machine) Refused() protocols.Set {
	set := m.now.bolt.Refused()
	refused := m.early.again(m.now.number)
	for _, i := range refused.Members() {
		set.Add(i)
	}
	return set
}

// Wake is when the machine next wants a Tick, or zero.
func (m *Machine) Wake() protocols.Time {
	return protocols.Earliest(m.lanes.Wake(), m.channels.Wake(), m.now.bolt.Wake(), m.restless())
}

// Tick carries out what has become due.
func (m *Machine) Tick(now protocols.Time) Step {
	var st Step
	m.fromLanes(now, &st, m.lanes.Tick(now))
	m.fromChannels(now, &st, m.channels.Tick(now))
	m.fromBolt(now, &st, m.now.bolt.Tick(now))
	m.advance(now, &st)
	return st
}

// Resend gives a peer again what it may have missed while it was away.
func (m *Machine) Resend(to protocols.Index) Step {
	var st Step
	protocols.Absorb(&st, m.lanes.Resend(to))
	protocols.Absorb(&st, m.channels.Resend(to))
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
