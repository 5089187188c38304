package replica

import (
	"testing"
	"time"

	"bdtnode/internal/kv"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
)

// flow drives a core with a shard that continues to commit, and with peers that answer its Requests.
type flow struct {
	t     *testing.T
	b     *bench
	core  *Core
	store *kv.Mem
	now   protocols.Time
	serve func(to protocols.Index, from uint64) (answer *History, after time.Duration) // nil: none
	due   []dueAnswer
	asked []uint64 // the first heights of all Requests
	stuck bool
}

type dueAnswer struct {
	at   protocols.Time
	from protocols.Index
	h    *History
}

func newFlow(t *testing.T, height int) *flow {
	b := newBench(t, 4, height, "")
	f := &flow{t: t, b: b, store: kv.NewMem(), now: t0}
	f.core = b.restore(t, 1, nil, f.store)
	f.serve = func(_ protocols.Index, from uint64) (*History, time.Duration) {
		return f.history(from), 10 * time.Millisecond
	}
	f.do(f.core.Start(t0))
	return f
}

// history is the answer of an honest peer that has all blocks.
func (f *flow) history(from uint64) *History {
	return f.b.history(from, min(uint64(len(f.b.blocks)), from+MaxHistory-1))
}

// do executes a step, and gives the results of the executor to the core.
func (f *flow) do(st Step) {
	f.t.Helper()
	for queue := []Step{st}; len(queue) > 0; {
		next := queue[0]
		queue = queue[1:]
		var batch kv.Batch
		Apply(&batch, next.Persist)
		if err := f.store.Apply(&batch, true); err != nil {
			f.t.Fatal(err)
		}
		for _, s := range next.Sends {
			if r, ok := s.Message.(*Request); ok {
				f.asked = append(f.asked, r.From)
				if h, after := f.serve(protocols.Index(s.To), r.From); h != nil {
					f.due = append(f.due, dueAnswer{f.now.Add(after), protocols.Index(s.To), h})
				}
			}
		}
		for _, o := range next.Out {
			if o.Deliver != nil && !f.stuck {
				queue = append(queue, f.core.Executed(f.now, f.b.executed(o.Deliver.Block.Height)))
			}
		}
	}
}

// until advances the time, with timers and answers.
func (f *flow) until(end protocols.Time) {
	for f.now < end {
		for k := 0; k < len(f.due); k++ {
			if d := f.due[k]; d.at <= f.now {
				f.due = append(f.due[:k], f.due[k+1:]...)
				k--
				f.do(f.core.Handle(f.now, unverified(d.from, d.h)))
			}
		}
		if w := f.core.Wake(); w != 0 && w <= f.now {
			f.do(f.core.Tick(f.now))
		}
		f.now = min(end, f.now.Add(5*time.Millisecond))
	}
}

// commits makes the shard commit the blocks from one height to another, one each 20 ms, with the VOTEs of the others
// for all but the lost height.
func (f *flow) commits(from, to, lost uint64) {
	for h := from; h <= to; h++ {
		f.until(f.now.Add(20 * time.Millisecond))
		x := f.b.blocks[h-1]
		f.do(f.core.Handle(f.now, unverified(0, &bolt.Propose{Leader: 0, Block: x})))
		for _, i := range []protocols.Index{0, 2, 3} {
			f.do(f.core.Handle(f.now, unverified(i, &bolt.Finalize{Epoch: 1, Slot: h, Digest: x.Digest()})))
		}
		for _, i := range []protocols.Index{0, 2} {
			if h != lost {
				f.do(f.core.Handle(f.now, unverified(i, f.b.vote(i, h))))
			}
		}
	}
}

// behind makes all peers send Positions with the height of the last block.
func (f *flow) behind() {
	for _, i := range []protocols.Index{0, 2, 3} {
		f.do(f.core.Handle(f.now, unverified(i, &Position{Certified: uint64(len(f.b.blocks))})))
	}
}

