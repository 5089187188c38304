package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/internal/digest"
	"bdtnode/ledger"
	"bdtnode/node/api"
)

// tracedPayment is the trace of a payment from shard 0 to 1. Replica 3 of shard 0 is away, and the clock of replica 1 of
// shard 1 is 5 ms ahead. Times are in microseconds from start.
func tracedPayment(start int64) api.Trace {
	id := func(v uint16) *uint16 { return &v }
	at := func(us int64) int64 { return start + us }
	t := api.Trace{
		ID: ledger.TxID(digest.Of("a transaction")), Shards: []uint16{0, 1},
		Missing: []api.Unreported{{Shard: 0, Replica: 3, Reason: "no connection"}},
	}
	lane := func(name api.TraceStep, us, until int64, height uint64) api.TracedStep {
		s := api.TracedStep{Step: name, Height: height, Lane: id(0), Number: 17}
		if us != 0 {
			s.TimeUS = at(us)
		}
		if until != 0 {
			s.UntilUS = at(until)
		}
		return s
	}
	for i := range uint16(3) {
		r := api.ReplicaTrace{Shard: 0, Replica: i, SinceUS: at(-60e6)}
		if i == 0 {
			r.Steps = append(r.Steps, lane(api.StepSubmitted, 1, 1200, 0), lane(api.StepAdmitted, 300, 1300, 0), lane(api.StepBatch, 1400, 0, 0), lane(api.StepCertified, 3000, 0, 0))
		} else {
			r.Steps = append(r.Steps, lane(api.StepBatch, 1900, 0, 0))
			r.ClockUS, r.ClockErrorUS = 100, 200
		}
		r.Steps = append(r.Steps, lane(api.StepOrdered, 5000, 0, 12),
			api.TracedStep{Step: api.StepVerdict, TimeUS: at(5600), Height: 12, Verdict: "spent"},
			api.TracedStep{Step: api.StepLDOut, TimeUS: at(7000), Height: 12, Peer: id(1), Number: 5},
			api.TracedStep{Step: api.StepSettled, TimeUS: at(5600), Height: 12})
		t.Replicas = append(t.Replicas, r)
	}
	for i := range uint16(4) {
		r := api.ReplicaTrace{Shard: 1, Replica: i, SinceUS: at(-60e6), ClockErrorUS: 300}
		if i == 1 {
			r.ClockUS = 5000
		}
		if i == 3 { // it started later
			r.SinceUS = at(60e6)
		}
		for k, name := range []api.TraceStep{api.StepLDIn, api.StepSignQuorum, api.StepLDOrdered, api.StepSettled} {
			s := api.TracedStep{Step: name, TimeUS: at(8000+int64(k)*1000) + r.ClockUS, Peer: id(0), Number: 5}
			if k >= 2 {
				s.Height = 9
			}
			if name == api.StepSettled {
				s.Peer, s.Number = nil, 0
			}
			if i == 3 {
				s.TimeUS = 0
			}
			r.Steps = append(r.Steps, s)
		}
		t.Replicas = append(t.Replicas, r)
	}
	return t
}

func TestTrace(t *testing.T) {
	n := newNetwork(t)
	want := tracedPayment(1_795_829_483_332_000)
	n.traces = map[ledger.TxID]api.Trace{want.ID: want}
	var got api.Trace
	r := bdtnode(t, "tx", "trace", want.ID.String(), "--node", n.url, "-o", "json")
	r.json(t, &got)
	if r.code != 0 || !reflect.DeepEqual(got, want) {
		t.Errorf("exit %d\n%+v\nwant\n%+v", r.code, got, want)
	}
	r = bdtnode(t, "tx", "trace", strings.Repeat("0", 64), "--node", n.url, "-o", "json")
	if code, _, _ := r.failure(t); r.code != output.ExitNotFound || code != "not_found" {
		t.Errorf("an unknown transaction: exit %d %s", r.code, r.err)
	}
	if r = bdtnode(t, "tx", "trace", "xyz", "--node", n.url); r.code != output.ExitUsage {
		t.Errorf("no id: exit %d", r.code)
	}
}

