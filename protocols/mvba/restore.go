package mvba

import (
	"bytes"
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
	"bdtnode/protocols/coin"
)

// recordVersion is the first byte of every record, except values, which are stored without a version.
const recordVersion = 1

// Parts of an instance's records, in the order of their keys.
const (
	partDecision = 'd'
	partEvidence = 'e' // first-phase proof of an own Accept, by broadcaster
	partMessage  = 'm' // own messages of the round, by kind and receiver
	partState    = 's' // round, its justification and the highest key
	partValue    = 'v' // values by digest
)

// Records gives the range of record keys, from <= key < to, of an instance. The parent deletes the records together, when
// the decision is durable elsewhere.
func Records(in Instance) (from, to []byte) {
	from = in.append([]byte("a/"))
	return from, append(bytes.Clone(from), 0xff)
}

func (i Instance) recordKey(part byte, rest ...byte) []byte {
	from, _ := Records(i)
	return append(append(from, part), rest...)
}

func (i Instance) decisionKey() []byte             { return i.recordKey(partDecision) }
func (i Instance) stateKey() []byte                { return i.recordKey(partState) }
func (i Instance) valueKey(d digest.Digest) []byte { return i.recordKey(partValue, d[:]...) }

func (i Instance) evidenceKey(j protocols.Index) []byte {
	return i.recordKey(partEvidence, wire.AppendU16(nil, uint16(j))...)
}

// messageKey has no round: messages of a new round overwrite those of the round that was left.
func (i Instance) messageKey(to protocols.To, msg protocols.Message) []byte {
	return i.recordKey(partMessage, wire.AppendU32([]byte{byte(msg.Kind())}, uint32(to))...)
}

func (m *Machine) stateRecord() []byte {
	b := wire.AppendU32([]byte{recordVersion}, m.round)
	b = m.why.append(b)
	b = wire.AppendBool(b, m.high != nil)
	if m.high != nil {
		b = m.high.append(b)
	}
	return b
}

// Restore makes the machine of an instance from the records of an earlier one, or a new machine if there are none.
// [Machine.Start] must be called next. Messages of peers are not restored: peers send them again when they reconnect. Restore
// returns an error if a record is damaged.
func Restore(cfg Config, stored protocols.Stored) (*Machine, error) {
	m, err := New(cfg)
	if err != nil {
		return nil, err
	}
	found := records{m: m, evidence: make(map[protocols.Index]*Lock)}
	from, to := Records(cfg.Instance)
	for key, record := range stored(from, to) {
		if err := found.read(bytes.Clone(key[len(from):]), bytes.Clone(record)); err != nil {
			return nil, fmt.Errorf("agreement %s: record %x: %w: the store is damaged", cfg.Instance, key, err)
		}
	}
	if err := found.replay(); err != nil {
		return nil, fmt.Errorf("agreement %s: %w: the store is damaged", cfg.Instance, err)
	}
	return m, nil
}

// records brings a new machine to the state of the records that are read. It has those that are applied after all are read.
type records struct {
	m        *Machine
	decision *Decision
	evidence map[protocols.Index]*Lock
	own      []protocols.Send
}

// read takes one record. key is the part of its key after the instance.
func (f *records) read(key, record []byte) error {
	k := wire.NewReader(key)
	part := k.U8()
	switch part {
	case partValue:
		var d digest.Digest
		k.Fixed(d[:])
		if DigestOf(record) != d {
			return fmt.Errorf("%w: a value with another digest than its key", wire.ErrMalformed)
		}
		f.m.values.held[d] = &value{bytes: record, stored: true}
		return k.Done()
	case partState:
		if err := f.readState(record); err != nil {
			return err
		}
		return k.Done()
	}
	msg, err := readMessageRecord(record)
	if err != nil {
		return err
	}
	from := f.m.cfg.Self
	switch x := msg.(type) {
	case *Decision:
		if part != partDecision {
			k.Fail("a decision in part %q", part)
		}
		f.decision = x
	case *Lock:
		if part == partEvidence {
			if from = protocols.Index(k.U16()); !f.m.cfg.Committee.Has(from) {
				k.Fail("replica %d of %d", from, f.m.cfg.Committee.N())
				break
			}
			f.evidence[from] = x
			break
		}
		f.addOwn(k, part, msg)
	default:
		f.addOwn(k, part, msg)
	}
	if err := k.Done(); err != nil {
		return err
	}
	return f.recheck(from, msg)
}

