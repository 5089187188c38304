package node

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"bdtnode/node/engine"
	"bdtnode/node/loglimit"
	"bdtnode/protocols"
)

// lines is a log.
type lines []string

func (l *lines) put(level, event string, fields []any) {
	text := level + " " + event
	for i := 0; i+1 < len(fields); i += 2 {
		text += fmt.Sprintf(" %v=%v", fields[i], fields[i+1])
	}
	*l = append(*l, text)
}
func (l *lines) Debugw(event string, fields ...any) { l.put("debug", event, fields) }
func (l *lines) Infow(event string, fields ...any)  { l.put("info", event, fields) }
func (l *lines) Warnw(event string, fields ...any)  { l.put("warn", event, fields) }
func (l *lines) Errorw(event string, fields ...any) { l.put("error", event, fields) }

// take returns the lines since the last call.
func (l *lines) take() string {
	text := strings.Join(*l, "\n")
	*l = nil
	return text
}

// TestHealthIsLoggedOnce: each change of readiness, each stall and each catching up has one line at its begin and at its
// end, with the cause and the duration.
func TestHealthIsLoggedOnce(t *testing.T) {
	var out lines
	began := time.Unix(0, 0)
	l := newHealthLog(loglimit.Every(0, &out), began)
	good := health{reading: reading{replicas: 4, quorum: 3, answering: 4, height: 7}, epoch: 2, leader: 1, target: 7}
	at := func(seconds float64, change func(h *health), want ...string) {
		t.Helper()
		h := good
		change(&h)
		now := began.Add(time.Duration(seconds * float64(time.Second)))
		l.look(now, &h)
		got := out.take()
		if len(want) == 0 && got != "" {
			t.Errorf("after %v s: %s", seconds, got)
		}
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("after %v s: %q, want %q", seconds, got, w)
			}
		}
		l.look(now, &h)
		if again := out.take(); again != "" {
			t.Errorf("logged again: %s", again)
		}
	}
	none := func(*health) {}
	few := func(h *health) { h.answering = 2 }
	at(1, few, "warn not ready cause=no quorum reason=2 of 4 replicas answer, 3 needed height=7 epoch=2 leader=1 answering=2 replicas=4")
	at(3, none, "info ready after=2s height=7")
	at(4, none)
	waits := func(seconds int) func(h *health) {
		return func(h *health) { h.waited, h.work = time.Duration(seconds)*time.Second, engine.Batches }
	}
	at(8, waits(4))
	at(9, waits(5), "warn not ready cause=stalled reason=no commit for 5 s although a batch waits", "warn stalled waiting=5s work=a batch waits")
	at(20, waits(16))
	at(21, none, "info ready after=12s", "info commits resumed after=17s")
	behind := func(height uint64) func(h *health) {
		return func(h *health) { h.behind, h.height, h.target = true, height, 100 }
	}
	at(30, behind(10), "warn not ready cause=catching up reason=catching up: at height 10", "info catching up height=10 target=100 blocks_left=90")
	at(35, behind(20))
	at(40, behind(60), "info catching up height=60 target=100 blocks_left=40 blocks_per_second=5")
	at(44, func(h *health) { h.height, h.target = 100, 100 }, "info ready after=14s height=100", "info caught up height=100 blocks=90 after=14s")
	at(50, func(h *health) { h.sync = 2100 * time.Millisecond }, "warn the disk is slow sync_took=2.1s limit=1s")
	at(55, func(h *health) { h.sync = 3 * time.Second })
	at(61, none, "info the disk is fast again after=11s")
	at(70, func(h *health) { h.full, h.txs, h.bytes = true, 9000, 32<<20 }, "warn the mempool is full transactions=9000 bytes=33554432")
	at(72, func(h *health) { h.txs = 10 }, "info the mempool has room again after=2s transactions=10 bytes=0")
	at(80, func(h *health) { h.frozen.Add(3) }, "error a lane is frozen replica=3")
	at(90, none)
	at(91, func(h *health) { h.frozen.Add(3) })
}

// TestFaultsOfAReadyReplica: each fault that may exist while a replica is ready has its sentence in degraded.
func TestFaultsOfAReadyReplica(t *testing.T) {
	for want, r := range map[string]reading{
		"":                       {},
		"the clock is 2s behind": {clockOff: true, clockOffset: 2 * time.Second},
		"the clock is 2s ahead":  {clockOff: true, clockOffset: -2 * time.Second},
		"replica 3 runs as two":  {twins: []twin{{replica: 3}}},
		"a sync of the consensus store takes 2.1s": {sync: 2100 * time.Millisecond},
		"it has 7 transactions of 2.0 MiB":         {full: true, txs: 7, bytes: 2 << 20},
		"the lane of replica 1 is frozen":          {frozen: protocols.Set{1 << 1}},
		"no replica of shard 2 is connected":       {cut: []uint16{2}},
	} {
		if got := r.degraded(); !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%q, want %q", got, want)
		}
	}
	var f fullness
	for _, c := range []struct {
		seconds int64
		refused uint64
		full    bool
	}{{0, 0, false}, {1, 3, true}, {10, 3, true}, {11, 3, false}, {12, 4, true}} {
		if got := f.lately(time.Unix(c.seconds, 0), c.refused); got != c.full {
			t.Errorf("%+v: %v", c, got)
		}
	}
	alone := reading{replicas: 4, quorum: 3, answering: 1, unsigned: true, needed: 2, unreached: []string{"0/0"}}
	if got, want := alone.notReady(), "1 of 4 replicas answer, 3 needed; not connected to bootstrap replica 0/0"; !strings.HasSuffix(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestSuppressedChangeIsLoggedLater: a change whose line the limiter suppresses is logged later if it lasts, so the log
// never ends with a state that is past.
func TestSuppressedChangeIsLoggedLater(t *testing.T) {
	var out lines
	l := newHealthLog(loglimit.Every(50*time.Millisecond, &out), time.Now())
	ready := health{reading: reading{replicas: 4, quorum: 3, answering: 4}}
	not := health{reading: reading{replicas: 4, quorum: 3, answering: 1}}
	for range 100 {
		l.look(time.Now(), &not)
		l.look(time.Now(), &ready)
	}
	if len(out) > 4 {
		t.Errorf("%d lines at once", len(out))
	}
	for end := time.Now().Add(10 * time.Second); !strings.HasPrefix(out[len(out)-1], "info ready"); time.Sleep(time.Millisecond) {
		if l.look(time.Now(), &ready); time.Now().After(end) {
			t.Fatalf("the last line is %q", out[len(out)-1])
		}
	}
}