// TestTraceOrder: rows are in the order of the corrected times, a step that no replica has a time of comes after the one
// before it, and a gap is shown as a dash, or as away.
func TestTraceOrder(t *testing.T) {
	x := tracedPayment(1_795_829_483_332_000)
	x.Replicas[0].Steps = append(x.Replicas[0].Steps, api.TracedStep{Step: api.StepCancelled, Height: 13, Peer: new(uint16)})
	var steps []string
	for _, r := range traceRows(&x) {
		steps = append(steps, r.step)
	}
	want := []string{
		"batch 17 of lane 0: submitted", "batch 17 of lane 0: admitted", "batch 17 of lane 0", "batch 17 of lane 0: certified",
		"batch 17 of lane 0: ordered", "verdict spent", "settled", "LD 5 to shard 1: out", "CL of shard 0: ordered",
		"LD 5 of shard 0: in", "LD 5 of shard 0: SIGN quorum", "LD 5 of shard 0: ordered", "settled",
	}
	if !slices.Equal(steps, want) {
		t.Errorf("%q\nwant %q", steps, want)
	}
	text := traceOf(t, &x)
	for _, part := range []string{
		"0 batch 17 of lane 0: submitted - +0.0..1.2 - - away", "1 LD 5 of shard 0: in - +8.0 +13.0 +8.0 -",
		"0/0 reference", "1/1 +5.0 ms ± 0.3", "0/3 away no connection", "after the first step", "0 CL of shard 0: ordered 13 - - - away",
	} {
		if !strings.Contains(strings.Join(strings.Fields(text), " "), part) {
			t.Errorf("no %q in\n%s", part, text)
		}
	}
}

func traceOf(t *testing.T, x *api.Trace) string {
	t.Helper()
	var out bytes.Buffer
	p := output.Printer{Out: &out, Err: io.Discard}
	if err := p.Data(x, func(w io.Writer) { printTrace(w, x) }); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestDocsShowATrace(t *testing.T) {
	x := tracedPayment(1_795_829_483_332_000)
	sameShape(t, shown(t, "docs/debug.md", "bdtnode tx trace"), traceOf(t, &x))
}

// TestDocsHaveTheTrace: docs/api.md has each field of a trace, and each step.
func TestDocsHaveTheTrace(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "..", "docs", "api.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(raw), "\n## Traces\n")
	text, _, _ = strings.Cut(text, "\n## ")
	if !ok {
		t.Fatal("docs/api.md has no section about traces")
	}
	for _, v := range []any{api.Trace{}, api.ReplicaTrace{}, api.TracedStep{}, api.Unreported{}} {
		of := reflect.TypeOf(v)
		for i := range of.NumField() {
			if key, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ","); !strings.Contains(text, "`"+key+"`") {
				t.Errorf("the section does not have the field %s of %s", key, of)
			}
		}
	}
	for _, s := range api.TraceSteps {
		if !strings.Contains(text, "`"+string(s)+"`") {
			t.Errorf("the section does not have the step %s", s)
		}
	}
}

