package bdt

import (
	"bytes"
	"iter"
	"reflect"
	"slices"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/coin"
	"bdtnode/protocols/committeetest"
	"bdtnode/protocols/lanes"
)

const t0 protocols.Time = 1_000_000_000_000

// shard has all replicas of a shard. Their messages arrive at once and in order, and each replica has a disk.
type shard struct {
	t        *testing.T
	c        *protocols.Committee
	scheme   *sig.Ideal
	machines []*Machine
	disks    []disk
	queue    []carried
	got      [][]*Delivery // by replica
	down     protocols.Set
	now      protocols.Time
	slots    uint64
	dumbo    bool
	carried  []carried // all messages that arrived
	unused   int       // number of arrived messages that the horizon found useless
}

type carried struct {
	from, to protocols.Index
	m        protocols.Message
}

func newShard(t *testing.T, n int, how ...func(*shard)) *shard {
	s := &shard{t: t, now: t0, scheme: sig.NewIdeal(1), got: make([][]*Delivery, n)}
	for _, f := range how {
		f(s)
	}
	s.c = committeetest.Ideal(t, s.scheme, 0, n, digest.Of("network"), 0)
	for i := range n {
		s.disks = append(s.disks, disk{})
		s.machines = append(s.machines, s.restore(protocols.Index(i), 0))
		s.apply(protocols.Index(i), s.machines[i].Start(t0))
	}
	return s
}

func (s *shard) config(i protocols.Index) Config {
	tosses := coin.NewIdeal(1, s.c.WeakQuorum())
	return Config{
		Committee: s.c, Self: i, Signer: s.scheme.Signer(uint64(i)), Coin: tosses, Shares: tosses.Holder(i),
		GenesisTimeMS: t0.Millis(), Shards: 2, Slots: s.slots, Dumbo: s.dumbo,
	}
}

func (s *shard) restore(i protocols.Index, executed uint64) *Machine {
	m, err := New(s.config(i), executed, s.disks[i].stored)
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

// apply persists the records of a step of replica i, queues its messages and keeps its deliveries.
func (s *shard) apply(i protocols.Index, st Step) {
	if len(st.Faults) > 0 {
		s.t.Errorf("replica %d reports the faults %v", i, st.Faults)
	}
	s.disks[i].keep(st.Persist)
	for _, x := range st.Sends {
		for j := range s.machines {
			if j != int(i) && (x.To == protocols.Everyone || x.To == protocols.To(j)) {
				s.queue = append(s.queue, carried{i, protocols.Index(j), x.Message})
			}
		}
	}
	for _, x := range st.Reads {
		s.serve(i, x.To, x.Range.(lanes.BatchRange))
	}
	s.got[i] = append(s.got[i], st.Out...)
}

// serve sends the batches of a chain.
func (s *shard) serve(from, to protocols.Index, x lanes.BatchRange) {
	for tip := x.Tip; tip.Seq > x.After; {
		stored := s.disks[from][string(lanes.StoredKey(x.Lane, tip))]
		if stored == nil {
			return
		}
		b, err := lanes.DecodeStored(s.c, stored)
		if err != nil {
			s.t.Fatal(err)
		}
		s.queue = append(s.queue, carried{from, to, b})
		tip = lanes.Tip{Seq: b.Seq - 1, Digest: b.Parent}
	}
}

// deliverAll delivers messages until the queue is empty.
func (s *shard) deliverAll() {
	for len(s.queue) > 0 {
		x := s.queue[0]
		s.queue = s.queue[1:]
		if s.down.Has(x.to) || s.down.Has(x.from) {
			continue
		}
		s.carried = append(s.carried, x)
		m := s.machines[x.to]
		h := m.Horizon()
		switch h.Relevance(x.from, x.m) {
		case protocols.Useless:
			s.checkUseless(m, x)
		case protocols.Ahead:
			s.apply(x.to, m.HandleAhead(s.now, x.from, AheadOf(x.m)))
		case protocols.Useful:
			if st, ok := m.Handle(s.now, x.from, x.m); ok {
				s.apply(x.to, st)
			}
		}
	}
}

// checkUseless gives a machine a message that its horizon finds useless, and checks that it changes nothing.
func (s *shard) checkUseless(m *Machine, x carried) {
	before := m.Horizon()
	st, _ := m.Handle(s.now, x.from, x.m)
	if len(st.Persist)+len(st.Sends)+len(st.Out) > 0 || !reflect.DeepEqual(before, m.Horizon()) {
		s.t.Errorf("the useless %T of replica %d made replica %d do %+v", x.m, x.from, x.to, st)
	}
	s.unused++
}

func (s *shard) append(i protocols.Index, payload string) {
	st, _ := s.machines[i].Append(s.now, []byte(payload), 1)
	s.apply(i, st)
	s.deliverAll()
}

type disk map[string][]byte

func (d disk) keep(records []protocols.Record) {
	for _, r := range records {
		if r.Value == nil {
			delete(d, string(r.Key))
		} else {
			d[string(r.Key)] = bytes.Clone(r.Value)
		}
	}
}

func (d disk) stored(from, to []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		var keys []string
		for k := range d {
			if k >= string(from) && k < string(to) {
				keys = append(keys, k)
			}
		}
		slices.Sort(keys)
		for _, k := range keys {
			if !yield([]byte(k), d[k]) {
				return
			}
		}
	}
}

