package p2p

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"

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
	"github.com/libp2p/go-libp2p/x/rate"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// startHost starts a libp2p host that only listens, dials and identifies: no relay, no reachability probes, no pings.
// It sets n.host before the host listens, because the first connection may arrive at once.
func (n *Net) startHost() error {
	resources, err := newResources(len(n.roster.places)-1, n.cfg.Limits.ConnsPerMember, n.cfg.Metrics != nil)
	if err != nil {
		return fmt.Errorf("network resource manager: %w", err)
	}
	opts := []libp2p.Option{
		libp2p.Identity(n.cfg.Identity),
		libp2p.Transport(n.newTCP),
		libp2p.Security(libp2ptls.ID, libp2ptls.New),
		libp2p.Muxer(yamux.ID, pacedMuxer{yamux.DefaultTransport, newDelays(n.cfg.WAN, n.roster, int(n.cfg.Self))}),
		libp2p.ResourceManager(resources),
		libp2p.ConnectionManager(connmgr.NullConnMgr{}),
		libp2p.ConnectionGater(gater{n}),
		libp2p.DisableRelay(),
		libp2p.Ping(false),
		libp2p.ForceReachabilityPublic(), // no peer is asked to probe reachability
		libp2p.DisableIdentifyAddressDiscovery(),
		libp2p.UserAgent("bdtnode"),
	}
	if n.cfg.Metrics == nil {
		opts = append(opts, libp2p.DisableMetrics())
	} else {
		opts = append(opts, libp2p.PrometheusRegisterer(n.cfg.Metrics))
	}
	if n.cfg.resolver != nil {
		opts = append(opts, libp2p.MultiaddrResolver(n.cfg.resolver))
	}
	if n.cfg.QUIC {
		opts = append(opts, libp2p.Transport(quic.NewTransport))
	}
	if len(n.roster.announce) > 0 {
		opts = append(opts, libp2p.AddrsFactory(func([]ma.Multiaddr) []ma.Multiaddr { return n.roster.announce }))
	}
	if n.host, err = libp2p.New(opts...); err != nil {
		return errors.Join(fmt.Errorf("start libp2p: %w", err), resources.Close())
	}
	if err := n.listen(n.host); err != nil {
		return errors.Join(err, n.host.Close())
	}
	return nil
}

// listen makes the host listen. Each address must work, and a failure leaves no listener behind, unlike libp2p's own
// method. An address for all interfaces of a family (0.0.0.0, ::) is skipped if the machine lacks that family and
// another address is left.
func (n *Net) listen(h host.Host) error {
	listening := 0
	var lacking error
	for _, a := range n.roster.listen {
		err := h.Network().Listen(a)
		switch {
		case err == nil:
			listening++
		case manet.IsIPUnspecified(a) && (errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL)):
			lacking = fmt.Errorf("listen on %s: %w", a, err)
			logger.Infow("address family not available", "address", a, "error", err)
		default:
			return fmt.Errorf("listen on %s: %w", a, err)
		}
	}
	if listening == 0 {
		return lacking
	}
	return nil
}

// unknownConns bounds the connections with unknown peers in libp2p's resource manager. The gate keeps them far below; a
// connection that it closes stays counted until a goroutine has seen its end. QUIC has no gate, only this bound.
const unknownConns = 4096

// dialsPerMember is the number of addresses of one member that libp2p dials at a time. Each counts as a connection. A
// dial beyond a bound would skip an address. All dials share the places of outbound connections.
const dialsPerMember = 8

// streamsPerMember is the number of streams that a member may have open in each direction.
const streamsPerMember = 128

