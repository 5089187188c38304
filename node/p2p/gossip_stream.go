package p2p

import (
	"context"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// gossipHost is the host that GossipSub gets: what it writes waits its turn behind control messages, like bulk.
type gossipHost struct {
	host.Host
	net *Net
}

// NewStream opens a stream on a connection that is there.
func (h gossipHost) NewStream(ctx context.Context, id peer.ID, protos ...protocol.ID) (network.Stream, error) {
	s, err := h.Host.NewStream(network.WithNoDial(ctx, "gossip"), id, protos...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(h.net.ctx)
	out := &pacedWriter{stream: s, ctx: ctx, limit: h.net.cfg.Limits.WriteTime, pacer: pacerOf(s)}
	return &gossipStream{Stream: s, member: h.net.member(id), out: out, cancel: cancel}, nil
}

// gossipStream is written by one goroutine, and reset by another.
type gossipStream struct {
	network.Stream
	member *member
	out    *pacedWriter
	cancel context.CancelFunc // of a writer that waits for room
}

func (s *gossipStream) Write(b []byte) (int, error) {
	s.out.urgent = nil
	if session := s.member.active.Load(); session != nil {
		s.out.urgent = session.queues[Control]
	}
	return s.out.Write(b)
}

// SetWriteDeadline is left to the writer, which has one for each chunk.
func (s *gossipStream) SetWriteDeadline(time.Time) error { return nil }

func (s *gossipStream) Close() error {
	s.cancel()
	return s.Stream.Close()
}

func (s *gossipStream) Reset() error {
	s.cancel()
	return s.Stream.Reset()
}

const (
	// silenceInterval is how often subscriptions are compared with the genesis.
	silenceInterval = 10 * time.Second
	// silencePause is the time between two remedies for one peer at first, and silencePauseMax at last.
	silencePause    = time.Minute
	silencePauseMax = time.Hour
)

// silence is a connected member that does not subscribe to its topic.
type silence struct {
	next  time.Time
	pause time.Duration
}

// checkSilence finds peers that have a connection to this node and yet are not known to subscribe to their shard's
// topic. GossipSub tells its subscriptions once, when a stream begins, and forgets those of a peer when its own stream
// to that peer ends, though the peer's goes on: after the death of one of two connections, say. As nothing but a new
// connection makes both sides begin anew, the peer is disconnected; whoever connects peers does the rest.
func (g *gossip) checkSilence(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for shard, members := range g.net.shards {
		heard := make(map[peer.ID]bool)
		for _, id := range g.ps.ListPeers(g.names[shard]) {
			heard[id] = true
		}
		for _, m := range members {
			if m == nil {
				continue
			}
			c := g.net.youngest(m.id)
			if heard[m.id] || c == nil {
				if heard[m.id] {
					delete(g.silent, m.id)
				}
				continue
			}
			if now.Sub(c.Stat().Opened) < silenceInterval {
				continue
			}
			s := g.silent[m.id]
			if s == nil { // it may have come this moment: look once more
				g.silent[m.id] = &silence{next: now, pause: silencePause}
				continue
			}
			if now.Before(s.next) {
				continue
			}
			s.next, s.pause = now.Add(s.pause), min(2*s.pause, silencePauseMax)
			g.net.outside.Infow("reconnecting a peer that tells no gossip subscription", m.id, "shard", m.shard, "replica", m.index, "peer", m.id)
			if err := g.net.host.Network().ClosePeer(m.id); err != nil {
				g.net.outside.Debugw("close connections", m.id, "peer", m.id, "error", err)
			}
		}
	}
}

// gossipTracer counts what GossipSub loses without a word.
type gossipTracer struct{ count *gossipCounters }

func (t gossipTracer) DropRPC(rpc *pubsub.RPC, _ peer.ID) {
	t.count.lostOut.Add(uint64(len(rpc.GetPublish())))
}

func (t gossipTracer) RejectMessage(_ *pubsub.Message, reason string) {
	if reason == pubsub.RejectValidationQueueFull {
		t.count.lostIn.Add(1)
	}
}

// The rest of what can be traced is of no interest.

func (gossipTracer) OnNewOutboundStream(peer.ID, protocol.ID) {}
func (gossipTracer) OnClosedOutboundStream(peer.ID)           {}
func (gossipTracer) Join(string)                              {}
func (gossipTracer) Leave(string)                             {}
func (gossipTracer) Graft(peer.ID, string)                    {}
func (gossipTracer) Prune(peer.ID, string)                    {}
func (gossipTracer) ValidateMessage(*pubsub.Message)          {}
func (gossipTracer) DeliverMessage(*pubsub.Message)           {}
func (gossipTracer) DuplicateMessage(*pubsub.Message)         {}
func (gossipTracer) ThrottlePeer(peer.ID)                     {}
func (gossipTracer) RecvRPC(*pubsub.RPC)                      {}
func (gossipTracer) SendRPC(*pubsub.RPC, peer.ID)             {}
func (gossipTracer) UndeliverableMessage(*pubsub.Message)     {}
