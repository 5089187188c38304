package p2p

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"golang.org/x/time/rate"

	"bdtnode/internal/digest"
	"bdtnode/internal/wire"
)

// Gossip: each shard has one topic, to which exactly its replicas subscribe. A publisher from another shard does not
// join it. A publication is sent at once to every subscriber that is connected to this node (flood publishing). Each of
// them forwards it to its mesh when the Handler has accepted it.
//
// GossipSub drops messages for which a queue has no space, without notice. This package counts the losses and does not
// repair them.
//
// Peers are not scored. Scores protect open networks from peers with many cheap identities. Here the genesis lists all
// members, a mesh is most of a shard, and at most f of its replicas are Byzantine. Instead, a peer that sends a message
// which no honest replica would send is dropped and banned, as after a protocol violation on any other stream.

// Verdict is the Handler's result for a gossip message.
type Verdict uint8

const (
	// Accept: the message is valid and is forwarded.
	Accept Verdict = iota
	// Ignore: the message is useless, or cannot be checked now. It is not forwarded, and this is not the sender's
	// fault.
	Ignore
	// Reject: the message is invalid. No honest replica would have published or forwarded it, in any state. The sender
	// is dropped and banned for a while.
	Reject
	verdicts int = iota
)

const (
	// gossipWorkers is the number of messages checked at a time, and gossipInbox the number that may wait for that.
	gossipWorkers = 4
	gossipInbox   = 64
	// gossipOutbox is the number of messages that may wait for one peer. Their memory is shared between peers.
	gossipOutbox = 64
	// gossipPending and gossipPendingBytes bound the publications that were not passed to GossipSub yet.
	gossipPending      = 1024
	gossipPendingBytes = 16 << 20
	// gossipRate is the number of publications a second that are passed to GossipSub, after the first gossipAtOnce.
	// GossipSub accepts them faster than it writes them to peers, so a burst would be lost in its queues.
	gossipRate   = 2000
	gossipAtOnce = gossipOutbox / 2
	// gossipSeen is the least time for which a message is remembered. A remembered message is not passed to the Handler
	// again.
	gossipSeen = time.Minute
	// gossipRepeats is the number of publications that are remembered, so that repeated ones get a new number.
	gossipRepeats = 4096
	// gossipControl bounds GossipSub's own control messages, in bytes.
	gossipControl = 64 << 10
	// gossipFrame bounds the bytes that encoding adds to a message.
	gossipFrame = 4 << 10
)

// gossipParams keep an idle node idle: a heartbeat without work costs about 10 µs.
func gossipParams() pubsub.GossipSubParams {
	p := pubsub.DefaultGossipSubParams()
	p.D, p.Dlo, p.Dhi, p.Dout = 8, 6, 12, 2
	p.HistoryLength, p.HistoryGossip = 3, 2 // messages are large, and a replica that misses one asks its source
	p.MaxIHaveLength = 1000
	p.Connectors = 0 // this package makes the connections
	return p
}

// publication is a message that waits to be published.
type publication struct {
	shard uint16
	data  []byte
}

// gossip is this node's use of GossipSub.
type gossip struct {
	net     *Net
	names   []string // topic names, by shard
	topics  []*pubsub.Topic
	ps      *pubsub.PubSub
	pending chan publication
	bytes   atomic.Int64 // number of bytes in pending
	pace    *rate.Limiter
	repeats *lru.Cache[digest.Digest, uint8]

	mu     sync.Mutex // guards silent
	silent map[peer.ID]*silence
}

func newGossip(n *Net) *gossip {
	g := &gossip{net: n, pending: make(chan publication, gossipPending), pace: rate.NewLimiter(gossipRate, gossipAtOnce), silent: make(map[peer.ID]*silence)}
	for s := range n.shards {
		g.names = append(g.names, fmt.Sprintf("/bdt/%s/shard/%d/1", n.cfg.Network.Short(), s))
	}
	var err error
	if g.repeats, err = lru.New[digest.Digest, uint8](gossipRepeats); err != nil {
		panic(fmt.Sprintf("p2p: %v", err)) // cannot happen: the size is positive
	}
	return g
}

// start subscribes to the topic of the own shard until ctx ends.
func (g *gossip) start(ctx context.Context) error {
	n := g.net
	host := gossipHost{n.host, n}
	proto := protocol.ID("/bdt/" + n.cfg.Network.Short() + "/gossip/1.0.0")
	var err error
	g.ps, err = pubsub.NewGossipSubWithRouter(ctx, host, pubsub.DefaultGossipSubRouter(host),
		pubsub.WithGossipSubParams(gossipParams()),
		pubsub.WithGossipSubProtocols([]protocol.ID{proto}, func(f pubsub.GossipSubFeature, id protocol.ID) bool {
			return id == proto && (f == pubsub.GossipSubFeatureMesh || f == pubsub.GossipSubFeatureIdontwant)
		}),
		pubsub.WithFloodPublish(true),
		pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign),
		pubsub.WithNoAuthor(),
		pubsub.WithMessageIdFn(messageID),
		pubsub.WithSeenMessagesTTL(gossipSeen),
		pubsub.WithMaxMessageSize(MaxGossip+gossipFrame),
		pubsub.WithMaxControlMessageSize(gossipControl),
		pubsub.WithPeerOutboundQueueSize(gossipOutbox),
		pubsub.WithValidateQueueSize(gossipInbox),
		pubsub.WithValidateWorkers(gossipWorkers),
		pubsub.WithSubscriptionFilter(g),
		pubsub.WithPeerFilter(g.subscribes),
		pubsub.WithAppSpecificRpcInspector(g.inspect),
		pubsub.WithRawTracer(gossipTracer{&n.count.gossip}),
	)
	if err != nil {
		return fmt.Errorf("start gossip: %w", err)
	}
	own := g.names[n.cfg.Shard]
	// Inline means that the validator runs on the worker: only then is a message that finds no space not remembered as
	// seen.
	if err := g.ps.RegisterTopicValidator(own, g.validate, pubsub.WithValidatorInline(true)); err != nil {
		return fmt.Errorf("start gossip: %w", err)
	}
	for _, name := range g.names {
		t, err := g.ps.Join(name)
		if err != nil {
			return fmt.Errorf("join gossip topic %s: %w", name, err)
		}
		g.topics = append(g.topics, t)
	}
	// Relaying subscribes without a queue: the validator has already passed the message to the Handler.
	if _, err := g.topics[n.cfg.Shard].Relay(); err != nil {
		return fmt.Errorf("subscribe to gossip topic %s: %w", own, err)
	}
	return nil
}

// messageID is the same for equal contents of all publishers.
func messageID(m *pb.Message) string {
	d := digest.Of("bdt/gossip", wire.AppendBytes(nil, []byte(m.GetTopic())), m.GetData())
	return string(d[:])
}

// Publish publishes data, 1 to [MaxGossip] bytes, to the replicas of a shard except this one. The caller must not
// change data afterwards. It does not block. It is a hint: the message may be lost, in this node or on the way. A
// message that is too large is only logged and counted in [Stats]. Content that several replicas publish arrives once;
// content that one replica publishes again arrives again.
func (n *Net) Publish(shard uint16, data []byte) {
	g := n.gossip
	size := int64(len(data))
	if size == 0 || size > MaxGossip {
		n.count.gossip.unsent.Add(1)
		n.outside.Errorw("gossip not published", shard, "shard", shard, "reason", "size", "bytes", size, "limit", MaxGossip)
		return
	}
	if g.bytes.Add(size) <= gossipPendingBytes {
		select {
		case g.pending <- publication{shard, data}:
			return
		default:
		}
	}
	g.bytes.Add(-size)
	n.count.gossip.unsent.Add(1)
}

// run publishes pending messages and handles silent peers, until ctx ends.
func (g *gossip) run(ctx context.Context) {
	ticker := time.NewTicker(silenceInterval)
	defer ticker.Stop()
	for {
		select {
		case p := <-g.pending:
			g.bytes.Add(-int64(len(p.data)))
			g.publish(ctx, p)
		case <-ticker.C:
			g.checkSilence(time.Now())
		case <-ctx.Done():
			return
		}
	}
}

// publish passes a message to GossipSub. GossipSub drops a message that it has seen before. So the content is preceded
// by the number of times that it was published before; publishers of the same content count alike.
func (g *gossip) publish(ctx context.Context, p publication) {
	count := &g.net.count.gossip
	name := digest.Of("bdt/gossip/repeat", wire.AppendU16(nil, p.shard), p.data)
	repeat, _ := g.repeats.Get(name)
	g.repeats.Add(name, repeat+1) // the number is 0 again after 255; then it was last used long ago
	message := append(append(make([]byte, 0, 1+len(p.data)), repeat), p.data...)
	err := g.pace.Wait(ctx)
	if err == nil {
		err = g.topics[p.shard].Publish(ctx, message)
	}
	if err != nil {
		count.unsent.Add(1)
		if ctx.Err() == nil {
			g.net.outside.Warnw("gossip not published", p.shard, "shard", p.shard, "bytes", len(p.data), "error", err)
		}
		return
	}
	count.out.Add(1)
	count.bytesOut.Add(uint64(len(p.data)))
}

// validate passes a message to the Handler.
func (g *gossip) validate(_ context.Context, from peer.ID, m *pubsub.Message) pubsub.ValidationResult {
	if from == g.net.roster.self {
		return pubsub.ValidationAccept
	}
	result := pubsub.ValidationIgnore
	g.net.serving.run(func() {
		data := m.GetData()[1:]
		count := &g.net.count.gossip
		count.in.Add(1)
		count.bytesIn.Add(uint64(len(data)))
		verdict := g.net.handler.Gossip(data)
		count.verdicts[verdict].Add(1)
		switch verdict {
		case Accept:
			result = pubsub.ValidationAccept
		case Ignore:
		case Reject:
			result = pubsub.ValidationReject
			g.punish(from, errors.New("gossip rejected by the handler"))
		}
	})
	return result
}

// inspect checks the form of a peer's messages before they are processed.
func (g *gossip) inspect(from peer.ID, rpc *pubsub.RPC) error {
	m := g.net.member(from)
	if m == nil || m.banned() {
		return errors.New("the peer is banned or not a member")
	}
	own := g.names[g.net.cfg.Shard]
	for _, p := range rpc.GetPublish() {
		var err error
		switch size := len(p.GetData()) - 1; {
		case p.GetTopic() != own:
			err = fmt.Errorf("gossip on topic %.80q, want %q", p.GetTopic(), own)
		case size < 1 || size > MaxGossip:
			err = fmt.Errorf("gossip of %d bytes, want 1 to %d", size, MaxGossip)
		case p.From != nil || p.Seqno != nil || p.Signature != nil || p.Key != nil:
			err = errors.New("gossip with an author or a signature")
		}
		if err != nil {
			g.punish(from, err)
			return err
		}
	}
	return nil
}

// punish drops and bans a peer in the background.
func (g *gossip) punish(id peer.ID, why error) {
	if m := g.net.member(id); m != nil {
		go g.net.serving.run(func() { m.drop(violation{why}) })
	}
}

// CanSubscribe allows the topics of this network's shards.
func (g *gossip) CanSubscribe(topic string) bool {
	for _, name := range g.names {
		if name == topic {
			return true
		}
	}
	return false
}

// FilterIncomingSubscriptions accepts only the topic of the peer's own shard.
func (g *gossip) FilterIncomingSubscriptions(from peer.ID, subs []*pb.RPC_SubOpts) ([]*pb.RPC_SubOpts, error) {
	var out []*pb.RPC_SubOpts
	for _, s := range subs {
		if g.subscribes(from, s.GetTopicid()) {
			out = append(out[:0], s) // the last one counts
		}
	}
	return out, nil
}

// subscribes reports whether a topic is that of the peer's shard.
func (g *gossip) subscribes(id peer.ID, topic string) bool {
	m := g.net.member(id)
	return m != nil && g.names[m.shard] == topic
}
