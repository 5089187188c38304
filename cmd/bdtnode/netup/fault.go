package netup

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"bdtnode/node/api"
)

// Fault is a kind of disturbance that this program causes in a network.
type Fault string

// Kinds of faults.
const (
	KillLeader      Fault = "kill-leader"      // kills the process of the leader, and starts it again some seconds later
	FreezeLeader    Fault = "freeze-leader"    // suspends the process of the leader for some seconds, which delays its messages
	FreezeFollowers Fault = "freeze-followers" // suspends as many processes as may be faulty, without the leader
)

// AllFaults lists every kind of fault.
var AllFaults = []Fault{KillLeader, FreezeLeader, FreezeFollowers}

// Durations of faults.
const (
	killedMin, killedMax = time.Second, 3 * time.Second // from the kill to the new start
	frozenMin, frozenMax = time.Second, 10 * time.Second
)

const (
	backWithin   = time.Minute            // bound for a replica to catch up with the others of its shard
	QuietEnd     = 2 * time.Second        // no fault begins in the last seconds of a run
	wellEvery    = 250 * time.Millisecond // interval of queries whether all replicas of a shard are ready
	statusWithin = 3 * time.Second        // bound for the status of all replicas of a shard
	commitWithin = 10 * time.Second       // bound for the first commit after all replicas are running
	killedSays   = time.Second            // bound for messages that a replica sent before it was killed to arrive
)

// Faults are repeated faults, in every shard independently.
type Faults struct {
	Kind  Fault
	Every time.Duration // from one fault to the next in a shard; longer if replicas need longer to catch up
	For   time.Duration // no fault begins later than this, less [QuietEnd]; 0: until the context ends
	Seed  uint64        // of the choice of replicas and durations

	Begun func(Outage)      // called when replicas are down or suspended
	Gap   func(Outage, Gap) // called as by [Cluster.Watch]
	Back  func(*Replica)    // called when a killed replica was started again
}

// Inject causes faults. In a shard it never disturbs more replicas than may be faulty: the next fault waits until all
// have caught up. It returns when all replicas run again, or when the context has ended: then no replica stays
// suspended, but a killed one stays down. The error names a replica that does not catch up.
func (c *Cluster) Inject(ctx context.Context, f Faults) error {
	shards := make([]error, len(c.Genesis.Shards))
	var work sync.WaitGroup
	for s := range shards {
		work.Go(func() { shards[s] = c.injectAt(ctx, &f, uint16(s)) })
	}
	work.Wait()
	return errors.Join(shards...)
}

// injectAt causes faults in one shard.
func (c *Cluster) injectAt(ctx context.Context, f *Faults, shard uint16) error {
	rng := rand.New(rand.NewPCG(f.Seed, uint64(shard)))
	start := time.Now()
	due := start.Add(f.Every)
	for {
		if !sleep(ctx, time.Until(due)) || f.For > 0 && time.Since(start) > f.For-QuietEnd {
			return nil
		}
		begun := time.Now()
		victims, err := c.victims(ctx, f.Kind, shard, rng)
		if err != nil {
			return err
		}
		if len(victims) == 0 {
			due = begun.Add(wellEvery)
			continue
		}
		if err := c.fault(ctx, f, victims, rng); err != nil || ctx.Err() != nil {
			return err
		}
		due = begun.Add(f.Every)
	}
}

// victims chooses replicas of a shard for a fault. It returns none if other replicas are not ready.
func (c *Cluster) victims(ctx context.Context, kind Fault, shard uint16, rng *rand.Rand) ([]*Replica, error) {
	committee, err := c.Genesis.Committee(shard)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, statusWithin)
	defer cancel()
	var well []*Replica
	var newest api.Status
	for _, r := range c.Alive() {
		if r.Shard != shard {
			continue
		}
		if st, err := r.Client.Status(ctx); err == nil && st.Ready {
			well = append(well, r)
			if len(well) == 1 || st.Epoch > newest.Epoch {
				newest = st
			}
		}
	}
	if len(well) < committee.N() {
		return nil, nil
	}
	leader := well[newest.Leader]
	if kind != FreezeFollowers {
		return []*Replica{leader}, nil
	}
	var out []*Replica
	for _, i := range rng.Perm(len(well)) {
		if well[i] != leader && len(out) < committee.F() {
			out = append(out, well[i])
		}
	}
	return out, nil
}

