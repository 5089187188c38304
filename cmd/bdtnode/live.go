package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"bdtnode/cmd/bdtnode/load"
	"bdtnode/cmd/bdtnode/netup"
	"bdtnode/node/api"
)

// Intervals at which the live line is renewed: on a terminal, and as separate lines elsewhere.
const (
	liveEvery  = 500 * time.Millisecond
	plainEvery = 10 * time.Second
)

// liveLine shows the state of a running network on standard error. On a terminal one line is redrawn in place;
// elsewhere a new line is printed at each interval.
type liveLine struct {
	app     *app
	cluster *netup.Cluster
	live    bool
	mu      sync.Mutex // held during a write
	drawn   int        // number of characters drawn on the terminal
	last    uint64     // ordered transactions at the last sample
	at      time.Time  // time of the last sample
}

func (a *app) newLiveLine(c *netup.Cluster) *liveLine {
	return &liveLine{app: a, cluster: c, live: a.print.Live()}
}

// every is the interval between two renewals.
func (l *liveLine) every() time.Duration {
	if l.live {
		return liveEvery
	}
	return plainEvery
}

// keep renews the line until the context ends.
func (l *liveLine) keep(ctx context.Context) {
	tick := time.NewTicker(l.every())
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if all := l.statuses(ctx); len(all) > 0 {
			l.draw(all, l.rate(all), latencyText(slowest(all), 0), "")
		}
	}
}

// sample renews the line with the state of a load, which reports once a second.
func (l *liveLine) sample(ctx context.Context, s load.Sample) {
	if !l.live && int(s.Elapsed.Round(time.Second)/time.Second)%int(plainEvery/time.Second) != 0 {
		return
	}
	if all := l.statuses(ctx); len(all) > 0 {
		l.draw(all, s.Rate, latencyText(s.P50, s.CrossP50), countsText(s))
	}
}

func countsText(s load.Sample) string {
	text := fmt.Sprintf(", %d settled, %d rejected, %d open", s.Settled, s.Rejected, s.Open)
	if s.Unsent > 0 {
		text += fmt.Sprintf(", %d unsent", s.Unsent)
	}
	return text
}

// statuses returns, for each shard, the status of the first replica that answers.
func (l *liveLine) statuses(ctx context.Context) []api.Status {
	var all []api.Status
	for _, r := range l.cluster.Alive() {
		if n := len(all); n > 0 && all[n-1].Shard == r.Shard {
			continue
		}
		asked, cancel := context.WithTimeout(ctx, probeTimeout)
		st, err := r.Client.Status(asked)
		cancel()
		if err == nil {
			st.Shard = r.Shard
			all = append(all, st)
		}
	}
	return all
}

// rate is the number of transactions a second that all shards ordered since the last sample.
func (l *liveLine) rate(all []api.Status) float64 {
	var ordered uint64
	for i := range all {
		ordered += all[i].TxsOrdered
	}
	last, at := l.last, l.at
	l.last, l.at = ordered, time.Now()
	if at.IsZero() || ordered < last {
		return 0
	}
	return float64(ordered-last) / l.at.Sub(at).Seconds()
}

// slowest is the highest latency of all shards.
func slowest(all []api.Status) time.Duration {
	var ms float64
	for i := range all {
		ms = max(ms, all[i].LatencyMS)
	}
	return time.Duration(ms * float64(time.Millisecond))
}

func latencyText(inside, across time.Duration) string {
	text := "-"
	if inside > 0 {
		text = fmt.Sprintf("%.1f ms", inside.Seconds()*1000)
	}
	if across > 0 {
		text += fmt.Sprintf(", %.1f ms across shards", across.Seconds()*1000)
	}
	return text
}

// maxHeights is the number of shards up to which every height is shown. With more shards, the lowest and the highest
// are shown.
const maxHeights = 4

func heightsText(all []api.Status) string {
	heights := make([]string, len(all))
	lowest, highest := all[0].Height, all[0].Height
	for i := range all {
		heights[i] = strconv.FormatUint(all[i].Height, 10)
		lowest, highest = min(lowest, all[i].Height), max(highest, all[i].Height)
	}
	switch {
	case len(all) == 1:
		return "height " + heights[0]
	case len(all) <= maxHeights:
		return "heights " + strings.Join(heights, "/")
	}
	return fmt.Sprintf("heights %d to %d", lowest, highest)
}

// longWait is the waiting time from which the oldest uncommitted work is shown.
const longWait = time.Second

// answeringText is the number of replicas that answer, as the first replica of each shard counts them, and the time
// without a commit if work has waited for longer than longWait.
func (l *liveLine) answeringText(all []api.Status) string {
	answering, oldest := 0, time.Duration(0)
	for i := range all {
		answering += all[i].Answering
		oldest = max(oldest, time.Duration(all[i].WaitingMS)*time.Millisecond)
	}
	text := fmt.Sprintf("%d of %d replicas answer", answering, len(l.cluster.Replicas))
	if oldest >= longWait {
		text += fmt.Sprintf(", no commit for %.0f s", oldest.Seconds())
	}
	return text
}

func (l *liveLine) draw(all []api.Status, rate float64, latency, more string) {
	text := fmt.Sprintf("%s, %.0f tx/s, latency %s, %s%s", heightsText(all), rate, latency, l.answeringText(all), more)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.live {
		l.app.print.Note("%s", text)
		return
	}
	width := l.app.print.Width() // read at each call, since the window may change
	text = fit(text, width)
	fmt.Fprint(l.app.print.Err, erase(l.drawn, width)+text)
	l.drawn = utf8.RuneCountInString(text)
}

// fit cuts a text to the columns of a terminal. The last column stays free, since some terminals wrap a line that fills
// it. A width of 0 means unknown.
func fit(text string, width int) string {
	if width <= 0 || utf8.RuneCountInString(text) < width {
		return text
	}
	runes := []rune(text)
	if width == 1 {
		return ""
	}
	return string(runes[:width-2]) + "…"
}

// erase removes a drawn line with that many characters. The line covers several rows if the terminal has become
// narrower since.
func erase(drawn, width int) string {
	if width > 0 && drawn > width {
		return fmt.Sprintf("\r\x1b[%dA\x1b[J", (drawn-1)/width)
	}
	return "\r\x1b[K"
}

// note prints a message on a line of its own, in place of the live line.
func (l *liveLine) note(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.drawn > 0 {
		fmt.Fprint(l.app.print.Err, erase(l.drawn, l.app.print.Width()))
		l.drawn = 0
	}
	l.app.print.Note(format, args...)
}

// end leaves the live line on the terminal and starts a new line.
func (l *liveLine) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.drawn > 0 {
		fmt.Fprintln(l.app.print.Err)
	}
}
