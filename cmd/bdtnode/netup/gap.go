package netup

import (
	"context"
	"slices"
	"time"

	"bdtnode/node/api"
)

// Outage is a time in which some replicas of one shard were down or suspended.
type Outage struct {
	Replicas []*Replica
	From     time.Time
	// Until is the end of the outage, or a time by which all earlier messages of these replicas have had their effect.
	// A commit after it does not depend on earlier messages of theirs, or was proposed by them.
	Until time.Time
	// Leader is true if the outage is one of the leader: then it ends when another replica leads.
	Leader bool
}

// DeathOf is the outage that begins with the end of a replica process. Its end is not known.
func DeathOf(d Death) Outage {
	return Outage{Replicas: []*Replica{d.Replica}, From: d.At, Until: d.At.Add(killedSays), Leader: true}
}

// Gap is the time for which an outage kept a shard from committing: the longest time from one commit to the next, as
// another replica of the shard saw it, among those that ended in the outage. Time with nothing to commit counts up to a
// tenth of a second only. An outage of a leader ends with the first commit after which another replica leads. That may
// be the last block of the old leader's epoch, on which the others agree without a leader.
type Gap struct {
	Shard  uint16
	Took   time.Duration
	Leader int  // leader when the outage began
	Next   int  // leader after it
	Idle   bool // no commit in the outage so far, and nothing to commit
}

// Polling of commits during an outage. The polling interval does not affect the result, because replicas record the
// times of their commits.
const (
	askFirst = 20 * time.Millisecond
	askLast  = 500 * time.Millisecond
	idleFrom = time.Second // an outage of this age with nothing pending is reported as idle
)

// idleMost bounds the time that does not count as idle although a replica knew of nothing to commit: a transaction
// takes a while to reach all replicas.
const idleMost = 100 * time.Millisecond

// Watch calls tell with the gap of an outage when the outage is over. If there is nothing to commit, it calls tell once
// with Idle set, and continues. It never calls tell for an outage of a leader in which none of the replicas led. It
// returns after the last call, or when the context ends.
func (c *Cluster) Watch(ctx context.Context, o Outage, tell func(Gap)) {
	var from *Replica // the replica that is polled
	var seen []api.Commit
	idle := false
	for every := askFirst; ; every = min(askLast, every+every/4) {
		if from == nil || !from.Alive() {
			from, seen = c.other(o), nil
		}
		if from != nil {
			l, err := from.Client.Commits(ctx, lastHeight(seen))
			seen = append(seen, l...)
			g, over := o.gap(seen)
			switch {
			case err != nil || g.Leader < 0:
				from = nil // it does not answer, or did not run when the outage began
			case o.Leader && !o.led(g.Leader):
				return
			case over:
				tell(g)
				return
			case !idle && g.Took == 0 && time.Since(o.From) >= idleFrom:
				if st, err := from.Client.Status(ctx); err == nil && st.WaitingMS == 0 {
					idle, g.Idle = true, true
					tell(g)
				}
			}
		}
		if !sleep(ctx, every) {
			return
		}
	}
}

// other returns a running replica of the shard that is not part of the outage. Each call returns another one, so that a
// replica that does not answer is skipped.
func (c *Cluster) other(o Outage) *Replica {
	var others []*Replica
	for _, r := range c.Replicas {
		if r.Shard == o.Replicas[0].Shard && r.Alive() && !slices.Contains(o.Replicas, r) {
			others = append(others, r)
		}
	}
	if len(others) == 0 {
		return nil
	}
	return others[int(time.Now().UnixNano()/int64(askFirst))%len(others)]
}

func lastHeight(seen []api.Commit) uint64 {
	if len(seen) == 0 {
		return 0
	}
	return seen[len(seen)-1].Height
}

func (o *Outage) led(leader int) bool {
	return slices.ContainsFunc(o.Replicas, func(r *Replica) bool { return r.Index == leader })
}

// gap computes the gap of an outage from a replica's commits, oldest first, and whether the outage is over. Took is 0
// if no commit lies in the outage. Leader is -1 if the commits do not reach back to its beginning, for example those of
// a replica that started later.
func (o *Outage) gap(commits []api.Commit) (g Gap, over bool) {
	g = Gap{Shard: o.Replicas[0].Shard, Leader: -1}
	var epoch uint64
	for i := range commits {
		x := &commits[i]
		at := time.UnixMicro(x.AtUS)
		if !at.After(o.From) {
			g.Leader, epoch = int(x.Leader), x.Epoch
			continue
		}
		g.Took = max(g.Took, pause(commits[max(0, i-1)], *x), time.Microsecond)
		g.Next = int(x.Leader)
		if o.Leader && x.Epoch > epoch || !at.Before(o.Until) {
			return g, g.Leader >= 0
		}
	}
	return g, false
}

// pause is the time from one commit to the next, without the part in which the shard was idle.
func pause(last, x api.Commit) time.Duration {
	waited := time.Duration(x.WaitedUS) * time.Microsecond
	took := time.UnixMicro(x.AtUS).Sub(time.UnixMicro(last.AtUS))
	if took-waited > idleMost {
		return waited
	}
	return took
}
