package netup

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"bdtnode/node/client"
	"bdtnode/node/config"
	"bdtnode/shard"
)

// pollEvery is the interval at which starting replicas are asked whether they are ready.
const pollEvery = 50 * time.Millisecond

// Options are the settings of a running network.
type Options struct {
	Dir          string                             // directory in which [Create] made the network
	Program      string                             // program that runs a replica; empty: this program
	Args         func(home string) []string         // arguments of the program; nil: those of bdtnode start
	ReadyTimeout time.Duration                      // bound for all replicas to become ready; 0: one minute
	Client       client.Options                     // of the clients of the replicas
	Waiting      func(ready, total int, why string) // called while waiting, if not nil
}

// StartArgs are the arguments with which this program runs the replica of a home for a [Cluster].
func StartArgs(home string) []string { return []string{"start", "--supervised", "--home", home} }

// Cluster is a running network with all its replicas.
type Cluster struct {
	Genesis  *shard.Genesis
	Replicas []*Replica // sorted by shard, then index

	options Options
	deaths  chan Death
	stopped chan struct{} // closed when Stop begins
	work    sync.WaitGroup
}

// Death is the end of a replica's process.
type Death struct {
	Replica *Replica
	At      time.Time
	Asked   bool // this program ended it as part of a fault, and starts it again
}

// Start runs all replicas of a network and waits until each is ready. If one fails, all are stopped, and the error
// contains the last lines of its log. The context bounds the start only; [Cluster.Stop] ends the network.
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
		o.Args = StartArgs
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
			if _, err := config.Load(home, nil); err != nil { // an error here is earlier and clearer than one in the replica's log
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

// size is the number of replicas, also of those that are not started yet.
func (c *Cluster) size() (n int) {
	for _, spec := range c.Genesis.Shards {
		n += len(spec.Members)
	}
	return n
}

// launch starts a process for a replica that has none.
func (c *Cluster) launch(r *Replica) error {
	p, err := spawn(r.Home, c.options.Program, environment(Processors(c.size())), c.options.Args(r.Home)...)
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

// Deaths delivers the end of each replica process until the cluster is stopped. A slow reader delays nothing else.
func (c *Cluster) Deaths() <-chan Death { return c.deaths }

// awaitReady polls until all replicas are ready. The error is the reason why one is not: it has ended, or ReadyTimeout
// is over.
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

// countReady counts ready replicas; why describes the last replica that is not ready.
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

// lacks describes why a launched replica is not ready, empty if it is ready. An error means that it cannot become
// ready.
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
		return " has not published its API address\n" + p.logTail(), nil
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

// Alive returns the replicas whose processes run and are not suspended.
func (c *Cluster) Alive() []*Replica {
	var alive []*Replica
	for _, r := range c.Replicas {
		if r.Alive() {
			alive = append(alive, r)
		}
	}
	return alive
}

// Left is the number of replicas of a shard that run or that a fault will start again.
func (c *Cluster) Left(shard uint16) int {
	n := 0
	for _, r := range c.Replicas {
		if r.Shard == shard && (r.Alive() || r.comesBack()) {
			n++
		}
	}
	return n
}

// Stop ends all replicas at the same time, and returns when none is left. Replicas that do not stop within 10 seconds
// are killed. No other method may run at the same time.
func (c *Cluster) Stop() {
	close(c.stopped)
	for _, r := range c.Replicas {
		p := r.process()
		p.terminate()
		p.signal(resume) // a suspended process does not handle the signal to stop
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
