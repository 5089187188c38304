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

// maxPast is the largest number of ended epochs that are kept. A replica that lacks an older one catches up by certified
// headers.
const maxPast = 32

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

func (m *Machine) boltConfig(r *epochStart) bolt.Config {
	return bolt.Config{
		Committee: m.cfg.Committee, Self: m.cfg.Self, Signer: m.cfg.Signer, Epoch: r.number, Leader: r.leader,
		Slots: m.cfg.Slots, Data: m.lanes, Inbound: m.inbound, WallClock: m.cfg.WallClock,
	}
}

func (m *Machine) agreementConfig(r *epochStart) mvba.Config {
	c, number, base := m.cfg.Committee, r.number, r.base
	return mvba.Config{
		Instance: instance(number), Committee: c, Self: m.cfg.Self, Signer: m.cfg.Signer, Coin: m.cfg.Coin, Shares: m.cfg.Shares,
		Valid: func(value []byte) error {
			x, err := DecodeInput(c, value)
			if err != nil {
				return err
			}
			return x.check(c, number, base)
		},
	}
}

// restoreEpochs restores the current epoch and the ended epochs that other replicas may still ask about.
func (m *Machine) restoreEpochs(genesis *bolt.Block, stored protocols.Stored) error {
	c := m.cfg.Committee
	r, err := storedEpochStart(c, genesis, stored)
	if err != nil {
		return err
	}
	m.now = epoch{epochStart: r, keys: make(map[string]bool), statuses: make([]*Status, c.N())}
	if m.now.bolt, err = bolt.Restore(m.boltConfig(&r), m.base, m.executed, stored); err != nil {
		return err
	}
	if m.now.agreement, err = mvba.Restore(m.agreementConfig(&r), m.now.collecting(stored)); err != nil {
		return err
	}
	for key, value := range stored(statusKey(r.number), statusKey(r.number+1)) {
		s, err := DecodeStatus(c, slices.Clone(value))
		if err != nil || s.Epoch != r.number {
			return fmt.Errorf("own Status %x is malformed: the store is damaged", key)
		}
		m.now.status = s
		m.now.statuses[m.cfg.Self], m.now.left = s, 1
	}
	if m.cfg.Dumbo || m.now.status != nil || m.now.agreement.Decision() != nil {
		m.now.bolt.Leave()
	}
	return m.restorePast(stored)
}

// restorePast restores the parts of ended epochs that are needed to answer other replicas.
func (m *Machine) restorePast(stored protocols.Stored) error {
	from, _ := mvba.Records(instance(0))
	to, _ := mvba.Records(instance(m.now.number))
	var numbers []uint64
	for key := range stored(from, to) {
		number, err := epochOfRecord(key)
		if err != nil {
			return fmt.Errorf("agreement record %x: %w: the store is damaged", key, err)
		}
		if len(numbers) == 0 || numbers[len(numbers)-1] != number {
			numbers = append(numbers, number)
		}
	}
	for _, number := range numbers {
		// The leader and the base of an ended epoch have no use any more: nothing is signed or checked in it.
		e := &epoch{epochStart: epochStart{number: number, base: m.base}, keys: make(map[string]bool)}
		var err error
		if e.agreement, err = mvba.Restore(m.agreementConfig(&e.epochStart), e.collecting(stored)); err != nil {
			return err
		}
		if e.bolt, err = bolt.Restore(m.boltConfig(&e.epochStart), m.base, m.executed, stored); err != nil {
			return err
		}
		e.bolt.Leave()
		if e.agreement.Decision() == nil {
			return fmt.Errorf("epoch %d ended and its agreement is neither decided nor deleted: the store is damaged", number)
		}
		m.past = append(m.past, e)
	}
	return nil
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
	ended := m.now
	ended.bolt.Leave()
	m.ends.note(&ended)
	m.patience.ended(ended.bolt.HighestFinalSlot() > 0)
	m.patience.begins()
	st.Record(epochStartKey, r.encode())
	if ended.agreement.Decision() != nil {
		m.past = append(m.past, &ended)
	} else {
		m.forget(st, &ended) // it ended by certified headers
	}
	for len(m.past) > maxPast {
		m.forget(st, m.past[0])
		m.past = m.past[1:]
	}
	c := m.cfg.Committee
	m.now = epoch{epochStart: r, keys: make(map[string]bool), statuses: make([]*Status, c.N())}
	m.now.bolt = bolt.New(m.boltConfig(&r), r.base, m.executed)
	if m.cfg.Dumbo {
		m.now.bolt.Leave()
	}
	var err error
	if m.now.agreement, err = mvba.New(m.agreementConfig(&r)); err != nil {
		panic(fmt.Sprintf("bdt: the agreement of epoch %d cannot be made: %v", r.number, err))
	}
	clear(m.marks) // the waiting times count from here for the new leader
	m.fromBolt(now, st, m.now.bolt.Progress(now))
	for _, x := range m.future.take(r.number) {
		m.route(now, st, x.from, r.number, x.message)
	}
}

// forget deletes the records of an ended epoch.
func (m *Machine) forget(st *Step, e *epoch) {
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
	case number > m.now.number:
		m.future.keep(from, number, m.now.number, msg)
		return
	case number < m.now.number:
		m.answer(now, st, from, number, msg)
		return
	}
	switch x := msg.(type) {
	case *bolt.Propose:
		m.fromBolt(now, st, m.now.bolt.HandlePropose(now, from, x))
	case *bolt.Vote:
		m.fromBolt(now, st, m.now.bolt.HandleVote(now, from, x))
	case *bolt.Finalize:
		m.fromBolt(now, st, m.now.bolt.HandleFinalize(now, from, x))
	case *bolt.FetchBlock:
		m.fromBolt(now, st, m.now.bolt.HandleFetchBlock(from, x))
	case *Status:
		m.handleStatus(now, st, from, x)
	default:
		m.fromAgreement(now, st, m.now.agreement.Handle(now, from, msg))
	}
}

// answer handles a message of an ended epoch: the answer is the decision or the requested block.
func (m *Machine) answer(now protocols.Time, st *Step, from protocols.Index, number uint64, msg protocols.Message) {
	k := slices.IndexFunc(m.past, func(e *epoch) bool { return e.number == number })
	if k < 0 {
		return // a block after the epoch is certified: a replica that lacks its last block catches up
	}
	e := m.past[k]
	switch x := msg.(type) {
	case *bolt.FetchBlock:
		protocols.Absorb(st, e.bolt.HandleFetchBlock(from, x))
	case *bolt.Propose, *bolt.Vote, *bolt.Finalize:
		// No answer: the decision was sent to all, and is sent again when the sender reconnects.
	case *Status:
		protocols.Absorb(st, e.agreement.SendDecision(from))
	default:
		m.fromPast(st, e, e.agreement.Handle(now, from, msg))
	}
}
