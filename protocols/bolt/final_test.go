package bolt

import (
	"fmt"
	"testing"

	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// parlour is the honest replicas of a shard with links that lose nothing; the Byzantine ones are the last f.
type parlour struct {
	b    *bench
	ms   []*Machine
	ds   []*data
	done []int
	wire []func()
}

func newParlour(t *testing.T, n int) *parlour {
	p := &parlour{b: newBench(t, n)}
	for i := range p.b.c.Quorum() {
		m, d := p.b.machine(protocols.Index(i))
		p.ms, p.ds, p.done = append(p.ms, m), append(p.ds, d), append(p.done, 0)
	}
	return p
}

// took puts what a replica's step sends on its way.
func (p *parlour) took(from int, st Step) {
	p.done[from] += len(st.Out)
	for _, s := range st.Sends {
		for to, m := range p.ms {
			if to == from || s.To != protocols.Everyone && int(s.To) != to {
				continue
			}
			p.wire = append(p.wire, func() {
				switch x := s.Message.(type) {
				case *Propose:
					p.took(to, m.HandlePropose(t0, protocols.Index(from), x))
				case *Vote:
					p.took(to, m.HandleVote(t0, protocols.Index(from), x))
				case *Commit:
					p.took(to, m.HandleCommit(t0, protocols.Index(from), x))
				}
			})
		}
	}
}

func (p *parlour) deliver() {
	for len(p.wire) > 0 {
		next := p.wire[0]
		p.wire = p.wire[1:]
		next()
	}
}

// TestCommitToOne: f Byzantine replicas vote for a block towards those that have its data, and send their Commits to one
// alone. That one commits, or another learns of it by the certified header: none of the others may be left with an open
// slot because a replica that is past the slot helps no more.
func TestCommitToOne(t *testing.T) {
	for _, n := range []int{4, 7, 10} {
		for _, adopted := range []bool{false, true} {
			for _, forgets := range []bool{false, true} {
				t.Run(fmt.Sprintf("n=%d adopted=%v forgets=%v", n, adopted, forgets), func(t *testing.T) {
					commitToOne(t, n, adopted, forgets)
				})
			}
		}
	}
}

func commitToOne(t *testing.T, n int, adopted, forgets bool) {
	p := newParlour(t, n)
	f := p.b.c.F()
	late := func(i int) bool { return i >= 1 && i <= f } // lacks the data for a while
	for i := range p.ms {
		if late(i) {
			p.ds[i].verdict = lanes.Missing
		}
	}
	p.ds[0].grow = 1
	p.took(0, p.ms[0].Progress(t0))
	x := p.ms[0].last
	for i, m := range p.ms {
		for byzantine := n - f; byzantine < n && !late(i); byzantine++ {
			p.took(i, m.HandleVote(t0, protocols.Index(byzantine), p.b.vote(protocols.Index(byzantine), x)))
		}
	}
	p.deliver()
	one := 1
	if adopted {
		one = 0 // which has the data, and whose header 1 is shown
	}
	for byzantine := n - f; byzantine < n; byzantine++ {
		p.took(one, p.ms[one].HandleCommit(t0, protocols.Index(byzantine), commitOf(x)))
	}
	if p.done[one] != 1 {
		t.Fatal("the one did not commit: the schedule shows nothing")
	}
	if adopted {
		p.took(1, p.ms[1].Adopt(t0, x))
		p.done[1]++
	}
	if forgets { // f Byzantine VOTEs and its own certify the header here
		p.took(1, p.ms[1].Certified(x))
	}
	p.deliver()
	for i := range p.ms {
		p.ds[i].verdict = lanes.Votable // it has come
		p.took(i, p.ms[i].Progress(t0))
	}
	p.deliver()
	for i := range p.ms {
		if p.done[i] != 1 {
			t.Errorf("replica %d committed %d blocks: its slot stays open until its patience ends", i, p.done[i])
		}
	}
	p.took(1, p.ms[1].Certified(x))
	if p.ms[1].slots[1] != nil {
		t.Error("the slot is kept though nobody needs anything of it any more")
	}
}

// TestOwedCommitIsForgotten: what is kept for others of slots below the certified height is bounded.
func TestOwedCommitIsForgotten(t *testing.T) {
	b := newBench(t, 4)
	m, _ := b.machine(1)
	chain := b.chain(b.genesis, window+20)
	for _, x := range chain {
		m.HandlePropose(t0, 0, b.propose(x))
		b.commits(m, x, 0, 3)
		m.Executed(t0, x.Height)
		m.Certified(x)
	}
	if len(m.slots) == 0 || len(m.slots) > window {
		t.Errorf("%d slots are kept that others may need a Commit for, want at most %d", len(m.slots), window)
	}
}

// TestFinalVoteAwaitsExecution: a vote for a final block is no further beyond the own execution than another, and comes when
// execution has.
func TestFinalVoteAwaitsExecution(t *testing.T) {
	b := newBench(t, 4)
	m, _ := b.machine(1)
	chain := b.chain(b.genesis, ExecutionLag+2)
	m.Adopt(t0, chain[ExecutionLag-1])
	for k, x := range chain[ExecutionLag:] {
		steps := append([]Step{m.HandlePropose(t0, 0, b.propose(x))}, b.commits(m, x, 1, 3)...)
		if len(committed(steps...)) != 1 || len(sent[*Vote](steps...)) != 0 {
			t.Fatalf("block %d beyond the lag: %d committed, %d votes", k, len(committed(steps...)), len(sent[*Vote](steps...)))
		}
	}
	for h := uint64(1); h <= 2; h++ {
		votes := sent[*Vote](m.Executed(t0, h))
		if len(votes) != 1 || votes[0].Digest != chain[ExecutionLag+h-1].digest {
			t.Errorf("at height %d: %d votes, want the one that is owed", h, len(votes))
		}
	}
	if n := len(sent[*Vote](m.Executed(t0, 3))); n != 0 {
		t.Errorf("%d votes though none is owed", n)
	}
}

// TestCommitsAwaitExecution: a replica that executes more slowly than the others do commits no further than CommitLag and
// the window beyond, and goes on when it has executed.
func TestCommitsAwaitExecution(t *testing.T) {
	b := newBench(t, 4)
	m, _ := b.machine(1)
	chain := b.chain(b.genesis, 2*CommitLag)
	feed := func() {
		for _, x := range chain {
			m.HandlePropose(t0, 0, b.propose(x))
			b.commits(m, x, 0, 3)
		}
	}
	feed()
	if h := m.Base().Height; h != CommitLag {
		t.Fatalf("committed %d and executed nothing, want %d", h, CommitLag)
	}
	if len(committed(m.Executed(t0, 1))) == 0 {
		t.Error("nothing is committed though execution has come on")
	}
	if h := m.Base().Height; h > CommitLag+window {
		t.Errorf("committed %d with one step, want at most %d", h, CommitLag+window)
	}
	m.Executed(t0, CommitLag)
	if refused := m.Refused(); !refused.Has(0) {
		t.Error("what was refused meanwhile is asked for of nobody")
	}
	feed()
	if h := m.Base().Height; h != 2*CommitLag {
		t.Errorf("committed %d in the end, want %d", h, 2*CommitLag)
	}
}

// TestFinalVoteAndAnotherBlock: of a leader's two blocks in a slot, a replica that voted for the one that did not become
// final votes no more, also after a restart; one that had not voted votes for the final one alone.
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
			hear := func(all ...Step) {
				kept.keep(all...)
				steps = append(steps, all...)
			}
			hear(b.commits(m, x, 0, 3)...)
			m.want(t0, x.Slot, x.digest)
			hear(m.HandlePropose(t0, 0, b.propose(x)))
			if m.Base() != x {
				t.Fatalf("restarts %v, voted %v: the final block is not committed", restarts, voted)
			}
			restart(x)
			d.verdict = lanes.Votable
			hear(m.HandlePropose(t0, 0, b.propose(other)), m.Progress(t0))
			hear(m.Executed(t0, 1))
			want := x.digest
			if voted {
				want = other.digest
			}
			votes := sent[*Vote](steps...)
			if len(votes) != 1 || votes[0].Digest != want {
				t.Errorf("restarts %v, voted %v: %d votes, want one for %s", restarts, voted, len(votes), want.Short())
			}
			if !voted && len(d.locked) != 0 {
				t.Errorf("restarts %v: a tip is acknowledged with a vote for a block whose data is not here", restarts)
			}
		}
	}
}
