package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/cmd/bdtnode/registry"
	"bdtnode/node/config"
)

// syncBuffer holds the output of a running command.
type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// runningNet is a running net up with fake replicas (see TestMain).
type runningNet struct {
	out, err  syncBuffer
	interrupt context.CancelFunc
	done      chan struct{}
	code      int
	intro     introduction
}

func startNet(t *testing.T, args ...string) *runningNet {
	t.Helper()
	return startCommand(t, append([]string{"net", "up", "-o", "json"}, args...)...)
}

// startCommand runs a command until it ends or is interrupted.
func startCommand(t *testing.T, args ...string) *runningNet {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	n := &runningNet{interrupt: cancel, done: make(chan struct{})}
	go func() {
		defer close(n.done)
		n.code = run(ctx, args, strings.NewReader(""), &n.out, &n.err)
	}()
	t.Cleanup(func() {
		cancel()
		<-n.done
	})
	return n
}

// ready waits until the network has printed its introduction.
func (n *runningNet) ready(t *testing.T) {
	t.Helper()
	for !strings.HasSuffix(n.out.String(), "\n") {
		select {
		case <-n.done:
			t.Fatalf("net up ended early: exit %d\n%s", n.code, n.err.String())
		case <-time.After(10 * time.Millisecond):
		}
	}
	if err := json.Unmarshal([]byte(n.out.String()), &n.intro); err != nil {
		t.Fatal(err)
	}
}

// stop ends net up as Ctrl-C does, and checks that it ends well.
func (n *runningNet) stop(t *testing.T) {
	t.Helper()
	n.interrupt()
	<-n.done
	if n.code != 0 {
		t.Errorf("exit %d after Ctrl-C: %s", n.code, n.err.String())
	}
	n.noneLeft(t)
}

