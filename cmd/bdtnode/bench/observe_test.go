package bench

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"bdtnode/node/api"
)

// stream makes a stream of events from lines with the cursor and the kind of each, or with a cursor alone.
func stream(lines ...string) string {
	var b strings.Builder
	for _, line := range lines {
		id, kind, event := strings.Cut(line, " ")
		fmt.Fprintf(&b, "id: %s\n", id)
		if event {
			fmt.Fprintf(&b, "event: %s\ndata: {\"kind\":%q}\n", kind, kind)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// TestFollowerFindsGaps: a follower counts the events, finds each missing one, and no other, however the bytes arrive.
func TestFollowerFindsGaps(t *testing.T) {
	for _, c := range []struct {
		name         string
		lines        []string
		events, gaps uint64
	}{
		{"nothing", nil, 0, 0},
		{"complete", []string{"0/6", "0/7.1 block", "0/7.2 epoch", "0/7.5 evidence", "0/7.67 settlement", "0/7.69 verdict", "0/8.1 block", "0/8.67 verdict", "0/8.67", "0/9.1 block"}, 8, 0},
		{"a pause", []string{"0/6", "0/6", "0/7.1 block", "0/7", "0/8.1 block"}, 2, 0},
		{"a missing block", []string{"0/6", "0/7.1 block", "0/9.1 block"}, 2, 1},
		{"a missing first block", []string{"0/6", "0/8.1 block"}, 1, 1},
		{"a missing block event", []string{"0/6", "0/7.1 block", "0/8.67 settlement"}, 2, 1},
		{"a missing receipt", []string{"0/6", "0/7.1 block", "0/7.67 settlement", "0/7.71 settlement"}, 3, 1},
		{"a repeated receipt", []string{"0/6", "0/7.1 block", "0/7.67 settlement", "0/7.67 settlement"}, 3, 1},
		{"a gap", []string{"0/6", "0/9 gap"}, 1, 1},
		{"an end", []string{"0/6", "0/6 end"}, 1, 1},
		{"no place", []string{"x", "0/7.1 block"}, 1, 2},
	} {
		text := stream(c.lines...)
		for name, from := range map[string]io.Reader{"whole": strings.NewReader(text), "by bytes": iotest.OneByteReader(strings.NewReader(text))} {
			f := follower{buffer: make([]byte, readBuffer)}
			if err := f.read(from); err != io.EOF || f.events != c.events || f.gaps != c.gaps || f.bytes != uint64(len(text)) {
				t.Errorf("%s, %s: %d events, %d gaps, %d bytes, %v; want %d, %d, %d; %s", c.name, name, f.events, f.gaps, f.bytes, err, c.events, c.gaps, len(text), f.first)
			}
		}
	}
}

// TestObserve: all streams are followed and each replica is scraped; a stream that ends and a scrape without an answer are
// counted with the reason.
func TestObserve(t *testing.T) {
	var broken atomic.Bool
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/metrics" && broken.Load():
			w.WriteHeader(http.StatusInternalServerError)
		case r.URL.Path == "/metrics":
			_, _ = io.WriteString(w, "up 1\n")
		default:
			w.Header().Set("Content-Type", api.EventsType)
			_, _ = io.WriteString(w, stream("0/6", "0/7.1 block", "0/7.67 settlement"))
			_ = http.NewResponseController(w).Flush()
			if !broken.Load() {
				<-r.Context().Done()
			}
		}
	}))
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got, err := Observe(ctx, []string{s.URL, s.URL}, 5, func() { time.AfterFunc(700*time.Millisecond, cancel) })
	if err != nil || got.Followers != 5 || got.Events != 10 || got.EventBytes == 0 || got.Gaps != 0 || got.Broken != 0 ||
		got.Scrapes != 2 || got.ScrapeBytes != 10 || got.ScrapeMS <= 0 || got.Failed != 0 || got.Problem != "" || got.CPUSeconds <= 0 {
		t.Errorf("%+v, %v", got, err)
	}
	broken.Store(true)
	got, err = Observe(t.Context(), []string{s.URL}, 2, func() {})
	if err != nil || got.Broken != 2 || !strings.Contains(got.Problem, "ended") {
		t.Errorf("%+v, %v", got, err)
	}
	s.Close()
	if _, err = Observe(t.Context(), []string{s.URL}, 2, func() { t.Error("ready without streams") }); err == nil {
		t.Error("no error without a replica")
	}
}
