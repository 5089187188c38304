package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"bdtnode/cmd/bdtnode/bench"
	"bdtnode/cmd/bdtnode/load"
	"bdtnode/cmd/bdtnode/netup"
	"bdtnode/cmd/bdtnode/output"
	"bdtnode/internal/wan"
	"bdtnode/node/api"
)

const wanHelp = `--wan delays the messages between replicas, as if these were far from each other: uniform:RTT for one round trip
between all, aws8 for eight regions of AWS, or a file with a matrix. Replica i of each shard is in region i modulo the
number of regions. Each replica delays the bytes that arrive from the others, in its own connections; delays overlap, and
a bandwidth is a part of the file only. The round trips are measured before the load, and a difference of more than a
tenth ends the command. The report shows the p50 of each replica, for transfers submitted to it, beside the least time
that the matrix permits.`

// wanFlag is the flag --wan.
type wanFlag struct {
	spec   string
	matrix *wan.Matrix // nil: no delays
	links  []netup.Link
}

func (f *wanFlag) register(c *cobra.Command) {
	c.Flags().StringVar(&f.spec, "wan", "", "delays between replicas: uniform:RTT, aws8 or a file (default: none)")
	paths(c.Flags(), "wan")
}

// read reads the delays.
func (f *wanFlag) read() (err error) {
	if f.matrix, err = wan.Parse(f.spec); err != nil {
		return output.Usage("--wan: %v", err)
	}
	if wan.IsFile(f.spec) {
		if f.spec, err = filepath.Abs(f.spec); err != nil {
			return fmt.Errorf("--wan: %w", err)
		}
	}
	return nil
}

// args are the arguments with which a replica delays messages, nil for those of a replica without delays.
func (f *wanFlag) args() func(home string) []string {
	if f.matrix == nil {
		return nil
	}
	return func(home string) []string {
		return append(netup.StartArgs(home), "--wan", f.spec)
	}
}

// measure measures the links. It fails if one differs too much from the matrix.
func (f *wanFlag) measure(ctx context.Context, p output.Printer, c *netup.Cluster) (err error) {
	if f.matrix == nil {
		return nil
	}
	if f.links, err = c.Links(ctx, f.matrix); err != nil {
		return err
	}
	p.Note("Measured %d links between replicas: round trips differ by at most %.1f %% from %s", len(f.links), 100*f.worst(), f.spec)
	return nil
}

// worst is the largest share by which a link differs from the matrix.
func (f *wanFlag) worst() float64 {
	most := 0.0
	for i := range f.links {
		most = max(most, f.links[i].Off())
	}
	return most
}

// report compares the latencies of a load at each replica with the least ones. It is nil without delays.
func (f *wanFlag) report(ctx context.Context, c *netup.Cluster, result *load.Result) *bench.WAN {
	if f.matrix == nil {
		return nil
	}
	r := &bench.WAN{Spec: f.spec, Matrix: *f.matrix, OffBy: f.worst(), Replicas: []bench.WANReplica{}}
	leaders := leadersOf(ctx, c)
	for _, replica := range c.Replicas {
		leader, known := leaders[replica.Shard]
		x := bench.WANReplica{Shard: replica.Shard, Replica: replica.Index, Region: f.matrix.Region(replica.Index), Leads: known && leader == replica.Index}
		if known {
			least := wan.Least(f.matrix.Delays(len(c.Genesis.Shards[replica.Shard].Members)), leader, replica.Index)
			x.LeastMS = least.Seconds() * 1000
		}
		if s := int(replica.Shard); s < len(result.Replicas) {
			x.P50MS = result.Replicas[s][replica.Index].P50
		}
		r.Replicas = append(r.Replicas, x)
	}
	return r
}

// leadersOf are the leaders of the shards, as the replica in the newest epoch knows them. A shard without an answer is left out.
func leadersOf(ctx context.Context, c *netup.Cluster) map[uint16]int {
	newest := make(map[uint16]api.Status)
	for _, r := range c.Alive() {
		if st, err := r.Client.Status(ctx); err == nil && (newest[r.Shard].Network == "" || st.Epoch > newest[r.Shard].Epoch) {
			newest[r.Shard] = st
		}
	}
	out := make(map[uint16]int)
	for s, st := range newest {
		out[s] = int(st.Leader)
	}
	return out
}

func printWAN(w io.Writer, r *bench.WAN) {
	if r == nil {
		return
	}
	fmt.Fprintf(w, "\nREPLICA\tREGION\tLEADS\tLEAST\tP50\tRATIO\n")
	for _, x := range r.Replicas {
		ratio := "-"
		if x.LeastMS > 0 && x.P50MS > 0 {
			ratio = fmt.Sprintf("%.2f", x.P50MS/x.LeastMS)
		}
		fmt.Fprintf(w, "%d/%d\t%s\t%s\t%.1f ms\t%.1f ms\t%s\n", x.Shard, x.Replica, x.Region, yes(x.Leads), x.LeastMS, x.P50MS, ratio)
	}
}
