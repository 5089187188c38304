package netup

import (
	"context"
	"slices"
	"time"

	"bdtnode/node/api"
)

// Outage is a time in which some replicas of one shard took no part.
type Outage struct {
	Replicas []*Replica
	From     time.Time
	// Until is when they were back, or a time by which what they had said before must have had its effect: a commit
	// from then on owes nothing to them, or is theirs.
	Until time.Time
	// Leader is that the outage is about who led the shard: it ends when another one does.
	Leader bool
}

// DeathOf is the outage that the death of a replica began, of which nobody knows when it ends.
func DeathOf(d Death) Outage {
	return Outage{Replicas: []*Replica{d.Replica}, From: d.At, Until: d.At.Add(killedSays), Leader: true}
}

// Gap is how long an outage kept a shard from committing: the longest time from one commit to the next, as another
// replica of the shard saw it, of those that ended in the outage. What of it passed with nothing to commit counts only
// up to a tenth of a second. An outage of a leader ends with the first commit after which another one leads. That may
// be the last block of the old one's epoch, which is agreed on without a leader.
type Gap struct {
	Shard  uint16
	Took   time.Duration
	Leader int  // when the outage began
	Next   int  // after it
	Idle   bool // nothing was committed in the outage so far, and there is nothing to commit
}

// How commits are asked for while an outage lasts. What is seen does not depend on it: replicas remember when they
// committed.
const (
	askFirst = 20 * time.Millisecond
	askLast  = 500 * time.Millisecond
	idleFrom = time.Second // an outage this old in which nothing is pending is told to be idle
)

// idleMost is how long a replica may have known of nothing to commit without the shard having been idle: what others
// have been told takes a while to be known to all.
const idleMost = 100 * time.Millisecond

// Watch tells what gap an outage made, once that is over. If there is nothing to commit it tells that, once, and goes
// on waiting. It tells nothing if the outage is one of a leader and none of the replicas led. It returns when it has
// told, or the context ends.
func (c *Cluster) Watch(ctx context.Context, o Outage, tell func(Gap)) {
	var from *Replica // who is asked
	var seen []api.Commit
	idle := false
	for every := askFirst; ; every = min(askLast, every+every/4) {
		if from == nil || !from.Alive() {
			from, seen = c.other(o), nil
		}
		if from != nil {
			l, err := from.Client.Commits(ctx, lastHeight(seen))
			seen = append(seen, l.Commits...)
			g, over := o.gap(seen)
			switch {
			case err != nil || g.Leader < 0:
				from = nil // it does not answer, or did not run when the outage began
			case o.Leader && !o.led(g.Leader):
				return
			case over:
				tell(g)
				return
			case !idle && g.Took == 0 && l.WaitingUS == 0 && time.Since(o.From) >= idleFrom:
				idle, g.Idle = true, true
				tell(g)
			}
		}
		if !sleep(ctx, every) {
			return
		}
	}
}

// other is a replica of the shard that runs and is not one of the outage's; another each time, so that one that does
// not answer is left alone.
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

// gap is what a replica's commits, oldest first, say of an outage, and whether it is over. Took is 0 as long as none of
// them lies in the outage. The leader is -1 if they do not reach back to its beginning, as those of a replica that
// started since.
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

// pause is the time from one commit to the next, without what of it the shard was idle.
func pause(last, x api.Commit) time.Duration {
	waited := time.Duration(x.WaitedUS) * time.Microsecond
	took := time.UnixMicro(x.AtUS).Sub(time.UnixMicro(last.AtUS))
	if took-waited > idleMost {
		return waited
	}
	return took
}
