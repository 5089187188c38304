package trace

import (
	"testing"

	"bdtnode/protocols"
)

// TestTimesOfABatch: a batch of the own lane keeps all its times, and is overwritten by a later one in its place only.
func TestTimesOfABatch(t *testing.T) {
	l := New()
	l.Made(10, 5, 3)
	l.Accepted(5, Span{1, 4}, Span{2, 6})
	if _, ok := l.BatchCertified(12, 6); ok {
		t.Error("a batch that was not made has a certificate")
	}
	if b, ok := l.BatchCertified(12, 5); !ok || b.Made != 10 || b.Txs != 3 {
		t.Errorf("%+v %v", b, ok)
	}
	want := Batch{Number: 5, Txs: 3, Submitted: Span{1, 4}, Admitted: Span{2, 6}, Made: 10, Certified: 12}
	if b, ok := l.Own(5); !ok || b != want {
		t.Errorf("%+v, want %+v", b, want)
	}
	l.Made(20, 5+ownBatches, 1)
	if _, ok := l.Own(5); ok {
		t.Error("an overwritten batch is still there")
	}
	l.Accepted(5, Span{7, 7}, Span{7, 7})
	if b, ok := l.Own(5 + ownBatches); !ok || b.Submitted != (Span{}) {
		t.Errorf("the times of an overwritten batch went to %+v", b)
	}
	if _, ok := l.Own(0); ok {
		t.Error("there is a batch with number 0")
	}
}

// TestFirstArrivalsCount: the first arrival of a batch, of an LD, and the first certificate of a header count.
func TestFirstArrivalsCount(t *testing.T) {
	l := New()
	l.BatchArrived(3, 2, 9)
	l.BatchArrived(5, 2, 9)
	if at := l.Arrival(2, 9); at != 3 {
		t.Errorf("arrived at %d", at)
	}
	if at := l.Arrival(1, 9); at != 0 {
		t.Errorf("a batch of another lane arrived at %d", at)
	}
	l.LDArrived(3, 1, 7)
	l.LDArrived(4, 1, 7)
	l.LDSigned(6, 1, 7)
	l.LDSigned(8, 1, 7)
	l.LDOrdered(1, 7, 30)
	if x := l.Incoming(1, 7); x != (LD{Peer: 1, Number: 7, Height: 30, Arrived: 3, Signed: 6}) {
		t.Errorf("%+v", x)
	}
	if x := l.Incoming(2, 7); x != (LD{Peer: 2, Number: 7}) {
		t.Errorf("%+v", x)
	}
	l.BlockCommitted(1, 4)
	l.BlockCertified(2, 4)
	l.BlockExecuted(3, 4, 8)
	l.BlockCertified(9, 4)
	if b := l.Block(4); b != (Block{Height: 4, Txs: 8, Committed: 1, Executed: 3, Certified: 2}) {
		t.Errorf("%+v", b)
	}
}

// TestRepeatedBlocksHaveNoTimes: blocks that were committed before the start are executed again, and the times of the
// repetition are not given.
func TestRepeatedBlocksHaveNoTimes(t *testing.T) {
	l := New()
	l.Begin(4)
	for h := uint64(4); h <= 5; h++ {
		l.BlockCommitted(1, h)
		if b, ok := l.BlockExecuted(2, h, 1); !ok || b.Committed != 1 {
			t.Errorf("the block %d of a histogram is %+v", h, b)
		}
	}
	if b := l.Block(4); b != (Block{Height: 4}) {
		t.Errorf("%+v", b)
	}
	if b := l.Block(5); b.Executed != 2 {
		t.Errorf("%+v", b)
	}
}

// TestOutgoingOfABlock: the LDs of a block to a shard are those that it made, or those of the next block that made one.
func TestOutgoingOfABlock(t *testing.T) {
	l := New()
	l.LDMade(1, 1, 10)
	l.LDMade(1, 2, 12)
	l.LDMade(1, 3, 12)
	l.LDMade(2, 1, 11)
	l.LDMade(1, 4, 15)
	for _, c := range []struct {
		to     uint16
		height uint64
		want   []uint64
	}{{1, 10, []uint64{1}}, {1, 11, []uint64{2, 3}}, {1, 12, []uint64{2, 3}}, {1, 13, []uint64{4}}, {1, 16, nil}, {2, 1, []uint64{1}}, {3, 1, nil}} {
		got := l.Outgoing(c.to, c.height)
		if len(got) != len(c.want) {
			t.Errorf("to %d from %d: %+v, want %v", c.to, c.height, got, c.want)
			continue
		}
		for _, x := range got {
			found := false
			for _, n := range c.want {
				found = found || n == x.Number
			}
			if !found || x.Peer != c.to {
				t.Errorf("to %d from %d: %+v, want %v", c.to, c.height, got, c.want)
			}
		}
	}
}

// TestMemoryIsBounded: a long run overwrites entries, keeps the newest ones of all lanes, and allocates nothing.
func TestMemoryIsBounded(t *testing.T) {
	l := New()
	number, now := uint64(0), protocols.Time(0)
	const lanes = 7
	run := func() {
		number++
		now++
		l.Made(now, number, 1)
		l.Accepted(number, Span{now, now}, Span{now, now})
		for lane := range protocols.Index(lanes) {
			l.BatchArrived(now, lane, number)
		}
		l.BlockCommitted(now, number)
		l.BlockExecuted(now, number, 1)
		l.LDMade(1, number, number)
		l.LDArrived(now, 1, number)
		l.LDSigned(now, 1, number)
	}
	if n := testing.AllocsPerRun(1000, run); n != 0 {
		t.Errorf("%v allocations", n)
	}
	for range 3 * otherBatches {
		run()
	}
	if _, ok := l.Own(number); !ok || l.Block(number).Executed != now || l.Incoming(1, number).Signed != now || len(l.Outgoing(1, number)) != 1 {
		t.Error("the newest entries are not there")
	}
	if l.Block(number-KeptBlocks) != (Block{Height: number - KeptBlocks}) {
		t.Error("an old block is still there")
	}
	lost := 0
	for n := number - 100; n <= number; n++ {
		for lane := range protocols.Index(lanes) {
			if l.Arrival(lane, n) == 0 {
				lost++
			}
		}
	}
	if lost > 0 {
		t.Errorf("%d of the newest arrivals are overwritten", lost)
	}
}

func BenchmarkBlockExecuted(b *testing.B) {
	l := New()
	for i := range b.N {
		l.BlockCommitted(1, uint64(i))
		l.BlockExecuted(2, uint64(i), 100)
	}
}
