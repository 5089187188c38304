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

	// The parent of the machine sets the fields below. Bad are the batches of Refs with a signature that is known not to
	// verify: they contribute nothing. With ByHeader, some of the others are not known, and the header of the block is
	// certified.
	Bad      []lanes.Ref
	ByHeader bool
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
	Shards        int           // in the network
	Dumbo         bool          // no fast lane: every epoch is one block
	Slots         uint64        // slots of an epoch; 0 means EpochSlots
	Window        int           // payload bytes of a lane above the last commit; 0 means lanes.WindowBytes
	Gap           time.Duration // between proposals under lasting load; 0 means bolt.MaxGap
	WallClock     *protocols.WallClock
}

// Machine is the consensus of one replica.
type Machine struct {
	cfg     Config
	data    data
	chain   chain
	current epoch // the epoch in progress
	past    pastEpochs
	future  futureMessages
	waiting waiting
	ends    Ends
}

// New makes a machine at genesis, or restores one from the records of an earlier one in stored. executed is the height up to
// which the executor has durable effects. Start delivers the committed blocks above it again. New returns an error if the
// records are damaged or do not fit to executed.
func New(cfg Config, executed uint64, stored protocols.Stored) (*Machine, error) {
	if cfg.Slots == 0 {
		cfg.Slots = EpochSlots
	}
	genesis := bolt.Genesis(cfg.Committee, cfg.GenesisTimeMS, cfg.Shards)
	m := &Machine{cfg: cfg, future: newFutureMessages(cfg.Committee.N()), waiting: newWaiting(&cfg)}
	var err error
	if m.chain, err = restoreChain(cfg.Committee, genesis, executed, stored); err != nil {
		return nil, err
	}
	if m.data, err = restoreData(&cfg, m.chain.delivered, stored); err != nil {
		return nil, err
	}
	if m.current, err = restoreEpoch(&cfg, &m.data, &m.chain, genesis, stored); err != nil {
		return nil, err
	}
	if m.past, err = restorePast(&cfg, &m.data, &m.chain, m.current.number, stored); err != nil {
		return nil, err
	}
	return m, nil
}

// Start delivers the committed blocks of before a restart and starts the protocols. Call it once, before all other methods.
func (m *Machine) Start(now protocols.Time) Step {
	var st Step
	if n := len(m.chain.pending); n > 0 {
		m.data.ordered(now, &st, m.chain.pending[n-1].Block)
	}
	m.chain.deliver(now, &st, &m.data)
	m.past.start(now, &st)
	m.fromAgreement(now, &st, m.current.agreement.Start(now))
	m.fromBolt(now, &st, m.current.bolt.Resume(now))
	m.advance(now, &st)
	return st
}

// HasRoom reports whether the own lane may grow.
func (m *Machine) HasRoom() bool { return m.data.lanes.HasRoom() }

// Uncertified is the number of own batches that are neither certified nor committed.
func (m *Machine) Uncertified() int { return m.data.lanes.Uncertified() }

// Pending reports whether this replica knows of data to commit: own batches that are neither certified nor committed, or a
// position with a mark.
func (m *Machine) Pending() bool {
	return m.data.lanes.Uncertified() > 0 || m.waiting.any()
}

// Delivered is the last block handed to the executor.
func (m *Machine) Delivered() *bolt.Block { return m.chain.delivered }

// Base is the last committed block.
func (m *Machine) Base() *bolt.Block { return m.chain.base }

// Epoch is the current epoch.
func (m *Machine) Epoch() uint64 { return m.current.number }

// Leader is the leader of the current epoch. Without a fast lane the leader has no task.
func (m *Machine) Leader() protocols.Index { return m.current.leader }

// Patience is the time for which something may be pending, after its certificate was sent to the leader, before this replica
// leaves the epoch.
func (m *Machine) Patience() time.Duration { return m.waiting.patience.limit() }

// NextLD is the number of the first LD of a channel that this replica lacks.
func (m *Machine) NextLD(source uint16) uint64 { return m.data.inbound.Next(source) }

// SignedLD is the number of the highest LD of a channel that f+1 replicas signed, 0 if there is none.
func (m *Machine) SignedLD(source uint16) uint64 { return m.data.inbound.Signed(source) }

// Gap is the least time between two proposals under load. A shorter time between batches has no use.
func (m *Machine) Gap() time.Duration { return m.current.bolt.Gap() }

// Delays are the times that commits have taken in this epoch.
func (m *Machine) Delays() bolt.Delays { return m.current.bolt.Delays() }

