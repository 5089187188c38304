package node

import (
	"strings"
	"testing"
	"time"

	"bdtnode/node/engine"
)

// TestReadiness: a replica is ready only if n-f engines answer and waiting work is committed in time. Otherwise it
// reports the reason.
func TestReadiness(t *testing.T) {
	good := reading{replicas: 4, quorum: 3, answering: 3}
	for _, x := range []struct {
		name            string
		change          func(r *reading)
		lacks, degraded string // expected reports, empty for none
	}{
		{"ready", func(*reading) {}, "", ""},
		{"idle without a quorum", func(r *reading) { r.answering = 2 }, "2 of 4 replicas answer, 3 needed", ""},
		{"work waits for a short time", func(r *reading) { r.waited, r.work = 4*time.Second, engine.Batches }, "", ""},
		{"no progress with a quorum", func(r *reading) { r.waited, r.work = 7*time.Second, engine.Transactions },
			"no commit for 7 s although transactions wait; 3 of 4 replicas answer", ""},
		{"no progress without a quorum", func(r *reading) { r.waited, r.work, r.answering = 12*time.Second, engine.Batches, 2 },
			"no commit for 12 s although a batch waits; 2 of 4 replicas answer, 3 needed", ""},
		{"catching up", func(r *reading) { r.behind, r.height = true, 9 }, "catching up: at height 9", ""},
		{"signs nothing yet", func(r *reading) { r.unsigned, r.answers, r.needed, r.answering = true, 1, 2, 2 },
			"signs nothing until 2 peers have answered this start: 1 have; 2 of 4 replicas answer, 3 needed", ""},
		{"a peer runs as two processes", func(r *reading) { r.twins = []twin{{2, 5, 6, 12 * time.Second}} }, "",
			"replica 2 runs as two processes: start 5 was fenced 12s ago, start 6 is kept"},
		{"clock behind", func(r *reading) { r.clockOff, r.clockOffset = true, time.Hour },
			"the clock is 1h0m0s behind the shard's", "the clock is 1h0m0s behind the shard's"},
		{"clock ahead", func(r *reading) { r.clockOff, r.clockOffset = true, -2*time.Second }, "", "the clock is 2s ahead of the shard's"},
	} {
		r := good
		x.change(&r)
		if got := r.notReady(); !strings.HasPrefix(got, x.lacks) || (got == "") != (x.lacks == "") {
			t.Errorf("%s: %q, want %q", x.name, got, x.lacks)
		}
		if got := r.degraded(); !strings.HasPrefix(got, x.degraded) || (got == "") != (x.degraded == "") {
			t.Errorf("%s: degraded %q, want %q", x.name, got, x.degraded)
		}
	}
}
