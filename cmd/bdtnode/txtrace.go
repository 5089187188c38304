package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bdtnode/node/api"
)

func newTxTrace(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "trace ID",
		Short: "Show the steps of a transaction at every replica of its shards, with times",
		Long: `Shows every step of a transaction in every shard that it involves, with the height of the block and the time at
each replica: submitted, admitted, batch, certified, ordered, verdict, LD out, LD in, SIGN quorum, LD ordered, and
settled, returned or rejected.

Times are in milliseconds since the first one, each by the clock of the replica of its column. The second table has the
difference of each clock from that of the replica asked, with the largest error. A replica keeps the times of its newest
batches, blocks and LDs in memory: a step without a time has a dash, also if the replica was not there. Each column is a
statement of its replica.

The steps submitted and admitted show the first and the last time of all transactions of the batch. They are known to
the replica to which the transaction was submitted, and so is the step certified.`,
		Example: "  bdtnode tx trace b43c8ce53fe544e8da4a13e39e91c078b33315ec5b8c7c14b0230e0dd7760b6b",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, net, err := connectFor(cmd.Context(), a, args[0])
			if err != nil {
				return err
			}
			t, err := net.first().Trace(cmd.Context(), id, true)
			if err != nil {
				return err
			}
			return a.print.Data(t, func(w io.Writer) { printTrace(w, &t) })
		},
	}
}

// traceRow is one step in one shard, at all replicas of the shard.
type traceRow struct {
	shard  uint16
	step   string
	height uint64
	cells  map[uint16]string // by replica
	first  int64             // earliest time by the clock of the replica asked, 0 if there is none
}

// traceStart is the earliest time of a trace by the clock of the replica asked, in Unix microseconds; 0 if there is none.
func traceStart(t *api.Trace) (first int64) {
	for i := range t.Replicas {
		r := &t.Replicas[i]
		for _, s := range r.Steps {
			if at := s.TimeUS - r.ClockUS; s.TimeUS != 0 && (first == 0 || at < first) {
				first = at
			}
		}
	}
	return first
}

// traceRows are the steps in the order in which they happened. A step without any time comes after the step before it in
// its shard.
func traceRows(t *api.Trace) []*traceRow {
	type key struct {
		shard  uint16
		order  int
		peer   int
		number uint64
		height uint64
		step   string
	}
	start := traceStart(t)
	rows := make(map[key]*traceRow)
	var order []key
	for i := range t.Replicas {
		r := &t.Replicas[i]
		for _, s := range r.Steps {
			k := key{shard: r.Shard, order: slices.Index(api.TraceSteps, s.Step), peer: -1, number: s.Number, height: s.Height, step: traceText(&s)}
			if s.Peer != nil {
				k.peer = int(*s.Peer)
			}
			row := rows[k]
			if row == nil {
				row = &traceRow{shard: r.Shard, step: k.step, height: s.Height, cells: make(map[uint16]string)}
				rows[k] = row
				order = append(order, k)
			}
			if s.TimeUS == 0 {
				continue
			}
			row.cells[r.Replica] = spanText(s.TimeUS-start, s.UntilUS-start, s.UntilUS != 0)
			if at := s.TimeUS - r.ClockUS; row.first == 0 || at < row.first {
				row.first = at
			}
		}
	}
	slices.SortFunc(order, func(a, b key) int {
		return cmp.Or(cmp.Compare(a.shard, b.shard), cmp.Compare(a.order, b.order), cmp.Compare(a.peer, b.peer), cmp.Compare(a.number, b.number), cmp.Compare(a.height, b.height))
	})
	var out []*traceRow
	var last *traceRow
	for _, k := range order {
		row := rows[k]
		if row.first == 0 && last != nil && last.shard == row.shard {
			row.first = last.first
		}
		out, last = append(out, row), row
	}
	slices.SortStableFunc(out, func(a, b *traceRow) int { return cmp.Compare(a.first, b.first) })
	return out
}

