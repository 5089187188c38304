package main

import (
	"context"
	"fmt"
	"time"

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

// until renews the line until the context ends.
func (l *liveLine) until(ctx context.Context) {
	tick := time.NewTicker(l.every())
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			l.renew(ctx, "")
		}
	}
}

// renew asks a replica for its height, and draws. Extra comes behind.
func (l *liveLine) renew(ctx context.Context, extra string) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	for _, r := range l.cluster.Alive() {
		st, err := r.Client.Status(ctx)
		if err != nil {
			continue
		}
		now := time.Now()
		rate := 0.0
		if since := now.Sub(l.at).Seconds(); !l.at.IsZero() && st.TxsOrdered >= l.last.TxsOrdered {
			rate = float64(st.TxsOrdered-l.last.TxsOrdered) / since
		}
		latency := "-"
		if st.LatencyMS > 0 {
			latency = fmt.Sprintf("%.1f ms", st.LatencyMS)
		}
		l.last, l.at = st, now
		l.draw(fmt.Sprintf("height %d, %.0f tx/s, latency %s, %d of %d replicas%s",
			st.Height, rate, latency, len(l.cluster.Alive()), len(l.cluster.Replicas), extra))
		return
	}
}

func (l *liveLine) draw(text string) {
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
