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

// maxPast bounds the epochs that are kept though they ended. Who lacks an older one catches up by certified headers.
const maxPast = 32

// epoch is what a replica has of one epoch.
type epoch struct {
	reign
	bolt      *bolt.Machine
	agreement *mvba.Machine
	keys      map[string]bool // of the agreement's records
	status    *Status         // own; nil before leaving
	statuses  []*Status       // of each replica, the own one among them
	left      int             // how many there are
	proposed  bool            // the own input is with the agreement
	decided   *Input          // nil before
}

// instance names the agreement that ends an epoch.
func instance(epoch uint64) mvba.Instance { return mvba.Instance{Epoch: epoch, Kind: agreementEnd} }

// statusKey is where the own Status of an epoch is kept.
func statusKey(epoch uint64) []byte { return wire.AppendU64([]byte("e/s"), epoch) }

// epochOfRecord is the epoch of an agreement's record.
func epochOfRecord(key []byte) (uint64, error) {
	from, _ := mvba.Records(instance(0))
	prefix := len(from) - len(wire.AppendU16([]byte{agreementEnd}, 0)) - 8
	r := wire.NewReader(key[prefix:])
	return r.U64(), r.Err()
}

func (m *Machine) boltConfig(r *reign) bolt.Config {
	return bolt.Config{
		Committee: m.cfg.Committee, Self: m.cfg.Self, Signer: m.cfg.Signer, Epoch: r.number, Leader: r.leader,
		Slots: m.cfg.Slots, Data: m.lanes, Inbound: m.channels, Wall: m.cfg.Wall,
	}
}

func (m *Machine) agreementConfig(r *reign) mvba.Config {
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

// restoreEpochs brings back the current epoch, and those before it that others may still ask about.
func (m *Machine) restoreEpochs(genesis *bolt.Block, stored protocols.Stored) error {
	c := m.cfg.Committee
	r, err := storedReign(c, genesis, stored)
	if err != nil {
		return err
	}
	m.now = epoch{reign: r, keys: make(map[string]bool), statuses: make([]*Status, c.N())}
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

// restorePast brings back what ended epochs need for answering.
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
		// Who led it and what it began with play no part any more: nothing is signed in it or judged.
		e := &epoch{reign: reign{number: number, base: m.base}, keys: make(map[string]bool)}
		var err error
		if e.agreement, err = mvba.Restore(m.agreementConfig(&e.reign), e.collecting(stored)); err != nil {
			return err
		}
		if e.bolt, err = bolt.Restore(m.boltConfig(&e.reign), m.base, m.executed, stored); err != nil {
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

// collecting notes the keys of the agreement's records while they are read.
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

// begin starts the epoch that follows the one that has just ended, whose last block is committed. The record of it is
// in the same step as that block and the decision, so they are on disk before anything of it is signed.
func (m *Machine) begin(now protocols.Time, st *Step, r reign) {
	ended := m.now
	ended.bolt.Leave()
	m.patience.ended(ended.bolt.Final() > 0)
	m.patience.begins()
	st.Record(reignKey, r.encode())
	if ended.agreement.Decision() != nil {
		m.past = append(m.past, &ended)
	} else {
		m.forget(st, &ended) // it was left by certified headers
	}
	for len(m.past) > maxPast {
		m.forget(st, m.past[0])
		m.past = m.past[1:]
	}
	c := m.cfg.Committee
	m.now = epoch{reign: r, keys: make(map[string]bool), statuses: make([]*Status, c.N())}
	m.now.bolt = bolt.New(m.boltConfig(&r), r.base, m.executed)
	if m.cfg.Dumbo {
		m.now.bolt.Leave()
	}
	var err error
	if m.now.agreement, err = mvba.New(m.agreementConfig(&r)); err != nil {
		panic(fmt.Sprintf("bdt: %v, though the first epoch's was in order", err))
	}
	clear(m.marks) // the wait for the new leader begins
	m.fromBolt(now, st, m.now.bolt.Progress(now))
	for _, x := range m.early.take(r.number) {
		m.route(now, st, x.from, r.number, x.message)
	}
}

// forget deletes what is on disk of an epoch that ended.
func (m *Machine) forget(st *Step, e *epoch) {
	protocols.Absorb(st, e.bolt.Forget())
	for _, key := range slices.Sorted(maps.Keys(e.keys)) {
		st.Record([]byte(key), nil)
	}
	st.Record(statusKey(e.number), nil)
}

// epochOf is the epoch a message belongs to; ok is false if it belongs to none.
func epochOf(msg protocols.Message) (number uint64, ok bool) {
	switch x := msg.(type) {
	case *bolt.Propose:
		return x.Block.Epoch, true
	case *bolt.Vote:
		return x.Epoch, true
	case *bolt.Commit:
		return x.Epoch, true
	case *bolt.FetchBlock:
		return x.Epoch, true
	case *Status:
		return x.Epoch, true
	}
	in, ok := mvba.InstanceOf(msg)
	return in.Epoch, ok
}

// route hands a message to the epoch it belongs to.
func (m *Machine) route(now protocols.Time, st *Step, from protocols.Index, number uint64, msg protocols.Message) {
	if in, ok := mvba.InstanceOf(msg); ok && in != instance(number) {
		st.Blame(from, "sent a message of agreement %s, which there is not", in)
		return
	}
	switch {
	case number > m.now.number:
		m.early.keep(from, number, m.now.number, msg)
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
	case *bolt.Commit:
		m.fromBolt(now, st, m.now.bolt.HandleCommit(now, from, x))
	case *bolt.FetchBlock:
		m.fromBolt(now, st, m.now.bolt.HandleFetchBlock(from, x))
	case *Status:
		m.heard(now, st, from, x)
	default:
		m.fromAgreement(now, st, m.now.agreement.Handle(now, from, msg))
	}
}

// answer is what a message of an epoch that ended gets: the decision, or what it asks for.
func (m *Machine) answer(now protocols.Time, st *Step, from protocols.Index, number uint64, msg protocols.Message) {
	k := slices.IndexFunc(m.past, func(e *epoch) bool { return e.number == number })
	if k < 0 {
		return // a block after it is certified: who lacks its last one catches up
	}
	e := m.past[k]
	switch x := msg.(type) {
	case *bolt.FetchBlock:
		protocols.Absorb(st, e.bolt.HandleFetchBlock(from, x))
	case *bolt.Propose, *bolt.Vote, *bolt.Commit:
		// Sent before its sender had the decision, which went to all and goes again to who reconnects.
	case *Status:
		protocols.Absorb(st, e.agreement.Tell(from))
	default:
		m.fromPast(st, e, e.agreement.Handle(now, from, msg))
	}
}
