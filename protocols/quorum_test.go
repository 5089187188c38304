package protocols

import "testing"

// setOf is the set of replicas whose bit is 1.
func setOf(mask int) (s Set) {
	for i := range Index(10) {
		if mask>>i&1 == 1 {
			s.Add(i)
		}
	}
	return s
}

// TestQuorumsIntersect goes through all pairs of sets of replicas, for each size of a shard up to 10. Two quorums share an
// honest replica, whichever f replicas are Byzantine; the honest replicas alone are a quorum; and a weak quorum has an honest
// replica. Smaller thresholds do not have these properties.
func TestQuorumsIntersect(t *testing.T) {
	for n := MinReplicas; n <= 10; n++ {
		c, _ := committee(t, n)
		f, q, weak := c.F(), c.Quorum(), c.WeakQuorum()
		if n <= 3*f || n > 3*(f+1) {
			t.Errorf("n=%d: f=%d is not the greatest number below n/3", n, f)
		}
		if n-f < q {
			t.Errorf("n=%d: a wait for a quorum of %d does not end if %d replicas are down", n, q, f)
		}
		var quorums []Set
		for mask := range 1 << n {
			if s := setOf(mask); s.Len() == q {
				quorums = append(quorums, s)
			}
		}
		least := n
		for i := range quorums {
			for j := i; j < len(quorums); j++ {
				both := 0
				for _, k := range quorums[i].Members() {
					if quorums[j].Has(k) {
						both++
					}
				}
				least = min(least, both)
			}
		}
		if least <= f {
			t.Errorf("n=%d: two quorums of %d share only %d replicas, of which %d may be Byzantine", n, q, least, f)
		}
		if weak <= f || weak-1 > f {
			t.Errorf("n=%d: a weak quorum of %d replicas, of which %d may be Byzantine", n, weak, f)
		}
		if least < weak {
			t.Errorf("n=%d: two quorums share %d replicas, fewer than a weak quorum", n, least)
		}
	}
}

// TestSetIsASet compares a Set with a map, for sequences of changes from all 65,536 patterns of 16 bits: the operation of a
// step follows from its bit, the replica from its number.
func TestSetIsASet(t *testing.T) {
	for pattern := range 1 << 16 {
		var s Set
		want := make(map[Index]bool, 16)
		for k := range 16 {
			i := Index(k*37%MaxReplicas) / 2
			if pattern>>k&1 == 1 {
				if s.Add(i) == want[i] {
					t.Fatalf("pattern %x: Add(%d) reports %v, and the set has it: %v", pattern, i, !want[i], want[i])
				}
				want[i] = true
			} else {
				s.Remove(i)
				delete(want, i)
			}
		}
		if s.Len() != len(want) || len(s.Members()) != len(want) {
			t.Fatalf("pattern %x: %d members, want %d", pattern, s.Len(), len(want))
		}
		last := -1
		for _, i := range s.Members() {
			if int(i) <= last || !want[i] || !s.Has(i) {
				t.Fatalf("pattern %x: members %v", pattern, s.Members())
			}
			last = int(i)
		}
	}
}

// TestQuorumHasHonestWeakQuorum: for each size of a shard, at least f+1 replicas of a quorum are honest. So a Finalize or a
// certificate of n-f replicas means that f+1 honest ones hold its content.
func TestQuorumHasHonestWeakQuorum(t *testing.T) {
	for n := MinReplicas; n <= MaxReplicas; n++ {
		c, _ := committee(t, n)
		if honest := c.Quorum() - c.F(); honest < c.WeakQuorum() {
			t.Errorf("n=%d: only %d honest replicas in a quorum, fewer than a weak quorum of %d", n, honest, c.WeakQuorum())
		}
	}
}
