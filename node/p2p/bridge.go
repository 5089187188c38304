package p2p

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

const (
	// smallNetwork is the number of members up to which everybody keeps a connection to everybody.
	smallNetwork = 64
	// fewest is how many replicas of another shard are kept connected at least, however small that is.
	fewest = 4
	// bridgeDials is how many connections to one shard are attempted at a time.
	bridgeDials = 4
	// bridgePatience makes attempts to reach other shards rarer than those within the own one.
	bridgePatience = 4
	// secondDialler is how much later the side with the higher peer id dials: mostly the other one has done so then.
	secondDialler = time.Second
)

// bridge keeps connections to another shard, for gossip and requests. No stream belongs to it.
//
// In a network of at most smallNetwork members it wants all replicas of the shard, else half of them but at least
// fewest. Either is more than may be Byzantine, so one of them is honest, and hands on within its shard what it is
// told. A connection counts whoever dialled. Which ones are tried first depends on the own index, so that the load is
// spread; when one fails, the others are tried as well as that one, and whoever is reached first takes its place.
type bridge struct {
	net   *Net
	tries []*try // in the order of preference
	want  int
	wake  chan struct{}
}

// try is what is known of one member of the shard. Only the bridge's goroutine uses it.
type try struct {
	*member
	up       bool // when last looked at, and since when
	since    time.Time
	dialling bool
	next     time.Time // not before then
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

// run connects until ctx ends. While enough are connected it only waits.
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
			if !r.reachable() { // also when it hung up at once
				if ctx.Err() == nil {
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

// look notes who has come and gone.
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

// due says whom to dial, and when somebody may be dialled that may not now; the zero time means never.
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
		if until := t.barredUntil(); until.After(at) {
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

// fail puts the next attempt off, longer each time.
func (t *try) fail(now time.Time) {
	t.backoff = min(max(t.backoff*3/2, firstBackoff), bridgePatience*t.net.cfg.Limits.MaxBackoff)
	t.retry(now, t.backoff/2+rand.N(t.backoff))
}

// retry allows the next attempt after d, and the other side to be first.
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

// reachable reports whether requests can be sent: within a shard there must be a session, so that the peer is known to
// be of this network; to another shard any connection will do.
func (m *member) reachable() bool {
	if m.shard == m.net.cfg.Shard {
		return m.active.Load() != nil
	}
	return m.net.host.Network().Connectedness(m.id) == network.Connected
}

// connected is called for each new connection. A peer that connects again, long after it did before, has lost what
// was before, and only does not say so: a crashed machine does not. Then its older connections end, before what is
// still written to them delays it. Shortly after the other it is only the second half of a simultaneous dial.
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