// TestOrder: all replicas deliver the same blocks with the same batches, also with f replicas down.
func TestOrder(t *testing.T) {
	for n := 4; n <= 7; n++ {
		s := newShard(t, n)
		s.append(2, "a")
		for i := range s.c.F() {
			s.down.Add(protocols.Index(n - 1 - i))
		}
		s.append(1, "b")
		s.append(0, "c")
		for i := range n - s.c.F() {
			got := s.got[i]
			if len(got) != 3 {
				t.Fatalf("n=%d: replica %d delivers %d blocks, want 3", n, i, len(got))
			}
			for k, d := range got {
				if d.Block.Height != uint64(k+1) || d.Block.Digest() != s.got[0][k].Block.Digest() || len(d.Refs) != 1 || d.Refs[0] != s.got[0][k].Refs[0] {
					t.Errorf("n=%d: replica %d delivers another block at height %d", n, i, k+1)
				}
			}
		}
		s.down.Add(0) // one more than f, and the leader
		before := len(s.got[1])
		s.append(1, "d")
		if len(s.got[1]) != before {
			t.Errorf("n=%d: blocks are committed without a quorum", n)
		}
	}
}

// TestDeliveredAgain: after a crash, exactly the committed blocks that were not executed are delivered again.
func TestDeliveredAgain(t *testing.T) {
	s := newShard(t, 4)
	for _, x := range []string{"a", "b", "c"} {
		s.append(1, x)
	}
	for executed := range uint64(4) {
		m := s.restore(3, executed)
		if m.Base().Height != 3 || m.Epoch() != 1 || m.Leader() != 0 {
			t.Fatalf("committed %d after a restart", m.Base().Height)
		}
		st := m.Start(t0)
		if len(st.Out) != int(3-executed) {
			t.Fatalf("executed %d of 3: %d are delivered again", executed, len(st.Out))
		}
		for k, d := range st.Out {
			want := s.got[3][executed+uint64(k)]
			if d.Block.Digest() != want.Block.Digest() || !slices.Equal(d.Refs, want.Refs) {
				t.Errorf("another block is delivered at height %d", d.Block.Height)
			}
		}
		for h := executed + 1; h <= 3; h++ {
			m.Executed(t0, h)
		}
	}
}

// TestDamagedStores: New returns an error for stores that are damaged or do not fit to the ledger.
func TestDamagedStores(t *testing.T) {
	s := newShard(t, 4)
	for _, x := range []string{"a", "b", "c"} {
		s.append(1, x)
	}
	for name, x := range map[string]struct {
		executed uint64
		spoil    func(disk)
	}{
		"a ledger ahead of its commits": {4, func(disk) {}},
		"a commit that is missing":      {0, func(d disk) { delete(d, string(CommitKey(2))) }},
		"a commit of another chain":     {0, func(d disk) { d[string(CommitKey(2))] = d[string(CommitKey(3))] }},
		"a commit cut short":            {0, func(d disk) { d[string(CommitKey(2))] = d[string(CommitKey(2))][:20] }},
		"a batch cut short": {0, func(d disk) {
			for k, v := range d {
				if k[:3] == "l/b" {
					d[k] = v[:30]
				}
			}
		}},
	} {
		d := disk{}
		for k, v := range s.disks[2] {
			d[k] = v
		}
		x.spoil(d)
		if _, err := New(s.config(2), x.executed, d.stored); err == nil {
			t.Errorf("%s: New returns no error", name)
		}
	}
}

// TestAdopt: certified blocks of a peer are adopted up to the first that does not follow. Their data is fetched from that
// peer.
func TestAdopt(t *testing.T) {
	s := newShard(t, 4)
	s.down.Add(3)
	for _, x := range []string{"a", "b", "c"} {
		s.append(1, x)
	}
	var blocks []*bolt.Block
	for _, d := range s.got[1] {
		blocks = append(blocks, d.Block)
	}
	s.down.Remove(3)
	m := s.machines[3]
	s.apply(3, m.Adopt(t0, 2, []*bolt.Block{blocks[0], blocks[2]})) // a gap
	if m.Base().Height != 1 {
		t.Fatalf("committed %d", m.Base().Height)
	}
	s.apply(3, m.Adopt(t0, 2, blocks))
	if m.Base().Height != 3 || len(s.got[3]) != 0 {
		t.Fatalf("committed %d, delivered %d without data", m.Base().Height, len(s.got[3]))
	}
	asked := 0
	for _, x := range m.Tick(t0).Sends {
		if f, ok := x.Message.(*lanes.Fetch); ok && f.Lane == 1 {
			asked++
			for _, d := range s.got[1] {
				for _, ref := range d.Refs {
					if ref.Tip.Seq <= f.Tip.Seq {
						b, err := lanes.DecodeStored(s.c, s.disks[1][string(lanes.StoredKey(1, ref.Tip))])
						if err != nil {
							t.Fatal(err)
						}
						st, _ := m.Handle(t0, 1, b)
						s.apply(3, st)
					}
				}
			}
		}
	}
	if asked == 0 || len(s.got[3]) != 3 {
		t.Errorf("asked %d times, delivered %d of 3", asked, len(s.got[3]))
	}
}

// TestExecutedOutOfTurn: a block that is executed out of order causes a panic.
func TestExecutedOutOfTurn(t *testing.T) {
	s := newShard(t, 4)
	s.append(1, "a")
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	s.machines[0].Executed(t0, 2)
}
