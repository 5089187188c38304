package p2p

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// subscribers waits until d knows that the nodes p subscribe to the topic of their shard.
func (d *node) subscribers(p ...*node) {
	d.t.Helper()
	for _, p := range p {
		if p != d {
			d.eventually("a subscription", func() bool {
				return slices.Contains(d.gossip.ps.ListPeers(d.gossip.names[p.cfg.Shard]), p.roster.self)
			})
		}
	}
}

// times is the number of times that d got a message; the lock must be held.
func (d *node) times(message string) int {
	n := 0
	for _, h := range d.heard {
		if h == message {
			n++
		}
	}
	return n
}

func (d *node) hears(message string, times int) {
	d.t.Helper()
	d.await(fmt.Sprintf("gossip %.20q", message), func() bool { return d.times(message) >= times })
}

// heardExactly compares all messages that d got, except probes.
func (d *node) heardExactly(want ...string) {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	got := slices.DeleteFunc(slices.Sorted(slices.Values(d.heard)), func(h string) bool { return strings.HasPrefix(h, "probe") })
	if slices.Sort(want); !slices.Equal(got, want) {
		d.t.Errorf("%d/%d got %.20q, want %.20q", d.cfg.Shard, d.cfg.Self, got, want)
	}
}

// A publisher that does not subscribe reaches all replicas of another shard and no others. Content that two of them
// publish arrives once; content that one publishes again arrives again.
func TestGossipReachesAnotherShard(t *testing.T) {
	w := newTestNetwork(t, 4, 4)
	shards := w.start(t)
	here, there := shards[0], shards[1]
	for _, d := range slices.Concat(shards...) {
		d.subscribers(slices.Concat(shards...)...)
	}
	for _, d := range here {
		d.Publish(1, []byte("the same"))
	}
	here[1].Publish(1, []byte("another"))
	for _, d := range there {
		d.hears("the same", 1)
		d.hears("another", 1)
	}
	// Messages that arrive after all copies show that there were no more copies.
	for i, d := range here {
		d.Publish(1, fmt.Appendf(nil, "end of %d", i))
	}
	for _, d := range there {
		for i := range here {
			d.hears(fmt.Sprintf("end of %d", i), 1)
		}
		d.heardExactly("the same", "another", "end of 0", "end of 1", "end of 2", "end of 3")
	}
	here[0].Publish(1, []byte("the same"))
	for _, d := range there {
		d.hears("the same", 2)
	}
	// Within a shard, all replicas except the publisher get it.
	there[2].Publish(1, []byte("own"))
	for _, i := range []int{0, 1, 3} {
		there[i].hears("own", 1)
	}
	there[2].heardExactly("the same", "the same", "another", "end of 0", "end of 1", "end of 2", "end of 3")
	for _, d := range here {
		d.heardExactly()
	}
	if s := here[0].Stats().Gossip; s.Out != 3 || s.BytesOut != 24 || s.In+s.Unsent+s.LostOut+s.Rejected != 0 {
		t.Errorf("a publisher counts %+v", s)
	}
	if s := there[2].Stats().Gossip; s.Out != 1 || s.In != 7 || s.Accepted != 7 || s.BytesIn != 2*8+7+4*8 || s.LostIn != 0 {
		t.Errorf("a subscriber counts %+v", s)
	}
}

// line returns a publisher of shard 0 that knows only one replica of shard 1, which is connected to two others.
func line(t *testing.T, judge func(data []byte) Verdict) (publisher, first *node, behind []*node) {
	t.Helper()
	w := newTestNetwork(t, 4, 4)
	first = start(t, w.config(1, 0), func(d *node) { d.judge = judge })
	for i := 1; i < 3; i++ {
		d := start(t, w.config(1, i, first.Addrs()[0]), func(d *node) { d.judge = judge })
		m := d.shards[0][0]
		m.mu.Lock()
		m.until = time.Now().Add(time.Hour)
		m.mu.Unlock()
		behind = append(behind, d)
	}
	all := append(behind, first)
	mesh(all...)
	for _, d := range all {
		d.subscribers(all...)
	}
	publisher = start(t, w.config(0, 0, first.Addrs()[0]))
	publisher.subscribers(first)
	// Each replica gets its mesh at a heartbeat.
	for i := 0; ; i++ {
		publisher.Publish(1, fmt.Appendf(nil, "probe %d", i))
		if !slices.ContainsFunc(behind, func(d *node) bool {
			d.mu.Lock()
			defer d.mu.Unlock()
			return len(d.heard) == 0
		}) {
			return publisher, first, behind
		}
		time.Sleep(20 * time.Millisecond)
		if i*20 > int(patience/time.Millisecond) {
			t.Fatal("no message was forwarded")
		}
	}
}

