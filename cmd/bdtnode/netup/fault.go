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

// Fault is what is done to replicas of a network on purpose.
type Fault string

// The faults.
const (
	KillLeader      Fault = "kill-leader"      // its process is killed, and started again some seconds later
	FreezeLeader    Fault = "freeze-leader"    // its process stands still for some seconds, so all it has to say comes late
	FreezeFollowers Fault = "freeze-followers" // as many processes as may be faulty, none the leader's, stand still
)

// AllFaults is every kind of fault.
var AllFaults = []Fault{KillLeader, FreezeLeader, FreezeFollowers}

// How long replicas are out.
const (
	killedMin, killedMax = time.Second, 3 * time.Second // from the kill to the start
	frozenMin, frozenMax = time.Second, 10 * time.Second
)

const (
	backWithin   = time.Minute            // how long a replica may take to catch up with the others of its shard
	QuietEnd     = 2 * time.Second        // no fault begins in the last seconds of a run
	wellEvery    = 250 * time.Millisecond // how often it is asked whether all replicas of a shard are well
	statusWithin = 3 * time.Second        // for the replicas of a shard to say how they are
	commitWithin = 10 * time.Second       // for the first commit once all replicas are back
	killedSays   = time.Second            // by then nothing of what a replica said before it was killed is still on its way
)

// Faults are faults that come again and again, in every shard for itself.
type Faults struct {
	Kind  Fault
	Every time.Duration // from one to the next in a shard; longer if replicas take longer to be back
	For   time.Duration // none begins after that, less [QuietEnd]; 0 is until the context ends
	Seed  uint64        // of which replicas and how long

	Begun func(Outage)      // told when replicas are out
	Gap   func(Outage, Gap) // told as [Cluster.Watch] does
	Back  func(*Replica)    // told when a replica was started again
}

// Inject makes faults. Of a shard it never has more replicas out than may be faulty: the next fault waits until all have
// caught up. It returns once all replicas are back, or the context has ended: then none stands still any more, and one
// that was killed remains so. It fails if a replica does not come back.
func (c *Cluster) Inject(ctx context.Context, f Faults) error {
	shards := make([]error, len(c.Genesis.Shards))
	var work sync.WaitGroup
	for s := range shards {
		work.Go(func() { shards[s] = c.injectAt(ctx, &f, uint16(s)) })
	}
	work.Wait()
	return errors.Join(shards...)
}

// injectAt makes faults in one shard.
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

// victims chooses replicas of a shard for a fault; none if others are out of order already.
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

// fault takes replicas out and brings them back, and returns when they have caught up.
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
			c.lastWords(ctx, r)
		}
	}
	o := Outage{Replicas: victims, From: time.Now(), Leader: f.Kind != FreezeFollowers}
	o.Until = o.From.Add(out)
	for _, r := range victims {
		p := r.process()
		if f.Kind != KillLeader {
			p.signal(freeze)
			defer p.signal(resume) // whatever else happens
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

// lastWords notes what a replica has used that is about to be killed. Its processor time is known afterwards.
func (c *Cluster) lastWords(ctx context.Context, r *Replica) {
	ctx, cancel := context.WithTimeout(ctx, statusWithin)
	defer cancel()
	if st, err := r.Client.Status(ctx); err == nil {
		r.spent(Usage{Syncs: st.Syncs})
	}
}

// awaitBack waits until a replica is ready and has executed what the others of its shard had when it came back. It
// reports false if it does not, with an error unless the context ended or somebody else killed the replica.
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
			lacks = fmt.Sprintf(" is at height %d, and others were at %d", st.Height, goal)
		}
		if !sleep(limit, pollEvery) {
			if ctx.Err() != nil {
				return false, nil
			}
			return false, fmt.Errorf("%s is not back after %v: it%s", r.Name(), backWithin, lacks)
		}
	}
}

// watching is a gap being watched aside.
type watching struct {
	stop context.CancelFunc
	done chan struct{}
	idle chan struct{} // closed when there was nothing to commit
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

// await returns when the gap is known. All replicas are back, so there will be one soon, or nothing to commit.
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
