package network

import (
	"slices"
	"testing"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/node/replica"
	"bdtnode/node/sim/clock"
	"bdtnode/node/sim/trace"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
)

// stub is a node that records the slots of the messages that it receives, by the place of their sender.
type stub struct {
	id    protocols.Index
	slots map[int][]uint64
}

func (n *stub) ID() protocols.Index { return n.id }

func (*stub) Alive() bool { return true }

func (*stub) Connected(protocols.Index) {}

func (n *stub) Receive(from int, p Packet) {
	n.slots[from] = append(n.slots[from], p.Message.(*bolt.Finalize).Slot)
}

// connected is a network of connected nodes.
type connected struct {
	*Network
	nodes []*stub
}

func newConnected() *connected {
	const n = 4
	c := clock.New(1)
	w := &connected{Network: New(c, trace.Shard{Log: trace.NewLog()}, Config{
		Places: n, Delay: 10 * time.Millisecond, Carried: func(int, int, int) {},
	})}
	for i := range n {
		s := &stub{id: protocols.Index(i), slots: make(map[int][]uint64)}
		w.nodes = append(w.nodes, s)
		w.Join(s)
	}
	for i := range n {
		w.Up(i)
	}
	w.play(time.Second)
	return w
}

func (w *connected) play(d time.Duration) {
	w.clock.Play(w.clock.Now().Add(d), func(int) bool { return false })
}

// delivered lists the slots of the messages that one node received from another.
func (w *connected) delivered(from, to int) []uint64 { return w.nodes[to].slots[from] }

// finalize is a message of the control stream.
func finalize(slot uint64) Packet {
	m := &bolt.Finalize{Epoch: 1, Slot: slot, Digest: digest.Of("bdt/test/1", []byte{byte(slot)})}
	return Packet{Frame: replica.Encode(m), Message: m}
}

// TestStall: nothing arrives on a stalled link, and the other direction stays open. At the end all frames arrive in
// order, or none.
func TestStall(t *testing.T) {
	for _, lost := range []bool{false, true} {
		w := newConnected()
		resume := w.Stall(0, 1)
		for slot := range uint64(20) {
			w.Send(0, 1, finalize(slot+1))
			w.Send(1, 0, finalize(slot+1))
		}
		w.play(time.Second)
		if got := w.delivered(0, 1); len(got) != 0 {
			t.Errorf("slots %v came over a stalled link", got)
		}
		if got := w.delivered(1, 0); len(got) != 20 {
			t.Errorf("%d came the other way, want 20", len(got))
		}
		resume(lost)
		w.play(time.Second)
		got := w.delivered(0, 1)
		if want := map[bool]int{false: 20, true: 0}[lost]; len(got) != want || !slices.IsSorted(got) {
			t.Errorf("lost %v: slots %v came in the end, want %d in order", lost, got, want)
		}
		if !w.pairs[0][1].linked || w.links[0][1].count != 0 {
			t.Errorf("lost %v: linked %v, %d still under way", lost, w.pairs[0][1].linked, w.links[0][1].count)
		}
	}
}

// TestStallNoConnection: a connection that breaks while one direction is stalled does not come up before the end of the
// stall, nor before the end of disturbances.
func TestStallNoConnection(t *testing.T) {
	w := newConnected()
	resume := w.Stall(2, 3)
	w.Sever(2, 3)
	w.play(5 * time.Second)
	if w.pairs[2][3].linked {
		t.Error("a connection was made over a stalled link")
	}
	resume(false)
	w.play(time.Second)
	if !w.pairs[2][3].linked {
		t.Error("no connection after the stall")
	}

	w.Stall(2, 3)
	w.Send(2, 3, finalize(1))
	w.play(time.Second)
	w.clock.Active = false
	w.Heal()
	w.play(time.Second)
	if l := w.links[2][3]; l.count != 0 || l.stalls != 0 {
		t.Errorf("after the end of disturbances %d messages wait for %d stalls", l.count, l.stalls)
	}
}

// TestAside: other messages overtake one that a hindrance sets aside. One that is only delayed holds up its stream.
func TestAside(t *testing.T) {
	for _, aside := range []bool{false, true} {
		w := newConnected()
		w.Hinder(func(_, _ protocols.Index, p Packet) (time.Duration, bool) {
			if c, ok := p.Message.(*bolt.Finalize); ok && c.Slot == 1 {
				return time.Second, aside
			}
			return 0, false
		})
		w.Send(0, 1, finalize(1))
		w.Send(0, 1, finalize(2))
		w.play(2 * time.Second)
		want := []uint64{1, 2}
		if aside {
			want = []uint64{2, 1}
		}
		if got := w.delivered(0, 1); !slices.Equal(got, want) {
			t.Errorf("aside %v: slots %v, want %v", aside, got, want)
		}
	}
}
