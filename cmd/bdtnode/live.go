package main

import (
	"context"
	"fmt"
	"time"

	"bdtnode/cmd/bdtnode/load"
	"bdtnode/cmd/bdtnode/netup"
	"bdtnode/node/api"
)

// How often the live line is renewed: on a terminal, and as plain lines elsewhere.
const (
	liveEvery  = 500 * time.Millisecond
	plainEvery = 10 * time.Second
)

// liveLine tells how a network is doing, on standard error: one line drawn over itself on a terminal, else a line now
// and then.
type liveLine struct {
	app     *app
	cluster *netup.Cluster
	live    bool
	drawn   bool
	last    api.Status
	at      time.Time
}

func (a *app) newLiveLine(c *netup.Cluster) *liveLine {
	return &liveLine{app: a, cluster: c, live: a.print.Live()}
}

// every is the pause between two renewals.
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
		if st, ok := l.status(ctx); ok {
			l.draw(st, l.rate(st), time.Duration(st.LatencyMS*float64(time.Millisecond)), "")
		}
	}
}

// sample renews the line with how a load stands, which is told every second.
func (l *liveLine) sample(ctx context.Context, s load.Sample) {
	if !l.live && int(s.Elapsed.Round(time.Second)/time.Second)%int(plainEvery/time.Second) != 0 {
		return
	}
	if st, ok := l.status(ctx); ok {
		l.draw(st, s.Rate, s.P50, fmt.Sprintf(", %d settled, %d rejected, %d open", s.Settled, s.Rejected, s.Open))
	}
}

// status is that of the first replica that answers.
func (l *liveLine) status(ctx context.Context) (api.Status, bool) {
	for _, r := range l.cluster.Alive() {
		asked, cancel := context.WithTimeout(ctx, probeTimeout)
		st, err := r.Client.Status(asked)
		cancel()
		if err == nil {
			return st, true
		}
	}
	return api.Status{}, false
}

// rate is how many transactions a second were ordered since the last time.
func (l *liveLine) rate(st api.Status) float64 {
	last, at := l.last, l.at
	l.last, l.at = st, time.Now()
	if at.IsZero() || st.TxsOrdered < last.TxsOrdered {
		return 0
	}
	return float64(st.TxsOrdered-last.TxsOrdered) / l.at.Sub(at).Seconds()
}

func (l *liveLine) draw(st api.Status, rate float64, latency time.Duration, more string) {
	waited := "-"
	if latency > 0 {
		waited = fmt.Sprintf("%.1f ms", float64(latency)/float64(time.Millisecond))
	}
	text := fmt.Sprintf("height %d, %.0f tx/s, latency %s, %d of %d replicas%s",
		st.Height, rate, waited, len(l.cluster.Alive()), len(l.cluster.Replicas), more)
	if !l.live {
		l.app.print.Note("%s", text)
		return
	}
	fmt.Fprintf(l.app.print.Err, "\r\x1b[K%s", text)
	l.drawn = true
}

// end leaves the line on the terminal as it is.
func (l *liveLine) end() {
	if l.drawn {
		fmt.Fprintln(l.app.print.Err)
	}
}
