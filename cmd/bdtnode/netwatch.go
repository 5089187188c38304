package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"bdtnode/cmd/bdtnode/netup"
	"bdtnode/cmd/bdtnode/registry"
	"bdtnode/shard"
)

// gapSummary summarizes the times for which a disturbed shard committed nothing, in milliseconds.
type gapSummary struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50_ms"`
	P95   float64 `json:"p95_ms"`
	Max   float64 `json:"max_ms"`
}

// summarize computes percentiles by nearest rank: the smallest gap that at least that share of the gaps does not
// exceed.
func summarize(gaps []time.Duration) gapSummary {
	if len(gaps) == 0 {
		return gapSummary{}
	}
	sorted := slices.Sorted(slices.Values(gaps))
	at := func(percent int) float64 {
		return float64(sorted[(len(sorted)*percent+99)/100-1].Microseconds()) / 1000
	}
	return gapSummary{Count: len(sorted), P50: at(50), P95: at(95), Max: at(100)}
}

// netWatch prints the events of the replicas of a network, and collects the gaps that they cause.
type netWatch struct {
	cluster *netup.Cluster
	line    *liveLine
	known   func() error // updates the addresses of the replicas for other commands

	mu   sync.Mutex
	gaps []time.Duration
}

// replicaLost is the error of a network in which a shard has lost more replicas than it tolerates.
type replicaLost struct{ message string }

// Error is the message.
func (e *replicaLost) Error() string { return e.message }

// lostQuorum reports whether an error is that of a shard without a quorum.
func lostQuorum(err error) bool {
	lost := (*replicaLost)(nil)
	return errors.As(err, &lost)
}

// watchEnds prints each replica that ends, and the gap if it was the leader. It stops the run when the remaining
// replicas of a shard are fewer than a quorum.
func (w *netWatch) watchEnds(ctx context.Context, stop context.CancelCauseFunc) {
	var gaps sync.WaitGroup
	defer gaps.Wait()
	for {
		var d netup.Death
		select {
		case <-ctx.Done():
			return
		case d = <-w.cluster.Deaths():
		}
		if d.Asked {
			continue // reported by the code that ended it
		}
		if err := w.replicaEnded(d.Replica); err != nil {
			stop(err)
			return
		}
		if w.cluster.Genesis.Consensus != shard.ConsensusDumbo { // dumbo has no leader for longer than a block
			o := netup.DeathOf(d)
			gaps.Go(func() { w.cluster.Watch(ctx, o, func(g netup.Gap) { w.gap(o, g) }) })
		}
	}
}

// replicaEnded prints that a replica ended. The error is replicaLost if the shard has no quorum any more.
func (w *netWatch) replicaEnded(r *netup.Replica) error {
	committee, err := w.cluster.Genesis.Committee(r.Shard)
	if err != nil {
		return err
	}
	left := w.cluster.Left(r.Shard)
	of := fmt.Sprintf("%d of %d replicas of shard %d are left", left, committee.N(), r.Shard)
	switch {
	case left < committee.Quorum():
		return &replicaLost{fmt.Sprintf("%s, and %d are needed; the last to end was %s: %s", of, committee.Quorum(), r.Name(), r.Ended())}
	case r.Killed():
		w.line.note("%s was killed; %s. Bring it back with: %s start --home %s", r.Name(), of, self(), r.Home)
	default:
		w.line.note("%s failed; %s: %s", r.Name(), of, r.Ended())
	}
	return nil
}

// inject runs the faults of f, and returns when all replicas are running again.
func (w *netWatch) inject(ctx context.Context, f *netFlags) error {
	return w.cluster.Inject(ctx, netup.Faults{
		Kind: netup.Fault(f.fault), Every: f.faultEvery, For: f.duration, Seed: f.seed,
		Begun: func(o netup.Outage) { w.line.note("%s", outageText(netup.Fault(f.fault), o)) },
		Gap:   w.gap,
		Back:  w.back,
	})
}

// gap prints a gap and collects it.
func (w *netWatch) gap(o netup.Outage, g netup.Gap) {
	if !g.Idle {
		w.mu.Lock()
		w.gaps = append(w.gaps, g.Took)
		w.mu.Unlock()
	}
	w.line.note("%s", gapText(o, g))
}

func (w *netWatch) summary() gapSummary {
	w.mu.Lock()
	defer w.mu.Unlock()
	return summarize(w.gaps)
}

// back updates the address of a replica that was started again for other commands, and then prints it: a reader of the
// line finds the new address.
func (w *netWatch) back(r *netup.Replica) {
	w.mu.Lock()
	err := w.known()
	w.mu.Unlock()
	w.line.note("%s is running again as process %d, API at %s", r.Name(), r.PID(), r.API())
	if err != nil {
		w.line.note("note: other commands do not find %s: %v", r.Name(), err)
	}
}

// outageText describes a fault.
func outageText(kind netup.Fault, o netup.Outage) string {
	who := numbers(o.Replicas)
	still := o.Until.Sub(o.From).Seconds()
	switch kind {
	case netup.KillLeader:
		return fmt.Sprintf("shard %d: killed its leader, %s", o.Replicas[0].Shard, who)
	case netup.FreezeLeader:
		return fmt.Sprintf("shard %d: suspended its leader, %s, for %.1f s", o.Replicas[0].Shard, who, still)
	case netup.FreezeFollowers:
	}
	return fmt.Sprintf("shard %d: suspended %s (not leading) for %.1f s", o.Replicas[0].Shard, who, still)
}

// gapText describes the effect of an outage on commits.
func gapText(o netup.Outage, g netup.Gap) string {
	who := numbers(o.Replicas)
	took := fmt.Sprintf("%.0f ms", g.Took.Seconds()*1000)
	switch {
	case g.Idle && o.Leader:
		return fmt.Sprintf("shard %d: no commit was pending when its leader, %s, stopped", g.Shard, who)
	case g.Idle:
		return fmt.Sprintf("shard %d: no commit was pending at the suspension of %s", g.Shard, who)
	case !o.Leader:
		return fmt.Sprintf("shard %d: at most %s without a commit during the suspension of %s", g.Shard, took, who)
	case g.Next == g.Leader:
		return fmt.Sprintf("shard %d: commits resumed after %s; replica %d still leads", g.Shard, took, g.Leader)
	}
	return fmt.Sprintf("shard %d: commits resumed after %s; leader was replica %d, now replica %d", g.Shard, took, g.Leader, g.Next)
}

// numbers lists replicas of one shard by index.
func numbers(replicas []*netup.Replica) string {
	if len(replicas) == 1 {
		return fmt.Sprintf("replica %d", replicas[0].Index)
	}
	var list []string
	for _, r := range replicas {
		list = append(list, fmt.Sprint(r.Index))
	}
	return "replicas " + strings.Join(list, ", ")
}

// knownAs returns a function that updates the registry entry of a network for other commands.
func knownAs(known *registry.Known, c *netup.Cluster, dir string) func() error {
	if known == nil { // the network is not registered
		return func() error { return nil }
	}
	return func() error { return known.Update(clusterEntry(c, dir)) }
}
