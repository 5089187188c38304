package bolt

import (
	"fmt"
	"testing"

	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// cluster has the honest replicas of a shard with links that lose nothing. The Byzantine replicas are the last f.
type cluster struct {
	b    *bench
	ms   []*Machine
	ds   []*data
	done []int    // committed blocks of each replica
	wire []func() // messages in transit
}

func newCluster(t *testing.T, n int) *cluster {
	p := &cluster{b: newBench(t, n)}
	for i := range p.b.c.Quorum() {
		m, d := p.b.machine(protocols.Index(i))
		p.ms, p.ds, p.done = append(p.ms, m), append(p.ds, d), append(p.done, 0)
	}
	return p
}

// route queues the messages of a step of a replica.
func (p *cluster) route(from int, st Step) {
	p.done[from] += len(st.Out)
	for _, s := range st.Sends {
		for to, m := range p.ms {
			if to == from || s.To != protocols.Everyone && int(s.To) != to {
				continue
			}
			p.wire = append(p.wire, func() {
				switch x := s.Message.(type) {
				case *Propose:
					p.route(to, m.HandlePropose(t0, protocols.Index(from), x))
				case *Vote:
					p.route(to, m.HandleVote(t0, protocols.Index(from), x))
				case *Finalize:
					p.route(to, m.HandleFinalize(t0, protocols.Index(from), x))
				}
			})
		}
	}
}

// deliver delivers messages until none is in transit.
func (p *cluster) deliver() {
	for len(p.wire) > 0 {
		next := p.wire[0]
		p.wire = p.wire[1:]
		next()
	}
}

// TestFinalizeToOne: f Byzantine replicas vote for a block only towards replicas that have its data, and send their
// Finalize messages to one replica only. That replica commits, or another one adopts the block by its certified header.
// A replica that is past the slot must still help in it, so that no other replica is left with an open slot.
func TestFinalizeToOne(t *testing.T) {
	for _, n := range []int{4, 7, 10} {
		for _, adopted := range []bool{false, true} {
			for _, forgets := range []bool{false, true} {
				t.Run(fmt.Sprintf("n=%d adopted=%v forgets=%v", n, adopted, forgets), func(t *testing.T) {
					finalizeToOne(t, n, adopted, forgets)
				})
			}
		}
	}
}

func finalizeToOne(t *testing.T, n int, adopted, forgets bool) {
	p := newCluster(t, n)
	f := p.b.c.F()
	late := func(i int) bool { return i >= 1 && i <= f } // has no data at first
	for i := range p.ms {
		if late(i) {
			p.ds[i].verdict = lanes.Missing
		}
	}
	p.ds[0].grow = 1
	p.route(0, p.ms[0].Progress(t0))
	x := p.ms[0].last
	for i, m := range p.ms {
		for byzantine := n - f; byzantine < n && !late(i); byzantine++ {
			p.route(i, m.HandleVote(t0, protocols.Index(byzantine), p.b.vote(protocols.Index(byzantine), x)))
		}
	}
	p.deliver()
	one := 1
	if adopted {
		one = 0 // it has the data; replica 1 gets its certified header
	}
	for byzantine := n - f; byzantine < n; byzantine++ {
		p.route(one, p.ms[one].HandleFinalize(t0, protocols.Index(byzantine), finalizeOf(x)))
	}
	if p.done[one] != 1 {
		t.Fatal("the replica with n-f Finalize messages did not commit")
	}
	if adopted {
		p.route(1, p.ms[1].Adopt(t0, x))
		p.done[1]++
	}
	if forgets { // f Byzantine VOTEs and its own VOTE certify the header here
		p.route(1, p.ms[1].Certified(x))
	}
	p.deliver()
	for i := range p.ms {
		p.ds[i].verdict = lanes.Votable // the data arrived
		p.route(i, p.ms[i].Progress(t0))
	}
	p.deliver()
	for i := range p.ms {
		if p.done[i] != 1 {
			t.Errorf("replica %d committed %d blocks, want 1", i, p.done[i])
		}
	}
	p.route(1, p.ms[1].Certified(x))
	if p.ms[1].slots.kept[1] != nil {
		t.Error("the slot is kept although no replica needs it any more")
	}
}

// TestOwedCommitIsForgotten: the number of slots below the certified height that are kept for other replicas is bounded.
func TestOwedCommitIsForgotten(t *testing.T) {
	b := newBench(t, 4)
	m, _ := b.machine(1)
	chain := b.chain(b.genesis, window+20)
	for _, x := range chain {
		m.HandlePropose(t0, 0, b.propose(x))
		b.finalizes(m, x, 0, 3)
		m.Executed(t0, x.Height)
		m.Certified(x)
	}
	if len(m.slots.kept) == 0 || len(m.slots.kept) > window {
		t.Errorf("%d slots are kept for Finalize messages that others may need, want at most %d", len(m.slots.kept), window)
	}
}

// TestFinalVoteAwaitsExecution: a vote for a final block is at most ExecutionLag beyond the own execution, like every vote,
// and is cast when execution has progressed.
func TestFinalVoteAwaitsExecution(t *testing.T) {
	b := newBench(t, 4)
	m, _ := b.machine(1)
	chain := b.chain(b.genesis, ExecutionLag+2)
	m.Adopt(t0, chain[ExecutionLag-1])
	for k, x := range chain[ExecutionLag:] {
		steps := append([]Step{m.HandlePropose(t0, 0, b.propose(x))}, b.finalizes(m, x, 1, 3)...)
		if len(committed(steps...)) != 1 || len(sent[*Vote](steps...)) != 0 {
			t.Fatalf("block %d beyond the lag: %d committed, %d votes", k, len(committed(steps...)), len(sent[*Vote](steps...)))
		}
	}
	for h := uint64(1); h <= 2; h++ {
		votes := sent[*Vote](m.Executed(t0, h))
		if len(votes) != 1 || votes[0].Digest != chain[ExecutionLag+h-1].digest {
			t.Errorf("at height %d: %d votes, want the pending one", h, len(votes))
		}
	}
	if n := len(sent[*Vote](m.Executed(t0, 3))); n != 0 {
		t.Errorf("%d votes although none is pending", n)
	}
}

// TestCommitsAwaitExecution: a replica that executes more slowly than the others commits at most CommitLag and a window
// beyond its execution, and continues when it has executed more.
func TestCommitsAwaitExecution(t *testing.T) {
	b := newBench(t, 4)
	m, _ := b.machine(1)
	chain := b.chain(b.genesis, 2*CommitLag)
	feed := func() {
		for _, x := range chain {
			m.HandlePropose(t0, 0, b.propose(x))
			b.finalizes(m, x, 0, 3)
		}
	}
	feed()
	if h := m.Base().Height; h != CommitLag {
		t.Fatalf("committed %d without execution, want %d", h, CommitLag)
	}
	if len(committed(m.Executed(t0, 1))) == 0 {
		t.Error("nothing is committed although execution has progressed")
	}
	if h := m.Base().Height; h > CommitLag+window {
		t.Errorf("committed %d with one step, want at most %d", h, CommitLag+window)
	}
	m.Executed(t0, CommitLag)
	if refused := m.TakeRefusedPeers(); !refused.Has(0) {
		t.Error("the messages refused meanwhile are not requested again")
	}
	feed()
	if h := m.Base().Height; h != 2*CommitLag {
		t.Errorf("committed %d in the end, want %d", h, 2*CommitLag)
	}
}

// TestFinalVoteAndAnotherBlock: a leader proposes two blocks in a slot. A replica that voted for the block that did not
// become final votes no more in that slot, also after a restart. A replica that had not voted votes only for the final one.
func TestFinalVoteAndAnotherBlock(t *testing.T) {
	for _, restarts := range []bool{false, true} {
		for _, voted := range []bool{false, true} {
			b := newBench(t, 4)
			m, d := b.machine(1)
			x, other := b.block(b.genesis, 0), b.block(b.genesis, 7)
			kept := disk{}
			restart := func(base *Block) {
				if !restarts {
					return
				}
				var err error
				if m, err = Restore(b.config(1, d), base, 0, kept.stored); err != nil {
					t.Fatal(err)
				}
				kept.keep(m.Resume(t0))
			}
			if !voted {
				d.verdict = lanes.Missing
			}
			first := m.HandlePropose(t0, 0, b.propose(other))
			kept.keep(first)
			restart(b.genesis)
			steps := []Step{first}
			record := func(all ...Step) {
				kept.keep(all...)
				steps = append(steps, all...)
			}
			record(b.finalizes(m, x, 0, 3)...)
			m.wants.request(t0, x.Slot, x.digest)
			record(m.HandlePropose(t0, 0, b.propose(x)))
			if m.Base() != x {
				t.Fatalf("restarts %v, voted %v: the final block is not committed", restarts, voted)
			}
			restart(x)
			d.verdict = lanes.Votable
			record(m.HandlePropose(t0, 0, b.propose(other)), m.Progress(t0))
			record(m.Executed(t0, 1))
			want := x.digest
			if voted {
				want = other.digest
			}
			votes := sent[*Vote](steps...)
			if len(votes) != 1 || votes[0].Digest != want {
				t.Errorf("restarts %v, voted %v: %d votes, want one for %s", restarts, voted, len(votes), want.Short())
			}
			if !voted && len(d.locked) != 0 {
				t.Errorf("restarts %v: a vote for a block without data acknowledges a tip", restarts)
			}
		}
	}
}
