package main

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/node/api"
)

// TestNetStatusWithDeadReplicas: net status names the replicas that do not answer and the shards that nobody reports on,
// and takes less than a second although one URL accepts connections and never answers.
func TestNetStatusWithDeadReplicas(t *testing.T) {
	n := newNetwork(t)
	trip, silent := int64(1500), int64(12_000)
	n.reports = func(bool) api.NetworkReports {
		return api.NetworkReports{
			Network: n.network.String(), Name: "fake", Shards: []api.ShardSize{{Replicas: 4, Needed: 3}, {Replicas: 4, Needed: 3}},
			Reports: []api.Report{{
				Replica: 0, Epoch: 2, Leader: 1, Height: 9, NotReady: "2 of 4 replicas answer, 3 needed", Answering: 2, WaitingMS: 7000,
				Peers: []api.PeerReport{{Replica: 1, Answers: true, RoundTripUS: &trip, Height: 7}, {Replica: 2, SilentMS: &silent, Height: 5}, {Replica: 3}},
			}},
		}
	}
	frozen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer frozen.Close()
	began := time.Now()
	var got networkStatus
	r := bdtnode(t, "net", "status", n.url, frozen.Addr().String(), "-o", "json")
	if took := time.Since(began); took > 2*time.Second || networkTime >= time.Second { // the machine may be busy
		t.Errorf("it took %v, and the questions end after %v", took, networkTime)
	}
	r.json(t, &got)
	if r.code != output.ExitUnhealthy || len(got.Unreachable) != 1 || len(got.Shards) != 2 || len(got.Replicas) != 8 {
		t.Fatalf("exit %d %+v %s", r.code, got, r.err)
	}
	for i, want := range []api.Health{api.HealthNotReady, api.HealthAnswers, api.HealthSilent, api.HealthSilent, api.HealthUnknown} {
		if got.Replicas[i].Health != want {
			t.Errorf("replica %d is %q, want %q: %+v", i, got.Replicas[i].Health, want, got.Replicas[i])
		}
	}
	if s := got.Shards; s[0].Quorum != api.QuorumNone || *s[0].WaitingMS != 7000 || s[1].Quorum != api.QuorumUnknown || s[1].Height != nil || s[0].Rate != nil {
		t.Errorf("%+v", s)
	}
	if x := got.Replicas; *x[1].Lag != 2 || !*x[1].Leader || x[3].Height != nil || !strings.Contains(x[2].Reason, "no answer for 12s") || x[4].Leader != nil {
		t.Errorf("%+v", x)
	}
	text := bdtnode(t, "net", "status", n.url)
	for _, want := range []string{"none", "unknown", "1.5 ms", "12.0 s", "no replica of the shard reports"} {
		if !strings.Contains(text.out, want) {
			t.Errorf("no %q in\n%s", want, text.out)
		}
	}
}

// TestStatusWatch: the same of status, which notes that a replica does not answer and continues.
func TestStatusWatch(t *testing.T) {
	n := newNetwork(t)
	n.status.Ready, n.status.NotReady = false, "catching up"
	for _, c := range []struct{ url, note string }{{n.url, ""}, {"http://127.0.0.1:1", "connection refused"}} {
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		r := bdtnodeUntil(ctx, "status", "--node", c.url, "--watch", "-o", "json")
		cancel()
		if lines := strings.Count(r.out, "\n"); r.code != 0 || (c.note == "") != (lines > 0) || !strings.Contains(r.err, c.note) {
			t.Errorf("%s: exit %d, %d lines: %s", c.url, r.code, lines, r.err)
		}
	}
}

// TestNetStatusWatch: --watch ends with the context and exit code 0, and each answer is one line of JSON.
func TestNetStatusWatch(t *testing.T) {
	n := newNetwork(t)
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	r := bdtnodeUntil(ctx, "net", "status", n.url, "--watch", "-o", "json")
	if lines := strings.Count(r.out, "\n"); r.code != 0 || lines < 1 {
		t.Errorf("exit %d, %d lines: %s", r.code, lines, r.err)
	}
}