// noneLeft checks that no process of the network is left.
func (n *runningNet) noneLeft(t *testing.T) {
	t.Helper()
	for _, r := range n.intro.Replicas {
		if alive(r.PID) {
			t.Errorf("replica %d still runs as process %d", r.Replica, r.PID)
		}
	}
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

func TestNetUpAndResume(t *testing.T) {
	home := filepath.Join(t.TempDir(), "net")
	n := startNet(t, "--home", home)
	n.ready(t)
	if len(n.intro.Replicas) != 8 || len(n.intro.Accounts) != 4 || len(n.intro.Try) != 3 {
		t.Errorf("introduction %+v", n.intro)
	}
	for i, acc := range n.intro.Accounts {
		if acc.Shard != uint16(i%2) || acc.Balance != 1_000_000 {
			t.Errorf("account %+v", acc)
		}
	}
	if try := n.intro.Try[0]; !strings.Contains(try, "tx send --from alice --to bob") || !strings.Contains(try, "from shard 0 to shard 1") {
		t.Errorf("the suggested payment does not cross shards: %q", try)
	}
	apis := map[string]bool{}
	bootstraps := map[string]bool{}
	for i, r := range n.intro.Replicas {
		apis[r.API] = true
		if int(r.Shard) != i/4 || r.Replica != i%4 {
			t.Errorf("replica %d is %d of shard %d", i, r.Replica, r.Shard)
		}
		cfg, err := config.Load(config.HomeDir(home, r.Shard, r.Replica), nil)
		if err != nil {
			t.Fatal(err)
		}
		want := 4 // two of each shard, without the replica itself
		if r.Replica < 2 {
			want = 3
		}
		if got := len(cfg.Config.P2P.Bootstrap); got != want {
			t.Errorf("replica %d has %d bootstrap addresses, want %d", i, got, want)
		}
		for _, at := range cfg.Config.P2P.Bootstrap {
			bootstraps[at] = true
		}
	}
	if len(apis) != 8 || len(bootstraps) != 4 {
		t.Errorf("API addresses %v, bootstrap addresses %v", apis, bootstraps)
	}
	// Another command finds the network and its accounts.
	var b balance
	bdtnode(t, "query", "balance", "bob", "-o", "json").json(t, &b)
	if b.Balance != 1_000_000 || b.Shard != 1 {
		t.Errorf("balance %+v", b)
	}
	var shown shownAccount
	bdtnode(t, "keys", "show", "bob", "-o", "json").json(t, &shown)
	if shown.Shard == nil || *shown.Shard != 1 {
		t.Errorf("keys show %+v", shown)
	}
	var all networkStatus
	r := bdtnode(t, "net", "status", "-o", "json")
	r.json(t, &all)
	if r.code != 0 || len(all.Replicas) != 8 || all.Replicas[7].URL != n.intro.Replicas[7].API {
		t.Errorf("exit %d, status of all: %+v", r.code, all)
	}
	n.stop(t)
	if l, _ := registry.List(registry.Dir()); len(l) != 0 {
		t.Errorf("still registered: %+v", l)
	}

	again := startNet(t, "--home", home)
	again.ready(t)
	if again.intro.Network != n.intro.Network {
		t.Error("the network id changed after resuming")
	}
	again.stop(t)
	if r := bdtnode(t, "net", "up", "--home", home, "--nodes", "7"); r.code != output.ExitUsage || !strings.Contains(r.err, "4 replicas a shard, not 7") {
		t.Errorf("resumed with another size: %d %s", r.code, r.err)
	}
	if r := bdtnode(t, "net", "up", "--home", home, "--shards", "3"); r.code != output.ExitUsage || !strings.Contains(r.err, "2 shards, not 3") {
		t.Errorf("resumed with another number of shards: %d %s", r.code, r.err)
	}
}

// TestResumeOneShard: without --shards, net up resumes a network with its own number of shards.
func TestResumeOneShard(t *testing.T) {
	n := startNet(t, "--home", newHome(t, 1, 0, ""))
	n.ready(t)
	if len(n.intro.Replicas) != 4 || strings.Contains(n.intro.Try[0], "#") {
		t.Errorf("introduction %+v", n.intro)
	}
	n.stop(t)
}

func TestTemporaryHome(t *testing.T) {
	n := startNet(t)
	n.ready(t)
	if _, err := os.Stat(n.intro.Home); err != nil {
		t.Error(err)
	}
	n.stop(t)
	if _, err := os.Stat(n.intro.Home); !os.IsNotExist(err) {
		t.Errorf("the temporary home was not removed: %v", err)
	}
}

// newHome generates a network for net up to resume. A file with the name mark in the home of one replica makes the fake
// replica misbehave. Replicas are numbered through all shards.
func newHome(t *testing.T, shards, replica int, mark string) string {
	t.Helper()
	home := filepath.Join(t.TempDir(), "net")
	if err := createNet(home, &netFlags{shards: shards, nodes: 4}); err != nil {
		t.Fatal(err)
	}
	if mark != "" {
		if err := os.WriteFile(filepath.Join(config.HomeDir(home, uint16(replica/4), replica%4), mark), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return home
}

func TestReplicaFailsToStart(t *testing.T) {
	r := bdtnode(t, "net", "up", "--home", newHome(t, 1, 2, "fail"), "-o", "json")
	_, message, _ := r.failure(t)
	if r.code != output.ExitFailure || !strings.Contains(message, "replica 2 of shard 0 failed") || !strings.Contains(message, "is in the home") {
		t.Errorf("%d %s", r.code, r.err)
	}
}

func TestBrokenHome(t *testing.T) {
	home := newHome(t, 1, 0, "")
	os.Chmod(filepath.Join(config.HomeDir(home, 0, 3), "keys", "peer.key"), 0o644)
	if r := bdtnode(t, "net", "up", "--home", home); r.code != output.ExitFailure || !strings.Contains(r.err, "chmod 0600") || !strings.Contains(r.err, "replica 3") {
		t.Errorf("key file readable by all: %d %s", r.code, r.err)
	}
	other := t.TempDir()
	os.WriteFile(filepath.Join(other, "thesis.tex"), nil, 0o600)
	if r := bdtnode(t, "net", "up", "--home", other); r.code != output.ExitFailure || !strings.Contains(r.err, "not empty") {
		t.Errorf("directory with other files: %d %s", r.code, r.err)
	}
}

func TestHomeInUse(t *testing.T) {
	home := newHome(t, 1, 0, "")
	n := startNet(t, "--home", home)
	n.ready(t)
	if r := bdtnode(t, "net", "up", "--home", home); r.code != output.ExitFailure || !strings.Contains(r.err, fmt.Sprintf("in use by process %d:", os.Getpid())) {
		t.Errorf("%d %s", r.code, r.err)
	}
	n.stop(t)
}

// TestReplicaIsKilled: the network goes on after one replica of each shard is killed, and ends after the second of any
// shard.
func TestReplicaIsKilled(t *testing.T) {
	n := startNet(t)
	n.ready(t)
	kill := func(i int) {
		r := n.intro.Replicas[i]
		syscall.Kill(r.PID, syscall.SIGKILL)
		for !strings.Contains(n.err.String(), fmt.Sprintf("replica %d of shard %d was killed; 3 of 4 replicas of shard %d are left", r.Replica, r.Shard, r.Shard)) {
			select {
			case <-n.done:
				t.Fatalf("net up ended: %s", n.err.String())
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	kill(0)
	for !strings.Contains(n.err.String(), "shard 0: no commit was pending when its leader, replica 0, stopped") {
		time.Sleep(10 * time.Millisecond)
	}
	kill(6)
	syscall.Kill(n.intro.Replicas[7].PID, syscall.SIGKILL)
	<-n.done
	if n.code != output.ExitFailure || !strings.Contains(n.err.String(), "2 of 4 replicas of shard 1 are left, and 3 are needed") {
		t.Errorf("exit %d: %s", n.code, n.err.String())
	}
	n.noneLeft(t)
	if strings.Contains(n.err.String(), "shard 1: no commit") || strings.Contains(n.err.String(), "resumed") {
		t.Errorf("a gap was printed for replicas that are not leaders: %s", n.err.String())
	}
}

// awaitNote waits until standard error contains a match of the pattern.
func (n *runningNet) awaitNote(t *testing.T, pattern string) {
	t.Helper()
	for want := regexp.MustCompile(pattern); !want.MatchString(n.err.String()); time.Sleep(10 * time.Millisecond) {
		select {
		case <-n.done:
			t.Fatalf("net up ended: exit %d, without printing %q\n%s", n.code, pattern, n.err.String())
		default:
		}
	}
}

// TestFaultsWithoutCommits: a killed leader is started again, and other commands find its new address. Each shard has
// its faults. No gap is counted while there was nothing to commit.
func TestFaultsWithoutCommits(t *testing.T) {
	n := startNet(t, "--fault", "kill-leader", "--fault-every", "1s")
	n.ready(t)
	for shard := range 2 {
		n.awaitNote(t, fmt.Sprintf("shard %d: killed its leader, replica 0\n", shard))
		n.awaitNote(t, fmt.Sprintf("shard %d: no commit was pending when its leader, replica 0, stopped\n", shard))
		n.awaitNote(t, fmt.Sprintf("replica 0 of shard %d is running again as process [0-9]+, API at http", shard))
	}
	for _, old := range n.intro.Replicas {
		if gone := !alive(old.PID); gone != (old.Replica == 0) {
			t.Errorf("old process of replica %d of shard %d: ended %t", old.Replica, old.Shard, gone)
		}
	}
	known, err := registry.List(registry.Dir())
	if err != nil || len(known) != 1 || len(known[0].Replicas) != 8 {
		t.Fatalf("%+v %v", known, err)
	}
	for i, r := range known[0].Replicas {
		if moved := r.API != n.intro.Replicas[i].API; moved != (r.Replica == 0) {
			t.Errorf("replica %d of shard %d: at %s, and was at %s", r.Replica, r.Shard, r.API, n.intro.Replicas[i].API)
		}
	}
	n.stop(t)
	if strings.Contains(n.err.String(), "resumed") || strings.Contains(n.err.String(), "Bring it back") {
		t.Error(n.err.String())
	}
}

// TestStoppedReplicasEnd: suspended replicas end like the others when a network is stopped.
func TestStoppedReplicasEnd(t *testing.T) {
	for _, fault := range []string{"freeze-leader", "freeze-followers"} {
		n := startNet(t, "--shards", "1", "--fault", fault, "--fault-every", "1s")
		n.ready(t)
		n.awaitNote(t, "shard 0: suspended")
		n.stop(t)
		if strings.Contains(n.err.String(), "killed") {
			t.Error(n.err.String())
		}
	}
}

// TestReport: after a run without a load, the ledgers are compared, first those of the replicas of each shard, then the
// sums over all shards.
func TestReport(t *testing.T) {
	for mark, want := range map[string]struct {
		code             int
		agree, conserved bool
		problem          string
	}{
		"":        {output.ExitOK, true, true, ""},
		"fork":    {output.ExitFailure, false, true, "different ledgers"},
		"rewrite": {output.ExitFailure, false, true, "at height 2"},
		"forge":   {output.ExitFailure, true, false, "not conserved"},
		"cede":    {output.ExitFailure, true, false, "not conserved"},
	} {
		t.Run("replica with "+mark, func(t *testing.T) {
			r := bdtnode(t, "net", "up", "--home", newHome(t, 2, 6, mark), "--for", "100ms", "-o", "json")
			var got report
			r.json(t, &got)
			if r.code != want.code || got.HeadersAgree != want.agree || got.ValueConserved != want.conserved || !strings.Contains(r.err, want.problem) {
				t.Errorf("exit %d %+v\n%s", r.code, got, r.err)
			}
			for _, key := range []string{"shards", "nodes", "submitted", "settled", "rejected", "pending", "cross_settled", "cancelled", "returned_by_cl", "returned_by_verdict", "tps", "latency_ms",
				"cross_latency_ms", "headers_agree", "value_conserved", "node_cpu_seconds", "syncs_per_tx", "gaps", "count", "p50_ms", "p95_ms", "max_ms", "p50", "p95", "p99",
				"partial", "seconds", "rate", "unsent", "replicas_lost", "seed", "parameters", "version", "machine", "cpus"} {
				if !strings.Contains(r.out, `"`+key+`":`) {
					t.Errorf("no key %s in %s", key, r.out)
				}
			}
		})
	}
}

// TestReportWaitsForEscrow: the report waits until value in escrow at the end of the load is settled.
func TestReportWaitsForEscrow(t *testing.T) {
	home := newHome(t, 2, 0, "")
	for i := range 4 {
		if err := os.WriteFile(filepath.Join(config.HomeDir(home, 1, i), "hold"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := bdtnode(t, "net", "up", "--home", home, "--for", "100ms", "-o", "json")
	var got report
	r.json(t, &got)
	if r.code != 0 || !got.ValueConserved || got.Shards != 2 || got.Nodes != 4 {
		t.Errorf("exit %d %+v\n%s", r.code, got, r.err)
	}
}

// TestStartAlone: a replica started alone prints its address, is found by other commands, and stops on request.
func TestStartAlone(t *testing.T) {
	home := config.HomeDir(newHome(t, 1, 0, ""), 0, 1)
	ctx, stop := context.WithCancel(t.Context())
	var out, errs syncBuffer
	a := &app{in: strings.NewReader(""), open: openFake}
	a.print.Out, a.print.Err = &out, &errs
	done := make(chan int)
	go func() {
		done <- a.run(ctx, []string{"start", "--home", home, "--log-level", "error", "--api", "127.0.0.1:0"})
	}()
	for !strings.Contains(errs.String(), "API at http://127.0.0.1:") {
		time.Sleep(10 * time.Millisecond)
	}
	var b balance
	bdtnode(t, "query", "balance", "alice", "-o", "json").json(t, &b) // found in the registry, with the accounts directory beside the home
	if b.Balance != 1_000_000 {
		t.Errorf("%+v", b)
	}
	stop()
	if code := <-done; code != 0 {
		t.Errorf("exit %d: %s", code, errs.String())
	}
	if _, running, _ := config.ReadRunning(home); running {
		t.Error("still registered as running")
	}
	if r := bdtnode(t, "start", "--home", t.TempDir()); r.code != output.ExitFailure || !strings.Contains(r.err, "config.toml is missing") {
		t.Errorf("no home: %d %s", r.code, r.err)
	}
}

// TestReplicasEndWithNetUp: replicas stop when the process that started them is gone, also if that was killed.
func TestReplicasEndWithNetUp(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	up := exec.Command(program, "net", "up", "-o", "json", "--home", newHome(t, 1, 0, ""))
	out, err := up.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	var n runningNet
	if err := json.NewDecoder(out).Decode(&n.intro); err != nil {
		t.Fatal(err)
	}
	suspended := n.intro.Replicas[2].PID
	syscall.Kill(suspended, syscall.SIGSTOP) // as freeze faults do
	// The kernel resumes and hangs up a process that is suspended when it loses its parent. On a busy machine the signal
	// takes effect later than Kill returns, so the test waits for the state of the process.
	for !isSuspended(t, suspended) {
		time.Sleep(time.Millisecond)
	}
	up.Process.Kill()
	up.Wait()
	for _, r := range n.intro.Replicas {
		for alive(r.PID) { // if this loop does not end, a process survived
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// isSuspended reports whether a process is stopped by a signal.
func isSuspended(t *testing.T, pid int) bool {
	t.Helper()
	out, err := exec.Command("ps", "-o", "state=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.HasPrefix(strings.TrimSpace(string(out)), "T")
}
