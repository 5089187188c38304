package sim

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/channels"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/mvba"
	"bdtnode/protocols/votes"

	"bdtnode/node/replica"
)

// kept is how many events a violation shows.
const kept = 400

// happenings hashes everything that happens and keeps the last of it for people to read.
type happenings struct {
	hash   hash.Hash
	steps  uint64
	recent [kept]Event
	watch  func(Event) // told of every event, may be nil
}

// trace is what happens in one shard.
type trace struct {
	*happenings
	shard int
}

// Event is something that happened in a run.
type Event struct {
	Step   uint64        // from 1
	At     time.Duration // virtual, since the start
	What   string        // happened
	Shard  int
	Who    int // a replica, or -1
	To     int // another, or -1
	Detail any
}

func newHappenings() *happenings { return &happenings{hash: sha256.New()} }

// add notes one event: what happened, to whom, and the bytes that make it up.
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

// String is the event on one line: step, time, shard, what happened, to whom, and what it was about.
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

// describe says in a few words what a message is about.
func describe(m protocols.Message) string {
	switch x := m.(type) {
	case *lanes.Batch:
		return fmt.Sprintf("batch lane %d seq %d %s parent %s count %d", x.Lane, x.Seq, x.Digest().Short(), x.Parent.Short(), x.Count)
	case *lanes.Ack:
		return fmt.Sprintf("ack lane %d seq %d %s", x.Lane, x.Tip.Seq, x.Tip.Digest.Short())
	case *lanes.TipCertificate:
		return fmt.Sprintf("certificate lane %d seq %d %s", x.Lane, x.Tip.Seq, x.Tip.Digest.Short())
	case *lanes.Fetch:
		return fmt.Sprintf("fetch lane %d seq %d %s after %d", x.Lane, x.Tip.Seq, x.Tip.Digest.Short(), x.After)
	case *lanes.Conflict:
		return fmt.Sprintf("conflict lane %d seq %d %s", x.Lane, x.Seq, x.Digest().Short())
	case *lanes.Chain:
		return fmt.Sprintf("chain lane %d seq %d after %d", x.Lane, x.Tip.Seq, x.After)
	case *bolt.Propose:
		return fmt.Sprintf("propose epoch %d slot %d %s parent %s cut %s", x.Block.Epoch, x.Block.Slot, x.Block.Digest().Short(), x.Block.Parent.Short(), cutString(x.Block.Cut))
	case *bolt.Vote:
		return fmt.Sprintf("vote epoch %d slot %d %s", x.Epoch, x.Slot, x.Digest.Short())
	case *bolt.Commit:
		return fmt.Sprintf("commit epoch %d slot %d %s", x.Epoch, x.Slot, x.Digest.Short())
	case *bolt.FetchBlock:
		return fmt.Sprintf("fetch block slot %d %s", x.Slot, x.Digest.Short())
	case *channels.SIGN:
		return fmt.Sprintf("SIGN shard %d LD %d %s", x.Source, x.Tip.Seq, x.Tip.Digest.Short())
	case *channels.FetchLD:
		return fmt.Sprintf("fetch of shard %d LDs %d..%d", x.Source, x.After+1, x.Tip.Seq)
	case *replica.Inbound:
		return fmt.Sprintf("LD %d of shard %d %s", x.Number, x.Source, x.Digest.Short())
	case *votes.VOTE:
		return fmt.Sprintf("VOTE height %d %s", x.Height, x.Header.Short())
	case *replica.Position:
		return fmt.Sprintf("position certified %d again %v", x.Certified, x.Again)
	case *replica.Request:
		return fmt.Sprintf("request from %d", x.From)
	case *bdt.Status:
		return fmt.Sprintf("Status epoch %d slot %d %s tips %s", x.Epoch, x.Slot, x.Digest.Short(), cutString(x.Cut))
	case *mvba.Proposal:
		return fmt.Sprintf("agreement %s round %d proposal %s", x.Instance, x.Round, x.Digest.Short())
	case *mvba.Decision:
		return fmt.Sprintf("agreement %s round %d decision %s of %d", x.Instance, x.Round, x.Digest.Short(), x.Leader)
	case *replica.History:
		if len(x.Items) == 0 {
			return "history of nothing"
		}
		return fmt.Sprintf("history %d..%d", x.Items[0].Block.Height, x.Items[len(x.Items)-1].Block.Height)
	}
	return fmt.Sprintf("%T", m)
}

func cutString(c lanes.Cut) string {
	s := ""
	for i, t := range c {
		if i > 0 {
			s += ","
		}
		s += fmt.Sprint(t.Seq)
	}
	return s
}
