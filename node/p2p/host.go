package p2p

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/libp2p/go-libp2p/x/rate"
	ma "github.com/multiformats/go-multiaddr"
)

// newHost starts a libp2p host that only listens, dials and identifies: no relay, no reachability probes, no pings.
func (n *Net) newHost() (host.Host, error) {
	resources, err := newResources(len(n.roster.places))
	if err != nil {
		return nil, fmt.Errorf("network resource manager: %w", err)
	}
	opts := []libp2p.Option{
		libp2p.Identity(n.cfg.Identity),
		// Ports are not reused for dialling: without NAT it gains nothing, and two nodes that dial each other at
		// once would claim one pair of addresses.
		libp2p.Transport(tcp.NewTCPTransport, tcp.DisableReuseport()),
		libp2p.Security(libp2ptls.ID, libp2ptls.New),
		libp2p.Muxer(yamux.ID, pacedMuxer{yamux.DefaultTransport}),
		libp2p.ResourceManager(resources),
		libp2p.ConnectionManager(connmgr.NullConnMgr{}),
		libp2p.ConnectionGater(gater{n}),
		libp2p.DisableRelay(),
		libp2p.Ping(false),
		libp2p.ForceReachabilityPublic(), // nobody is asked whether it is so
		libp2p.DisableIdentifyAddressDiscovery(),
		libp2p.DisableMetrics(),
		libp2p.UserAgent("bdtnode"),
	}
	if n.cfg.QUIC {
		opts = append(opts, libp2p.Transport(quic.NewTransport))
	}
	if len(n.roster.announce) > 0 {
		opts = append(opts, libp2p.AddrsFactory(func([]ma.Multiaddr) []ma.Multiaddr { return n.roster.announce }))
	}
	h, err := libp2p.New(opts...)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start libp2p: %w", err), resources.Close())
	}
	// Each address must work, and failing here leaves nothing behind, which libp2p's own way to listen does.
	for _, a := range n.roster.listen {
		if err := h.Network().Listen(a); err != nil {
			return nil, errors.Join(fmt.Errorf("listen on %s: %w", a, err), h.Close())
		}
	}
	return h, nil
}

// connsPerMember is how many connections of one member are admitted: simultaneous dials make two, and dead ones of
// a crashed process linger until the muxer's keepalive ends them.
const connsPerMember = 8

// newResources bounds what libp2p may hold by the number of members. Its defaults would admit 8 connections from
// one IPv4 address, and new ones at one in 5 seconds after the first 16, which is too few where replicas share a host.
func newResources(members int) (network.ResourceManager, error) {
	conns := connsPerMember*members + 64
	streams := 64*members + 256
	limits := rcmgr.PartialLimitConfig{
		System: rcmgr.ResourceLimits{
			Conns: rcmgr.LimitVal(2 * conns), ConnsInbound: rcmgr.LimitVal(conns), ConnsOutbound: rcmgr.LimitVal(conns),
			Streams: rcmgr.LimitVal(2 * streams), StreamsInbound: rcmgr.LimitVal(streams), StreamsOutbound: rcmgr.LimitVal(streams),
			FD: rcmgr.LimitVal(2 * conns), Memory: rcmgr.LimitVal64(members+4) * (64 << 20),
		},
		Transient: rcmgr.ResourceLimits{ // not yet authenticated, or not yet told their protocol
			Conns: rcmgr.LimitVal(conns), ConnsInbound: rcmgr.LimitVal(conns), ConnsOutbound: rcmgr.LimitVal(conns),
			Streams: rcmgr.LimitVal(streams), StreamsInbound: rcmgr.LimitVal(streams), StreamsOutbound: rcmgr.LimitVal(streams),
			FD: rcmgr.LimitVal(conns), Memory: rcmgr.LimitVal64(members+4) * (4 << 20),
		},
		PeerDefault: rcmgr.ResourceLimits{
			Conns: 2 * connsPerMember, ConnsInbound: connsPerMember, ConnsOutbound: connsPerMember,
			Streams: 256, StreamsInbound: 128, StreamsOutbound: 128,
			FD: 2 * connsPerMember, Memory: 64 << 20,
		},
	}
	perHost := []rate.SubnetLimit{{PrefixLength: 32, Limit: rate.Limit{RPS: float64(conns), Burst: 2 * conns}}}
	perNet := []rate.SubnetLimit{{PrefixLength: 56, Limit: rate.Limit{RPS: float64(conns), Burst: 2 * conns}}}
	loopback := []rate.PrefixLimit{{Prefix: netip.MustParsePrefix("127.0.0.0/8")}, {Prefix: netip.MustParsePrefix("::1/128")}}
	return rcmgr.NewResourceManager(
		rcmgr.NewFixedLimiter(limits.Build(rcmgr.InfiniteLimits)),
		rcmgr.WithMetricsDisabled(),
		rcmgr.WithLimitPerSubnet(
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: conns}},
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 56, ConnCount: conns}},
		),
		rcmgr.WithConnRateLimiters(&rate.Limiter{
			NetworkPrefixLimits: loopback,
			SubnetRateLimiter:   rate.SubnetLimiter{IPv4SubnetLimits: perHost, IPv6SubnetLimits: perNet},
		}),
	)
}

// gater lets members in, of whatever shard, unless they are kept out for a while; nobody else.
type gater struct{ net *Net }

func (g gater) admits(id peer.ID) bool { return g.net.refusal(id) == "" }

func (g gater) InterceptPeerDial(id peer.ID) bool                 { return g.admits(id) }
func (g gater) InterceptAddrDial(id peer.ID, _ ma.Multiaddr) bool { return g.admits(id) }
func (g gater) InterceptAccept(network.ConnMultiaddrs) bool       { return true }

func (g gater) InterceptSecured(_ network.Direction, id peer.ID, at network.ConnMultiaddrs) bool {
	why := g.net.refusal(id)
	if why == "" {
		return true
	}
	g.net.count.refused.Add(1)
	g.net.strangers.log(id, func() { logger.Warnw("connection refused", "peer", id, "from", at.RemoteMultiaddr(), "reason", why) })
	return false
}

func (g gater) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }
