package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"bdtnode/cmd/bdtnode/bench"
	"bdtnode/cmd/bdtnode/load"
	"bdtnode/cmd/bdtnode/netup"
	"bdtnode/ledger"
	"bdtnode/node/api"
	"bdtnode/node/client"
)

// reports reports whether net up ends by itself and prints a report of the run.
func (f *netFlags) reports() bool { return f.duration > 0 || f.load > 0 }

// report is the result of a net up with --for or --load. docs/operations.md describes the keys.
type report struct {
	Shards  int     `json:"shards"`
	Nodes   int     `json:"nodes"`   // in each shard
	Partial bool    `json:"partial"` // the run was interrupted
	Seconds float64 `json:"seconds"` // duration of the run, from the moment when all replicas were ready
	Rate    float64 `json:"rate"`    // requested transfers a second
	bench.Outcome
	HeadersAgree   bool          `json:"headers_agree"`
	ValueConserved bool          `json:"value_conserved"`
	NodeCPUSeconds float64       `json:"node_cpu_seconds"`
	SyncsPerTx     float64       `json:"syncs_per_tx"`
	Gaps           gapSummary    `json:"gaps"`
	ReplicasLost   int           `json:"replicas_lost"` // replicas that ended and were not started again
	WAN            *bench.WAN    `json:"wan,omitempty"` // delays between replicas; missing without --wan
	Seed           uint64        `json:"seed"`
	Parameters     parameters    `json:"parameters"`
	Version        bench.Version `json:"version"`
	Machine        bench.Machine `json:"machine"`
}

// keepUp runs a network with its load and its faults until --for is over, the context ends or a shard loses its quorum.
// Then it stops the replicas and prints the report. known updates the addresses that other commands find.
func (a *app) keepUp(ctx context.Context, c *netup.Cluster, dir string, f *netFlags, known func() error) error {
	running := context.WithoutCancel(ctx)
	started := time.Now()
	// Ctrl-C and a shard without a quorum end the load, and the report covers the transfers until then. A failure ends all.
	ending, end := context.WithCancelCause(ctx)
	defer end(nil)
	ctx, stop := context.WithCancelCause(ending)
	line := a.newLiveLine(c)
	w := &netWatch{cluster: c, line: line, known: known}
	var aside, faults sync.WaitGroup
	aside.Go(func() { w.watchEnds(ctx, end) })
	defer aside.Wait()
	defer stop(nil)
	before := c.Measure(ctx, nil)
	if f.fault != "" {
		faults.Go(func() {
			if err := w.inject(ctx, f); err != nil {
				stop(err)
			}
		})
	}
	var result load.Result
	var err error
	if f.load > 0 {
		result, err = a.runLoad(until(running, ctx), ending.Done(), c, dir, f, line)
	} else {
		watched, cancel := ctx, context.CancelFunc(func() {})
		if f.duration > 0 {
			watched, cancel = context.WithTimeout(ctx, f.duration)
		}
		line.keep(watched)
		cancel()
		result.Partial = ctx.Err() != nil
	}
	seconds := time.Since(started).Seconds()
	if err != nil {
		stop(err)
	}
	faults.Wait()
	line.end()
	cause := failure(ctx)
	if cause != nil && !(lostQuorum(cause) && f.reports()) {
		return cause
	}
	if !f.reports() {
		a.print.Note("Stopping %d replicas", len(c.Alive()))
		return nil
	}
	r := newReport(c, f, result, w.summary())
	r.Seconds, r.WAN = seconds, f.wan.report(running, c, &result)
	err = a.report(c, r, result, before)
	if cause != nil {
		return cause
	}
	return err
}

// failure is the reason for which a context ended, nil if it goes on or Ctrl-C ended it.
func failure(ctx context.Context) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// until returns a context that is cancelled when other fails. Ctrl-C and a shard without a quorum do not cancel it.
func until(ctx, other context.Context) context.Context {
	ctx, cancel := context.WithCancelCause(ctx)
	context.AfterFunc(other, func() {
		if cause := failure(other); cause != nil && !lostQuorum(cause) {
			cancel(cause)
		}
	})
	return ctx
}

// newReport fills in the part of a report that needs no comparison of replicas.
func newReport(c *netup.Cluster, f *netFlags, result load.Result, gaps gapSummary) report {
	r := report{
		Shards: len(c.Genesis.Shards), Nodes: len(c.Genesis.Shards[0].Members), Partial: result.Partial, Rate: f.load,
		Outcome: bench.OutcomeOf(&result),
		Gaps:    gaps, Seed: f.seed, Parameters: f.parameters(c), Version: readVersion(), Machine: bench.ThisMachine(),
	}
	for _, replica := range c.Replicas {
		if replica.Lost() {
			r.ReplicasLost++
		}
	}
	return r
}

// verifyTimeout bounds the comparison of the replicas' ledgers. Ctrl-C does not end the comparison, since it only ends
// the load.
const verifyTimeout = 2 * time.Minute

