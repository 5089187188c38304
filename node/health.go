package node

import (
	"context"
	"time"

	"bdtnode/node/engine"
	"bdtnode/node/loglimit"
	"bdtnode/protocols"
)

// The times between two looks at the state of the replica for its log: idleHealthEvery while the replica is ready and no
// transaction waits, else healthEvery.
const (
	healthEvery     = 250 * time.Millisecond
	idleHealthEvery = time.Second
)

// health is a state of the replica that its log reports.
type health struct {
	reading
	epoch  uint64
	leader uint16
	target uint64 // greatest height that a peer has shown
}

// healthLog logs the changes of a replica's readiness, its stalls, and its progress while it catches up. Peers can cause
// all of these, so the lines are limited. A change whose line is suppressed is logged later, if it lasts.
type healthLog struct {
	to  *loglimit.Logger
	was obstacle  // last logged
	at  time.Time // of the last logged change of readiness; the start at first

	stalled time.Time // begin of the logged stall; zero if there is none

	slow   time.Time     // begin of the logged slow syncs; zero if there are none
	full   time.Time     // begin of the logged full mempool; zero if it has room
	frozen protocols.Set // lanes whose freeze is logged

	behind   time.Time // begin of the logged catching up; zero if there is none
	from     uint64    // height then
	reported time.Time // time and height of the last line about it
	height   uint64
}

// unlogged is the obstacle before the first line.
const unlogged obstacle = "unlogged"

func newHealthLog(to *loglimit.Logger, now time.Time) *healthLog {
	return &healthLog{to: to, was: unlogged, at: now}
}

// look logs the changes since the last look.
func (l *healthLog) look(now time.Time, h *health) {
	l.readiness(now, h)
	l.stall(now, h)
	l.disk(now, h)
	l.mempool(now, h)
	l.lanes(h)
	l.catchUp(now, h)
}

func (l *healthLog) readiness(now time.Time, h *health) {
	is := h.obstacle()
	if is == l.was {
		return
	}
	lasted := now.Sub(l.at).Round(time.Millisecond).String()
	var written bool
	if is == noObstacle {
		written = l.to.Infow("ready", "own", "after", lasted, "height", h.height, "epoch", h.epoch, "leader", h.leader,
			"answering", h.answering, "replicas", h.replicas)
	} else {
		written = l.to.Warnw("not ready", is, "cause", string(is), "reason", h.notReady(), "height", h.height, "epoch", h.epoch,
			"leader", h.leader, "answering", h.answering, "replicas", h.replicas)
	}
	if written {
		l.was, l.at = is, now
	}
}

func (l *healthLog) stall(now time.Time, h *health) {
	stalls := h.waited >= maxUncommitted
	switch {
	case stalls && l.stalled.IsZero():
		if l.to.Warnw("stalled", "own", "waiting", h.waited.Round(time.Millisecond).String(), "work", string(h.work), "height", h.height,
			"epoch", h.epoch, "leader", h.leader, "answering", h.answering, "needed", h.quorum) {
			l.stalled = now.Add(-h.waited)
		}
	case !stalls && !l.stalled.IsZero():
		if l.to.Infow("commits resumed", "own", "after", now.Sub(l.stalled).Round(time.Millisecond).String(), "height", h.height,
			"epoch", h.epoch, "leader", h.leader) {
			l.stalled = time.Time{}
		}
	}
}

// disk logs the begin and the end of a time with slow syncs.
func (l *healthLog) disk(now time.Time, h *health) {
	switch slow := h.sync > 0; {
	case slow && l.slow.IsZero():
		if l.to.Warnw("the disk is slow", "own", "sync_took", h.sync.Round(time.Millisecond).String(), "limit", engine.SlowSync.String()) {
			l.slow = now
		}
	case !slow && !l.slow.IsZero():
		if l.to.Infow("the disk is fast again", "own", "after", now.Sub(l.slow).Round(time.Millisecond).String()) {
			l.slow = time.Time{}
		}
	}
}

// mempool logs the begin and the end of a time with a full mempool.
func (l *healthLog) mempool(now time.Time, h *health) {
	switch {
	case h.full && l.full.IsZero():
		if l.to.Warnw("the mempool is full", "own", "transactions", h.txs, "bytes", h.bytes) {
			l.full = now
		}
	case !h.full && !l.full.IsZero():
		if l.to.Infow("the mempool has room again", "own", "after", now.Sub(l.full).Round(time.Millisecond).String(), "transactions", h.txs, "bytes", h.bytes) {
			l.full = time.Time{}
		}
	}
}

// lanes logs each frozen lane once after a start.
func (l *healthLog) lanes(h *health) {
	for _, i := range h.frozen.Members() {
		if !l.frozen.Has(i) && l.to.Errorw("a lane is frozen", i, "replica", i) {
			l.frozen.Add(i)
		}
	}
}

func (l *healthLog) catchUp(now time.Time, h *health) {
	switch {
	case h.behind && (l.behind.IsZero() || now.Sub(l.reported) >= loglimit.DefaultInterval):
		fields := []any{"height", h.height, "target", h.target, "blocks_left", h.target - min(h.target, h.height)}
		if !l.behind.IsZero() {
			fields = append(fields, "blocks_per_second", float64(h.height-l.height)/now.Sub(l.reported).Seconds())
		}
		if !l.to.Infow("catching up", "own", fields...) {
			return
		}
		if l.behind.IsZero() {
			l.behind, l.from = now, h.height
		}
		l.reported, l.height = now, h.height
	case !h.behind && !l.behind.IsZero():
		if l.to.Infow("caught up", "own", "height", h.height, "blocks", h.height-l.from, "after", now.Sub(l.behind).Round(time.Millisecond).String()) {
			l.behind = time.Time{}
		}
	}
}

// watchHealth logs the changes of the replica's state until ctx ends.
func (n *Node) watchHealth(ctx context.Context) error {
	l := newHealthLog(outside, n.started)
	timer := time.NewTimer(healthEvery)
	defer timer.Stop()
	for {
		select {
		case now := <-timer.C:
			h := n.health()
			l.look(now, &h)
			tip, _, _ := n.chain.Tip()
			n.rate.note(now, tip.Txs)
			timer.Reset(h.next())
		case <-ctx.Done():
			return nil
		}
	}
}

// next is the time to the next look.
func (h *health) next() time.Duration {
	if h.obstacle() == noObstacle && h.work == engine.NoWork && !h.behind {
		return idleHealthEvery
	}
	return healthEvery
}

// health reads the state of the replica.
func (n *Node) health() health {
	s := n.engine.Status()
	h := health{reading: n.read(), epoch: s.Epoch, leader: uint16(s.Leader)}
	for i := range n.committee.N() {
		h.target = max(h.target, n.engine.PeerHeight(protocols.Index(i)))
	}
	return h
}
