// Package protocols has what the consensus protocols of one shard share: the committee and its thresholds,
// statements and certificates, and the shape of a state machine.
//
// A protocol is a pure state machine: an input in, a [Step] out. It has no goroutine, channel, clock, randomness
// or I/O, and no map order decides anything. Time enters as an argument. What a step asks for happens in one
// order: Persist is on disk before Sends leave and before Out is acted on, and steps are carried out in the order
// in which they were made.
package protocols

import (
	"fmt"
	"iter"
	"time"
)

// Time is a reading of the node's clock, in nanoseconds since the Unix epoch. The simulator has its own.
type Time int64

// Add is t later by d.
func (t Time) Add(d time.Duration) Time { return t + Time(d) }

// Sub is the time from u to t.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// Millis is t in milliseconds since the Unix epoch, the unit of block times.
func (t Time) Millis() uint64 { return uint64(t / 1e6) }

// Earliest is the first of several deadlines, of which a zero is none.
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

// Message is something one replica sends another. Kind is its first byte on the wire and Append its body.
// A message is immutable once sent: every peer gets the same one.
type Message interface {
	Kind() Kind
	Append(b []byte) []byte
}

// Kind is the type of a message on the wire. Each package numbers its own in the block that Kinds reserve.
type Kind uint8

// Blocks of message kinds, one for each package. Numbers are never reused within a wire version.
const (
	KindsLanes    Kind = 0x10
	KindsBolt     Kind = 0x20
	KindsVotes    Kind = 0x30
	KindsCatchup  Kind = 0x40
	KindsCoin     Kind = 0x50
	KindsMVBA     Kind = 0x60
	KindsChannels Kind = 0x70
	KindsBDT      Kind = 0x80
)

// To says who gets a message: one replica, or with Everyone all others of the shard.
type To int32

// Everyone is all replicas of the shard but the sender.
const Everyone To = -1

// Send is a message to one replica or to all others.
type Send struct {
	To      To
	Message Message
}

// Fault is a proof or suspicion that a peer misbehaved. It is never an error of this replica.
type Fault struct {
	Peer   Index
	Reason string
}

func (f Fault) String() string { return fmt.Sprintf("replica %d: %s", f.Peer, f.Reason) }

// Stored gives what was persisted, in key order: the records with from <= key < to. Keys and values are only valid
// until the next one.
type Stored func(from, to []byte) iter.Seq2[[]byte, []byte]

// Step is everything one input made an instance want; the zero Step is nothing.
// Sends leave, and Out is acted on, only after Persist is synced. Machines with deadlines have a method Wake, the
// earliest time at which they want a Tick, zero for none.
type Step[O any] struct {
	Persist []Record
	Sends   []Send
	Out     []O
	Faults  []Fault
}

// Record adds a record; a nil value deletes the key.
func (s *Step[O]) Record(key, value []byte) { s.Persist = append(s.Persist, Record{key, value}) }

// Broadcast adds a message to all others.
func (s *Step[O]) Broadcast(m Message) { s.Sends = append(s.Sends, Send{Everyone, m}) }

// Send adds a message to one replica.
func (s *Step[O]) Send(to Index, m Message) { s.Sends = append(s.Sends, Send{To(to), m}) }

// Emit adds an output.
func (s *Step[O]) Emit(o O) { s.Out = append(s.Out, o) }

// Blame adds a fault.
func (s *Step[O]) Blame(peer Index, format string, args ...any) {
	s.Faults = append(s.Faults, Fault{peer, fmt.Sprintf(format, args...)})
}

// Absorb takes over all of a child's step but its outputs, which the parent acts on itself and which are returned.
func Absorb[O, C any](s *Step[O], child Step[C]) []C {
	s.Persist = append(s.Persist, child.Persist...)
	s.Sends = append(s.Sends, child.Sends...)
	s.Faults = append(s.Faults, child.Faults...)
	return child.Out
}
