// Package bdt composes the protocols of one shard into one machine: lanes carry data, bolt orders cuts of them.
//
// It is Bolt-Dumbo Transformer (arXiv 2103.09425) over lanes (arXiv 2401.10369). Epoch 1's fast lane is built; the
// pace synchronisation and the asynchronous fallback that end an epoch are not, so a shard whose leader is down
// waits for it. Safety does not depend on it: whatever is delivered is final.
package bdt

import (
	"fmt"
	"time"

	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/channels"
	"bdtnode/protocols/lanes"
)

// deliverAhead bounds how many blocks are handed to the executor ahead of its answers.
const deliverAhead = 32

// Delivery is a committed block whose data is all here: what the executor is to execute next.
type Delivery struct {
	Block *bolt.Block
	LDs   []channels.Ref // to be applied first
	Refs  []lanes.Ref
}

// Step is one step of the machine.
type Step = protocols.Step[*Delivery]

// Config is what a machine is made of.
type Config struct {
	Committee     *protocols.Committee
	Self          protocols.Index
	Signer        sig.Signer
	GenesisTimeMS uint64
	Shards        int // in the network
}

// Machine is one replica's consensus.
type Machine struct {
	cfg      Config
	lanes    *lanes.Machine
	channels *channels.Machine
	bolt     *bolt.Machine

	delivered *bolt.Block      // last handed to the executor
	pending   []bolt.Committed // committed after it
	running   []*bolt.Block    // delivered and not executed
	executed  uint64
	open      []*bolt.Block // committed, headers not certified
}

// New makes a machine at genesis, or where an earlier one stopped: executed is the height whose effects the
// executor still has, and stored what was persisted. Blocks committed above it are delivered again.
func New(cfg Config, executed uint64, stored protocols.Stored) (*Machine, error) {
	genesis := bolt.Genesis(cfg.Committee, cfg.GenesisTimeMS, cfg.Shards)
	m := &Machine{cfg: cfg, executed: executed}
	base := genesis
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
		case m.delivered == nil || b.Height != base.Height+1 || b.Parent != base.Digest():
			return nil, fmt.Errorf("committed block %d does not follow block %d: the store is damaged", b.Height, base.Height)
		default:
			m.pending = append(m.pending, bolt.Committed{Block: b})
		}
		base = b
	}
	if m.delivered == nil {
		return nil, fmt.Errorf("the ledger is at height %d but its committed block is not in the consensus store: the two do not belong together", executed)
	}
	var err error
	m.lanes, err = lanes.Restore(lanes.Config{Committee: cfg.Committee, Self: cfg.Self, Signer: cfg.Signer}, m.delivered.Cut, stored)
	if err != nil {
		return nil, err
	}
	m.channels, err = channels.Restore(channels.Config{
		Committee: cfg.Committee, Self: cfg.Self, Signer: cfg.Signer, Shards: cfg.Shards,
	}, m.delivered.Inbound, stored)
	if err != nil {
		return nil, err
	}
	m.bolt, err = bolt.Restore(bolt.Config{
		Committee: cfg.Committee, Self: cfg.Self, Signer: cfg.Signer, Epoch: 1, Leader: leader(cfg.Committee, 1), Data: m.lanes, Inbound: m.channels,
	}, base, executed, stored)
	if err != nil {
		return nil, err
	}
	for _, p := range m.pending {
		m.open = append(m.open, p.Block)
	}
	return m, nil
}

// leader is the replica that leads an epoch: round-robin.
func leader(c *protocols.Committee, epoch uint64) protocols.Index {
	return protocols.Index((epoch - 1) % uint64(c.N()))
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
	m.fromBolt(now, &st, m.bolt.Progress(now))
	return st
}

// Room reports whether the own lane may grow.
func (m *Machine) Room() bool { return m.lanes.Room() }

