// Package protocols has the parts that the consensus protocols of one shard share: the committee and its thresholds,
// statements and certificates, and the shape of a state machine.
//
// A protocol is a pure state machine: it takes one input and returns one [Step]. It has no goroutine, channel, clock,
// randomness or I/O, and no result depends on the order of a map. Time is an argument. The caller carries out each step in
// this order: Persist is written, Sends are sent, Out is handled. It carries out steps in the order in which the machine
// returned them. Records of this and all earlier steps are durable before a message is sent that may depend on them.
package protocols

import (
	"fmt"
	"iter"
	"time"
)

// Time is a reading of the clock of a replica, in nanoseconds since the Unix epoch. The simulator has its own clock.
type Time int64

// Add is the time d after t.
func (t Time) Add(d time.Duration) Time { return t + Time(d) }

// Sub is the time from u to t.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// Millis is t in milliseconds since the Unix epoch, the unit of block times.
func (t Time) Millis() uint64 { return uint64(t / 1e6) }

// Earliest is the first of several deadlines. A deadline of 0 means "none"; the result is 0 if all are 0.
func Earliest(deadlines ...Time) Time {
	var first Time
	for _, t := range deadlines {
		if t != 0 && (first == 0 || t < first) {
			first = t
		}
	}
	return first
}

// Record is a key and value for the consensus store. A nil Value deletes the key.
type Record struct {
	Key   []byte
	Value []byte
}

// Message is a message from one replica to another. On the wire, Kind is its first byte and Append encodes the rest.
// A message must not change once it is sent, since all receivers share the same value.
type Message interface {
	Kind() Kind
	Append(b []byte) []byte
}

// Kind is the type of a message on the wire. Each package numbers its messages from its constant below.
type Kind uint8

// First message kind of each package. Numbers are never reused within a wire version.
const (
	KindsLanes   Kind = 0x10
	KindsBolt    Kind = 0x20
	KindsCertify Kind = 0x30
	KindsCatchup Kind = 0x40
	KindsCoin    Kind = 0x50
	KindsMVBA    Kind = 0x60
	KindsInbound Kind = 0x70
	KindsBDT     Kind = 0x80
	KindsCancel  Kind = 0x90
	KindsVouch   Kind = 0xa0
)

// To is the receiver of a message: the index of one replica, or [Everyone].
type To int32

// Everyone means all replicas of the shard except the sender.
const Everyone To = -1

// Send is a message to one replica or to all others.
type Send struct {
	To      To
	Message Message
}

// Read names stored data to be sent to one replica. The driver reads the data from the store, after Persist is synced, and
// sends it as messages. It bounds the rate, so the messages may follow those of later steps.
type Read struct {
	To    Index
	Range Range
}

// Range names a part of the stored data, such as the batches of a lane between two positions. It is a comparable value of a
// type that its package defines.
type Range interface{ Range() }

// Fault is a proof or a suspicion that a peer misbehaved. An error of this replica is never a Fault.
type Fault struct {
	Peer   Index
	Reason string
}

func (f Fault) String() string { return fmt.Sprintf("replica %d: %s", f.Peer, f.Reason) }

// Stored reads persisted records: those with from <= key < to, in key order. A key and a value are valid only until the
// next record is read.
type Stored func(from, to []byte) iter.Seq2[[]byte, []byte]

// Step is the result of one input: records to persist, messages to send, stored data to read and send, outputs for the parent
// and faults of peers. The zero Step asks for nothing. Sends are sent only after Persist of this and all earlier steps is
// durable; Out is handled after Persist is written. A machine with deadlines has a method Wake: the earliest time at which it
// needs a Tick, zero for none.
type Step[O any] struct {
	Persist []Record
	Sends   []Send
	Reads   []Read
	Out     []O
	Faults  []Fault
}

// Record adds a record; a nil value deletes the key.
func (s *Step[O]) Record(key, value []byte) { s.Persist = append(s.Persist, Record{key, value}) }

// Broadcast adds a message to all others.
func (s *Step[O]) Broadcast(m Message) { s.Sends = append(s.Sends, Send{Everyone, m}) }

// Send adds a message to one replica.
func (s *Step[O]) Send(to Index, m Message) { s.Sends = append(s.Sends, Send{To(to), m}) }

// Read adds stored data for one replica.
func (s *Step[O]) Read(to Index, r Range) { s.Reads = append(s.Reads, Read{to, r}) }

// Emit adds an output.
func (s *Step[O]) Emit(o O) { s.Out = append(s.Out, o) }

// Blame adds a fault.
func (s *Step[O]) Blame(peer Index, format string, args ...any) {
	s.Faults = append(s.Faults, Fault{peer, fmt.Sprintf(format, args...)})
}

// Absorb adds the step of a child machine to s, except its outputs. It returns the outputs, for the parent to handle. The
// child's step must not be used any more: s may have its memory.
func Absorb[O, C any](s *Step[O], child Step[C]) []C {
	s.Persist = join(s.Persist, child.Persist)
	s.Sends = join(s.Sends, child.Sends)
	s.Reads = join(s.Reads, child.Reads)
	s.Faults = join(s.Faults, child.Faults)
	return child.Out
}

// join appends the child's part of a step to the parent's. Most parents have none yet, and then take the child's memory.
func join[T any](parent, child []T) []T {
	if len(parent) == 0 {
		return child
	}
	return append(parent, child...)
}
