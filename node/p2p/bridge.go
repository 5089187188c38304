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

// try is what is known of the attempts to reach one member.
type try struct {
	*member
	up       bool // when last looked at
	dialling bool
	next     time.Time
	backoff  time.Duration
}

func newBridge(n *Net, members []*member) *bridge {
	b := &bridge{net: n, wake: make(chan struct{}, 1), want: len(members)}
	if len(n.roster.places) > smallNetwork {
		b.want = min(max((len(members)+1)/2, fewest), len(members))
	}
	for i := range members {
		m := members[(i+int(n.cfg.Self))%len(members)]
		b.tries = append(b.tries, &try{member: m})
	}
	return b
}

// run connects until ctx ends. While enough are connected it only waits.
func (b *bridge) run(ctx context.Context) {
	done := make(chan *try, bridgeDials)
	dialling := 0
	defer func() {
		for ; dialling > 0; dialling-- {
			<-done
		}
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		due, next := b.due(time.Now(), dialling)
		for _, t := range due {
			t.dialling = true
			dialling++
			go func() {
				b.attempt(ctx, t)
				done <- t
			}()
		}
		if !next.IsZero() {
			timer.Reset(time.Until(next))
		} else {
			timer.Stop()
		}
		select {
		case t := <-done:
			dialling--
			t.dialling = false
		case <-b.wake:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
}

// due says who to dial now, and when to look again if nothing happens; the zero time means never.
func (b *bridge) due(now time.Time, dialling int) (dials []*try, next time.Time) {
	missing := b.want - dialling
	for _, t := range b.tries {
		up := t.reachable()
		if t.up && !up {
			t.backoff = 0
		}
		if up != t.up && !up || t.next.IsZero() {
			t.next = now
			if !t.opens {
				t.next = now.Add(secondDialler/2 + rand.N(secondDialler))
			}
		}
		if t.up = up; up && !t.dialling {
			missing--
		}
	}
	for _, t := range b.tries {
		if missing <= 0 || len(dials)+dialling >= bridgeDials {
			break
		}
		if t.up || t.dialling {
			continue
		}
		at := t.next
		if until := t.barredUntil(); until.After(at) {
			at = until
		}
		if at.After(now) {
			if next.IsZero() || at.Before(next) {
				next = at
			}
			continue
		}
		dials = append(dials, t)
		missing--
	}
	return dials, next
}

// attempt dials once, and sets when to try again should that be needed. Only run reads that, after it has ended.
func (b *bridge) attempt(ctx context.Context, t *try) {
	err := b.net.reach(ctx, t.id)
	if err == nil {
		t.backoff = 0
		return
	}
	logger.Debugw("not connected", "shard", t.shard, "replica", t.index, "peer", t.id, "error", err)
	t.backoff = min(max(t.backoff*3/2, firstBackoff), bridgePatience*b.net.cfg.Limits.MaxBackoff)
	t.next = time.Now().Add(t.backoff/2 + rand.N(t.backoff))
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
