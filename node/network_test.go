package node

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bdtnode/node/api"
	"bdtnode/node/foreign"
	"bdtnode/protocols"
)

// TestReadReport: a replica's answer counts only if it is a report of that replica, and none of its texts can change a
// terminal.
func TestReadReport(t *testing.T) {
	good := foreign.EncodeReply(api.Report{Shard: 1, Replica: 2, Height: 7, NotReady: "2 of 4 replicas answer, 3 needed"}, nil)
	if r, err := readReport(good, 1, 2); err != nil || r.Height != 7 || r.NotReady == "" {
		t.Errorf("%+v %v", r, err)
	}
	for want, raw := range map[string][]byte{
		"malformed reply":               []byte("no JSON"),
		"malformed reply: ":             good[:len(good)-3],
		"malformed result":              []byte(`{"result":{"height":7}}`), // not in decimal
		"it is stopping":                foreign.EncodeReply(nil, errors.New("it is stopping")),
		"reports as replica 3 of":       foreign.EncodeReply(api.Report{Shard: 1, Replica: 3}, nil),
		"reports as replica 2 of sh":    foreign.EncodeReply(api.Report{Replica: 2}, nil),
		"reports as replica 0":          []byte(`{"result":null}`),
		"has control characters":        foreign.EncodeReply(api.Report{Shard: 1, Replica: 2, NotReady: "\x1b[2J"}, nil),
		"report has control characters": foreign.EncodeReply(api.Report{Shard: 1, Replica: 2, Degraded: "a\nb"}, nil),
	} {
		if r, err := readReport(raw, 1, 2); err == nil || !strings.Contains(err.Error(), want) || r.Height != 0 || r.Peers != nil {
			t.Errorf("%s: %+v %v, want %q", raw, r, err, want)
		}
	}
}

// TestReportsFit: the report of a replica in the largest shard is below the bound of an answer.
func TestReportsFit(t *testing.T) {
	trip, silent, rate := int64(math.MaxInt32), int64(math.MaxInt64), math.Pi*1e6
	r := api.Report{Shard: math.MaxUint16, Replica: math.MaxUint16, Epoch: math.MaxUint64, Height: math.MaxUint64, Rate: &rate, LatencyMS: &rate, WaitingMS: silent}
	for i := range protocols.MaxReplicas - 1 {
		r.Peers = append(r.Peers, api.PeerReport{Replica: uint16(i), Answers: true, SilentMS: &silent, RoundTripUS: &trip, Height: math.MaxUint64})
	}
	raw, err := json.Marshal(r)
	if err != nil || len(raw)+8<<10 > maxReport { // the texts of its faults may take 8 KiB
		t.Errorf("%d bytes, at most %d are read: %v", len(raw), maxReport, err)
	}
}

// TestReportsAreAskedOnceASecond: concurrent calls share the same answers, later ones too for a second, and a call that has
// ended asks nobody.
func TestReportsAreAskedOnceASecond(t *testing.T) {
	var o otherReports
	var asked atomic.Int64
	ask := func() ([]api.Report, []api.Unreported) {
		return []api.Report{{Height: uint64(asked.Add(1))}}, []api.Unreported{{Replica: 3, Reason: "no report"}}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if r, f, _ := o.get(ended, ask); r != nil || f != nil || asked.Load() != 0 {
		t.Errorf("%v %v, asked %d times", r, f, asked.Load())
	}
	o.get(t.Context(), ask)
	o.at = time.Now().Add(time.Hour) // no call finds it old
	var calls sync.WaitGroup
	for range 100 {
		calls.Go(func() {
			if r, f, _ := o.get(t.Context(), ask); len(r) != 1 || r[0].Height != 1 || len(f) != 1 {
				t.Errorf("%v %v", r, f)
			}
		})
	}
	calls.Wait()
	o.at = time.Now().Add(-reportAge - time.Millisecond)
	if r, _, _ := o.get(t.Context(), ask); r[0].Height != 2 || asked.Load() != 2 {
		t.Errorf("%v, asked %d times", r, asked.Load())
	}
}

// TestRate: the rate is that over the last ten seconds, and not known in the first one.
func TestRate(t *testing.T) {
	var r rate
	began := time.Unix(0, 0)
	at := func(s float64) time.Time { return began.Add(time.Duration(s * float64(time.Second))) }
	r.note(at(0), 0)
	if v := r.read(at(0.5), 10); v != nil {
		t.Errorf("%v in the first second", *v)
	}
	r.note(at(0.5), 1000) // too early, left out
	for s := range 20 {
		r.note(at(float64(s)), uint64(100*max(0, s-5))) // 0 for five seconds, then 100 a second
	}
	for _, c := range []struct {
		at   float64
		txs  uint64
		want float64
	}{{19, 1400, 100}, {29, 1400, 50}} { // from the oldest reading, of second 9
		if v := r.read(at(c.at), c.txs); v == nil || math.Abs(*v-c.want) > 1e-9 {
			t.Errorf("at %v s: %v, want %v", c.at, v, c.want)
		}
	}
}

// FuzzReadReport: no answer of a replica makes readReport panic, and an accepted one is a report of that replica without
// control characters.
func FuzzReadReport(f *testing.F) {
	f.Add(foreign.EncodeReply(api.Report{Shard: 1, Replica: 2, Height: 7, NotReady: "2 of 4 replicas answer, 3 needed"}, nil))
	f.Add(foreign.EncodeReply(nil, errors.New("it is stopping")))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := readReport(raw, 1, 2)
		if err == nil && (r.Shard != 1 || r.Replica != 2 || strings.ContainsAny(r.NotReady+r.Degraded, "\x00\x1b\n\r\u009b")) {
			t.Errorf("accepted: %q", raw)
		}
	})
}
