package netup

import (
	"context"
	"fmt"
	"os"
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

// Replica is one replica that runs.
type Replica struct {
	Shard   uint16
	Index   int
	Home    string
	Running config.Running
	Client  *client.Client

	proc *process
}

// Name is how people call the replica.
func (r *Replica) Name() string { return fmt.Sprintf("replica %d of shard %d", r.Index, r.Shard) }

// Gone is closed once the replica's process has ended.
func (r *Replica) Gone() <-chan struct{} { return r.proc.done }

// Alive reports whether its process still runs.
func (r *Replica) Alive() bool { return !r.proc.gone() }

// Killed reports of a replica that is gone whether somebody killed it, rather than that it failed.
func (r *Replica) Killed() bool { return r.proc.killed() }

// Ended says how a replica that is gone ended, with the last lines of its log.
func (r *Replica) Ended() string { return r.proc.ended() }

// PID is the process id.
func (r *Replica) PID() int { return r.proc.pid() }

// Cluster is all replicas of a network, running.
type Cluster struct {
	Genesis  *shard.Genesis
	Replicas []*Replica // by shard, then index
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
	c = &Cluster{}
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
			p, err := spawn(home, o.Program, o.Args(home)...)
			if err != nil {
				return c, err
			}
			c.Replicas = append(c.Replicas, &Replica{Shard: uint16(s), Index: i, Home: home, proc: p})
		}
	}
	return c, c.awaitReady(ctx, o)
}

// awaitReady asks until all replicas are ready, one has ended, or the time is up.
func (c *Cluster) awaitReady(ctx context.Context, o Options) error {
	limit := time.NewTimer(o.ReadyTimeout)
	defer limit.Stop()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		ready, why, err := c.countReady(ctx, o.Client)
		if err != nil || ready == len(c.Replicas) {
			return err
		}
		if o.Waiting != nil {
			o.Waiting(ready, len(c.Replicas), why)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-limit.C:
			return fmt.Errorf("only %d of %d replicas are ready after %v: %s", ready, len(c.Replicas), o.ReadyTimeout, why)
		case <-tick.C:
		}
	}
}

// countReady counts ready replicas; why is what the last of the others lacks.
func (c *Cluster) countReady(ctx context.Context, o client.Options) (ready int, why string, err error) {
	for _, r := range c.Replicas {
		if !r.Alive() {
			return 0, "", fmt.Errorf("%s failed to start: %s", r.Name(), r.Ended())
		}
		if r.Client == nil {
			run, ok, err := r.proc.running()
			if err != nil {
				return 0, "", fmt.Errorf("%s: %w", r.Name(), err)
			}
			if !ok {
				why = r.Name() + " has not come up\n" + r.proc.logTail()
				continue
			}
			if r.Client, err = client.New(run.API, o); err != nil {
				return 0, "", fmt.Errorf("%s: %w", r.Name(), err)
			}
			r.Running = run
		}
		ok, reason, err := r.Client.Ready(ctx)
		switch {
		case ok:
			ready++
		case err != nil:
			why = r.Name() + ": " + err.Error()
		default:
			why = r.Name() + ": " + reason
		}
	}
	return ready, why, nil
}

// Alive is the replicas whose processes run.
func (c *Cluster) Alive() []*Replica {
	var alive []*Replica
	for _, r := range c.Replicas {
		if r.Alive() {
			alive = append(alive, r)
		}
	}
	return alive
}

// Stop ends all replicas, together, and returns once none is left: those that do not stop within 10 seconds are killed.
func (c *Cluster) Stop() {
	for _, r := range c.Replicas {
		r.proc.terminate()
	}
	deadline := time.Now().Add(killAfter)
	for _, r := range c.Replicas {
		r.proc.await(deadline)
		if r.Client != nil {
			r.Client.Close()
		}
	}
}