// newResources bounds libp2p's resources for that many other members. Each member has bounds of its own, so that no
// other peer can use them up, and the total is their sum. Inbound connections with unknown peers have separate places,
// and so do own dials.
//
// The defaults would admit 8 connections from one IPv4 address, and new ones at one in 5 seconds after the first 16,
// which is too few where replicas share a host. The rate for each address bounds the TLS handshakes that it can cause.
func newResources(others, connsPerMember int, metrics bool) (network.ResourceManager, error) {
	conns, streams := connsPerMember*others, streamsPerMember*others
	limits := rcmgr.PartialLimitConfig{
		System: rcmgr.ResourceLimits{
			Conns: rcmgr.Unlimited, ConnsInbound: rcmgr.LimitVal(conns + unknownConns), ConnsOutbound: rcmgr.LimitVal(conns),
			Streams: rcmgr.Unlimited, StreamsInbound: rcmgr.LimitVal(streams), StreamsOutbound: rcmgr.LimitVal(streams),
			FD: rcmgr.Unlimited, Memory: rcmgr.LimitVal64(others+4) * (64 << 20),
		},
		Transient: rcmgr.ResourceLimits{ // not yet authenticated, or protocol not yet negotiated
			Conns: rcmgr.Unlimited, ConnsInbound: unknownConns, ConnsOutbound: rcmgr.LimitVal(conns),
			Streams: rcmgr.Unlimited, StreamsInbound: rcmgr.LimitVal(streams), StreamsOutbound: rcmgr.LimitVal(streams),
			FD: rcmgr.Unlimited, Memory: rcmgr.LimitVal64(others+4) * (4 << 20),
		},
		PeerDefault: rcmgr.ResourceLimits{
			Conns: rcmgr.Unlimited, ConnsInbound: rcmgr.LimitVal(connsPerMember), ConnsOutbound: rcmgr.LimitVal(connsPerMember + dialsPerMember),
			Streams: rcmgr.Unlimited, StreamsInbound: streamsPerMember, StreamsOutbound: streamsPerMember,
			FD: rcmgr.Unlimited, Memory: 64 << 20,
		},
	}
	perSecond := rate.Limit{RPS: float64(8*others + 64), Burst: 2 * (8*others + 64)}
	loopback := []rate.PrefixLimit{{Prefix: netip.MustParsePrefix("127.0.0.0/8")}, {Prefix: netip.MustParsePrefix("::1/128")}}
	opts := []rcmgr.Option{
		rcmgr.WithLimitPerSubnet(
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: 2*conns + unknownConns}},
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 56, ConnCount: 2*conns + unknownConns}},
		),
		rcmgr.WithConnRateLimiters(&rate.Limiter{
			NetworkPrefixLimits: loopback,
			SubnetRateLimiter: rate.SubnetLimiter{
				IPv4SubnetLimits: []rate.SubnetLimit{{PrefixLength: 32, Limit: perSecond}},
				IPv6SubnetLimits: []rate.SubnetLimit{{PrefixLength: 56, Limit: perSecond}},
			},
		}),
	}
	if !metrics {
		opts = append(opts, rcmgr.WithMetricsDisabled())
	}
	return rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits.Build(rcmgr.InfiniteLimits)), opts...)
}

// gater admits members of all shards that are not banned, and refuses all other peers.
type gater struct{ net *Net }

func (g gater) admits(id peer.ID) bool { return g.net.refusal(id) == "" }

func (g gater) InterceptPeerDial(id peer.ID) bool                 { return g.admits(id) }
func (g gater) InterceptAddrDial(id peer.ID, _ ma.Multiaddr) bool { return g.admits(id) }
func (g gater) InterceptAccept(network.ConnMultiaddrs) bool       { return true }

func (g gater) InterceptSecured(dir network.Direction, id peer.ID, at network.ConnMultiaddrs) bool {
	why := g.net.refusal(id)
	if why != "" {
		g.net.count.refused.Add(1)
		g.net.outside.Warnw("connection refused", id, "peer", id, "from", at.RemoteMultiaddr(), "reason", why)
		return false
	}
	if a, ok := at.(*arrival); ok {
		a.known()
	}
	if dir == network.DirInbound {
		g.net.makeRoom(id)
	}
	return true
}

// makeRoom closes the oldest inbound connection of a member that has reached its bound. Connections of a dead process
// stay until the muxer's keepalive ends them, and the next process of the member needs a place.
func (n *Net) makeRoom(id peer.ID) {
	var inbound []network.Conn
	for _, c := range n.host.Network().ConnsToPeer(id) {
		if c.Stat().Direction == network.DirInbound {
			inbound = append(inbound, c)
		}
	}
	if len(inbound) >= n.cfg.Limits.ConnsPerMember {
		oldest := slices.MinFunc(inbound, func(a, b network.Conn) int { return a.Stat().Opened.Compare(b.Stat().Opened) })
		_ = oldest.Close() // it may be closed already
	}
}

func (g gater) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }
