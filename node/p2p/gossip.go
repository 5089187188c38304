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

// Gossip: each shard has one topic, which exactly its replicas subscribe to; who publishes to another shard's topic
// does not join it. What is published goes at once to every subscriber that this node has a connection to (flood
// publishing), and each of them hands it on to its mesh when the Handler accepted it.
//
// GossipSub loses what a queue has no room for and tells nobody; nothing here repairs that, it is only counted.
//
// Peers are not scored. Scores protect meshes of strangers from many cheap identities; here everybody is named in the
// genesis, a mesh is most of a shard, and at most f of its replicas lie. Instead, who sends what no honest replica
// would is dropped and kept out, as with garbage on any other stream.

// Verdict is what the Handler thinks of gossip.
type Verdict uint8

const (
	// Accept: it is good, hand it on.
	Accept Verdict = iota
	// Ignore: it is of no use, or may not be judged now; nobody's fault.
	Ignore
	// Reject: it is garbage, which no honest replica would have published or handed on, whatever it knew. Who sent
	// it is dropped and kept out for a while.
	Reject
	verdicts int = iota
)

const (
	// gossipWorkers is how many messages are judged at a time, and gossipInbox how many may wait for it.
	gossipWorkers = 4
	gossipInbox   = 64
	// gossipOutbox is how many messages may wait for one peer. They are shared between peers.
	gossipOutbox = 64
	// gossipPending and gossipPendingBytes bound what Publish took and is not handed to GossipSub yet.
	gossipPending      = 1024
	gossipPendingBytes = 16 << 20
	// gossipRate is how many publications a second are handed on, after gossipAtOnce of them: GossipSub takes them
	// faster than it writes them to peers, and a burst would be lost in their queues.
	gossipRate   = 2000
	gossipAtOnce = gossipOutbox / 2
	// gossipSeen is how long a message is remembered at least. What has a place in it is not shown again.
	gossipSeen = time.Minute
	// gossipRepeats is how many publications are remembered to be told from repeated ones.
	gossipRepeats = 4096
	// gossipControl bounds the messages GossipSub exchanges on its own account, in bytes.
	gossipControl = 64 << 10
	// gossipFrame is what encoding a message may add, in bytes.
	gossipFrame = 4 << 10
)

// gossipParams keep an idle node idle: a heartbeat that finds nothing to do costs some 10 µs.
func gossipParams() pubsub.GossipSubParams {
	p := pubsub.DefaultGossipSubParams()
	p.D, p.Dlo, p.Dhi, p.Dout = 8, 6, 12, 2
	p.HistoryLength, p.HistoryGossip = 3, 2 // messages are large, and who misses one asks its source
	p.MaxIHaveLength = 1000
	p.Connectors = 0 // connections are ours to make
	return p
}

// publication waits to be published.
type publication struct {
	shard uint16
	data  []byte
}

// gossip is this node's part in GossipSub.
type gossip struct {
	net     *Net
	names   []string // of topics, by shard
	topics  []*pubsub.Topic
	ps      *pubsub.PubSub
	pending chan publication
	bytes   atomic.Int64 // in pending
	pace    *rate.Limiter
	repeats *lru.Cache[digest.Digest, uint8]

	mu     sync.Mutex // of silent
	silent map[peer.ID]*silence
}

func newGossip(n *Net) *gossip {
	g := &gossip{net: n, pending: make(chan publication, gossipPending), pace: rate.NewLimiter(gossipRate, gossipAtOnce), silent: make(map[peer.ID]*silence)}
	for s := range n.shards {
		g.names = append(g.names, fmt.Sprintf("/bdt/%s/shard/%d/1", n.cfg.Network.Short(), s))
	}
	var err error
	if g.repeats, err = lru.New[digest.Digest, uint8](gossipRepeats); err != nil {
		panic(fmt.Sprintf("p2p: %v", err)) // the size is positive
	}
	return g
}

// start subscribes to the own shard's topic; everything ends with ctx.
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
	// Inline means on the worker: only there a message that finds no room is not remembered as seen.
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
	// To relay is to subscribe without a queue behind: the validator has already handed the message over.
	if _, err := g.topics[n.cfg.Shard].Relay(); err != nil {
		return fmt.Errorf("subscribe to gossip topic %s: %w", own, err)
	}
	return nil
}

// messageID makes copies of one content one message, whoever published it.
func messageID(m *pb.Message) string {
	d := digest.Of("bdt/gossip", wire.AppendBytes(nil, []byte(m.GetTopic())), m.GetData())
	return string(d[:])
}

// Publish tells the replicas of a shard, but not this one, about data, 1 to [MaxGossip] bytes, which must not be
// changed any more. It does not block. It is a hint: it may be lost, on the way or here, and what is too large is
// refused with nothing but a log line and a count in [Stats]. Content that several replicas publish arrives once;
// content that one replica publishes again arrives again.
func (n *Net) Publish(shard uint16, data []byte) {
	g := n.gossip
	size := int64(len(data))
	if size == 0 || size > MaxGossip {
		n.count.gossip.unsent.Add(1)
		n.outside.Errorw("not published: wrong size", shard, "shard", shard, "bytes", size, "allowed", MaxGossip)
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

// run publishes what is pending, and looks after those who stay silent, until ctx ends.
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

// publish hands a message to GossipSub. That takes a message it has seen for one that needs no sending, so in front of
// the content goes the number of times that it was published before; publishers in agreement count alike.
func (g *gossip) publish(ctx context.Context, p publication) {
	count := &g.net.count.gossip
	name := digest.Of("bdt/gossip/repeat", wire.AppendU16(nil, p.shard), p.data)
	repeat, _ := g.repeats.Get(name)
	g.repeats.Add(name, repeat+1) // after 255 comes 0, which was long ago
	message := append(append(make([]byte, 0, 1+len(p.data)), repeat), p.data...)
	err := g.pace.Wait(ctx)
	if err == nil {
		err = g.topics[p.shard].Publish(ctx, message)
	}
	if err != nil {
		count.unsent.Add(1)
		if ctx.Err() == nil {
			g.net.outside.Warnw("not published", p.shard, "shard", p.shard, "bytes", len(p.data), "error", err)
		}
		return
	}
	count.out.Add(1)
	count.bytesOut.Add(uint64(len(p.data)))
}

// validate shows a message to the Handler.
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
		case Reject:
			result = pubsub.ValidationReject
			g.punish(from, errors.New("gossip was rejected"))
		}
	})
	return result
}

// inspect judges the form of what a peer sends, before anything is done with it.
func (g *gossip) inspect(from peer.ID, rpc *pubsub.RPC) error {
	m := g.net.member(from)
	if m == nil || m.barred() {
		return errors.New("not let in")
	}
	own := g.names[g.net.cfg.Shard]
	for _, p := range rpc.GetPublish() {
		var err error
		switch size := len(p.GetData()) - 1; {
		case p.GetTopic() != own:
			err = fmt.Errorf("gossip on topic %.80q, where this node takes %q", p.GetTopic(), own)
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

// punish drops a peer. It does not wait for that.
func (g *gossip) punish(id peer.ID, why error) {
	if m := g.net.member(id); m != nil {
		go g.net.serving.run(func() { m.drop(garbage{why}) })
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

// FilterIncomingSubscriptions leaves each peer the topic of its own shard.
func (g *gossip) FilterIncomingSubscriptions(from peer.ID, subs []*pb.RPC_SubOpts) ([]*pb.RPC_SubOpts, error) {
	var out []*pb.RPC_SubOpts
	for _, s := range subs {
		if g.subscribes(from, s.GetTopicid()) {
			out = append(out[:0], s) // the last word counts
		}
	}
	return out, nil
}

// subscribes reports whether a topic is that of the peer's shard.
func (g *gossip) subscribes(id peer.ID, topic string) bool {
	m := g.net.member(id)
	return m != nil && g.names[m.shard] == topic
}
