package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"bdtnode/cmd/bdtnode/bench"
	"bdtnode/cmd/bdtnode/load"
	"bdtnode/cmd/bdtnode/netup"
	"bdtnode/cmd/bdtnode/output"
	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/node/client"
)

func newBenchRun(a *app) *cobra.Command {
	var f benchFlags
	c := &cobra.Command{
		Use:   "run",
		Short: "Measure one load on a network",
		Long: `Starts a network on this machine as net up does, or uses a running one with --node, and submits signed transfers: at a
fixed rate, or so that a fixed number has no answer (--closed). The transfers are signed before the load, up to 400,000,
unless some are to be invalid. With --ledger log it appends opaque payloads of --size bytes in place of transfers, and
"settled" means ordered. After the warm-up, the transfers that are due in the measured time count. The result has
the names of net up's report, and more:

  tps              answers "settled" in the measured time, a second
  offered, sent    arrivals and submissions a second; accepted counts the transfers that a replica accepted
  latency_ms       from the moment when a transfer is due to its answer; one without an answer counts with its waiting time
  kinds            latencies inside a shard, across shards and of rejections, each with its HDR histogram
  cpu, replicas    processor time for 1,000 settled transfers; memory, disk, syncs and traffic of each replica
  cpu.other_share  share of the machine that other programs used meanwhile
  wire             bytes between replicas for each byte of settled transfers

With --observed 100, a further process follows the events with 100 streams, scrapes the metrics of each replica every
second, and checks that no event is missing. Its processor time is counted apart (cpu.readers_per_1000, observed).

With --repeat, the fields are those of the run with the median rate, and runs has all. Exit code 1: a transfer has no
answer or was not sent, nothing settled, a replica was lost, or the replicas disagree. Ctrl-C ends the load, and the
result is marked partial.

` + wanHelp,
		Example: `  bdtnode bench run --rate 2000 -o json
  bdtnode bench run --closed 2000 --for 20s --repeat 3 -o json
  bdtnode bench run --shards 2 --cross 0.5 --rate 500
  bdtnode bench run --ledger log --size 250 --closed 20000
  bdtnode bench run --rate 1000 --observed 100 -o json
  bdtnode bench run --nodes 8 --wan aws8 --rate 200
  bdtnode bench run --node http://10.0.0.1:26700,http://10.0.0.2:26700 --accounts net/accounts --rate 100`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(cmd); err != nil {
				return err
			}
			r, err := measure(cmd.Context(), a, &f)
			if err != nil {
				return err
			}
			if err := a.print.Data(r, func(w io.Writer) { printBench(w, r) }); err != nil {
				return err
			}
			return r.Problem()
		},
	}
	f.register(c)
	return c
}

// measure makes all runs of a measurement. Ctrl-C ends it, and the result has the runs until then.
func measure(ctx context.Context, a *app, f *benchFlags) (*bench.Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go stopWithGoRun(ctx, cancel)
	r := f.newResult()
	for i := range f.repeat {
		if ctx.Err() != nil {
			break
		}
		if f.repeat > 1 {
			a.print.Note("Run %d of %d", i+1, f.repeat)
		}
		run, err := measureOnce(ctx, a, f, r, f.seed+uint64(i))
		if err != nil && ctx.Err() == nil {
			return nil, err
		}
		if run != nil {
			r.Runs = append(r.Runs, *run)
		}
	}
	partial := len(r.Runs) < f.repeat
	r.Finish()
	r.Partial = r.Partial || partial
	return r, nil
}

// measureOnce makes one run. It returns nil without an error if Ctrl-C came before the load.
func measureOnce(ctx context.Context, a *app, f *benchFlags, r *bench.Result, seed uint64) (*bench.Run, error) {
	if len(f.nodes) > 0 {
		return measureRunning(ctx, a, f, r, seed)
	}
	return measureOwn(ctx, a, f, r, seed)
}

// subject is a network that is measured.
type subject struct {
	network digest.Digest
	horizon time.Duration
	funds   []sig.Signer
	shards  [][]*client.Client
	targets []bench.Target
}

func (s *subject) close() {
	for _, clients := range s.shards {
		for _, cl := range clients {
			cl.Close()
		}
	}
}

