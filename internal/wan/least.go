package wan

import (
	"slices"
	"time"
)

// Least is the least time from a transaction's arrival at replica i until that replica knows it to be committed in the
// fast lane, with one-way delays d between the replicas of a shard and no other delay. The batch goes to the leader,
// the proposal to all. A replica votes when it also has the batch. n-f votes make a replica send Finalize, and n-f
// Finalize messages commit.
func Least(d [][]time.Duration, leader, i int) time.Duration {
	n := len(d)
	quorum := n - (n-1)/3
	at := func(times []time.Duration) time.Duration { return slices.Sorted(slices.Values(times))[quorum-1] }
	proposed := d[i][leader]
	sends := make([]time.Duration, n) // time at which the Finalize of each arrives at i
	for k := range n {
		votes := make([]time.Duration, n) // time at which the vote of each arrives at k
		for j := range n {
			votes[j] = max(proposed+d[leader][j], d[i][j]) + d[j][k]
		}
		sends[k] = at(votes) + d[k][i]
	}
	return at(sends)
}
