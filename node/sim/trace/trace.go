// Package trace records the events of a simulated run: a hash over all of them, and the last ones as text.
package trace

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/node/sim/clock"
	"bdtnode/protocols"
)

// kept is the number of events that a violation shows.
const kept = 400

// Log hashes all events of a run and keeps the last ones for people to read.
type Log struct {
	Steps  uint64      // number of events
	Pings  uint64      // of these, Pings, Pongs, or ticks that send only Pings
	Clocks uint64      // of these, settings of a clock
	Watch  func(Event) // called with every event, may be nil

	hash   hash.Hash
	buffer []byte // of the event that is hashed
	recent [kept]Event
}

// NewLog is the log of a run without events.
func NewLog() *Log { return &Log{hash: sha256.New()} }

// Shard adds the events of one shard to the log.
type Shard struct {
	*Log
	Number int
}

// Event is one event of a run.
type Event struct {
	Step   uint64        // from 1
	At     time.Duration // virtual, since the start
	What   string        // name of the event
	Shard  int
	Who    int // a replica, or -1
	To     int // another replica, or -1
	Detail any
}

// Lazy is the detail of an event that is computed only when the event is printed.
type Lazy func() string

// String computes the detail.
func (f Lazy) String() string { return f() }

// Add records one event: its name, the replicas, and the bytes that define it. The detail is for people and does not
// change the hash.
func (t Shard) Add(at protocols.Time, what string, a, b int, data []byte, detail any) {
	t.Steps++
	var head [32]byte
	binary.BigEndian.PutUint64(head[0:], uint64(at))
	binary.BigEndian.PutUint64(head[8:], uint64(a))
	binary.BigEndian.PutUint64(head[16:], uint64(b))
	binary.BigEndian.PutUint16(head[24:], uint16(t.Number))
	binary.BigEndian.PutUint16(head[26:], uint16(len(what)))
	binary.BigEndian.PutUint32(head[28:], uint32(len(data)))
	t.buffer = append(append(append(t.buffer[:0], head[:]...), what...), data...)
	t.hash.Write(t.buffer)
	e := Event{t.Steps, at.Sub(clock.Begin), what, t.Number, a, b, detail}
	t.recent[t.Steps%kept] = e
	if t.Watch != nil {
		t.Watch(e)
	}
}

// Hash is the hash over all events.
func (l *Log) Hash() digest.Digest { return digest.Digest(l.hash.Sum(nil)) }

// Last is the last events, each on one line.
func (l *Log) Last() []string {
	var out []string
	for k := range uint64(kept) {
		if e := l.recent[(l.Steps+1+k)%kept]; e.Step > 0 {
			out = append(out, e.String())
		}
	}
	return out
}

// String is the event on one line: step, time, shard, name, replicas, and a description.
func (e Event) String() string {
	s := fmt.Sprintf("%7d %12v %d/ %-9s %d", e.Step, e.At.Round(time.Microsecond), e.Shard, e.What, e.Who)
	if e.To >= 0 {
		s += fmt.Sprintf(" > %d", e.To)
	}
	switch d := e.Detail.(type) {
	case nil:
	case protocols.Message:
		s += " " + Describe(d)
	default:
		s += fmt.Sprintf(" %v", d)
	}
	return s
}