// Uncertified is how many own batches have neither a certificate nor a commit.
func (m *Machine) Uncertified() int { return m.lanes.Uncertified() }

// Base is the last committed block, Epoch and Leader those of the fast lane.
func (m *Machine) Base() *bolt.Block { return m.bolt.Base() }

// Epoch is the current epoch.
func (m *Machine) Epoch() uint64 { return 1 }

// Leader is the current epoch's leader.
func (m *Machine) Leader() protocols.Index { return m.bolt.Leader() }

// NextLD is the number of the first LD of a channel that this replica lacks.
func (m *Machine) NextLD(source uint16) uint64 { return m.channels.Next(source) }

// Gap is the pace at which blocks follow each other under load: batches need not come faster.
func (m *Machine) Gap() time.Duration { return m.bolt.Gap() }

// Append makes payload the next batch of the own lane; there must be Room.
func (m *Machine) Append(now protocols.Time, payload []byte, count int) (Step, *lanes.Batch) {
	var st Step
	child, batch := m.lanes.Append(now, payload, count)
	m.fromLanes(now, &st, child)
	return st, batch
}

// Handle is called upon a checked message of the packages lanes, channels and bolt. It reports false for any other.
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
	case *channels.LD:
		m.fromChannels(now, &st, m.channels.HandleLD(now, x))
	case *channels.SIGN:
		m.fromChannels(now, &st, m.channels.HandleSIGN(from, x))
	case *channels.FetchLD:
		m.fromChannels(now, &st, m.channels.HandleFetchLD(from, x))
	case *bolt.Propose:
		m.fromBolt(now, &st, m.bolt.HandlePropose(now, from, x))
	case *bolt.Vote:
		m.fromBolt(now, &st, m.bolt.HandleVote(now, from, x))
	case *bolt.Commit:
		m.fromBolt(now, &st, m.bolt.HandleCommit(now, from, x))
	case *bolt.FetchBlock:
		m.fromBolt(now, &st, m.bolt.HandleFetchBlock(from, x))
	default:
		return st, false
	}
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
	m.fromBolt(now, &st, m.bolt.Executed(now, height))
	m.deliver(now, &st)
	return st
}

// Certified reports the height up to which headers are certified: own messages below need not be kept.
func (m *Machine) Certified(height uint64) Step {
	var st Step
	var last *bolt.Block
	for len(m.open) > 0 && m.open[0].Height <= height {
		last, m.open = m.open[0], m.open[1:]
	}
	if last != nil {
		protocols.Absorb(&st, m.bolt.Certified(last))
	}
	return st
}

// Adopt takes committed blocks that a certified header vouches for, from a peer's answer to catching up. Those
// that are known already are passed over, and so is all from the first that does not follow.
func (m *Machine) Adopt(now protocols.Time, from protocols.Index, blocks []*bolt.Block) Step {
	var st Step
	var holders protocols.Set
	holders.Add(from)
	var adopted *bolt.Block
	for _, b := range blocks {
		base := m.bolt.Base()
		if adopted != nil {
			base = adopted
		}
		if b.Height <= base.Height {
			continue
		}
		if b.Height != base.Height+1 || b.Parent != base.Digest() {
			break
		}
		m.commit(now, &st, bolt.Committed{Block: b, Signers: holders})
		adopted = b
	}
	if adopted != nil {
		m.fromBolt(now, &st, m.bolt.Adopt(now, adopted))
		m.deliver(now, &st)
	}
	return st
}

// Refused is the peers that must be asked to send again: something of theirs came too early, and would be taken now.
// They are forgotten by the call.
func (m *Machine) Refused() protocols.Set { return m.bolt.Refused() }

// Wake is when the machine next wants a Tick, or zero.
func (m *Machine) Wake() protocols.Time {
	return protocols.Earliest(m.lanes.Wake(), m.channels.Wake(), m.bolt.Wake())
}

