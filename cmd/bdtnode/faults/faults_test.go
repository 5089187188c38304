package faults

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/ledger"
	"bdtnode/node/api"
	"bdtnode/node/config"
	"bdtnode/node/why"
)

// fault is a staged fault. stage fails unless net status, debug why and the log name it.
type fault struct {
	name  string
	cheap bool // staged with every go test
	stage func(t *testing.T)
}

var all = []fault{
	{"a leader frozen", true, leaderFrozen},
	{"a quorum lost", true, quorumLost},
	{"a shard cut off", false, shardCutOff},
	{"a slow disk", false, slowDisk},
	{"a clock an hour ahead", false, clockAhead},
	{"a full mempool", false, mempoolFull},
	{"an expired transaction", true, expired},
	{"a twin", false, twin},
	{"a dead bootstrap replica", false, deadBootstrap},
	{"a lane frozen", false, laneFrozen},
}

// TestFaults stages the cheap faults, with the flag -faults all.
func TestFaults(t *testing.T) {
	for _, f := range all {
		if f.cheap || *everything {
			t.Run(f.name, f.stage)
		}
	}
}

// leaderFrozen: the leader's process is suspended before it has ordered anything, so its patience is the first one, two
// seconds. A transaction waits for its proposal, and then settles under the next leader.
func leaderFrozen(t *testing.T) {
	n := start(t, options{})
	leader, other := n.replicas[0], n.replicas[1]
	n.well()
	leader.suspend()
	id := other.pay("carol")
	named := ""
	n.await("the transaction settles", func() error {
		v, err := other.why(id)
		if err != nil {
			return err
		}
		if x := find(v, why.Proposal); x != nil && named == "" {
			if err := (want{kind: why.Proposal, replicas: []int{0}, text: []string{"replica 0, has not proposed"}}).in(v); err != nil {
				t.Error(err)
			}
			named = x.Text
		}
		return want{kind: why.Settled, text: []string{"It settled in block"}}.in(v)
	})
	if named == "" {
		t.Error("debug why has not named the leader while the transaction waited for it")
	}
	n.shows("the leader is silent", n.replicas[:2], func(s *state) error {
		if len(s.Unreachable) != 1 || s.exit != output.ExitUnhealthy || s.Shards[0].Quorum != api.QuorumYes || *s.Shards[0].Leader == 0 {
			return fmt.Errorf("exit %d, %+v, not reached: %v", s.exit, s.Shards, s.Unreachable)
		}
		return errors.Join(s.line(leader, api.HealthSilent, "no answer for "), s.line(n.replicas[2], api.HealthReady, ""))
	})
	n.await("the log names the leader and the cause of the end of its epoch", func() error {
		var errs []error
		for _, r := range n.replicas[1:] {
			err := r.logged("epoch ended", map[string]string{"cause": "patience", "leader": "0"})
			if err == nil {
				return nil
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
	leader.resume()
	n.well()
}

// quorumLost: two of four replicas are suspended.
func quorumLost(t *testing.T) {
	n := start(t, options{})
	n.well()
	r := n.replicas[0]
	n.replicas[2].suspend()
	n.replicas[3].suspend()
	id := r.pay("carol")
	r.explains(id, want{why.NoQuorum, []int{2, 3}, []string{
		"2 of 4 replicas of shard 0 answer, and 3 are needed. Replicas 2 and 3 do not answer.", "One of these replicas answers again, or its expiry in"}})
	n.shows("no quorum", n.replicas[:2], func(s *state) error {
		x := s.Shards[0]
		if x.Quorum != api.QuorumNone || *x.Answering != 2 || !strings.Contains(x.Reason, "2 of 4 replicas answer, 3 needed") || s.exit != output.ExitUnhealthy {
			return fmt.Errorf("exit %d, %+v", s.exit, x)
		}
		return errors.Join(
			s.line(n.replicas[0], api.HealthNotReady, "2 of 4 replicas answer, 3 needed"), s.line(n.replicas[1], api.HealthNotReady, "2 of 4 replicas answer, 3 needed"),
			s.line(n.replicas[2], api.HealthSilent, "no answer for "), s.line(n.replicas[3], api.HealthSilent, "no answer for "))
	})
	r.logs("not ready", map[string]string{"cause": "no quorum", "reason": "2 of 4 replicas answer, 3 needed", "answering": "2"})
	r.logs("stalled", map[string]string{"work": "a batch waits", "answering": "2", "needed": "3"})
	n.replicas[2].resume()
	n.replicas[3].resume()
	r.explains(id, want{why.Settled, nil, []string{"It settled in block"}})
	r.logs("commits resumed", nil)
	n.well()
}

// slowDisk: each sync of one replica's stores takes a second and a half longer.
func slowDisk(t *testing.T) {
	n := start(t, options{altered: map[int][]string{3: {syncEnv + "=1500ms"}}})
	slow := n.replicas[3]
	n.await("debug why names the disk", func() error {
		id := slow.pay("carol", "--timeout", "10ms")
		for range 20 {
			v, err := slow.why(id)
			if err != nil {
				return err
			}
			if err = (want{kind: why.Disk, text: []string{"not on the disk of this replica yet. The disk is slow: a sync of the consensus store takes", "The next sync"}}).in(v); err == nil {
				return nil
			}
			time.Sleep(50 * time.Millisecond)
		}
		return errors.New("the transaction waited for nothing on the disk")
	})
	n.shows("the slow disk", n.replicas, func(s *state) error {
		x := s.row(slow)
		return errors.Join(s.line(slow, x.Health, "the disk is slow: a sync of the consensus store takes"), s.line(n.replicas[1], api.HealthReady, ""))
	})
	slow.logs("the disk is slow", map[string]string{"sync_took": "s", "limit": "1s"})
	for _, r := range n.replicas[:3] {
		if err := r.logged("the disk is slow", nil); err == nil {
			t.Errorf("%s calls its disk slow too", r.name())
		}
	}
}

// clockAhead: the wall clock of the first leader is an hour ahead, so no replica votes for its blocks.
func clockAhead(t *testing.T) {
	n := start(t, options{altered: map[int][]string{0: {clockEnv + "=1h"}}})
	ahead, other := n.replicas[0], n.replicas[1]
	const reason = "the clock is 1h0m0s ahead of the shard's: the other replicas refuse its blocks while it is the leader"
	n.shows("the wrong clock", n.replicas, func(s *state) error {
		return errors.Join(s.line(ahead, api.HealthReady, reason), s.line(other, api.HealthReady, ""))
	})
	ahead.logs("the clock is wrong", map[string]string{"shard_ahead_by": `^-(1h0m0|59m59\.9)`}) // some milliseconds of delay are in it
	id := other.pay("carol")
	named := false
	n.await("the transaction settles", func() error {
		v, err := other.why(id)
		if err != nil {
			return err
		}
		if x := find(v, why.Votes); x != nil && strings.Contains(x.Text, "clock") {
			named = true
			if !strings.Contains(x.Text, "The block's time is ahead of this replica's clock. The clock of the leader, replica 0, is 1h0m0s ahead of this replica's.") {
				t.Error(x.Text)
			}
		}
		return want{kind: why.Settled}.in(v)
	})
	if !named {
		t.Error("debug why has not named the clock while the transaction waited")
	}
	if other.logged("the clock is wrong", nil) == nil {
		t.Error("the log of a replica with a right clock calls it wrong")
	}
}

// expired: a transaction is submitted after its expiry; another one expires while its shard has no quorum.
func expired(t *testing.T) {
	n := start(t, options{})
	n.well()
	r := n.replicas[1]
	late := n.signed("bob", "carol", "1s")
	time.Sleep(time.Second)
	r.explains(r.pay("carol"), want{why.Settled, nil, nil}) // a block whose time is past the expiry
	code, out, errs := n.cli("", "tx", "submit", late, "--node", r.url(), "-o", "json")
	id := answerID(t, out)
	if code != output.ExitRejected {
		t.Fatalf("exit %d: %s%s", code, out, errs)
	}
	r.explains(id, want{why.Rejected, nil, []string{"It is rejected: ", "expired", "It waits for nothing."}})
	n.well() // an expired transaction is no fault of a replica

	n.replicas[2].suspend()
	n.replicas[3].suspend()
	// The replicas that run leave the epoch because of an earlier transaction. Otherwise the leader could have proposed the
	// batch before the expiry, and the block would commit with that time.
	earlier := r.pay("carol")
	r.explains(earlier, want{why.EpochEnd, nil, []string{"further Status are needed"}})
	id = r.pay("carol", "--expires-in", "4s")
	r.explains(id, want{why.NoQuorum, []int{2, 3}, []string{"because its expiry has passed"}})
	n.replicas[2].resume()
	n.replicas[3].resume()
	r.explains(id, want{why.Rejected, nil, []string{"expired", "It waits for nothing."}})
	r.explains(earlier, want{why.Settled, nil, nil})
	n.well()
	for _, x := range n.replicas {
		if err := x.logged("a peer misbehaved", nil); err == nil {
			t.Errorf("the log of %s blames a replica for an expired transaction", x.name())
		}
	}
}

// twin: a second process runs with a copy of a replica's home.
func twin(t *testing.T) {
	n := start(t, options{})
	n.well()
	kept := n.replicas[3]
	kept.kill()
	if err := os.RemoveAll(filepath.Join(kept.home, "run")); err != nil { // its socket has no process any more
		t.Fatal(err)
	}
	second := &replica{n: n, index: 3, home: filepath.Join(t.TempDir(), "copy")}
	if err := os.CopyFS(second.home, os.DirFS(kept.home)); err != nil {
		t.Fatal(err)
	}
	private(t, filepath.Join(second.home, "keys"))
	if err := os.Remove(second.logPath()); err != nil {
		t.Fatal(err)
	}
	kept.run(ordinary(t), nil)
	n.ready(kept)
	second.run(ordinary(t), nil)
	t.Cleanup(second.kill)
	// The second process ends once f+1 replicas keep the first one, so the others may not meet it.
	n.shows("the twin", n.replicas, func(s *state) error {
		named := 0
		for _, r := range n.replicas[:3] {
			if s.line(r, api.HealthReady, "replica 3 runs as two processes: start ") == nil {
				named++
			}
		}
		if named < 2 {
			return fmt.Errorf("%d replicas name it:\n%s", named, s.text)
		}
		return nil
	})
	n.await("two logs name the twin", func() error {
		named := 0
		for _, r := range n.replicas[:3] {
			if r.logged("two processes run with the identity of one replica", map[string]string{"replica": "3"}) == nil {
				named++
			}
		}
		if named < 2 {
			return fmt.Errorf("%d do", named)
		}
		return nil
	})
	n.await("the second process ends with exit code 9", func() error {
		if second.runs() {
			return errors.New("it runs")
		}
		if code := second.cmd.ProcessState.ExitCode(); code != output.ExitLost {
			t.Fatalf("exit code %d: %s", code, tail(second.logPath()))
		}
		return nil
	})
	if log := tail(second.logPath()); !strings.Contains(log, "must not sign") && !strings.Contains(log, "keep another process") {
		t.Errorf("the second process does not say why it ended: %s", log)
	}
	if err := kept.logged("stopped", nil); err == nil {
		t.Error("the first process has ended")
	}
	if code, _, errs := n.cli("", "debug", "why", strings.Repeat("0", 64), "--home", second.home); code != output.ExitUnreachable || !strings.Contains(errs, "no replica of this network runs") {
		t.Errorf("debug why at the second process: exit %d, %s", code, errs)
	}
	id := kept.pay("carol")
	kept.explains(id, want{why.Settled, nil, []string{"It settled in block"}}) // the replica is one again
}

// private makes the files of a directory readable by their owner alone.
func private(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		mode := os.FileMode(0o600)
		if err == nil && e.IsDir() {
			mode = 0o700
		}
		return errors.Join(err, os.Chmod(path, mode))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// deadBootstrap: a replica starts again while its only bootstrap replica is down, and it knows no other address.
func deadBootstrap(t *testing.T) {
	n := start(t, options{})
	n.well()
	boot, alone := n.replicas[0], n.replicas[3]
	alone.kill()
	address := boot.p2p()
	boot.kill()
	if err := os.RemoveAll(filepath.Join(alone.home, "data", "peers.json")); err != nil {
		t.Fatal(err)
	}
	alone.run(ordinary(t), nil, "--bootstrap", address)
	alone.logs("bootstrap member not reached", map[string]string{"shard": "0", "replica": "0", "addresses": "127.0.0.1", "reason": "connection refused"})
	id := alone.pay("carol")
	alone.explains(id, want{why.Start, []int{0, 1, 2}, []string{
		"This replica signs nothing until 2 peers have answered its start; 0 have. Replicas 0, 1 and 2 do not answer.", "its bootstrap replicas are not reached: 0/0."}})
	n.shows("the dead bootstrap replica", []*replica{n.replicas[1], alone}, func(s *state) error {
		return errors.Join(s.line(boot, api.HealthSilent, ""),
			s.line(alone, api.HealthNotReady, "signs nothing until 2 peers have answered this start: 0 have; 1 of 4 replicas answer, 3 needed; not connected to bootstrap replica 0/0"))
	})
	alone.logs("not ready", map[string]string{"cause": "start", "reason": "not connected to bootstrap replica 0/0"})
	boot.run(ordinary(t), nil)
	n.ready(n.replicas...)
	alone.explains(id, want{why.Settled, nil, nil})
}

// shardCutOff: the network between two shards fails. Each is well by itself.
func shardCutOff(t *testing.T) { inNamespaces(t, cutOff) }

func cutOff(t *testing.T, o options, namespaces []string, cut, mend func()) {
	n := create(t, o)
	for _, r := range n.replicas {
		r.namespace = namespaces[r.shard]
		r.run(ordinary(t), nil)
	}
	n.ready(n.replicas...)
	n.well()
	r := n.replicas[1]
	settled := r.pay("bob")
	r.explains(settled, want{why.Settled, nil, []string{"every other shard of its outputs"}})
	cut()
	id := r.pay("bob")
	r.explains(id, want{why.ShardDown, []int{}, []string{"No replica of shard 1 answered this question in time", "see peers list"}})
	n.shows("as seen from shard 0", n.replicas[:4], func(s *state) error {
		if s.Shards[0].Quorum != api.QuorumYes || s.Shards[1].Quorum != api.QuorumUnknown || s.Shards[1].Reason != "no replica of the shard reports" {
			return fmt.Errorf("%+v", s.Shards)
		}
		return errors.Join(s.line(n.replicas[0], api.HealthReady, "no replica of shard 1 is connected"), s.line(n.replicas[5], api.HealthUnknown, "no replica of the shard reports"))
	})
	n.shows("as seen from both", n.replicas, func(s *state) error {
		var errs []error
		for _, r := range n.replicas {
			errs = append(errs, s.line(r, api.HealthReady, fmt.Sprintf("no replica of shard %d is connected", 1-r.shard)))
		}
		if s.Shards[0].Quorum != api.QuorumYes || s.Shards[1].Quorum != api.QuorumYes {
			errs = append(errs, fmt.Errorf("%+v", s.Shards))
		}
		return errors.Join(errs...)
	})
	r.logs("not connected", map[string]string{"shard": "1"})
	n.replicas[5].logs("not connected", map[string]string{"shard": "0"})
	mend()
	r.explains(id, want{why.Settled, nil, []string{"every other shard of its outputs"}})
}

// signed writes a signed payment that expires after a time, and returns the file.
func (n *network) signed(from, to, expires string) string {
	n.t.Helper()
	file := filepath.Join(n.t.TempDir(), "pay.tx")
	code, out, errs := n.cli("", "tx", "send", "--from", from, "--to", to, "--amount", "5", "--node", n.replicas[1].url(), "--keys", n.keys(),
		"--expires-in", expires, "--dry-run", "--out", file)
	if code != 0 {
		n.t.Fatalf("exit %d: %s%s", code, out, errs)
	}
	return file
}

// answerID is the id in the output of tx submit.
func answerID(t *testing.T, out string) ledger.TxID {
	t.Helper()
	var answer api.TxAnswer
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return answer.ID
}

// p2p is the address of the replica's process for other replicas.
func (r *replica) p2p() string {
	at, ok, err := config.ReadRunning(r.home)
	if err != nil || !ok || len(at.P2P) == 0 {
		r.n.t.Fatalf("%s has not published its address: %v", r.name(), err)
	}
	return at.P2P[0]
}