// fault disturbs replicas, restores them, and returns when they have caught up.
func (c *Cluster) fault(ctx context.Context, f *Faults, victims []*Replica, rng *rand.Rand) error {
	least, most := frozenMin, frozenMax
	if f.Kind == KillLeader {
		least, most = killedMin, killedMax
	}
	out := least + time.Duration(rng.Int64N(int64(most-least)))
	for _, r := range victims {
		r.setOut(true)
		defer r.setOut(false)
		if f.Kind == KillLeader {
			c.recordUsage(ctx, r)
		}
	}
	o := Outage{Replicas: victims, From: time.Now(), Leader: f.Kind != FreezeFollowers}
	o.Until = o.From.Add(out)
	for _, r := range victims {
		p := r.process()
		if f.Kind != KillLeader {
			p.signal(freeze)
			defer p.signal(resume) // on every way out of this function
			continue
		}
		p.asked.Store(true)
		p.kill()
		r.spent(Usage{CPUSeconds: p.cpuSeconds()})
		o.Until = o.From.Add(killedSays)
	}
	f.Begun(o)
	watched := c.watchAside(ctx, o, func(g Gap) { f.Gap(o, g) })
	defer watched.end()
	if !sleep(ctx, time.Until(o.From.Add(out))) {
		return nil
	}
	for _, r := range victims {
		if f.Kind != KillLeader {
			r.process().signal(resume)
		} else if err := c.launch(r); err != nil {
			return err
		}
	}
	for _, r := range victims {
		if back, err := c.awaitBack(ctx, r); !back {
			return err
		}
		if f.Kind == KillLeader {
			f.Back(r)
		}
	}
	watched.await(ctx)
	return nil
}

// recordUsage records the resource usage of a replica that is about to be killed. Its processor time is known after its
// end.
func (c *Cluster) recordUsage(ctx context.Context, r *Replica) {
	ctx, cancel := context.WithTimeout(ctx, statusWithin)
	defer cancel()
	if st, err := r.Client.Status(ctx); err == nil {
		r.spent(Usage{Syncs: st.Syncs})
	}
}

// awaitBack waits until a replica is ready and has executed the blocks that the others of its shard had when it started
// again. It returns false if that fails, with an error unless the context ended or the replica was killed from
// elsewhere.
func (c *Cluster) awaitBack(ctx context.Context, r *Replica) (back bool, err error) {
	limit, cancel := context.WithTimeout(ctx, backWithin)
	defer cancel()
	goal := uint64(0)
	for _, x := range c.Alive() {
		if st, err := x.Client.Status(limit); x.Shard == r.Shard && err == nil {
			goal = max(goal, st.Height)
		}
	}
	for {
		lacks, err := c.lacks(limit, r)
		if err != nil {
			if ctx.Err() != nil || r.Killed() {
				err = nil
			}
			return false, err
		}
		if lacks == "" {
			st, err := r.Client.Status(limit)
			if err == nil && st.Height >= goal {
				return true, nil
			}
			lacks = fmt.Sprintf(" is at height %d, the others were at %d", st.Height, goal)
		}
		if !sleep(limit, pollEvery) {
			if ctx.Err() != nil {
				return false, nil
			}
			return false, fmt.Errorf("%s has not caught up within %v: it%s", r.Name(), backWithin, lacks)
		}
	}
}

// watching is the concurrent watch of one gap.
type watching struct {
	stop context.CancelFunc
	done chan struct{}
	idle chan struct{} // closed when the shard had nothing to commit
}

func (c *Cluster) watchAside(ctx context.Context, o Outage, tell func(Gap)) *watching {
	ctx, stop := context.WithCancel(ctx)
	w := &watching{stop: stop, done: make(chan struct{}), idle: make(chan struct{})}
	go func() {
		defer close(w.done)
		c.Watch(ctx, o, func(g Gap) {
			tell(g)
			if g.Idle {
				close(w.idle)
			}
		})
	}()
	return w
}

// await returns when the gap is known. All replicas run, so this is soon, or the shard has nothing to commit.
func (w *watching) await(ctx context.Context) {
	limit := time.NewTimer(commitWithin)
	defer limit.Stop()
	select {
	case <-w.done:
	case <-w.idle:
	case <-limit.C:
	case <-ctx.Done():
	}
}

// end ends the watch.
func (w *watching) end() {
	w.stop()
	<-w.done
}
