package p2p

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

const (
	// smallNetwork is the number of members up to which all members keep connections to each other.
	smallNetwork = 64
	// fewest is the least number of connections to replicas of another shard, in a large network.
	fewest = 4
	// bridgeDials is the largest number of concurrent dials to one shard.
	bridgeDials = 4
	// bridgePatience is the factor by which dials to other shards are rarer than dials within the shard.
	bridgePatience = 4
	// secondDialler is the delay of the dial of the side with the higher peer id. Usually the other side has dialled by
	// then.
	secondDialler = time.Second
)

// bridge keeps connections to another shard, for gossip and requests. It has no streams of its own.
//
// In a network of at most smallNetwork members it connects to all replicas of the shard, otherwise to half of them, but
// at least to fewest. Both are more than may be Byzantine, so one of them is honest and forwards gossip within its
// shard. A connection counts whichever side dialled it. The order of dials depends on the own index, which spreads the
// load. After a failure the other replicas are dialled too, and the first one reached counts.
type bridge struct {
	net   *Net
	tries []*try // in order of preference
	want  int
	wake  chan struct{}
}

// try is the state of the connection to one member of the shard. It is used by the bridge's goroutine only.
type try struct {
	*member
	up       bool // connected at the last look; since is the time of the last change
	since    time.Time
	dialling bool
	next     time.Time // earliest time of the next dial
	backoff  time.Duration
}

func newBridge(n *Net, members []*member) *bridge {
	b := &bridge{net: n, wake: make(chan struct{}, 1), want: len(members)}
	if len(n.roster.places) > smallNetwork {
		b.want = min(max((len(members)+1)/2, fewest), len(members))
	}
	for i := range members {
		t := &try{member: members[(i+int(n.cfg.Self))%len(members)]}
		t.retry(time.Now(), 0)
		b.tries = append(b.tries, t)
	}
	return b
}

// run keeps the connections until ctx ends. It only waits while enough are connected.
func (b *bridge) run(ctx context.Context) {
	type result struct {
		*try
		err error
	}
	done := make(chan result, bridgeDials)
	dialling := 0
	defer func() {
		for ; dialling > 0; dialling-- {
			<-done
		}
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		b.look(time.Now())
		dials, next := b.due(time.Now(), dialling)
		for _, t := range dials {
			t.dialling = true
			dialling++
			go func() { done <- result{t, b.net.reach(ctx, t.id)} }()
		}
		timer.Stop()
		if !next.IsZero() {
			timer.Reset(time.Until(next))
		}
		select {
		case r := <-done:
			dialling--
			r.dialling = false
			if !r.reachable() { // also if it closed the connection at once
				if ctx.Err() == nil {
					if r.err != nil {
						r.noteTrouble(r.err)
					}
					b.net.lasting.Infow("not connected", r.id, "shard", r.shard, "replica", r.index, "peer", r.id, "error", r.err)
				}
				r.fail(time.Now())
			}
		case <-b.wake:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
}

// look updates which members are connected.
func (b *bridge) look(now time.Time) {
	for _, t := range b.tries {
		up := t.reachable()
		switch {
		case up && !t.up:
			t.since = now
		case !up && t.up && now.Sub(t.since) < settledAfter:
			t.fail(now)
		case !up && t.up:
			t.backoff = 0
			t.retry(now, 0)
		}
		t.up = up
	}
}

// due returns the members to dial now, and the earliest time at which another one may be dialled; the zero time means
// never.
func (b *bridge) due(now time.Time, dialling int) (dials []*try, next time.Time) {
	missing := b.want - dialling
	for _, t := range b.tries {
		if t.up && !t.dialling {
			missing--
		}
	}
	for _, t := range b.tries {
		if missing <= 0 || dialling+len(dials) >= bridgeDials {
			return dials, time.Time{} // the end of a dial or a connection comes first
		}
		if t.up || t.dialling {
			continue
		}
		at := t.next
		if until := t.bannedUntil(); until.After(at) {
			at = until
		}
		if !at.After(now) {
			dials = append(dials, t)
			missing--
		} else if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	return dials, next
}

// fail postpones the next dial, longer after each failure.
func (t *try) fail(now time.Time) {
	t.backoff = min(max(t.backoff*3/2, firstBackoff), bridgePatience*t.net.cfg.Limits.MaxBackoff)
	t.retry(now, t.backoff/2+rand.N(t.backoff))
}

// retry allows the next dial after d; the side with the higher peer id waits longer.
func (t *try) retry(now time.Time, d time.Duration) {
	t.next = now.Add(d)
	if !t.opens {
		t.next = t.next.Add(secondDialler/2 + rand.N(secondDialler))
	}
}

func (b *bridge) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// reachable reports whether requests can be sent. Within the shard this requires a session, which shows that the peer
// belongs to this network; for another shard any connection is enough.
func (m *member) reachable() bool {
	if m.shard == m.net.cfg.Shard {
		return m.active.Load() != nil
	}
	return m.net.host.Network().Connectedness(m.id) == network.Connected
}

// connected is called for each new connection. If a peer connects again long after its last connection, its process has
// lost the old connections without closing them, for example by a crash of its machine. They are closed here, before
// data that is still written to them delays the new session. Two connections at almost the same time come from
// simultaneous dials, and both stay.
func (n *Net) connected(c network.Conn) {
	m := n.member(c.RemotePeer())
	if m == nil {
		return
	}
	if c.Stat().Direction == network.DirInbound {
		for _, old := range n.host.Network().ConnsToPeer(m.id) {
			if c.Stat().Opened.Sub(old.Stat().Opened) > settledAfter {
				go n.serving.run(func() { old.Close() })
			}
		}
	}
	n.changed(m)
}

// disconnected is called for each connection that ended.
func (n *Net) disconnected(c network.Conn) {
	if m := n.member(c.RemotePeer()); m != nil && m.shard != n.cfg.Shard {
		n.changed(m)
	}
}

func (n *Net) changed(m *member) {
	if m.shard == n.cfg.Shard {
		m.connected()
		return
	}
	if i := slices.IndexFunc(n.bridges, func(b *bridge) bool { return b.tries[0].shard == m.shard }); i >= 0 {
		n.bridges[i].signal()
	}
}