// Tick carries out what has become due.
func (m *Machine) Tick(now protocols.Time) Step {
	var st Step
	m.fromLanes(now, &st, m.lanes.Tick(now))
	m.fromChannels(now, &st, m.channels.Tick(now))
	m.fromBolt(now, &st, m.bolt.Tick(now))
	return st
}

// Resend gives a peer again what it may have missed while it was away.
func (m *Machine) Resend(to protocols.Index) Step {
	var st Step
	protocols.Absorb(&st, m.lanes.Resend(to))
	protocols.Absorb(&st, m.channels.Resend(to))
	protocols.Absorb(&st, m.bolt.Resend(to))
	return st
}

func (m *Machine) fromLanes(now protocols.Time, st *Step, child lanes.Step) {
	for _, o := range protocols.Absorb(st, child) {
		if o.Grew {
			m.fromBolt(now, st, m.bolt.Progress(now))
			m.deliver(now, st)
			return // one Progress serves all that grew in the step
		}
	}
}

func (m *Machine) fromChannels(now protocols.Time, st *Step, child channels.Step) {
	for _, o := range protocols.Absorb(st, child) {
		if o.Grew {
			m.fromBolt(now, st, m.bolt.Progress(now))
			return
		}
	}
}

func (m *Machine) fromBolt(now protocols.Time, st *Step, child bolt.Step) {
	grew := false
	for _, c := range protocols.Absorb(st, child) {
		grew = m.commit(now, st, c) || grew
	}
	if grew {
		m.fromBolt(now, st, m.bolt.Progress(now))
		return
	}
	m.deliver(now, st)
}

// commit makes a block final here: on disk, its lanes' windows moved, in line for delivery. It reports whether the
// lanes grew by it.
func (m *Machine) commit(now protocols.Time, st *Step, c bolt.Committed) bool {
	st.Record(CommitKey(c.Block.Height), c.Block.Append(nil))
	m.pending = append(m.pending, c)
	m.open = append(m.open, c.Block)
	grew := len(protocols.Absorb(st, m.lanes.Ordered(now, c.Block.Cut))) > 0
	return len(protocols.Absorb(st, m.channels.Ordered(c.Block.Inbound))) > 0 || grew
}

// deliver hands over the next committed blocks whose data is here; missing data is asked for.
func (m *Machine) deliver(now protocols.Time, st *Step) {
	for len(m.pending) > 0 && len(m.running) < deliverAhead {
		next := m.pending[0]
		child, refs, complete := m.lanes.Content(now, m.delivered.Cut, next.Block.Cut, next.Signers)
		protocols.Absorb(st, child)
		lds, received := m.channels.Content(now, m.delivered.Inbound, next.Block.Inbound, next.Signers)
		if !complete || !received {
			m.prefetch(now)
			return
		}
		m.pending = m.pending[1:]
		m.delivered = next.Block
		m.running = append(m.running, next.Block)
		st.Emit(&Delivery{Block: next.Block, LDs: lds, Refs: refs})
	}
}

// prefetch asks for the data of the blocks after the next, so that a replica that was away does not wait for one
// round trip a block.
func (m *Machine) prefetch(now protocols.Time) {
	for k := 1; k < len(m.pending) && k < deliverAhead; k++ {
		prev, next := m.pending[k-1], m.pending[k]
		m.lanes.Prefetch(now, prev.Block.Cut, next.Block.Cut, next.Signers)
		m.channels.Content(now, prev.Block.Inbound, next.Block.Inbound, next.Signers)
	}
}

// CommitKey is where the committed block of a height is kept.
func CommitKey(height uint64) []byte { return wire.AppendU64([]byte("h/b"), height) }

// DecodeCommit reads a committed block's record.
func DecodeCommit(c *protocols.Committee, value []byte) (*bolt.Block, error) {
	r := wire.NewReader(append([]byte(nil), value...))
	b := bolt.ReadBlock(c, r)
	return b, r.Done()
}
