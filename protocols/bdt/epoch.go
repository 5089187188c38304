package bdt

import (
	"fmt"
	"iter"
	"maps"
	"slices"

	"bdtnode/internal/wire"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/mvba"
)

// agreementEnd is the kind of the agreements that end epochs.
const agreementEnd = 1

// epoch is the state of one epoch at a replica.
type epoch struct {
	epochStart
	bolt      *bolt.Machine
	agreement *mvba.Machine
	keys      map[string]bool // keys of the records of the agreement
	status    *Status         // own Status; nil before leaving
	cause     Cause           // of leaving
	statuses  []*Status       // by replica, with the own one; nil if none
	left      int             // number of statuses that are not nil
	proposed  bool            // the own input was given to the agreement
	decided   *Input          // decision; nil before
}

// instance is the name of the agreement that ends an epoch.
func instance(epoch uint64) mvba.Instance { return mvba.Instance{Epoch: epoch, Kind: agreementEnd} }

// statusKey is the key of the record of the own Status in an epoch.
func statusKey(epoch uint64) []byte { return wire.AppendU64([]byte("e/s"), epoch) }

// epochOfRecord is the epoch of an agreement's record, read from its key.
func epochOfRecord(key []byte) (uint64, error) {
	from, _ := mvba.Records(instance(0))
	prefix := len(from) - len(wire.AppendU16([]byte{agreementEnd}, 0)) - 8
	r := wire.NewReader(key[prefix:])
	return r.U64(), r.Err()
}

// bolt is the configuration of the fast lane of an epoch.
func (c *Config) bolt(r *epochStart, d *data) bolt.Config {
	return bolt.Config{
		Committee: c.Committee, Self: c.Self, Signer: c.Signer, Epoch: r.number, Leader: r.leader,
		Slots: c.Slots, Data: d.lanes, Inbound: d.inbound, MaxGap: c.Gap, WallClock: c.WallClock,
	}
}

// agreement is the configuration of the agreement that ends an epoch.
func (c *Config) agreement(r *epochStart) mvba.Config {
	committee, number, base := c.Committee, r.number, r.base
	return mvba.Config{
		Instance: instance(number), Committee: committee, Self: c.Self, Signer: c.Signer, Coin: c.Coin, Shares: c.Shares,
		Valid: func(value []byte) error {
			x, err := DecodeInput(committee, value)
			if err != nil {
				return err
			}
			return x.check(committee, number, base)
		},
	}
}

// newEpoch makes the epoch that begins with r.
func newEpoch(cfg *Config, d *data, r epochStart, executed uint64) epoch {
	e := epoch{epochStart: r, keys: make(map[string]bool), statuses: make([]*Status, cfg.Committee.N())}
	e.bolt = bolt.New(cfg.bolt(&r, d), r.base, executed)
	if cfg.Dumbo {
		e.bolt.Leave()
	}
	var err error
	if e.agreement, err = mvba.New(cfg.agreement(&r)); err != nil {
		panic(fmt.Sprintf("bdt: the agreement of epoch %d cannot be made: %v", r.number, err))
	}
	return e
}

// restoreEpoch restores the epoch in progress.
func restoreEpoch(cfg *Config, d *data, chain *chain, genesis *bolt.Block, stored protocols.Stored) (epoch, error) {
	c := cfg.Committee
	r, err := storedEpochStart(c, genesis, stored)
	if err != nil {
		return epoch{}, err
	}
	e := epoch{epochStart: r, keys: make(map[string]bool), statuses: make([]*Status, c.N())}
	if e.bolt, err = bolt.Restore(cfg.bolt(&r, d), chain.base, chain.executed, stored); err != nil {
		return e, err
	}
	if e.agreement, err = mvba.Restore(cfg.agreement(&r), e.collecting(stored)); err != nil {
		return e, err
	}
	for key, value := range stored(statusKey(r.number), statusKey(r.number+1)) {
		s, err := DecodeStatus(c, slices.Clone(value))
		if err != nil || s.Epoch != r.number {
			return e, fmt.Errorf("own Status %x is malformed: the store is damaged", key)
		}
		e.status = s
		e.statuses[cfg.Self], e.left = s, 1
	}
	if cfg.Dumbo || e.status != nil || e.agreement.Decision() != nil {
		e.bolt.Leave()
	}
	return e, nil
}

// inFastLane reports whether this replica has not left the epoch and knows of no decision to end it.
func (e *epoch) inFastLane() bool {
	return e.status == nil && e.decided == nil && e.agreement.Decision() == nil
}

// isComplete reports whether the epoch is decided, and base is the block before its last block.
func (e *epoch) isComplete(base *bolt.Block) bool {
	return e.decided != nil && base.Digest() == e.decided.parent(e.base).Digest()
}

// collecting wraps stored: it adds the keys of all records that are read to the keys of the epoch.
func (e *epoch) collecting(stored protocols.Stored) protocols.Stored {
	return func(from, to []byte) iter.Seq2[[]byte, []byte] {
		return func(yield func(key, value []byte) bool) {
			for key, value := range stored(from, to) {
				e.keys[string(key)] = true
				if !yield(key, value) {
					return
				}
			}
		}
	}
}

// begin starts the epoch that follows the one that has just ended, whose last block is committed. The record of the new
// epoch is in the same step as that block and the decision, so all three are on disk before anything of the new epoch is
// sent.
func (m *Machine) begin(now protocols.Time, st *Step, r epochStart) {
	ended := m.current
	ended.bolt.Leave()
	m.ends.note(&ended)
	m.waiting.begins(ended.bolt.HighestFinalSlot() > 0)
	st.Record(epochStartKey, r.encode())
	m.past.add(st, &ended)
	m.current = newEpoch(&m.cfg, &m.data, r, m.chain.executed)
	m.fromBolt(now, st, m.current.bolt.Progress(now))
	for _, x := range m.future.take(r.number) {
		m.route(now, st, x.from, r.number, x.message)
	}
}

// forget deletes the records of the epoch.
func (e *epoch) forget(st *Step) {
	protocols.Absorb(st, e.bolt.Forget())
	for _, key := range slices.Sorted(maps.Keys(e.keys)) {
		st.Record([]byte(key), nil)
	}
	st.Record(statusKey(e.number), nil)
}

// route gives a message to its epoch.
func (m *Machine) route(now protocols.Time, st *Step, from protocols.Index, number uint64, msg protocols.Message) {
	if in, ok := mvba.InstanceOf(msg); ok && in != instance(number) {
		st.Blame(from, "sent a message of agreement %s, which does not exist", in)
		return
	}
	switch {
	case number > m.current.number:
		m.future.keep(from, number, m.current.number, msg)
		return
	case number < m.current.number:
		m.past.answer(now, st, from, number, msg)
		return
	}
	switch x := msg.(type) {
	case *bolt.Propose:
		m.fromBolt(now, st, m.current.bolt.HandlePropose(now, from, x))
	case *bolt.Vote:
		m.fromBolt(now, st, m.current.bolt.HandleVote(now, from, x))
	case *bolt.Finalize:
		m.fromBolt(now, st, m.current.bolt.HandleFinalize(now, from, x))
	case *bolt.FetchBlock:
		m.fromBolt(now, st, m.current.bolt.HandleFetchBlock(from, x))
	case *Status:
		m.handleStatus(now, st, from, x)
	default:
		m.fromAgreement(now, st, m.current.agreement.Handle(now, from, msg))
	}
}