// Only accepted messages are forwarded; the sender of a rejected one is dropped.
func TestGossipIsForwardedAfterAccept(t *testing.T) {
	publisher, first, behind := line(t, func(data []byte) Verdict {
		switch string(data) {
		case "garbage":
			return Reject
		case "useless":
			return Ignore
		}
		return Accept
	})
	big := strings.Repeat("x", MaxGossip) // a message of more than 1 kB is also announced to others
	for _, message := range []string{"useless", "good", big} {
		publisher.Publish(1, []byte(message))
	}
	for _, d := range append(behind, first) {
		d.hears(big, 1)
		d.hears("good", 1)
	}
	publisher.Publish(1, []byte("garbage"))
	first.hears("garbage", 1)
	first.eventually("the drop", func() bool { return first.Stats().Dropped == 1 })
	first.eventually("a connection after the ban", func() bool { return len(first.Reachable(0)) == 1 })
	publisher.subscribers(first)
	// Gossip continues. The mesh may be changing, and messages lost by it stay lost, so several are sent.
	sent := 0
	first.eventually("gossip afterwards", func() bool {
		publisher.Publish(1, fmt.Appendf(nil, "probe later %d", sent))
		sent++
		return !slices.ContainsFunc(behind, func(d *node) bool {
			d.mu.Lock()
			defer d.mu.Unlock()
			return !slices.ContainsFunc(d.heard, func(h string) bool { return strings.HasPrefix(h, "probe later") })
		})
	})
	for _, d := range behind {
		d.heardExactly("good", big)
		if d.ReadyPeers() != 2 || d.Stats().Dropped != 0 {
			t.Errorf("others were affected: %+v", d.Stats())
		}
	}
	first.heardExactly("useless", "good", big, "garbage")
	// A later probe may still be under check. It has arrived and has no verdict yet.
	first.eventually("a verdict on each message", func() bool { s := first.Stats().Gossip; return s.In == s.Accepted+2 })
	if s := first.Stats().Gossip; s.Ignored != 1 || s.Rejected != 1 {
		t.Errorf("counts %+v", s)
	}
}

// More messages arrive than can be checked or sent. Some are lost without effect on the caller; consensus, requests and
// later gossip continue.
func TestGossipBurst(t *testing.T) {
	gate := make(chan struct{})
	w := newTestNetwork(t, 4, 4)
	a := start(t, w.config(0, 0))
	b := start(t, w.config(0, 1, a.Addrs()[0]))
	far := start(t, w.config(1, 0, a.Addrs()[0]), func(d *node) {
		d.judge = func([]byte) Verdict { <-gate; return Accept }
	})
	mesh(a, b)
	a.subscribers(far)
	const burst = 10 * (gossipPending + gossipInbox + gossipOutbox)
	for i := range burst {
		a.Publish(1, bytes.Repeat(binary.BigEndian.AppendUint32(nil, uint32(i)), 256))
	}
	for i := range 100 {
		a.Send(1, Control, []byte{byte(i)})
	}
	b.await("control", func() bool { return len(b.got[flow(0, Control)]) == 100 })
	a.eventually("the end of the burst", func() bool { s := a.Stats().Gossip; return s.Out+s.Unsent == burst })
	far.eventually("losses", func() bool { return a.Stats().Gossip.LostOut+far.Stats().Gossip.LostIn > 0 })
	close(gate)
	a.eventually("gossip afterwards", func() bool {
		a.Publish(1, []byte("afterwards"))
		far.mu.Lock()
		defer far.mu.Unlock()
		return far.times("afterwards") > 0
	})
	if s := far.Stats().Gossip; s.In >= burst || s.LostIn == 0 {
		t.Errorf("counts %+v", s)
	}
	if a.connects[1] != 1 || a.Stats().Dropped+far.Stats().Dropped != 0 {
		t.Errorf("others were affected: %v %+v", a.connects, a.Stats())
	}
}

