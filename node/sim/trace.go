package sim

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/protocols"
)

// kept is the number of events that a violation shows.
const kept = 400

// happenings hashes all events and keeps the last ones for people to read.
type happenings struct {
	hash   hash.Hash
	steps  uint64
	pings  uint64 // number of steps that are Pings, Pongs, or ticks that send only Pings
	recent [kept]Event
	watch  func(Event) // called with every event, may be nil
}

// trace is the events of one shard.
type trace struct {
	*happenings
	shard int
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

func newHappenings() *happenings { return &happenings{hash: sha256.New()} }

// add records one event: its name, the replicas, and the bytes that define it.
func (t trace) add(at protocols.Time, what string, a, b int, data []byte, detail any) {
	t.steps++
	var head [32]byte
	binary.BigEndian.PutUint64(head[0:], uint64(at))
	binary.BigEndian.PutUint64(head[8:], uint64(a))
	binary.BigEndian.PutUint64(head[16:], uint64(b))
	binary.BigEndian.PutUint16(head[24:], uint16(t.shard))
	binary.BigEndian.PutUint16(head[26:], uint16(len(what)))
	binary.BigEndian.PutUint32(head[28:], uint32(len(data)))
	t.hash.Write(head[:])
	t.hash.Write([]byte(what))
	t.hash.Write(data)
	e := Event{t.steps, at.Sub(epoch), what, t.shard, a, b, detail}
	t.recent[t.steps%kept] = e
	if t.watch != nil {
		t.watch(e)
	}
}

func (t *happenings) sum() digest.Digest { return digest.Digest(t.hash.Sum(nil)) }

func (t *happenings) last() []string {
	var out []string
	for k := range uint64(kept) {
		if e := t.recent[(t.steps+1+k)%kept]; e.Step > 0 {
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
		s += " " + describe(d)
	default:
		s += fmt.Sprintf(" %v", d)
	}
	return s
}