// addOwn adds an own message.
func (f *records) addOwn(key *wire.Reader, part byte, msg protocols.Message) {
	if kind := protocols.Kind(key.U8()); part != partMessage || kind != msg.Kind() {
		key.Fail("a message of kind %#x in part %q for kind %#x", uint8(msg.Kind()), part, uint8(kind))
	}
	f.own = append(f.own, protocols.Send{To: protocols.To(key.U32()), Message: msg})
}

// recheck refuses a stored message that this replica cannot have sent or accepted. Signatures are not verified again.
func (f *records) recheck(from protocols.Index, msg protocols.Message) error {
	if in, ok := InstanceOf(msg); !ok || in != f.m.cfg.Instance {
		return fmt.Errorf("%w: a message of instance %s", wire.ErrMalformed, in)
	}
	if p, ok := msg.(*Proposal); ok && p.Round == 1 {
		return nil
	}
	proof, err := Check(f.m.cfg.Committee, from, msg)
	if err != nil {
		return err
	}
	return proof.verifyTosses(f.m.cfg.Coin)
}

// readState reads round, justification and highest key.
func (f *records) readState(record []byte) error {
	m := f.m
	r := wire.NewReader(record)
	if v := r.U8(); v != recordVersion {
		r.Fail("version %d, this program reads %d", v, recordVersion)
	}
	m.round, m.why = r.U32(), readJustification(r)
	if m.round < 2 {
		r.Fail("a state record of round %d, want at least 2", m.round)
	}
	if r.Bool() {
		m.high = readKey(r)
	}
	if err := r.Done(); err != nil {
		return err
	}
	var proof Proof
	return m.why.check(m.cfg.Committee, m.cfg.Instance, m.round, &proof)
}

// replay brings the machine to the state of the records.
func (f *records) replay() error {
	m := f.m
	if f.decision != nil {
		var none Step
		m.settle(&none, f.decision)
		return nil
	}
	r := m.slot(m.round)
	for j, l := range f.evidence {
		if l.Round == m.round {
			r.broadcasts.locks[j] = l
		}
	}
	for _, own := range f.own {
		if p, ok := own.Message.(*Proposal); ok {
			v := m.values.held[p.Digest]
			if v == nil {
				return fmt.Errorf("the proposed value %s is missing", p.Digest)
			}
			if p.Round == 1 {
				p.Value = v.bytes
			}
			if p.Justification == nil || p.Justification.Key == nil {
				m.input = p.Digest
			}
		}
		if roundOf(own.Message) != m.round {
			continue // the message is of a round that was left
		}
		if own.To != protocols.To(m.cfg.Self) {
			m.out.kept = append(m.out.kept, own)
		}
		var none Step
		m.process(&none, m.cfg.Self, own.Message)
	}
	return nil
}

// roundOf is the round of an own message.
func roundOf(msg protocols.Message) uint32 {
	switch x := msg.(type) {
	case *coin.Release:
		return x.Name.Round
	case *coin.Relay:
		return x.Name.Round
	case interface{ at() At }:
		return x.at().Round
	}
	return 0
}

// messageRecord encodes an own message. The value of a proposal of round 1 is left out, since it has its own record.
func messageRecord(msg protocols.Message) []byte {
	b := []byte{recordVersion, byte(msg.Kind())}
	if p, ok := msg.(*Proposal); ok && p.Round == 1 {
		return append(p.At.append(b), p.Digest[:]...)
	}
	return msg.Append(b)
}

func readMessageRecord(record []byte) (protocols.Message, error) {
	r := wire.NewReader(record)
	if v := r.U8(); v != recordVersion {
		r.Fail("version %d, this program reads %d", v, recordVersion)
	}
	kind := protocols.Kind(r.U8())
	body := r.Raw(r.Len())
	if err := r.Err(); err != nil {
		return nil, err
	}
	if kind == KindProposal {
		r := wire.NewReader(body)
		if p := (&Proposal{At: readAt(r)}); p.Round == 1 {
			r.Fixed(p.Digest[:])
			return p, r.Done()
		}
	}
	return Decode(kind, body)
}