// Messages that are too large or empty are refused and counted, and do not affect later ones; the largest size passes.
func TestGossipSize(t *testing.T) {
	w := newTestNetwork(t, 4, 4)
	a := start(t, w.config(0, 0))
	b := start(t, w.config(1, 0, a.Addrs()[0]))
	a.subscribers(b)
	a.Publish(1, make([]byte, MaxGossip+1))
	a.Publish(1, nil)
	largest := strings.Repeat("y", MaxGossip)
	a.Publish(1, []byte(largest))
	b.hears(largest, 1)
	b.heardExactly(largest)
	if s := a.Stats().Gossip; s.Unsent != 2 || s.Out != 1 {
		t.Errorf("counts %+v", s)
	}
}

// The bytes pending for Publish are bounded, also before the start.
func TestGossipPending(t *testing.T) {
	w := newTestNetwork(t, 4, 4)
	n, err := New(w.config(0, 0))
	must(t, err)
	data := make([]byte, MaxGossip)
	const fit = gossipPendingBytes / MaxGossip
	for range fit + 3 {
		n.Publish(1, data)
	}
	if got := n.Stats().Gossip.Unsent; got != 3 || len(n.gossip.pending) != fit {
		t.Errorf("%d refused and %d accepted, want 3 and %d", got, len(n.gossip.pending), fit)
	}
	if got := n.gossip.bytes.Load(); got != gossipPendingBytes {
		t.Errorf("%d bytes are pending, want %d", got, gossipPendingBytes)
	}
}

// A subscriber that restarts at another port gets messages again, from publishers that kept running. All subscribers
// get messages again when the publisher restarts.
func TestGossipAcrossRestarts(t *testing.T) {
	w := newTestNetwork(t, 4, 4)
	a := start(t, w.config(0, 0))
	b := start(t, w.config(1, 0, a.Addrs()[0]))
	c := start(t, w.config(1, 1, a.Addrs()[0]))
	mesh(b, c)
	a.subscribers(b, c)
	a.Publish(1, []byte("before"))
	b.hears("before", 1)
	b.stop()
	a.eventually("the disconnect", func() bool { return len(a.Reachable(1)) == 1 })
	a.Publish(1, []byte("meanwhile"))
	c.hears("meanwhile", 1)
	b = start(t, w.config(1, 0, a.Addrs()[0]))
	mesh(b, c)
	a.subscribers(b, c)
	a.Publish(1, []byte("after"))
	b.hears("after", 1)
	c.hears("after", 1)

	a.stop()
	b.eventually("the disconnect", func() bool { return len(b.Reachable(0)) == 0 })
	a = start(t, w.config(0, 0, b.Addrs()[0]))
	a.subscribers(b, c)
	a.Publish(1, []byte("anew"))
	b.hears("anew", 1)
	c.hears("anew", 1)
}

// field encodes a field of a protocol buffer.
func field(number byte, value []byte) []byte {
	return append(binary.AppendUvarint([]byte{number<<3 | 2}, uint64(len(value))), value...)
}

// say sends fields of a gossip message of any form.
func (d *node) say(to peer.ID, fields ...[]byte) error {
	ctx, cancel := testContext(d.t)
	defer cancel()
	s, err := d.host.NewStream(network.WithNoDial(ctx, "test"), to, protocol.ID("/bdt/"+d.cfg.Network.Short()+"/gossip/1.0.0"))
	if err != nil {
		return err
	}
	raw := bytes.Join(fields, nil)
	_, err = s.Write(append(binary.AppendUvarint(nil, uint64(len(raw))), raw...))
	return err
}