// Append makes the next batch of the own lane from a payload with count entries. It panics if HasRoom is false.
func (m *Machine) Append(now protocols.Time, payload []byte, count int) (Step, *lanes.Batch) {
	var st Step
	child, batch := m.data.lanes.Append(now, payload, count)
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
		m.fromLanes(now, &st, m.data.lanes.HandleBatch(now, from, x))
	case *lanes.Ack:
		m.fromLanes(now, &st, m.data.lanes.HandleAck(now, from, x))
	case *lanes.TipCertificate:
		m.fromLanes(now, &st, m.data.lanes.HandleCertificate(now, x))
	case *lanes.Fetch:
		m.fromLanes(now, &st, m.data.lanes.HandleFetch(now, from, x))
	case *lanes.Conflict:
		m.fromLanes(now, &st, m.data.lanes.HandleConflict(x))
	case *inbound.LD:
		m.fromInbound(now, &st, m.data.inbound.HandleLD(now, x))
	case *inbound.SIGN:
		m.fromInbound(now, &st, m.data.inbound.HandleSIGN(from, x))
	case *inbound.TipCertificate:
		m.fromInbound(now, &st, m.data.inbound.HandleCertificate(now, x))
	case *inbound.FetchLD:
		m.fromInbound(now, &st, m.data.inbound.HandleFetchLD(from, x))
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
	b := m.chain.execute(height)
	protocols.Absorb(&st, m.data.lanes.Executed(b.Cut))
	protocols.Absorb(&st, m.data.inbound.Executed(b.Inbound))
	m.fromBolt(now, &st, m.current.bolt.Executed(now, height))
	m.chain.deliver(now, &st, &m.data)
	m.advance(now, &st)
	return st
}

// Certified is called with the height up to which headers are certified. It deletes the own messages below, and ended epochs
// with a certified block above their last block.
func (m *Machine) Certified(height uint64) Step {
	var st Step
	last := m.chain.certified(height)
	if last == nil {
		return st
	}
	m.past.certified(&st, last)
	if last.Epoch == m.current.number {
		protocols.Absorb(&st, m.current.bolt.Certified(last))
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
		if b.Height <= m.chain.base.Height {
			continue
		}
		if !m.chain.isNext(b) {
			break
		}
		parent := m.chain.base
		m.commit(now, &st, bolt.Committed{Block: b, Signers: holders})
		within = b
		if b.Last {
			m.begin(now, &st, m.current.next(m.cfg.Committee, m.cfg.Slots, parent, b))
			within = nil
		}
	}
	if within != nil {
		m.fromBolt(now, &st, m.current.bolt.Adopt(now, within))
	}
	m.chain.deliver(now, &st, &m.data)
	m.advance(now, &st)
	return st
}

// TakeRefusedPeers lists the peers that must be asked to send again: a message of theirs was refused for being ahead,
// and would be accepted now. The call clears the list.
func (m *Machine) TakeRefusedPeers() protocols.Set {
	set := m.current.bolt.TakeRefusedPeers()
	refused := m.future.again(m.current.number)
	for _, i := range refused.Members() {
		set.Add(i)
	}
	return set
}

// Wake is the time at which the machine next needs a Tick, or zero.
func (m *Machine) Wake() protocols.Time {
	at := protocols.Earliest(m.data.lanes.Wake(), m.data.inbound.Wake(), m.current.bolt.Wake())
	if m.current.inFastLane() && !m.chain.lags() {
		at = protocols.Earliest(at, m.waiting.deadline())
	}
	return at
}

// Tick does everything that is due.
func (m *Machine) Tick(now protocols.Time) Step {
	var st Step
	m.fromLanes(now, &st, m.data.lanes.Tick(now))
	m.fromInbound(now, &st, m.data.inbound.Tick(now))
	m.fromBolt(now, &st, m.current.bolt.Tick(now))
	m.advance(now, &st)
	return st
}

// Resend sends a peer again the messages that it may have missed while it was disconnected.
func (m *Machine) Resend(to protocols.Index) Step {
	var st Step
	protocols.Absorb(&st, m.data.lanes.Resend(to))
	protocols.Absorb(&st, m.data.inbound.Resend(to))
	m.past.resend(&st, to)
	protocols.Absorb(&st, m.current.bolt.Resend(to))
	if m.current.status != nil {
		st.Send(to, m.current.status)
	}
	protocols.Absorb(&st, m.current.agreement.Resend(to))
	return st
}
