package node

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"bdtnode/node/engine"
	"bdtnode/node/loglimit"
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
