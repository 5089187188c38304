package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"bdtnode/cmd/bdtnode/bench"
	"bdtnode/cmd/bdtnode/output"
)

// TestReportProblems: a run whose report has a problem ends with exit code 1.
func TestReportProblems(t *testing.T) {
	good := report{Shards: 2, Nodes: 4, Outcome: bench.Outcome{Submitted: 10, Settled: 9, Rejected: 1}, HeadersAgree: true, ValueConserved: true}
	if err := good.problem(0); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*report){
		"3 of 10 transfers have no answer":        func(r *report) { r.Settled, r.Pending = 6, 3 },
		"5 of 15 transfers were due and not sent": func(r *report) { r.Unsent = 5 },
		"1 of 8 replicas were lost":               func(r *report) { r.ReplicasLost = 1 },
		"have different ledgers":                  func(r *report) { r.HeadersAgree = false },
		"value was not conserved":                 func(r *report) { r.ValueConserved = false },
	} {
		r := good
		change(&r)
		if err := r.problem(0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := good.problem(2); err == nil {
		t.Error("no error although transfers settled whose inputs were spent before")
	}
}

// TestInterruptedLoad: Ctrl-C ends a load. The report is marked partial and contains the parameters for repeating the
// run. No transfer is due before: fake replicas do not have the same ledger after one.
func TestInterruptedLoad(t *testing.T) {
	n := startNet(t, "--shards", "1", "--for", "1h", "--load", "0.02", "--invalid", "0.25", "--seed", "9")
	n.awaitNote(t, "Submitting 0.02 transfers a second")
	n.interrupt()
	<-n.done
	var got report
	if err := json.Unmarshal([]byte(n.out.String()), &got); err != nil {
		t.Fatalf("%v: %s", err, n.out.String())
	}
	if n.code != 0 || !got.Partial || got.Pending != 0 || got.ReplicasLost != 0 {
		t.Errorf("exit %d %+v\n%s", n.code, got, n.err.String())
	}
	p := got.Parameters
	if got.Rate != 0.02 || got.Seed != 9 || got.Version != readVersion() || got.Machine != bench.ThisMachine() || got.Machine.CPUs == 0 ||
		p.ForSeconds != 3600 || p.Invalid != 0.25 || p.Consensus != "bdt" || p.DrainSeconds != 30 || p.MaxInFlight != 100_000 || p.Resumed {
		t.Errorf("%+v", got)
	}
}

// kill kills a replica of shard 0.
func (n *runningNet) kill(t *testing.T, replica int) {
	t.Helper()
	row := regexp.MustCompile(fmt.Sprintf(`0/%d +http://\S+ +([0-9]+)`, replica)).FindStringSubmatch(n.err.String())
	if row == nil {
		t.Fatalf("no process of replica %d in %s", replica, n.err.String())
	}
	pid, err := strconv.Atoi(row[1])
	if err != nil {
		t.Fatal(err)
	}
	syscall.Kill(pid, syscall.SIGKILL)
}

// TestQuorumLostUnderLoad: when a shard loses its quorum, the load ends with a report, and the error has the reason.
func TestQuorumLostUnderLoad(t *testing.T) {
	n := startNet(t, "--shards", "1", "--for", "1h", "--load", "20")
	n.awaitNote(t, "Submitting 20 transfers a second")
	n.kill(t, 2)
	n.awaitNote(t, "replica 2 of shard 0 was killed")
	n.kill(t, 3)
	<-n.done
	var got report
	if err := json.Unmarshal([]byte(n.out.String()), &got); err != nil {
		t.Fatalf("%v: %s\n%s", err, n.out.String(), n.err.String())
	}
	if n.code != output.ExitFailure || !got.Partial || got.ReplicasLost != 2 ||
		!strings.Contains(n.err.String(), "2 of 4 replicas of shard 0 are left, and 3 are needed") {
		t.Errorf("exit %d %+v\n%s", n.code, got, n.err.String())
	}
}

// TestReplicaLostUnderLoad: a replica that is killed and not started again is counted, and the exit code is 1.
func TestReplicaLostUnderLoad(t *testing.T) {
	n := startNet(t, "--shards", "1", "--load", "20")
	n.awaitNote(t, "Submitting 20 transfers a second")
	n.kill(t, 2)
	n.awaitNote(t, "replica 2 of shard 0 was killed")
	n.interrupt()
	<-n.done
	var got report
	if err := json.Unmarshal([]byte(n.out.String()), &got); err != nil {
		t.Fatalf("%v: %s", err, n.out.String())
	}
	if n.code != output.ExitFailure || got.ReplicasLost != 1 || !strings.Contains(n.err.String(), "1 of 4 replicas were lost") {
		t.Errorf("exit %d %+v\n%s", n.code, got, n.err.String())
	}
}