// The sender of a message that no honest replica sends is dropped, before the message is checked by the handler.
func TestMalformedGossip(t *testing.T) {
	w := newTestNetwork(t, 4, 16)
	a := start(t, w.config(0, 0))
	own, other := a.gossip.names[0], a.gossip.names[1]
	full := func(size int) []byte { return make([]byte, size) }
	for i, x := range []struct {
		want    string // empty: the message is valid
		message *pb.Message
	}{
		{"", &pb.Message{Topic: &own, Data: full(2)}},
		{"", &pb.Message{Topic: &own, Data: full(1 + MaxGossip)}},
		{"on topic", &pb.Message{Topic: &other, Data: full(2)}},
		{"on topic", &pb.Message{Data: full(2)}},
		{"-1 bytes", &pb.Message{Topic: &own}},
		{"0 bytes", &pb.Message{Topic: &own, Data: full(1)}},
		{"1048577 bytes", &pb.Message{Topic: &own, Data: full(2 + MaxGossip)}},
		{"author", &pb.Message{Topic: &own, Data: full(2), From: []byte("x")}},
		{"author", &pb.Message{Topic: &own, Data: full(2), Seqno: []byte{}}},
		{"signature", &pb.Message{Topic: &own, Data: full(2), Signature: []byte{1}}},
		{"signature", &pb.Message{Topic: &own, Data: full(2), Key: []byte{1}}},
	} {
		from, good := a.shards[1][i], &pb.Message{Topic: &own, Data: full(2)}
		err := a.gossip.inspect(from.id, &pubsub.RPC{RPC: pb.RPC{Publish: []*pb.Message{good, x.message, good}}})
		switch {
		case x.want == "" && err != nil:
			t.Errorf("%d: a valid message: %v", i, err)
		case x.want != "" && (err == nil || !strings.Contains(err.Error(), x.want)):
			t.Errorf("%d: %v, want %q", i, err, x.want)
		case x.want != "":
			a.eventually("the drop", from.banned)
		}
	}
	if got := a.Stats().Dropped; got != 9 {
		t.Errorf("%d dropped, want 9", got)
	}
}

// The same over the network.
func TestMalformedGossipIsReceived(t *testing.T) {
	w := newTestNetwork(t, 4, 4)
	a := start(t, w.config(0, 0))
	outsider := start(t, w.config(1, 0, a.Addrs()[0]))
	a.eventually("the drop", func() bool {
		// The two gossip streams replace each other, so one attempt may be lost.
		outsider.say(a.roster.self, field(2, slices.Concat(field(2, []byte("\x00x")), field(4, []byte(a.gossip.names[1])))))
		return a.Stats().Dropped > 0
	})
	a.eventually("a valid message", func() bool {
		outsider.say(a.roster.self, field(2, slices.Concat(field(2, []byte("\x00fine")), field(4, []byte(a.gossip.names[0])))))
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.times("fine") > 0
	})
	a.heardExactly("fine")
}

// A peer can subscribe only to the topic of its shard, and its last subscription counts.
func TestSubscriptionFilter(t *testing.T) {
	w := newTestNetwork(t, 4, 4)
	n, err := New(w.config(0, 0))
	must(t, err)
	g, yes, no, unknown := n.gossip, true, false, "/bdt/unknown"
	sub := func(topic *string, on *bool) *pb.RPC_SubOpts { return &pb.RPC_SubOpts{Topicid: topic, Subscribe: on} }
	for shard := range 2 {
		own, other := &g.names[shard], &g.names[1-shard]
		from := n.roster.ids[shard][3]
		got, err := g.FilterIncomingSubscriptions(from, []*pb.RPC_SubOpts{
			sub(other, &yes), sub(own, &no), sub(own, &yes), sub(&unknown, &yes), sub(nil, &yes), sub(other, &yes)})
		if err != nil || len(got) != 1 || got[0].GetTopicid() != *own || !got[0].GetSubscribe() {
			t.Errorf("shard %d: %v, %v", shard, got, err)
		}
		if !g.subscribes(from, *own) || g.subscribes(from, *other) || !g.CanSubscribe(*other) || g.CanSubscribe(unknown) {
			t.Errorf("shard %d: wrong topics", shard)
		}
	}
	stranger := decode(t, newTestNetwork(t, 1).members[0][0])
	if got, err := g.FilterIncomingSubscriptions(stranger, []*pb.RPC_SubOpts{sub(&g.names[0], &yes)}); err != nil || len(got) != 0 {
		t.Errorf("a peer that is not a member: %v, %v", got, err)
	}
}

// Gossip of a banned peer is not processed, also if it was sent before the ban.
func TestGossipOfBannedPeers(t *testing.T) {
	w := newTestNetwork(t, 4, 4)
	n, err := New(w.config(0, 0))
	must(t, err)
	m := n.shards[1][1]
	if err := n.gossip.inspect(m.id, &pubsub.RPC{}); err != nil {
		t.Errorf("before: %v", err)
	}
	m.until = time.Now().Add(time.Hour)
	if err := n.gossip.inspect(m.id, &pubsub.RPC{}); err == nil {
		t.Error("gossip of a banned peer was processed")
	}
	if err := n.gossip.inspect(decode(t, newTestNetwork(t, 1).members[0][0]), &pubsub.RPC{}); err == nil {
		t.Error("gossip of a peer that is not a member was processed")
	}
}
