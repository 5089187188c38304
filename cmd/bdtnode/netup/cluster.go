package netup

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"bdtnode/node/api/client"
	"bdtnode/node/config"
	"bdtnode/shard"
)

// pollEvery is how often replicas that start are asked whether they are ready.
const pollEvery = 50 * time.Millisecond

// Options say how to run a network.
type Options struct {
	Dir          string                             // where [Create] made it
	Program      string                             // to run a replica; empty is this program itself
	Args         func(home string) []string         // of the program; nil is those of this program
	ReadyTimeout time.Duration                      // how long all replicas may take to be ready; 0 is a minute
	Client       client.Options                     // of the clients of the replicas
	Waiting      func(ready, total int, why string) // told while waiting, if not nil
}

// Cluster is all replicas of a network, running.
type Cluster struct {
	Genesis  *shard.Genesis
	Replicas []*Replica // by shard, then index

	options Options
	deaths  chan Death
	stopped chan struct{} // closed when Stop begins
	work    sync.WaitGroup
}

// Death is the end of a replica's process.
type Death struct {
	Replica *Replica
	At      time.Time
	Asked   bool // this program took it down, and brings it back
}

// Start runs all replicas of a network and waits until each is ready. If one fails to, all are stopped again, and the
// error has the last lines of its log. The context ends only the start; see [Cluster.Stop].
func Start(ctx context.Context, o Options) (c *Cluster, err error) {
	if o.ReadyTimeout == 0 {
		o.ReadyTimeout = time.Minute
	}
	if o.Program == "" {
		if o.Program, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("find this program: %w", err)
		}
	}
	if o.Args == nil {
		o.Args = func(home string) []string { return []string{"start", "--supervised", "--home", home} }
	}
	c = &Cluster{options: o, deaths: make(chan Death), stopped: make(chan struct{})}
	if c.Genesis, err = shard.ReadGenesis(config.GenesisPath(o.Dir)); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			c.Stop()
		}
	}()
	for s, spec := range c.Genesis.Shards {
		for i := range spec.Members {
			home := config.HomeDir(o.Dir, uint16(s), i)
			if _, err := config.Load(home, nil); err != nil { // sooner, and clearer, than from its log
				return c, fmt.Errorf("replica %d of shard %d cannot start: %w", i, s, err)
			}
			r := &Replica{Shard: uint16(s), Index: i, Home: home}
			if err := c.launch(r); err != nil {
				return c, err
			}
			c.Replicas = append(c.Replicas, r)
		}
	}
	return c, c.awaitReady(ctx)
}

// launch starts a process for a replica that has none.
func (c *Cluster) launch(r *Replica) error {
	p, err := spawn(r.Home, c.options.Program, c.options.Args(r.Home)...)
	if err != nil {
		return err
	}
	r.set(p)
	c.work.Go(func() {
		<-p.done
		select {
		case c.deaths <- Death{Replica: r, At: p.endedAt, Asked: p.asked.Load()}:
		case <-c.stopped:
		}
	})
	return nil
}

// Deaths delivers the end of each process of a replica, until the cluster is stopped. Nothing else waits for its reader.
func (c *Cluster) Deaths() <-chan Death { return c.deaths }

// awaitReady asks until all replicas are ready, one has ended, or the time is up.
func (c *Cluster) awaitReady(ctx context.Context) error {
	limit := time.NewTimer(c.options.ReadyTimeout)
	defer limit.Stop()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		ready, why, err := c.countReady(ctx)
		if err != nil || ready == len(c.Replicas) {
			return err
		}
		if c.options.Waiting != nil {
			c.options.Waiting(ready, len(c.Replicas), why)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-limit.C:
			return fmt.Errorf("only %d of %d replicas are ready after %v: %s", ready, len(c.Replicas), c.options.ReadyTimeout, why)
		case <-tick.C:
		}
	}
}

// countReady counts ready replicas; why is what the last of the others lacks.
func (c *Cluster) countReady(ctx context.Context) (ready int, why string, err error) {
	for _, r := range c.Replicas {
		lacks, err := c.lacks(ctx, r)
		switch {
		case err != nil:
			return 0, "", err
		case lacks == "":
			ready++
		default:
			why = r.Name() + lacks
		}
	}
	return ready, why, nil
}

// lacks is what a replica that was launched lacks to be ready, empty if it is. An error means that it will not be.
func (c *Cluster) lacks(ctx context.Context, r *Replica) (string, error) {
	p := r.process()
	if p.gone() {
		return "", fmt.Errorf("%s failed to start: %s", r.Name(), p.ended())
	}
	run, ok, err := p.running()
	switch {
	case err != nil:
		return "", fmt.Errorf("%s: %w", r.Name(), err)
	case !ok:
		return " has not come up\n" + p.logTail(), nil
	}
	if err := r.reached(run, c.options.Client); err != nil {
		return "", fmt.Errorf("%s: %w", r.Name(), err)
	}
	ok, reason, err := r.Client.Ready(ctx)
	switch {
	case ok:
		return "", nil
	case err != nil:
		return ": " + err.Error(), nil
	}
	return ": " + reason, nil
}

// Alive is the replicas whose processes run and are not stopped.
func (c *Cluster) Alive() []*Replica {
	var alive []*Replica
	for _, r := range c.Replicas {
		if r.Alive() {
			alive = append(alive, r)
		}
	}
	return alive
}

// Left is how many replicas of a shard run, or come back by themselves.
func (c *Cluster) Left(shard uint16) int {
	n := 0
	for _, r := range c.Replicas {
		if r.Shard == shard && (r.Alive() || r.comesBack()) {
			n++
		}
	}
	return n
}

// Stop ends all replicas, together, and returns once none is left: those that do not stop within 10 seconds are killed.
// Nothing else may be under way with the cluster.
func (c *Cluster) Stop() {
	close(c.stopped)
	for _, r := range c.Replicas {
		p := r.process()
		p.terminate()
		p.signal(resume) // one that is stopped does not hear that it is to end
	}
	deadline := time.Now().Add(killAfter)
	for _, r := range c.Replicas {
		r.process().await(deadline)
		if r.Client != nil {
			r.Client.Close()
		}
	}
	c.work.Wait()
}
