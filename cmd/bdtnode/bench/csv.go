package bench

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
)

// WriteCSV writes a table with a line for each run of the results, after a line with the names of the columns.
func WriteCSV(to io.Writer, results []Result) error {
	w := csv.NewWriter(to)
	head := []string{
		"time", "revision", "machine", "ledger", "consensus", "signatures", "gap_ms", "wan", "shards", "nodes", "rate", "closed", "size", "inputs", "outputs", "cross", "invalid_share", "seed",
		"partial", "seconds", "offered", "sent", "submitted", "accepted", "settled", "rejected", "pending", "unsent", "tps",
		"p50_ms", "p95_ms", "p99_ms", "cross_p50_ms", "cross_p95_ms", "cross_p99_ms",
		"replicas_cpu_per_1000", "load_cpu_per_1000", "other_cpu_share", "syncs_per_tx", "wire_per_payload_byte",
	}
	if err := w.Write(head); err != nil {
		return fmt.Errorf("write a table: %w", err)
	}
	for i := range results {
		for k := range results[i].Runs {
			if err := w.Write(row(&results[i], &results[i].Runs[k])); err != nil {
				return fmt.Errorf("write a table: %w", err)
			}
		}
	}
	w.Flush()
	return w.Error()
}

func row(r *Result, run *Run) []string {
	spec := ""
	if r.WAN != nil {
		spec = r.WAN.Spec
	}
	f := func(x float64) string { return strconv.FormatFloat(x, 'g', 8, 64) }
	n := func(x uint64) string { return strconv.FormatUint(x, 10) }
	p := &r.Parameters
	return []string{
		r.Time, r.Version.Revision, r.Machine.CPU, p.Ledger, p.Consensus, p.Signatures, n(p.GapMS), spec, strconv.Itoa(r.Shards), strconv.Itoa(r.Nodes),
		f(p.Rate), strconv.Itoa(p.Closed), strconv.Itoa(p.Size), strconv.Itoa(p.Inputs), strconv.Itoa(p.Outputs), f(p.Cross), f(p.Invalid), n(run.Seed),
		strconv.FormatBool(run.Partial), f(run.Seconds), f(run.Offered), f(run.Sent), n(run.Submitted), n(run.Accepted), n(run.Settled), n(run.Rejected),
		n(run.Pending), n(run.Unsent), f(run.TPS),
		f(run.Latency.P50), f(run.Latency.P95), f(run.Latency.P99), f(run.CrossLatency.P50), f(run.CrossLatency.P95), f(run.CrossLatency.P99),
		f(run.CPU.Replicas), f(run.CPU.Load), f(run.CPU.Other), f(run.SyncsPerTx), f(run.Wire.PerByte),
	}
}
