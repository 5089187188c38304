package bdt

import (
	"fmt"
	"strings"
	"testing"

	"bdtnode/internal/golden"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/lanes"
)

// traced is the machines of a shard, and the messages on their way.
type traced struct {
	t    *testing.T
	p    *golden.Printer
	s    *shard
	net  *golden.Net
	done []uint64 // executed height of each replica
}

// TestTraces runs the scripts in testdata/traces.
func TestTraces(t *testing.T) {
	golden.Run(t, "testdata/traces/*.txt", func(t *testing.T, p *golden.Printer) golden.Commands {
		s := &traced{t: t, p: p, done: make([]uint64, 4)}
		p.Suggest = nameOf
		p.Omit("TimeMS", "Inbound")
		p.Values("b/p", func(_, value []byte) (any, error) { return bolt.DecodePropose(s.s.c, value) })
		for _, prefix := range []string{"b/c", "b/t"} {
			p.Values(prefix, func(_, value []byte) (any, error) {
				r := wire.NewReader(value)
				q := bolt.ReadQC(r)
				return q, r.Done()
			})
		}
		p.Values("l/b", func(_, value []byte) (any, error) { return lanes.DecodeStored(s.s.c, value) })
		p.Values("h/b", func(_, value []byte) (any, error) { return DecodeCommit(s.s.c, value) })
		p.Values("e/s", func(_, _ []byte) (any, error) { return "own Status", nil })
		p.Values("e/r", func(_, value []byte) (any, error) {
			r, err := decodeEpochStart(s.s.c, value)
			text := fmt.Sprintf("epoch %d, leader %d", r.number, r.leader)
			for _, f := range r.failed {
				text += fmt.Sprintf(", replica %d failed in epoch %d", f.replica, f.epoch)
			}
			return text, err
		})
		s.net = golden.NewNet(p, 4, s.handle, s.read)
		s.net.HideAgreement("mvba", "coin")
		commands := s.net.Commands()
		commands["shard"], commands["append"], commands["time"], commands["execute"] = s.shard, s.append, s.time, s.execute
		commands["state"], commands["restart"], commands["reconnect"] = s.state, s.restart, s.reconnect
		return commands
	})
}

// nameOf names blocks after their place: e1s2 is that of epoch 1, slot 2, and e1last the last one of epoch 1.
func nameOf(v any) string {
	switch x := v.(type) {
	case *bolt.Block:
		if x.Last {
			return fmt.Sprintf("e%dlast", x.Epoch)
		}
		return fmt.Sprintf("e%ds%d", x.Epoch, x.Slot)
	}
	return ""
}

func (s *traced) handle(to, from int, message any) any {
	st, ok := s.s.machines[to].Handle(s.s.now, protocols.Index(from), message.(protocols.Message))
	if !ok {
		s.t.Fatalf("%T is no message of the machine", message)
	}
	return st
}

// read reads the batches of a chain.
func (s *traced) read(from int, stored any) []any {
	x := stored.(lanes.BatchRange)
	out := []any{}
	for t := x.Tip; t.Seq > x.After; {
		b, err := lanes.DecodeStored(s.s.c, s.net.Disks[from][string(lanes.StoredKey(x.Lane, t))])
		if err != nil {
			break
		}
		out = append(out, b)
		t = lanes.Tip{Seq: b.Seq - 1, Digest: b.Parent}
	}
	return out
}

// shard [dumbo] [slots=N]: four replicas, of which replica 0 leads epoch 1. They execute nothing unless the script says so.
func (s *traced) shard(a *golden.Args) {
	dumbo, slots := a.Flag("dumbo"), a.IntOr("slots", 0)
	s.s = newShard(s.t, 4, func(x *shard) { x.dumbo, x.slots = dumbo, uint64(slots) })
	s.p.Name(s.s.machines[0].Base().Digest(), "genesis")
	s.p.Line("4 replicas, quorum %d, weak quorum %d, leader %d", s.s.c.Quorum(), s.s.c.WeakQuorum(), s.s.machines[0].Leader())
}

// append at=1 x TEXT: the next batch of a replica's lane.
func (s *traced) append(a *golden.Args) {
	i, name := a.Int("at"), a.Word()
	st, b := s.s.machines[i].Append(s.s.now, []byte(strings.Join(a.Words(), " ")), 1)
	s.p.Name(b.Digest(), name)
	s.net.Took(i, st)
}

// time 2s: so long after the beginning. Each machine gets its ticks when they are due; messages wait to be carried.
func (s *traced) time(a *golden.Args) {
	for end := t0.Add(a.Duration()); ; {
		var next protocols.Time
		for i, m := range s.s.machines {
			if !s.net.Down(i) {
				next = protocols.Earliest(next, m.Wake())
			}
		}
		if next == 0 || next > end {
			s.s.now = end
			return
		}
		s.s.now = max(s.s.now, next)
		for i, m := range s.s.machines {
			if w := m.Wake(); w != 0 && w <= s.s.now && !s.net.Down(i) {
				s.net.Took(i, m.Tick(s.s.now))
			}
		}
	}
}

// execute: every replica executes all that was delivered to it.
func (s *traced) execute(*golden.Args) {
	for i, m := range s.s.machines {
		for len(m.chain.running) > 0 {
			s.done[i] = m.chain.running[0].Height
			s.net.Took(i, m.Executed(s.s.now, s.done[i]))
		}
	}
	s.p.Line("executed up to %v", s.done)
}

// state: where each replica is.
func (s *traced) state(*golden.Args) {
	for i, m := range s.s.machines {
		s.p.Name(m.Base().Digest(), nameOf(m.Base()))
		s.p.Line("replica %d: epoch %d, leader %d, committed %s", i, m.Epoch(), m.Leader(), s.p.Digest(m.Base().Digest()))
	}
}

// restart 2: the machine again, from its records.
func (s *traced) restart(a *golden.Args) {
	i := a.Number()
	m, err := New(s.s.config(protocols.Index(i)), s.done[i], s.net.Disks[i].Stored)
	a.Check(err)
	s.s.machines[i] = m
	s.p.Line("replica %d restored from %d records", i, len(s.net.Disks[i]))
	s.net.Took(i, m.Start(s.s.now))
}

// reconnect 0 3: both send again the messages that the other may have missed.
func (s *traced) reconnect(a *golden.Args) {
	i, j := a.Number(), a.Number()
	s.net.Took(i, s.s.machines[i].Resend(protocols.Index(j)))
	s.net.Took(j, s.s.machines[j].Resend(protocols.Index(i)))
}
