package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"bdtnode/node/api"
)

// realEnv makes the replicas that tests start real ones, see TestMain.
const realEnv = "BDTNODE_TEST_REAL_REPLICAS"

// TestRealNetwork: payments on a network of real processes survive the death of one replica, and of all of them.
func TestRealNetwork(t *testing.T) {
	t.Setenv(realEnv, "1")
	home := filepath.Join(t.TempDir(), "net")
	n := startNet(t, "--home", home)
	n.ready(t)
	signed := filepath.Join(t.TempDir(), "pay.tx")
	pay := func(args ...string) api.TxAnswer {
		t.Helper()
		var answer api.TxAnswer
		r := bdtnode(t, append([]string{"tx", "send", "--from", "alice", "--to", "bob", "--amount", "5", "-o", "json"}, args...)...)
		r.json(t, &answer)
		if r.code != 0 || answer.State != api.StateSettled {
			t.Fatalf("%d %s%s", r.code, r.out, r.err)
		}
		return answer
	}
	first := pay("--out", signed, "--wait", "certified")
	syscall.Kill(n.intro.Replicas[3].PID, syscall.SIGKILL) // not the leader: leaving it takes the fallback
	second := pay()
	for _, r := range n.intro.Replicas[:3] {
		syscall.Kill(r.PID, syscall.SIGKILL)
	}
	<-n.done
	if n.code == 0 {
		t.Error("a network that lost all its replicas ended well")
	}

	n = startNet(t, "--home", home)
	n.ready(t)
	for _, before := range []api.TxAnswer{first, second} {
		var now api.TxAnswer
		bdtnode(t, "tx", "get", before.ID.String(), "-o", "json").json(t, &now)
		if now.State != api.StateSettled || now.Height != before.Height {
			t.Errorf("after the restart %+v, before %+v", now, before)
		}
	}
	var again api.TxAnswer
	r := bdtnode(t, "tx", "submit", signed, "-o", "json")
	r.json(t, &again)
	if r.code != 0 || again.ID != first.ID || again.State != first.State || again.Height != first.Height {
		t.Errorf("submitted again: %d %+v, at first %+v", r.code, again, first)
	}
	pay()
	var b balance
	bdtnode(t, "query", "balance", "bob", "-o", "json").json(t, &b)
	if b.Balance != 1_000_015 {
		t.Errorf("bob has %d", b.Balance)
	}
	n.stop(t)
}

// TestRealLoad: the report of a load on real replicas adds up.
func TestRealLoad(t *testing.T) {
	t.Setenv(realEnv, "1")
	r := bdtnode(t, "net", "up", "--shards", "1", "--for", "2s", "--load", "100", "--invalid", "0.1", "-o", "json")
	var got report
	r.json(t, &got)
	if r.code != 0 || got.Submitted != 200 || got.Pending != 0 || got.Rejected != 20 || got.Settled != 180 {
		t.Errorf("exit %d %+v\n%s", r.code, got, r.err)
	}
	if !got.HeadersAgree || !got.ValueConserved || got.Latency.P50 <= 0 || got.TPS <= 0 || got.NodeCPUSeconds <= 0 || got.SyncsPerTx <= 0 {
		t.Errorf("%+v", got)
	}
}

// replicaOfTests is what start runs when a test started it.
func replicaOfTests(a *app) {
	a.open = openFake
	if os.Getenv(realEnv) != "" {
		a.open = openReplica
	}
}