// TestRealTrace: on two shards of real processes, one replica of which was killed, each living replica shows its steps of
// a payment from one shard to the other, with heights that agree and times in the order of the steps. The dead replica
// is shown as missing.
func TestRealTrace(t *testing.T) {
	if apart(t) {
		return
	}
	n := startNet(t)
	n.ready(t)
	syscall.Kill(n.intro.Replicas[3].PID, syscall.SIGKILL) // replica 3 of shard 0, which does not lead
	n.awaitNote(t, "replica 3 of shard 0 was killed")
	var paid api.TxAnswer
	r := bdtnode(t, "tx", "send", "--from", "alice", "--to", "bob", "--amount", "5", "-o", "json")
	r.json(t, &paid)
	if r.code != 0 {
		t.Fatal(r.err)
	}
	everywhere(t, paid)
	wanted := map[uint16][]api.TraceStep{
		0: {api.StepOrdered, api.StepVerdict, api.StepLDOut, api.StepSettled},
		1: {api.StepLDIn, api.StepLDOrdered, api.StepSettled},
	}
	var got api.Trace
	for complete := false; !complete; time.Sleep(50 * time.Millisecond) {
		r := bdtnode(t, "tx", "trace", paid.ID.String(), "-o", "json")
		r.json(t, &got)
		if r.code != 0 {
			t.Fatalf("exit %d %s", r.code, r.err)
		}
		complete = len(got.Replicas) == 7
		for i := range got.Replicas {
			for _, name := range wanted[got.Replicas[i].Shard] {
				complete = complete && timeOf(&got.Replicas[i], name) != 0
			}
		}
		if t.Context().Err() != nil {
			t.Fatalf("%+v", got)
		}
	}
	if len(got.Missing) != 1 || got.Missing[0].Shard != 0 || got.Missing[0].Replica != 3 || got.Missing[0].Reason == "" {
		t.Errorf("missing %+v", got.Missing)
	}
	checkTrace(t, &got, paid.Height)
	text := bdtnode(t, "tx", "trace", paid.ID.String())
	if text.code != 0 || !strings.Contains(text.out, "away") || !strings.Contains(text.out, "SIGN quorum") {
		t.Errorf("exit %d\n%s%s", text.code, text.out, text.err)
	}
	t.Logf("\n%s", text.out)
	n.stop(t)
}

// timeOf is the time of the first step with a name at a replica, by the clock of the replica asked; 0 if it has none.
func timeOf(r *api.ReplicaTrace, name api.TraceStep) int64 {
	for _, s := range r.Steps {
		if s.Step == name && s.TimeUS != 0 {
			return s.TimeUS - r.ClockUS
		}
	}
	return 0
}

// checkTrace checks heights and times of a payment from shard 0 to 1.
func checkTrace(t *testing.T, x *api.Trace, height uint64) {
	t.Helper()
	owners, quorums, settled := 0, 0, uint64(0)
	var out, in int64
	for i := range x.Replicas {
		r := &x.Replicas[i]
		if r.Incomplete || r.ClockErrorUS > 500_000 || r.ClockUS > 500_000 || r.ClockUS < -500_000 {
			t.Errorf("replica %d/%d: %+v", r.Shard, r.Replica, r)
		}
		last := int64(0)
		for _, s := range r.Steps {
			switch {
			case s.Step == api.StepCertified || s.Step == api.StepLDOut || s.Step == api.StepSignQuorum || s.TimeUS == 0:
			case s.TimeUS < last:
				t.Errorf("replica %d/%d: %s at %d, before the step before it at %d", r.Shard, r.Replica, s.Step, s.TimeUS, last)
			default:
				last = s.TimeUS
			}
			if r.Shard == 0 && s.Height != 0 && s.Height != height {
				t.Errorf("replica %d/%d: %s at height %d, the receipt has %d", r.Shard, r.Replica, s.Step, s.Height, height)
			}
			if r.Shard == 1 && s.Step == api.StepSettled {
				if settled == 0 {
					settled = s.Height
				}
				if s.Height != settled {
					t.Errorf("settled at heights %d and %d in shard 1", s.Height, settled)
				}
			}
			if (s.Step == api.StepLDOut || s.Step == api.StepLDIn || s.Step == api.StepLDOrdered) && s.Number == 0 {
				t.Errorf("replica %d/%d: %s without the number of the LD", r.Shard, r.Replica, s.Step)
			}
		}
		if timeOf(r, api.StepSubmitted) != 0 {
			owners++
		}
		if timeOf(r, api.StepSignQuorum) != 0 {
			quorums++
		}
		if at := timeOf(r, api.StepLDOut); at != 0 && (out == 0 || at < out) {
			out = at
		}
		if at := timeOf(r, api.StepLDIn); at != 0 && (in == 0 || at < in) {
			in = at
		}
	}
	if owners != 1 || quorums == 0 {
		t.Errorf("submitted at %d replicas, SIGN quorum at %d", owners, quorums)
	}
	if in < out-20_000 { // the clocks are those of one machine; the bound allows for a busy one
		t.Errorf("the LD arrived %d µs before it left", out-in)
	}
}
