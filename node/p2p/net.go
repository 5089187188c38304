package p2p

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-log/v2"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"bdtnode/node/loglimit"
	"bdtnode/node/supervise"
	"bdtnode/protocols"
)

var logger = log.Logger("bdt/p2p")

// Protocol ids of the streams.
const (
	controlProtocol protocol.ID = "/bdt/control/1.0.0"
	bulkProtocol    protocol.ID = "/bdt/bulk/1.0.0"
	fetchProtocol   protocol.ID = "/bdt/fetch/1.0.0"
)

var classProtocols = [classes]protocol.ID{Control: controlProtocol, Bulk: bulkProtocol}

// addressSaveInterval is the interval at which changed addresses are written to the file.
const addressSaveInterval = 5 * time.Second

// Net is this node's part in the network. Its methods may be called concurrently, and from the Handler.
type Net struct {
	cfg          Config
	handler      Handler // from Run on
	roster       *roster
	book         *addressBook
	shards       [][]*member // all members by shard, nil for this node
	members      []*member   // members of the own shard, nil at Self
	bridges      []*bridge   // one for each other shard
	gossip       *gossip
	outside      *loglimit.Logger // log lines that other peers cause
	lasting      *loglimit.Logger // the same, for conditions that last while a peer is down or has other settings
	bootstrapper *bootstrapper
	count        counters

	asking    requests   // open requests to others
	answering requests   // open requests of others
	refusing  *allowance // refused requests whose streams are still open

	started chan struct{} // closed when host and dht are set
	running atomic.Bool
	host    host.Host
	dht     *dht.IpfsDHT
	ctx     context.Context // context of Run
	serving handlers
}

// New checks the configuration, reads the address file and starts nothing.
func New(cfg Config) (*Net, error) {
	roster, err := cfg.check()
	if err != nil {
		return nil, err
	}
	if cfg.Limits, err = cfg.Limits.withDefaults(); err != nil {
		return nil, err
	}
	if cfg.log == nil {
		cfg.log = logger
	}
	n := &Net{cfg: cfg, roster: roster, started: make(chan struct{}),
		outside: loglimit.New(cfg.log), lasting: loglimit.Every(time.Minute, cfg.log),
		asking: newRequests(cfg.Limits), answering: newRequests(cfg.Limits), refusing: newAllowance(maxRefusing, ownOpen, 8*maxRefusing)}
	if n.book, err = openAddressBook(cfg.AddressFile, func(id peer.ID) bool { _, ok := roster.places[id]; return ok }); err != nil {
		logger.Warnw("address file not read", "effect", "peers are searched for", "error", err)
	}
	for s, ids := range roster.ids {
		members := make([]*member, len(ids))
		for i, id := range ids {
			if id != roster.self {
				members[i] = newMember(n, place{uint16(s), protocols.Index(i)}, id)
			}
		}
		n.shards = append(n.shards, members)
		if uint16(s) != cfg.Shard {
			n.bridges = append(n.bridges, newBridge(n, members))
		}
	}
	n.members = n.shards[cfg.Shard]
	n.bootstrapper = newBootstrapper(n)
	n.gossip = newGossip(n)
	return n, nil
}

// Run listens, connects and serves until ctx ends, which is not an error, or until it fails to listen. It must be
// called once. When it returns, all its goroutines have ended and the handler is not called again.
func (n *Net) Run(ctx context.Context, h Handler) (err error) {
	if n.running.Swap(true) {
		return errors.New("the network was already run")
	}
	n.handler = h
	ctx, cancel := context.WithCancel(ctx)
	n.ctx = ctx
	if err := n.startHost(); err != nil {
		cancel()
		return err
	}
	if n.dht, err = n.newDHT(); err != nil {
		cancel()
		return errors.Join(err, n.host.Close())
	}
	identified, err := n.host.EventBus().Subscribe(new(event.EvtPeerIdentificationCompleted))
	if err != nil {
		cancel()
		return errors.Join(err, n.dht.Close(), n.host.Close())
	}
	n.host.Network().Notify(&network.NotifyBundle{
		ConnectedF:    func(_ network.Network, c network.Conn) { n.connected(c) },
		DisconnectedF: func(_ network.Network, c network.Conn) { n.disconnected(c) },
	})
	for class, id := range classProtocols {
		n.host.SetStreamHandler(id, func(s network.Stream) { n.serving.run(func() { n.accept(s, Class(class)) }) })
	}
	n.host.SetStreamHandler(fetchProtocol, func(s network.Stream) { n.serving.run(func() { n.answer(s) }) })
	if err := n.gossip.start(ctx); err != nil {
		cancel()
		return errors.Join(err, identified.Close(), n.dht.Close(), n.host.Close())
	}
	close(n.started)
	logger.Infow("listening", "peer", n.roster.self, "addresses", n.Addrs())

	g := supervise.New(ctx)
	for _, m := range n.members {
		if m != nil {
			g.Go("peer", func(ctx context.Context) error { m.run(ctx); return nil })
		}
	}
	for _, b := range n.bridges {
		g.Go("bridge", func(ctx context.Context) error { b.run(ctx); return nil })
	}
	g.Go("gossip", func(ctx context.Context) error { n.gossip.run(ctx); return nil })
	g.Go("addresses", func(ctx context.Context) error { n.keepAddresses(ctx, identified.Out()); return nil })
	failed := g.Wait()
	cancel()
	n.bootstrapper.wait()
	err = errors.Join(identified.Close(), n.dht.Close(), n.host.Close())
	n.serving.wait()
	if err != nil {
		err = fmt.Errorf("close network: %w", err)
	}
	return errors.Join(failed, err)
}