// TestLostVOTEUnderLoad: the VOTEs of one height are lost, and their senders certify it meanwhile and do not repeat
// them. While the shard continues to commit, the replica requests the certificate, once.
func TestLostVOTEUnderLoad(t *testing.T) {
	const n = 200
	f := newFlow(t, n)
	f.serve = func(_ protocols.Index, from uint64) (*History, time.Duration) {
		return f.b.history(from, max(from, f.core.Status().Committed)), 10 * time.Millisecond
	}
	f.commits(1, n, 5)
	s := f.core.Status()
	if s.Committed != n || s.Certified < n-1 || len(f.asked) != 1 || f.asked[0] != 5 {
		t.Errorf("committed %d, certified %d of %d, asked from %d", s.Committed, s.Certified, n, f.asked)
	}
}

// TestPushedHistory: certified blocks without a Request are ignored, so that they fill no memory while execution stands
// still. The replica follows the shard afterwards.
func TestPushedHistory(t *testing.T) {
	const pushed, n = 2000, 2200
	f := newFlow(t, n)
	f.stuck = true
	for h := uint64(1); h <= pushed; h += MaxHistory {
		f.do(f.core.Handle(f.now, unverified(3, f.b.history(h, min(n, h+MaxHistory-1)))))
	}
	if s := f.core.Status(); s.Committed != 0 || s.Certified != 0 {
		t.Errorf("%d blocks wait for execution, of which none was asked for", s.Committed)
	}
	f.behind() // requested blocks are bounded too
	f.until(f.now.Add(10 * time.Second))
	if s := f.core.Status(); s.Committed > aheadOfExecution+MaxHistory {
		t.Errorf("%d blocks wait for execution, want at most %d", s.Committed, aheadOfExecution+MaxHistory)
	}
	f = newFlow(t, n)
	f.do(f.core.Handle(f.now, unverified(3, f.b.history(1, MaxHistory))))
	f.behind()
	f.until(f.now.Add(3 * time.Second))
	if s := f.core.Status(); s.Certified != n {
		t.Errorf("certified %d of %d", s.Certified, n)
	}
}

// TestBadServers: a peer that claims to have all blocks and sends no answer, a late one, an empty one, or one block at
// a time costs one short wait, and not one for each Request.
func TestBadServers(t *testing.T) {
	const n = 4000
	took := func(serve func(f *flow, from uint64) (*History, time.Duration)) time.Duration {
		f := newFlow(t, n)
		if serve != nil {
			honest := f.serve
			f.serve = func(to protocols.Index, from uint64) (*History, time.Duration) {
				if to == 2 { // the first that is asked
					return serve(f, from)
				}
				return honest(to, from)
			}
		}
		f.behind()
		for f.core.Status().Certified < n {
			f.until(f.now.Add(10 * time.Millisecond))
			if f.now.Sub(t0) > 20*time.Second {
				t.Fatalf("certified %d of %d after 20 s", f.core.Status().Certified, n)
			}
		}
		return f.now.Sub(t0)
	}
	good := took(nil)
	for name, serve := range map[string]func(f *flow, from uint64) (*History, time.Duration){
		"silent": func(*flow, uint64) (*History, time.Duration) { return nil, 0 },
		"late":   func(f *flow, from uint64) (*History, time.Duration) { return f.history(from), 290 * time.Millisecond },
		"empty":  func(*flow, uint64) (*History, time.Duration) { return &History{}, 10 * time.Millisecond },
		"drips": func(f *flow, from uint64) (*History, time.Duration) {
			return f.b.history(from, from), 5 * time.Millisecond
		},
		"ahead": func(f *flow, from uint64) (*History, time.Duration) {
			return f.history(min(n, from+1)), 5 * time.Millisecond
		},
	} {
		if bad := took(serve); bad > good+2*stall {
			t.Errorf("%s: %v, without it %v", name, bad, good)
		}
	}
}

// TestOnlyOneServes: if all peers but one are silent, the core finds that one and continues to ask it.
func TestOnlyOneServes(t *testing.T) {
	const n = 4000
	f := newFlow(t, n)
	honest := f.serve
	f.serve = func(to protocols.Index, from uint64) (*History, time.Duration) {
		if to == 3 {
			return honest(to, from)
		}
		return nil, 0
	}
	f.behind()
	f.until(f.now.Add(4 * time.Second))
	if s := f.core.Status(); s.Certified != n {
		t.Errorf("certified %d of %d", s.Certified, n)
	}
}
