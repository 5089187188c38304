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
