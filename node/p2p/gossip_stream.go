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

// gossipHost is the host for GossipSub: its writes wait behind control messages, like bulk.
type gossipHost struct {
	host.Host
	net *Net
}

// NewStream opens a stream on an existing connection.
func (h gossipHost) NewStream(ctx context.Context, id peer.ID, protos ...protocol.ID) (network.Stream, error) {
	s, err := h.Host.NewStream(network.WithNoDial(ctx, "gossip"), id, protos...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(h.net.ctx)
	out := &pacedWriter{stream: s, ctx: ctx, limit: h.net.cfg.Limits.WriteTime, pacer: pacerOf(s)}
	return &gossipStream{Stream: s, member: h.net.member(id), out: out, cancel: cancel}, nil
}

// gossipStream is written by one goroutine and reset by another.
type gossipStream struct {
	network.Stream
	member *member
	out    *pacedWriter
	cancel context.CancelFunc // cancels a write that waits for space
}

func (s *gossipStream) Write(b []byte) (int, error) {
	s.out.urgent = nil
	if session := s.member.active.Load(); session != nil {
		s.out.urgent = session.queues[Control]
	}
	return s.out.Write(b)
}

// SetWriteDeadline does nothing: the writer sets a deadline for each chunk.
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
	// silenceInterval is the interval at which subscriptions are compared with the genesis.
	silenceInterval = 10 * time.Second
	// silencePause is the first pause between two disconnects of one peer, and silencePauseMax the longest.
	silencePause    = time.Minute
	silencePauseMax = time.Hour
)

// silence is the state of a connected member that has no known subscription to its topic.
type silence struct {
	next  time.Time
	pause time.Duration
}

// checkSilence finds peers with a connection to this node whose subscription to their shard's topic is unknown.
// GossipSub sends its subscriptions once, at the beginning of a stream. It forgets those of a peer when its own stream
// to the peer ends although the peer's stream continues, for example when one of two connections ends. Only a new
// connection makes both sides start again, so checkSilence disconnects the peer; the member or its bridge then connects
// again.
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
			if s == nil { // it may be starting: check once more
				g.silent[m.id] = &silence{next: now, pause: silencePause}
				continue
			}
			if now.Before(s.next) {
				continue
			}
			s.next, s.pause = now.Add(s.pause), min(2*s.pause, silencePauseMax)
			g.net.outside.Infow("peer disconnected", m.id, "reason", "no gossip subscription", "shard", m.shard, "replica", m.index, "peer", m.id)
			if err := g.net.host.Network().ClosePeer(m.id); err != nil {
				g.net.outside.Debugw("connections not closed", m.id, "peer", m.id, "error", err)
			}
		}
	}
}

// gossipTracer counts the messages that GossipSub drops.
type gossipTracer struct{ count *gossipCounters }

func (t gossipTracer) DropRPC(rpc *pubsub.RPC, _ peer.ID) {
	t.count.lostOut.Add(uint64(len(rpc.GetPublish())))
}

func (t gossipTracer) RejectMessage(_ *pubsub.Message, reason string) {
	if reason == pubsub.RejectValidationQueueFull {
		t.count.lostIn.Add(1)
	}
}

// The other events are not used.

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
