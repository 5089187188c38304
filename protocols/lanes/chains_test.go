package lanes

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/protocols"
)

// TestOneChain checks the guarantee of the package on random schedules: positions that are certified, or in committed cuts,
// lie on one chain. The owner of a lane signs a tree of headers, the leader proposes any tip of the tree, and replicas crash
// and come back with a ledger older than their records of the lanes.
// Only the lane of the Byzantine replica grows. That replica is both owner and leader. The f Byzantine replicas vote for and
// acknowledge everything, so n-f minus f honest replicas suffice for a quorum.
func TestOneChain(t *testing.T) {
	for _, n := range []int{4, 7} {
		committed, certified := 0, 0
		for seed := range uint64(1500) {
			r := newForkedLane(t, n, seed)
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
			t.Errorf("n=%d: only %d cuts committed and %d tips certified, want at least 500 of each", n, committed, certified)
		}
	}
}

// forkedLane is the lane of replica n-1, as the Byzantine replicas make it, and the state of the honest replicas.
type forkedLane struct {
	b        *bench
	rng      *rand.Rand
	owner    protocols.Index
	honest   []*Machine
	disks    []disk
	executed []int    // of each honest replica: number of executed cuts in chain
	tree     []*Batch // every header that the owner signed
	acks     map[digest.Digest]*protocols.Set
	chain    []Cut // committed cuts in order
	proposal Cut
	votes    protocols.Set
	fixed    map[uint64]digest.Digest // certified or committed digests by number
	commits  int
	certs    int
	broken   string // the violation found, empty if none
}

func newForkedLane(t *testing.T, n int, seed uint64) *forkedLane {
	b := newBench(t, n)
	r := &forkedLane{
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

func (r *forkedLane) step() {
	i := r.rng.IntN(len(r.honest))
	m, d := r.honest[i], r.disks[i]
	last := r.chain[len(r.chain)-1]
	switch r.rng.IntN(12) {
	case 0, 1: // the owner signs another header
		var on Tip
		if len(r.tree) > 0 && r.rng.IntN(4) > 0 {
			on = r.tree[r.rng.IntN(len(r.tree))].Tip()
		}
		if on.Seq < 4 && len(r.tree) < 14 {
			r.tree = append(r.tree, r.b.batch(r.owner, on, fmt.Sprint(len(r.tree))))
		}
	case 2, 3, 4: // a replica receives a header
		if len(r.tree) > 0 {
			d.keep(m.HandleBatch(t0, r.owner, r.tree[r.rng.IntN(len(r.tree))]))
		}
	case 5: // a replica receives a certificate, if the header has one
		if len(r.tree) > 0 {
			if x := r.tree[r.rng.IntN(len(r.tree))]; r.certified(x.Digest()) {
				d.keep(m.HandleCertificate(t0, r.b.certificate(r.owner, x.Tip())))
			}
		}
	case 10: // a replica executes a committed cut
		if k := r.executed[i]; k+1 < len(r.chain) {
			r.executed[i]++
			d.keep(m.Executed(r.chain[k+1]))
		}
	case 11: // a replica crashes and restarts with an older ledger
		r.restart(i)
	case 6: // the leader makes a proposal, or replaces one
		if len(r.tree) > 0 && (r.proposal == nil || r.rng.IntN(8) == 0) {
			if x := r.tree[r.rng.IntN(len(r.tree))]; x.Seq > last[r.owner].Seq {
				r.proposal, r.votes = r.b.cut(map[protocols.Index]Tip{r.owner: x.Tip()}), protocols.Set{}
			}
		}
	default: // a replica votes
		if r.proposal == nil || r.votes.Has(protocols.Index(i)) {
			break
		}
		if _, v := m.CheckCut(t0, last, r.proposal, 0); v == Votable {
			d.keep(m.AckCut(t0, last, r.proposal))
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

func (r *forkedLane) restart(i int) {
	r.executed[i] = r.rng.IntN(r.executed[i] + 1)
	m, err := Restore(r.b.config(protocols.Index(i)), r.chain[r.executed[i]], r.disks[i].stored)
	if err != nil {
		r.broken = err.Error()
		return
	}
	r.honest[i] = m
	r.disks[i].keep(m.Ordered(t0, r.chain[len(r.chain)-1]))
}

// gather collects the acknowledgements of the honest replicas and checks the positions that they certify.
func (r *forkedLane) gather() {
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

func (r *forkedLane) certified(d digest.Digest) bool {
	s := r.acks[d]
	return s != nil && s.Len()+r.b.c.F() >= r.b.c.Quorum()
}

// fix records a certified or committed position and all positions below it. It sets broken if another digest is recorded.
func (r *forkedLane) fix(t Tip, how string) {
	if how == "certified" && r.fixed[t.Seq] != t.Digest {
		r.certs++
	}
	for t.Seq > 0 {
		if have, ok := r.fixed[t.Seq]; ok && have != t.Digest {
			r.broken = fmt.Sprintf("number %d is %s with digest %s, and certified or committed with %s", t.Seq, how, t.Digest.Short(), have.Short())
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
