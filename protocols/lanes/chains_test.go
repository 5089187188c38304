package lanes

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/protocols"
)

// TestOneChain is the package's guarantee on random schedules, with an owner that signs a tree of headers, a leader that
// proposes any tip of it, and replicas that crash and come back with a ledger older than their records of the lanes:
// positions that are certified, or in committed cuts, lie on one chain.
// Only the Byzantine replica's lane grows. It is both owner and leader, and its own votes and acks go wherever they do
// harm, so n-f minus f honest ones suffice for a quorum.
func TestOneChain(t *testing.T) {
	for _, n := range []int{4, 7} {
		committed, certified := 0, 0
		for seed := range uint64(1500) {
			r := newRiot(t, n, seed)
			for range 150 {
				r.step()
				if r.broken != "" {
					t.Fatalf("n=%d seed %d: %s", n, seed, r.broken)
				}
			}
			committed += r.commits
			certified += r.certs
		}
		if committed < 500 || certified < 500 {
			t.Errorf("n=%d: only %d cuts committed and %d tips certified: the schedules show nothing", n, committed, certified)
		}
	}
}

// riot is the lane of replica n-1 as f Byzantine replicas make it, seen by the honest ones.
type riot struct {
	b        *bench
	rng      *rand.Rand
	owner    protocols.Index
	honest   []*Machine
	disks    []disk
	executed []int    // of each, in chain
	tree     []*Batch // every header that the owner signed
	acks     map[digest.Digest]*protocols.Set
	chain    []Cut // committed, one after another
	proposal Cut
	votes    protocols.Set
	fixed    map[uint64]digest.Digest
	commits  int
	certs    int
	broken   string
}

func newRiot(t *testing.T, n int, seed uint64) *riot {
	b := newBench(t, n)
	r := &riot{
		b: b, rng: rand.New(rand.NewPCG(seed, uint64(n))), owner: protocols.Index(n - 1), chain: []Cut{b.cut(nil)},
		acks: make(map[digest.Digest]*protocols.Set), fixed: make(map[uint64]digest.Digest),
	}
	for i := range n - b.c.F() {
		r.honest = append(r.honest, b.machine(protocols.Index(i)))
		r.disks = append(r.disks, disk{})
	}
	r.executed = make([]int, len(r.honest))
	return r
}

func (r *riot) step() {
	i := r.rng.IntN(len(r.honest))
	m, d := r.honest[i], r.disks[i]
	last := r.chain[len(r.chain)-1]
	switch r.rng.IntN(12) {
	case 0, 1: // another header
		var on Tip
		if len(r.tree) > 0 && r.rng.IntN(4) > 0 {
			on = r.tree[r.rng.IntN(len(r.tree))].Tip()
		}
		if on.Seq < 4 && len(r.tree) < 14 {
			r.tree = append(r.tree, r.b.batch(r.owner, on, fmt.Sprint(len(r.tree))))
		}
	case 2, 3, 4: // a header reaches someone
		if len(r.tree) > 0 {
			d.keep(m.HandleBatch(t0, r.owner, r.tree[r.rng.IntN(len(r.tree))]))
		}
	case 5: // a certificate reaches someone, if there is one
		if len(r.tree) > 0 {
			if x := r.tree[r.rng.IntN(len(r.tree))]; r.certified(x.Digest()) {
				d.keep(m.HandleCertificate(t0, r.b.certificate(r.owner, x.Tip())))
			}
		}
	case 10: // someone executes what is committed
		if k := r.executed[i]; k+1 < len(r.chain) {
			r.executed[i]++
			d.keep(m.Executed(r.chain[k+1]))
		}
	case 11: // someone crashes, and its ledger is where it was flushed last
		r.restart(i)
	case 6: // a proposal, in place of one that failed
		if len(r.tree) > 0 && (r.proposal == nil || r.rng.IntN(8) == 0) {
			if x := r.tree[r.rng.IntN(len(r.tree))]; x.Seq > last[r.owner].Seq {
				r.proposal, r.votes = r.b.cut(map[protocols.Index]Tip{r.owner: x.Tip()}), protocols.Set{}
			}
		}
	default: // a vote
		if r.proposal == nil || r.votes.Has(protocols.Index(i)) {
			break
		}
		if _, v := m.CheckCut(t0, last, r.proposal, 0); v == Votable {
			d.keep(m.Lock(t0, last, r.proposal))
			r.votes.Add(protocols.Index(i))
		}
	}
	r.gather()
	if r.proposal != nil && r.votes.Len()+r.b.c.F() >= r.b.c.Quorum() {
		r.fix(r.proposal[r.owner], "committed")
		r.chain = append(r.chain, r.proposal)
		for k, h := range r.honest {
			r.disks[k].keep(h.Ordered(t0, r.proposal))
		}
		r.proposal = nil
		r.commits++
	}
}

func (r *riot) restart(i int) {
	r.executed[i] = r.rng.IntN(r.executed[i] + 1)
	m, err := Restore(r.b.config(protocols.Index(i)), r.chain[r.executed[i]], r.disks[i].stored)
	if err != nil {
		r.broken = err.Error()
		return
	}
	r.honest[i] = m
	r.disks[i].keep(m.Ordered(t0, r.chain[len(r.chain)-1]))
}

// gather takes stock of what the honest replicas have acknowledged.
func (r *riot) gather() {
	for i, m := range r.honest {
		for _, d := range m.lanes[r.owner].acked {
			if r.acks[d] == nil {
				r.acks[d] = &protocols.Set{}
			}
			r.acks[d].Add(protocols.Index(i))
		}
	}
	for _, x := range r.tree {
		if r.certified(x.Digest()) {
			r.fix(x.Tip(), "certified")
		}
	}
}

func (r *riot) certified(d digest.Digest) bool {
	s := r.acks[d]
	return s != nil && s.Len()+r.b.c.F() >= r.b.c.Quorum()
}

// fix notes a position that is certified or committed, with all below it.
func (r *riot) fix(t Tip, how string) {
	if how == "certified" && r.fixed[t.Seq] != t.Digest {
		r.certs++
	}
	for t.Seq > 0 {
		if have, ok := r.fixed[t.Seq]; ok && have != t.Digest {
			r.broken = fmt.Sprintf("number %d is %s as %s, and fixed as %s", t.Seq, how, t.Digest.Short(), have.Short())
			return
		}
		r.fixed[t.Seq] = t.Digest
		for _, x := range r.tree {
			if x.Digest() == t.Digest {
				t = Tip{x.Seq - 1, x.Parent}
				break
			}
		}
	}
}
