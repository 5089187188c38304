package p2p

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	yamuxv5 "github.com/libp2p/go-yamux/v5"
	ma "github.com/multiformats/go-multiaddr"
)

// How long one way of reaching a peer is tried.
const (
	dialTime = 5 * time.Second
	findTime = 10 * time.Second
)

// newDHT starts Kademlia as a server with the network's own prefix. In the automatic mode a node becomes a server
// only once it believes to be publicly reachable, which on loopback or private addresses is never. It is used to
// find peers by id, and keeps no records. Nothing refreshes it on a timer: an idle network stays idle, and a
// search that fails asks the bootstrap members again.
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

// reach connects to a member: at the addresses it had last or that are configured, else at those that a search finds.
func (n *Net) reach(ctx context.Context, id peer.ID) error {
	known := n.book.get(id)
	for _, b := range n.roster.bootstrap {
		if b.ID == id {
			known = append(known, b.Addrs...)
		}
	}
	known = append(known, n.host.Peerstore().Addrs(id)...)
	err := errors.New("no address known")
	if len(known) > 0 {
		if err = n.dial(ctx, id, known); err == nil || ctx.Err() != nil {
			return err
		}
	}
	n.enter(ctx)
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

// enter connects to the bootstrap members, all at once.
func (n *Net) enter(ctx context.Context) {
	var wg sync.WaitGroup
	for _, b := range n.roster.bootstrap {
		if n.host.Network().Connectedness(b.ID) == network.Connected {
			continue
		}
		wg.Go(func() {
			if err := n.dial(ctx, b.ID, slices.Concat(b.Addrs, n.book.get(b.ID))); err != nil {
				logger.Debugw("bootstrap member not reached", "peer", b.ID, "error", err)
			}
		})
	}
	wg.Wait()
}

// dial connects to a peer unless that is connected. Pauses between attempts are ours to make: libp2p's own, 5 s
// and growing, would keep a peer away that comes back earlier, so they are overridden.
func (n *Net) dial(ctx context.Context, id peer.ID, addrs []ma.Multiaddr) error {
	ctx, cancel := context.WithTimeout(network.WithForceDirectDial(ctx, "own backoff"), dialTime)
	defer cancel()
	return n.host.Connect(ctx, peer.AddrInfo{ID: id, Addrs: addrs})
}

// rtt is the muxer's own measurement on the youngest connection, taken at its start and each 30 s.
func (n *Net) rtt(id peer.ID) time.Duration {
	var session *yamuxv5.Session
	if c := n.youngest(id); c != nil && c.As(&session) {
		return session.RTT()
	}
	return 0
}

// youngest is the last opened live connection to a peer, or nil.
func (n *Net) youngest(id peer.ID) network.Conn {
	var best network.Conn
	for _, c := range n.host.Network().ConnsToPeer(id) {
		if !c.IsClosed() && (best == nil || c.Stat().Opened.After(best.Stat().Opened)) {
			best = c
		}
	}
	return best
}

// occasional lets one event of each peer through a minute, so that a stranger cannot fill the log.
type occasional struct {
	mu   sync.Mutex
	last map[peer.ID]time.Time
}

// maxOccasional bounds the peers remembered; beyond it events of new peers are not logged.
const maxOccasional = 1024

func (o *occasional) log(id peer.ID, write func()) {
	now := time.Now()
	o.mu.Lock()
	if o.last == nil {
		o.last = make(map[peer.ID]time.Time)
	}
	last, known := o.last[id]
	if !known && len(o.last) >= maxOccasional {
		for p, t := range o.last {
			if now.Sub(t) > time.Minute {
				delete(o.last, p)
			}
		}
	}
	due := now.Sub(last) > time.Minute && (known || len(o.last) < maxOccasional)
	if due {
		o.last[id] = now
	}
	o.mu.Unlock()
	if due {
		write()
	}
}
