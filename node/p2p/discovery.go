package p2p

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	yamuxv5 "github.com/libp2p/go-yamux/v5"
	ma "github.com/multiformats/go-multiaddr"
)

// Time limits of one attempt to reach a peer.
const (
	dialTime = 5 * time.Second
	findTime = 10 * time.Second
)

// newDHT starts Kademlia as a server with the network's own prefix. In the automatic mode a node becomes a server only
// when it is publicly reachable, which never happens on loopback or private addresses. It is used to find peers by id
// and stores no records. It has no periodic refresh, so an idle network stays idle; a search that fails asks the
// bootstrap members again.
func (n *Net) newDHT() (*dht.IpfsDHT, error) {
	d, err := dht.New(n.host,
		dht.Mode(dht.ModeServer),
		dht.ProtocolPrefix(protocol.ID("/bdt/"+n.cfg.Network.Short())),
		dht.DisableValues(),
		dht.DisableProviders(),
		dht.DisableAutoRefresh(),
	)
	if err != nil {
		return nil, fmt.Errorf("start peer discovery: %w", err)
	}
	return d, nil
}

// reach connects to a member: first at its last known and configured addresses, then at those found by a search.
func (n *Net) reach(ctx context.Context, id peer.ID) error {
	known := append(n.book.get(id), n.bootstrapper.addrs(id)...)
	known = append(known, n.host.Peerstore().Addrs(id)...)
	err := errors.New("no address known")
	if len(known) > 0 {
		if err = n.dial(ctx, id, known); err == nil || ctx.Err() != nil {
			return err
		}
	}
	n.bootstrapper.enter(ctx)
	find, cancel := context.WithTimeout(ctx, findTime)
	defer cancel()
	info, findErr := n.dht.FindPeer(find, id)
	if findErr != nil {
		return fmt.Errorf("%w; search: %w", err, findErr)
	}
	found := slices.DeleteFunc(slices.Clone(info.Addrs), func(a ma.Multiaddr) bool { return slices.ContainsFunc(known, a.Equal) })
	if n.host.Network().Connectedness(id) != network.Connected && len(found) == 0 {
		return err
	}
	return n.dial(ctx, id, found)
}

// dial connects to a peer that is not connected. This package controls the pauses between attempts. It overrides
// libp2p's own backoff, 5 s and growing, which would delay the connection to a peer that returns earlier.
func (n *Net) dial(ctx context.Context, id peer.ID, addrs []ma.Multiaddr) error {
	ctx, cancel := context.WithTimeout(network.WithForceDirectDial(ctx, "own backoff"), dialTime)
	defer cancel()
	return n.host.Connect(ctx, peer.AddrInfo{ID: id, Addrs: addrs})
}

// rtt is the muxer's own measurement on the youngest connection, taken at its start and every 30 s.
func (n *Net) rtt(id peer.ID) time.Duration {
	var session *yamuxv5.Session
	if c := n.youngest(id); c != nil && c.As(&session) {
		return session.RTT()
	}
	return 0
}

// youngest is the live connection to a peer that was opened last, or nil.
func (n *Net) youngest(id peer.ID) network.Conn {
	var best network.Conn
	for _, c := range n.host.Network().ConnsToPeer(id) {
		if !c.IsClosed() && (best == nil || c.Stat().Opened.After(best.Stat().Opened)) {
			best = c
		}
	}
	return best
}
