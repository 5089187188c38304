package p2p

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

// GossipSub forgets a peer's subscription when its own stream to that peer ends while the connection lives. This is
// detected and repaired, for a peer of the own shard and one of another.
func TestForgottenSubscription(t *testing.T) {
	w := newTestNetwork(t, 4, 4)
	a := start(t, w.config(0, 0))
	near := start(t, w.config(0, 1, a.Addrs()[0]))
	far := start(t, w.config(1, 0, a.Addrs()[0]))
	mesh(a, near)
	a.subscribers(near, far)
	for _, p := range []*node{near, far} {
		for _, c := range a.host.Network().ConnsToPeer(p.roster.self) {
			for _, s := range c.GetStreams() {
				if s.Stat().Direction == network.DirOutbound && strings.Contains(string(s.Protocol()), "/gossip/") {
					s.Reset()
				}
			}
		}
		topic := a.gossip.names[p.cfg.Shard]
		a.eventually("the loss", func() bool { return !slices.Contains(a.gossip.ps.ListPeers(topic), p.roster.self) })
	}
	sessions := near.Stats().Sessions
	soon := a.youngest(near.roster.self).Stat().Opened.Add(silenceInterval / 2)
	a.gossip.checkSilence(soon) // their streams may be starting
	a.gossip.checkSilence(soon)
	if len(a.gossip.silent) != 0 {
		t.Fatal("new connections count as silent")
	}
	later := time.Now().Add(silenceInterval + time.Second)
	a.gossip.checkSilence(later)
	a.gossip.checkSilence(later)
	a.subscribers(near, far)
	a.Publish(1, []byte("heard"))
	far.hears("heard", 1)
	near.eventually("another session", func() bool { return near.Stats().Sessions > sessions })
	// The next disconnect comes after a pause, and the state is dropped when the subscriptions are known again.
	for _, s := range a.gossip.silent {
		if s.pause != 2*silencePause || s.next.Before(later.Add(silencePause)) {
			t.Errorf("next disconnect %v later, then after %v", s.next.Sub(later), s.pause)
		}
	}
	a.gossip.checkSilence(later)
	if len(a.gossip.silent) != 0 {
		t.Error("peers with subscriptions still count as silent")
	}
}

// A subscriber that does not read its gossip delays no control messages, not even its own.
func TestControlPassesGossip(t *testing.T) {
	gate := make(chan struct{})
	t.Cleanup(func() { close(gate) })
	w := newTestNetwork(t, 4)
	a := start(t, w.config(0, 0))
	b := start(t, w.config(0, 1, a.Addrs()[0]))
	mesh(a, b)
	a.subscribers(b)
	conn := a.members[1].active.Load().conn
	p := pacerOf(a.members[1].active.Load().ends[Control].stream)
	if p == nil || conn == nil {
		t.Fatal("no pacer")
	}
	// The budget of the socket is used up, as with a stuck network: gossip waits for it, control does not.
	p.add(paceBudget)
	a.Publish(0, []byte(strings.Repeat("z", 100<<10)))
	a.eventually("the publication", func() bool { return a.Stats().Gossip.Out == 1 })
	for i := range 10 {
		a.Send(1, Control, []byte{byte(i)})
	}
	b.await("control", func() bool { return len(b.got[flow(0, Control)]) == 10 })
	b.heardExactly()
	p.add(-paceBudget)
	b.await("gossip", func() bool { return len(b.heard) == 1 })
}

// A gossip write that waits for space ends with its stream.
func TestGossipWriterEnds(t *testing.T) {
	w := newTestNetwork(t, 4)
	a := start(t, w.config(0, 0))
	b := start(t, w.config(0, 1, a.Addrs()[0]))
	mesh(a, b)
	s, err := gossipHost{a.host, a.Net}.NewStream(a.ctx, b.roster.self, fetchProtocol)
	must(t, err)
	p := pacerOf(s)
	p.add(paceBudget)
	defer p.add(-paceBudget)
	ended := make(chan error)
	go func() { _, err := s.Write(make([]byte, 10)); ended <- err }()
	must(t, s.Reset())
	select {
	case err := <-ended:
		if err == nil {
			t.Error("a write to a reset stream succeeds")
		}
	case <-time.After(patience):
		t.Fatal("the write did not end")
	}
	if _, err := (gossipHost{a.host, a.Net}).NewStream(a.ctx, decode(t, w.members[0][3]), fetchProtocol); err == nil || errors.Is(err, ErrNotConnected) {
		t.Errorf("a stream to an absent replica: %v", err)
	}
}