// keepAddresses notes the addresses at which peers were reached, and writes them from time to time and at the end.
func (n *Net) keepAddresses(ctx context.Context, identified <-chan any) {
	saves := time.NewTicker(addressSaveInterval)
	defer saves.Stop()
	for ctx.Err() == nil {
		select {
		case e := <-identified:
			if e, ok := e.(event.EvtPeerIdentificationCompleted); ok {
				n.book.reached(e.Peer, e.ListenAddrs)
			}
			continue
		case <-saves.C:
		case <-ctx.Done():
		}
		if err := n.book.save(); err != nil {
			logger.Warnw("address file not written", "error", err)
		}
	}
}

// handlers counts the running stream handlers, until it is closed for new ones.
type handlers struct {
	mu     sync.Mutex
	closed bool
	wg     sync.WaitGroup
}

// run calls f, unless wait was called.
func (h *handlers) run(f func()) {
	h.mu.Lock()
	closed := h.closed
	if !closed {
		h.wg.Add(1)
	}
	h.mu.Unlock()
	if !closed {
		defer h.wg.Done()
		f()
	}
}

// start runs f on a new goroutine, unless wait was called.
func (h *handlers) start(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.wg.Go(f)
	}
}

func (h *handlers) wait() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.wg.Wait()
}

// Started is closed when Run listens.
func (n *Net) Started() <-chan struct{} { return n.started }

// up reports whether host and dht may be used.
func (n *Net) up() bool {
	select {
	case <-n.started:
		return true
	default:
		return false
	}
}

// Send queues a frame of 1 to [Class.MaxFrame] bytes for replica to. It never blocks. The frame must not be changed
// afterwards; one frame may be sent to many replicas. Without a session, or when the queue is full, the frame is lost,
// and Handler.Connected is called when it must be sent again. A frame that breaks these rules is a programming error
// and panics.
func (n *Net) Send(to protocols.Index, class Class, frame []byte) {
	if len(frame) == 0 || len(frame) > class.MaxFrame() {
		panic(fmt.Sprintf("p2p: a %s frame of %d bytes, want 1 to %d", class, len(frame), class.MaxFrame()))
	}
	m := n.members[to]
	if m == nil {
		panic(fmt.Sprintf("p2p: replica %d sends to itself", to))
	}
	if s := m.active.Load(); s != nil {
		if lost := s.queues[class].push(frame); lost > 0 {
			if lost > 1 {
				n.outside.Warnw("queue dropped", to, "replica", to, "reason", "overflow", "class", class.String(), "frames", lost)
			}
			n.count.class[class].lost.Add(uint64(lost))
			m.traffic[class].lost.Add(uint64(lost))
		}
	}
}

// Reachable lists the other replicas of a shard that can be asked now, by index.
func (n *Net) Reachable(shard uint16) []protocols.Index {
	var out []protocols.Index
	for i, m := range n.shards[shard] {
		if m != nil && n.up() && m.reachable() {
			out = append(out, protocols.Index(i))
		}
	}
	return out
}

// PeerID is the peer id of this node.
func (n *Net) PeerID() string { return n.roster.self.String() }

// Addrs are the multiaddrs of this node, with /p2p/ and its peer id. There are none before Started.
func (n *Net) Addrs() []string {
	if !n.up() {
		return nil
	}
	var out []string
	for _, a := range n.host.Addrs() {
		out = append(out, a.String()+"/p2p/"+n.roster.self.String())
	}
	return out
}

// ReadyPeers is the number of other replicas of the own shard that have a session.
func (n *Net) ReadyPeers() int {
	ready := 0
	for _, m := range n.members {
		if m != nil && m.active.Load() != nil {
			ready++
		}
	}
	return ready
}

// PeerInfo describes a member.
type PeerInfo struct {
	Shard     uint16
	Index     protocols.Index
	ID        string
	Self      bool
	Connected bool     // has a session; for a member of another shard: a connection
	Addrs     []string // multiaddrs without the peer id
	RTT       time.Duration
}

// Peers lists all members of all shards in genesis order. RTT is 0 if unknown.
func (n *Net) Peers() []PeerInfo {
	var out []PeerInfo
	up := n.up()
	for s, ids := range n.roster.ids {
		for i, id := range ids {
			p := PeerInfo{Shard: uint16(s), Index: protocols.Index(i), ID: id.String(), Self: id == n.roster.self}
			addrs := n.book.get(id)
			if up && p.Self {
				addrs = n.host.Addrs()
				p.Connected = true
			}
			for _, a := range addrs {
				p.Addrs = append(p.Addrs, a.String())
			}
			if up && !p.Self {
				p.Connected = n.shards[s][i].reachable()
				p.RTT = n.rtt(id)
			}
			out = append(out, p)
		}
	}
	return out
}

// Stats returns the counters since the start.
func (n *Net) Stats() Stats { return n.count.read() }

// refusal is the reason why a peer is refused, empty if it is admitted.
func (n *Net) refusal(id peer.ID) string {
	m := n.member(id)
	switch {
	case m == nil && id != n.roster.self:
		return "not a member in the genesis of network " + n.cfg.Network.Short()
	case m != nil && m.banned():
		return "banned after a protocol violation"
	}
	return ""
}

// member is the other member with that peer id, or nil.
func (n *Net) member(id peer.ID) *member {
	if p, ok := n.roster.places[id]; ok {
		return n.shards[p.shard][p.index]
	}
	return nil
}

// shardMember is the other member of the own shard with that peer id, or nil.
func (n *Net) shardMember(id peer.ID) *member {
	if m := n.member(id); m != nil && m.shard == n.cfg.Shard {
		return m
	}
	return nil
}