// measureOwn starts a network on this machine, and measures it.
func measureOwn(ctx context.Context, a *app, f *benchFlags, r *bench.Result, seed uint64) (*bench.Run, error) {
	if err := refuseReplicaSettings(); err != nil {
		return nil, err
	}
	dir, remove, err := a.temporaryHome()
	if err != nil {
		return nil, err
	}
	defer remove()
	if err := createNet(dir, f.netFlags()); err != nil {
		return nil, err
	}
	release, err := a.lockNet(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer release()
	cluster, err := netup.Start(ctx, netup.Options{Dir: dir, Args: f.wan.args()})
	if err != nil {
		return nil, err
	}
	defer cluster.Stop()
	if err := f.wan.measure(ctx, a.print, cluster); err != nil {
		return nil, err
	}
	s, err := subjectOf(cluster, dir)
	if err != nil {
		return nil, err
	}
	defer s.close()
	r.Shards, r.Nodes = len(cluster.Genesis.Shards), len(cluster.Genesis.Shards[0].Members)
	r.Parameters.Signatures, r.Parameters.GapMS = cluster.Genesis.Parameters.Signatures, cluster.Genesis.Parameters.GapMS
	r.Parameters.Consensus, r.Parameters.LeastFee, r.Parameters.HorizonMS = cluster.Genesis.Consensus, cluster.Genesis.Parameters.LeastFee, cluster.Genesis.HorizonMS
	run, result, err := runBench(ctx, a, f, s, seed)
	if err != nil {
		return nil, err
	}
	r.WAN = f.wan.report(context.WithoutCancel(ctx), cluster, result)
	return run, verifyRun(a, cluster, run)
}

// subjectOf connects to a network that runs on this machine.
func subjectOf(c *netup.Cluster, dir string) (*subject, error) {
	s := &subject{
		network: c.Genesis.ID(), horizon: time.Duration(c.Genesis.HorizonMS) * time.Millisecond,
		shards: make([][]*client.Client, len(c.Genesis.Shards)),
	}
	if c.Genesis.Parameters.Ledger == paymentsLedger {
		var err error
		if s.funds, err = loadSigners(filepath.Join(dir, netup.LoadDir)); err != nil {
			return nil, err
		}
	}
	for _, r := range c.Replicas {
		cl, err := r.Connect(client.Options{})
		if err != nil {
			s.close()
			return nil, err
		}
		s.shards[r.Shard] = append(s.shards[r.Shard], cl)
		s.targets = append(s.targets, bench.Target{Shard: r.Shard, Replica: uint16(r.Index), URL: cl.URL, PID: r.PID()})
	}
	return s, nil
}

// verifyRun compares the replicas of a network on this machine after a run.
func verifyRun(a *app, c *netup.Cluster, run *bench.Run) error {
	ctx, cancel := context.WithTimeout(context.Background(), verifyTimeout)
	defer cancel()
	for _, r := range c.Replicas {
		if r.Lost() {
			run.ReplicasLost++
			a.print.Note("%s failed: %s", r.Name(), r.Ended())
		}
	}
	verdict, err := c.Verify(ctx)
	if err != nil {
		return err
	}
	run.HeadersAgree = &verdict.HeadersAgree
	if c.Genesis.Parameters.Ledger == paymentsLedger {
		run.ValueConserved = &verdict.ValueConserved
	}
	for _, p := range verdict.Problems {
		a.print.Note("%s", p)
	}
	return nil
}

// measureRunning measures a network that was running before.
func measureRunning(ctx context.Context, a *app, f *benchFlags, r *bench.Result, seed uint64) (*bench.Run, error) {
	s := &subject{}
	defer s.close()
	accounts := f.accounts
	for _, url := range f.nodes {
		cl, err := client.New(url, client.Options{})
		if err != nil {
			return nil, output.Usage("--node: %v", err)
		}
		st, err := cl.Status(ctx)
		if err != nil {
			cl.Close()
			return nil, err
		}
		network, err := digest.Parse(st.Network)
		switch {
		case err != nil:
			err = fmt.Errorf("%s: %w", url, err)
		case len(s.shards) > 0 && network != s.network:
			err = output.Usage("--node: %s belongs to network %s, and %s to %s", url, network, f.nodes[0], s.network)
		case st.Ledger != f.ledger:
			err = output.Usage("--node: the network has the ledger %s, use --ledger %s", st.Ledger, st.Ledger)
		case st.LeastFee > 0:
			err = output.Usage("--node: the network asks for fees, and the load pays none")
		}
		if err != nil {
			cl.Close()
			return nil, err
		}
		if len(s.shards) == 0 {
			s.network, s.horizon, s.shards = network, time.Duration(st.HorizonMS)*time.Millisecond, make([][]*client.Client, st.Shards)
			r.Shards, r.Nodes = st.Shards, st.Replicas
			r.Parameters.Consensus, r.Parameters.LeastFee, r.Parameters.HorizonMS = st.Consensus, st.LeastFee, st.HorizonMS
			if accounts == "" {
				accounts = loadAccountsOf(st.Network)
			}
		}
		s.shards[st.Shard] = append(s.shards[st.Shard], cl)
		s.targets = append(s.targets, bench.Target{Shard: st.Shard, Replica: st.Replica, URL: cl.URL})
	}
	if accounts == "" && f.ledger == paymentsLedger {
		return nil, output.Usage("--accounts DIR is missing: no network of net up on this machine has these replicas")
	}
	for i, clients := range s.shards {
		if len(clients) == 0 {
			return nil, output.Usage("--node: the URL of a replica of shard %d is missing", i)
		}
	}
	if f.ledger == paymentsLedger {
		var err error
		if s.funds, err = loadSigners(accounts); err != nil {
			return nil, err
		}
	}
	run, _, err := runBench(ctx, a, f, s, seed)
	return run, err
}

// loadAccountsOf is the directory of the accounts of loads of a net up on this machine, empty if there is none.
func loadAccountsOf(network string) string {
	accounts := accountsOf(network)
	if accounts == "" {
		return ""
	}
	return filepath.Join(filepath.Dir(accounts), netup.LoadDir)
}

// runBench runs the load on a network, and measures it.
func runBench(ctx context.Context, a *app, f *benchFlags, s *subject, seed uint64) (*bench.Run, *load.Result, error) {
	meter := bench.NewMeter(s.targets)
	var beside *readers
	if f.observed > 0 {
		var err error
		if beside, err = startReaders(s.targets, f.observed); err != nil {
			return nil, nil, err
		}
		meter.Readers = beside.cmd.Process.Pid
	}
	line := newProgress(a, f)
	result, err := load.Run(context.WithoutCancel(ctx), load.Config{
		Network: s.network, Horizon: s.horizon, Funds: s.funds, Shards: s.shards,
		Rate: f.rate, Closed: f.closed, Warmup: f.warmup, For: f.duration, Cross: f.cross, Invalid: f.invalid, Payload: f.size, Inputs: f.inputs, Outputs: f.outputs,
		Seed: seed, Presign: true, Stop: ctx.Done(), Each: line.sample, Signing: line.signing, Window: meter.Mark,
	})
	line.end()
	var observed *bench.Observed
	if beside != nil {
		var failure error
		observed, failure = beside.stop()
		err = errors.Join(err, failure)
	}
	if err != nil {
		return nil, nil, err
	}
	run := meter.RunOf(&result, seed)
	run.Observed = observed
	if result.WronglySettled > 0 {
		return nil, nil, fmt.Errorf("%d transfers settled although they were invalid", result.WronglySettled)
	}
	return &run, &result, nil
}

// progress shows the state of a measurement on standard error: in place on a terminal, else a line in ten seconds.
type progress struct {
	app   *app
	total time.Duration
	begun bool // a sample was shown
	drawn int
}

func newProgress(a *app, f *benchFlags) *progress {
	return &progress{app: a, total: f.warmup + f.duration}
}

func (p *progress) signing(signed, of int) {
	p.show(fmt.Sprintf("signing: %d of %d transfers", signed, of), false)
}

func (p *progress) sample(s load.Sample) {
	text := fmt.Sprintf("%.0f of %.0f s, %.0f tx/s, latency %s%s", s.Elapsed.Seconds(), p.total.Seconds(), s.Rate, latencyText(s.P50, s.CrossP50), countsText(s))
	first := !p.begun
	p.begun = true
	p.show(text, first || int(s.Elapsed.Round(time.Second)/time.Second)%int(plainEvery/time.Second) == 0)
}

// show draws a text on a terminal; elsewhere it prints it if it is due.
func (p *progress) show(text string, due bool) {
	if !p.app.print.Live() {
		if due {
			p.app.print.Note("%s", text)
		}
		return
	}
	width := p.app.print.Width()
	text = fit(text, width)
	fmt.Fprint(p.app.print.Err, erase(p.drawn, width)+text)
	p.drawn = len([]rune(text))
}

func (p *progress) end() {
	if p.drawn > 0 {
		fmt.Fprintln(p.app.print.Err)
	}
}

func printBench(w io.Writer, r *bench.Result) {
	if len(r.Runs) == 0 {
		fmt.Fprintln(w, "no run was measured")
		return
	}
	fmt.Fprintf(w, "replicas\t%d in each of %d shards\n", r.Nodes, r.Shards)
	if r.Partial {
		fmt.Fprintf(w, "partial\tinterrupted\n")
	}
	if len(r.Runs) > 1 {
		fmt.Fprintf(w, "runs\t%d, settled a second:", len(r.Runs))
		for i := range r.Runs {
			fmt.Fprintf(w, " %.0f", r.Runs[i].TPS)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "measured\t%.1f s after a warm-up of %.1f s\n", r.Seconds, r.Parameters.WarmupSeconds)
	fmt.Fprintf(w, "offered\t%.1f tx/s\nsent\t%.1f tx/s\n", r.Offered, r.Sent)
	fmt.Fprintf(w, "submitted\t%d\naccepted\t%d\nsettled\t%d\nrejected\t%d\npending\t%d\nunsent\t%d\n", r.Submitted, r.Accepted, r.Settled, r.Rejected, r.Pending, r.Unsent)
	fmt.Fprintf(w, "throughput\t%.1f tx/s\n", r.TPS)
	for _, d := range r.Kinds {
		if d.Count > 0 {
			fmt.Fprintf(w, "latency %s\tp50 %.1f ms, p95 %.1f ms, p99 %.1f ms, p99.9 %.1f ms, longest %.1f ms\n", d.Kind, d.P50, d.P95, d.P99, d.P999, d.Max)
		}
	}
	fmt.Fprintf(w, "processor\t%.3f s for 1,000 transfers in all replicas, %.3f s in this program\n", r.CPU.Replicas, r.CPU.Load)
	if r.CPU.Why == "" {
		fmt.Fprintf(w, "other programs\t%.1f %% of the machine\n", 100*r.CPU.Other)
	} else {
		fmt.Fprintf(w, "other programs\tunknown: %s\n", r.CPU.Why)
	}
	fmt.Fprintf(w, "disk syncs\t%.3f per settled transfer\n", r.SyncsPerTx)
	fmt.Fprintf(w, "wire\t%.2f bytes for each byte of settled transfers\n", r.Wire.PerByte)
	if r.Observed != nil {
		printObserved(w, r.Observed)
	}
	printBenchReplicas(w, r)
	printEndings(w, &r.Outcome)
	printInvalid(w, r.Invalid)
	printWAN(w, r.WAN)
}

func printBenchReplicas(w io.Writer, r *bench.Result) {
	fmt.Fprint(w, "\nREPLICA\tCPU FOR 1,000\tMEMORY\tHEAP\tDISK GROWTH\tSYNCS\tSENT\n")
	for _, x := range r.Replicas {
		if x.Missing != "" {
			fmt.Fprintf(w, "%d/%d\t%s\n", x.Shard, x.Replica, x.Missing)
			continue
		}
		fmt.Fprintf(w, "%d/%d\t%.3f s\t%s\t%s\t%s\t%d\t%s\n", x.Shard, x.Replica, x.CPUPer1000, sizeText(int(x.ResidentBytes)), sizeText(int(x.HeapBytes)),
			sizeText(int(x.DiskBytes)), x.Syncs, sizeText(int(x.SentBytes)))
	}
}