// traceText is a step in words.
func traceText(s *api.TracedStep) string {
	ld := "LD"
	if s.Number > 0 {
		ld += " " + strconv.FormatUint(s.Number, 10)
	}
	peer := "?"
	if s.Peer != nil {
		peer = strconv.Itoa(int(*s.Peer))
	}
	switch s.Step {
	case api.StepBatch, api.StepCertified, api.StepSubmitted, api.StepAdmitted, api.StepOrdered:
		switch {
		case s.Lane == nil:
		case s.Step == api.StepBatch:
			return fmt.Sprintf("batch %d of lane %d", s.Number, *s.Lane)
		default:
			return fmt.Sprintf("batch %d of lane %d: %s", s.Number, *s.Lane, s.Step)
		}
	case api.StepVerdict:
		return "verdict " + s.Verdict
	case api.StepLDOut:
		return fmt.Sprintf("%s to shard %s: out", ld, peer)
	case api.StepLDIn:
		return fmt.Sprintf("%s of shard %s: in", ld, peer)
	case api.StepSignQuorum:
		return fmt.Sprintf("%s of shard %s: SIGN quorum", ld, peer)
	case api.StepLDOrdered:
		return fmt.Sprintf("%s of shard %s: ordered", ld, peer)
	case api.StepCancelled:
		return fmt.Sprintf("CL of shard %s: ordered", peer)
	case api.StepSettled, api.StepReturned, api.StepRejected:
	}
	return string(s.Step)
}

// spanText is a time in milliseconds, or the first and the last of several.
func spanText(us, until int64, several bool) string {
	text := fmt.Sprintf("%+.1f", float64(us)/1000)
	if several {
		text += fmt.Sprintf("..%.1f", float64(until)/1000)
	}
	return text
}

func printTrace(w io.Writer, t *api.Trace) {
	fmt.Fprintf(w, "id\t%s\nasked\treplica %d/%d\n", t.ID, t.Shard, t.Replica)
	if start := traceStart(t); start != 0 {
		fmt.Fprintf(w, "begin\t%s\n", traceTime(start))
	}
	most := uint16(0)
	for _, r := range t.Replicas {
		most = max(most, r.Replica)
	}
	for _, m := range t.Missing {
		most = max(most, m.Replica)
	}
	away := func(shard, replica uint16) bool {
		return slices.ContainsFunc(t.Missing, func(m api.Unreported) bool { return m.Shard == shard && m.Replica == replica })
	}
	head := []string{"\nSHARD", "STEP", "HEIGHT"}
	for i := range most + 1 {
		head = append(head, fmt.Sprintf("REPLICA %d", i))
	}
	fmt.Fprintln(w, strings.Join(head, "\t"))
	for _, row := range traceRows(t) {
		line := []string{strconv.Itoa(int(row.shard)), row.step, "-"}
		if row.height > 0 {
			line[2] = strconv.FormatUint(row.height, 10)
		}
		for i := range most + 1 {
			switch cell := row.cells[i]; {
			case cell != "":
				line = append(line, cell)
			case away(row.shard, i):
				line = append(line, "away")
			default:
				line = append(line, "-")
			}
		}
		fmt.Fprintln(w, strings.Join(line, "\t"))
	}
	printTraceReplicas(w, t)
}

// printTraceReplicas prints the clocks of the replicas, and the reasons of those that are missing.
func printTraceReplicas(w io.Writer, t *api.Trace) {
	start := traceStart(t)
	fmt.Fprint(w, "\nREPLICA\tCLOCK\tRUNS SINCE\n")
	for _, r := range t.Replicas {
		clock := fmt.Sprintf("%+.1f ms ± %.1f", float64(r.ClockUS)/1000, float64(r.ClockErrorUS)/1000)
		if r.Shard == t.Shard && r.Replica == t.Replica {
			clock = "reference"
		}
		since := traceTime(r.SinceUS)
		if start != 0 && r.SinceUS-r.ClockUS > start {
			since += ", after the first step"
		}
		if r.Incomplete {
			since += "; batches or LDs were not found"
		}
		fmt.Fprintf(w, "%d/%d\t%s\t%s\n", r.Shard, r.Replica, clock, since)
	}
	for _, m := range t.Missing {
		fmt.Fprintf(w, "%d/%d\taway\t%s\n", m.Shard, m.Replica, m.Reason)
	}
}

func traceTime(us int64) string { return time.UnixMicro(us).UTC().Format("2006-01-02T15:04:05.000Z") }