// report compares the replicas, completes the report and prints it. The error is the first problem of the run.
func (a *app) report(c *netup.Cluster, r report, result load.Result, before map[*netup.Replica]netup.Usage) error {
	ctx, cancel := context.WithTimeout(context.Background(), verifyTimeout)
	defer cancel()
	used := netup.Difference(before, c.Measure(ctx, before))
	verdict, err := c.Verify(ctx)
	if err != nil {
		return err
	}
	r.HeadersAgree, r.ValueConserved, r.NodeCPUSeconds = verdict.HeadersAgree, verdict.ValueConserved, used.CPUSeconds
	if r.Settled > 0 {
		r.SyncsPerTx = float64(used.Syncs) / float64(r.Settled)
	}
	if err := a.print.Data(r, func(w io.Writer) { printReport(w, r) }); err != nil {
		return err
	}
	a.printRejections(result)
	for _, p := range verdict.Problems {
		a.print.Note("%s", p)
	}
	for _, lost := range c.Replicas {
		switch {
		case !lost.Lost():
		case lost.Killed():
			a.print.Note("%s was killed and not started again", lost.Name())
		default:
			a.print.Note("%s failed: %s", lost.Name(), lost.Ended())
		}
	}
	return r.problem(result.WronglySettled)
}

// problem returns the first reason for which a run ends with exit code 1, nil if there is none. wronglySettled counts
// settled invalid transfers.
func (r *report) problem(wronglySettled uint64) error {
	switch {
	case !r.HeadersAgree:
		return errors.New("the replicas have different ledgers, or did not reach the same height")
	case !r.ValueConserved:
		return errors.New("value was not conserved")
	case wronglySettled > 0:
		return fmt.Errorf("%d transfers settled although they were invalid", wronglySettled)
	case r.ReplicasLost > 0:
		return fmt.Errorf("%d of %d replicas were lost", r.ReplicasLost, r.Shards*r.Nodes)
	case r.Pending > 0:
		return fmt.Errorf("%d of %d transfers have no answer", r.Pending, r.Submitted)
	case r.Unsent > 0:
		return fmt.Errorf("%d of %d transfers were due and not sent: too many were without an answer, or no unspent output was left", r.Unsent, r.Submitted+r.Unsent)
	}
	return nil
}

func printReport(w io.Writer, r report) {
	fmt.Fprintf(w, "replicas\t%d in each of %d shards\n", r.Nodes, r.Shards)
	if r.Partial {
		fmt.Fprintf(w, "partial\tinterrupted after %.1f s\n", r.Seconds)
	}
	fmt.Fprintf(w, "submitted\t%d\nsettled\t%d\nrejected\t%d\npending\t%d\n", r.Submitted, r.Settled, r.Rejected, r.Pending)
	if r.Unsent > 0 {
		fmt.Fprintf(w, "unsent\t%d\n", r.Unsent)
	}
	if r.Submitted > 0 {
		fmt.Fprintf(w, "throughput\t%.1f tx/s\n", r.TPS)
		fmt.Fprintf(w, "latency\tp50 %.1f ms, p95 %.1f ms, p99 %.1f ms\n", r.Latency.P50, r.Latency.P95, r.Latency.P99)
		if r.CrossLatency.P50 > 0 {
			fmt.Fprintf(w, "across shards\t%d settled, p50 %.1f ms, p95 %.1f ms, p99 %.1f ms\n",
				r.CrossSettled, r.CrossLatency.P50, r.CrossLatency.P95, r.CrossLatency.P99)
		}
		fmt.Fprintf(w, "disk syncs\t%.3f per settled transaction\n", r.SyncsPerTx)
	}
	if r.Gaps.Count > 0 {
		fmt.Fprintf(w, "commit gaps\t%d, p50 %.0f ms, p95 %.0f ms, longest %.0f ms\n", r.Gaps.Count, r.Gaps.P50, r.Gaps.P95, r.Gaps.Max)
	}
	fmt.Fprintf(w, "headers agree\t%t\nvalue conserved\t%t\n", r.HeadersAgree, r.ValueConserved)
	fmt.Fprintf(w, "replicas' CPU\t%.2f s\n", r.NodeCPUSeconds)
	if r.ReplicasLost > 0 {
		fmt.Fprintf(w, "replicas lost\t%d\n", r.ReplicasLost)
	}
	printEndings(w, &r.Outcome)
	printInvalid(w, r.Invalid)
	printWAN(w, r.WAN)
}

// printEndings prints how rejected transfers across shards ended.
func printEndings(w io.Writer, o *bench.Outcome) {
	if o.Cancelled+o.ReturnedByCL+o.ReturnedByVerdict > 0 {
		fmt.Fprintf(w, "rejected across\t%d cancelled, %d returned by a CL, %d returned by a verdict\n", o.Cancelled, o.ReturnedByCL, o.ReturnedByVerdict)
	}
}

// printInvalid prints the outcomes of invalid transfers, by kind.
func printInvalid(w io.Writer, kinds []load.KindResult) {
	if len(kinds) == 0 {
		return
	}
	fmt.Fprint(w, "\nINVALID\tSUBMITTED\tREJECTED\tSETTLED\tPENDING\tREASONS\n")
	for _, k := range kinds {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%s\n", k.Kind, k.Submitted, k.Rejected, k.Settled, k.Pending, reasonCounts(k.Reasons))
	}
}

// balanceOf asks the replicas in turn for the balance of an address, and returns the first answer.
func balanceOf(ctx context.Context, c *netup.Cluster, addr ledger.Address) (uint64, error) {
	var acc api.Account
	err := errors.New("no replica is running")
	for _, r := range c.Alive() {
		if acc, err = r.Client.Account(ctx, addr, client.AccountQuery{}); err == nil {
			return acc.Balance, nil
		}
	}
	return 0, err
}
