// Package p2p connects the replicas of a network over libp2p: it finds them, keeps two long-lived streams to each
// other replica of the own shard, one for control and one for bulk, asks any replica of any shard on a stream of its
// own, and gossips to shards over GossipSub.
//
// What it promises: frames of one class between two replicas arrive in order and unchanged while a session lasts;
// [Handler.Connected] begins a session and is raised again whenever frames may have been lost, so that whoever
// keeps his own messages until they are settled has reliable links without unbounded queues. Nothing a peer does,
// or fails to do, blocks [Net.Send], another peer, or the other class. Gossip is only a hint: what is published may
// never arrive, and nobody is told.
//
// What it relies on: the genesis names every member by its libp2p peer id, and connections are authenticated by
// TLS. Nobody else is let in.
package p2p

import (
	"context"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"bdtnode/internal/digest"
	"bdtnode/node/loglimit"
	"bdtnode/protocols"
)

// Class is a kind of traffic with streams and queues of its own.
type Class uint8

// Control is small and urgent and never waits behind Bulk.
const (
	Control Class = iota
	Bulk
	classes int = iota
)

func (c Class) String() string {
	if c == Control {
		return "control"
	}
	return "bulk"
}

// Largest frames, requests and gossip, in bytes.
const (
	MaxControlFrame = 2 << 20
	MaxBulkFrame    = 16 << 20
	MaxRequest      = 1 << 20
	MaxGossip       = 1 << 20
)

// MaxFrame is the largest frame of the class, in bytes.
func (c Class) MaxFrame() int {
	if c == Control {
		return MaxControlFrame
	}
	return MaxBulkFrame
}

// Handler is who the network works for. Of Receive, Connected and Disconnected, calls for one peer and class come one
// after another, those of different peers or classes concurrently. Connected and Disconnected of a peer alternate but
// for the repeated Connected after a loss, and Receive is called only between them. Serve and Gossip are called
// concurrently. All calls must return when the node stops.
type Handler interface {
	// Receive gets one frame, which it may keep, from replica from of the own shard. It is called on the goroutine
	// that reads that peer's class: blocking it pushes back on that peer and class only. An error means that the
	// frame is garbage: the peer is dropped, kept out for a while and nothing else happens.
	Receive(from protocols.Index, class Class, frame []byte) error
	// Connected says that both classes reach replica i. Everything sent to it before may be lost: send it again.
	// It is called after each reconnect, and after a queue to the peer had overflowed and drained. It must not block.
	Connected(i protocols.Index)
	// Disconnected ends what Connected began. It must not block.
	Disconnected(i protocols.Index)
	// Serve answers a request of replica from of a shard, the own or another, by calling w for each response frame,
	// 1 to [MaxBulkFrame] bytes. An error, also of w, aborts the answer visibly for the peer. ctx ends after
	// [Limits].ServeTime.
	Serve(ctx context.Context, shard uint16, from protocols.Index, request []byte, w func(frame []byte) error) error
	// Gossip gets what somebody published to this replica's shard, 1 to [MaxGossip] bytes, which it may keep but not
	// change, and says what becomes of it. The same content is not shown again for a while, whoever sends it. It is
	// called on one of a few goroutines; what comes while all of them are busy waits in a short queue, or is lost.
	Gossip(data []byte) Verdict
}

// Config says who this node is, whom it belongs to, and where to listen.
type Config struct {
	// Identity is the node's libp2p key, Ed25519. Its peer id must be Members[Shard][Self].
	Identity crypto.PrivKey
	// Network is the id of the genesis. Peers of another one are refused.
	Network digest.Digest
	// Shard and Self are this replica's place.
	Shard uint16
	Self  protocols.Index
	// Members are the peer ids of all replicas, by shard and index.
	Members [][]string
	// Listen are the multiaddrs to listen on, /ip4/127.0.0.1/tcp/0 say. Port 0 takes any free one.
	Listen []string
	// Announce replaces the addresses told to others, for a node behind a port mapping. Empty: those it listens on.
	Announce []string
	// Bootstrap are multiaddrs of members, with /p2p/ and the peer id, to find the others through. One that
	// names this node is passed over.
	Bootstrap []string
	// AddressFile keeps the last known addresses of members across restarts. Empty: not kept.
	AddressFile string
	// QUIC adds the QUIC transport, for Listen and Bootstrap addresses of the kind /udp/.../quic-v1.
	QUIC bool
	// Limits are bounds; a zero field means its default.
	Limits Limits

	log      loglimit.Sink                // takes lines that peers cause; nil: the package's logger
	resolver network.MultiaddrDNSResolver // of names in addresses; nil: the system's
}

// Limits bound what a peer may cost. Bytes and times; a zero field means the default in parentheses.
type Limits struct {
	// ControlQueue and BulkQueue are the bytes that may wait for one peer (8 MiB, 64 MiB). One more frame drops
	// the queue, and Connected is raised once what was being written has left.
	ControlQueue int
	BulkQueue    int
	// WriteTime is how long a peer may leave one write of at most 64 KiB waiting before it is disconnected (20 s).
	WriteTime time.Duration
	// ServeTime bounds the answer to a request, at both ends (60 s).
	ServeTime time.Duration
	// ServeBytes bounds the sum of an answer's frames, at both ends (8 MiB).
	ServeBytes int64
	// Serving is how many requests of one peer are answered at a time, and how many requests to one peer are open (4);
	// ServingAll is that of all peers together (1,024), beyond one of each peer's own. More are refused.
	Serving    int
	ServingAll int
	// HeldBytes is how many bytes of requests and of answers not yet written are held for one peer, and of answers
	// being read from it (8 MiB); HeldBytesAll is that of all peers together (32 MiB), beyond 64 KiB of each peer's
	// own. What comes beyond is refused.
	HeldBytes    int64
	HeldBytesAll int64
	// MaxBackoff is the longest pause between attempts to reach a peer (5 s), and MaxPenalty the longest time
	// that a peer which sent garbage is kept out (60 s).
	MaxBackoff time.Duration
	MaxPenalty time.Duration
	// Strangers is how many inbound TCP connections may be without a TLS handshake at a time (512): one more closes an
	// older one. HandshakeTime is how long each may take (5 s).
	Strangers     int
	HandshakeTime time.Duration
	// ConnsPerMember is how many connections of one member are kept in each direction (8): simultaneous dials make
	// two, and dead ones of a crashed process stay until the muxer's keepalive ends them.
	ConnsPerMember int
}

func orDefault[T int | int64 | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

func (l Limits) withDefaults() (Limits, error) {
	orDefault(&l.ControlQueue, 8<<20)
	orDefault(&l.BulkQueue, 64<<20)
	orDefault(&l.WriteTime, 20*time.Second)
	orDefault(&l.ServeTime, 60*time.Second)
	orDefault(&l.ServeBytes, 8<<20)
	orDefault(&l.Serving, 4)
	orDefault(&l.ServingAll, 1024)
	orDefault(&l.HeldBytes, 8<<20)
	orDefault(&l.HeldBytesAll, 32<<20)
	orDefault(&l.MaxBackoff, 5*time.Second)
	orDefault(&l.MaxPenalty, 60*time.Second)
	orDefault(&l.Strangers, 512)
	orDefault(&l.HandshakeTime, 5*time.Second)
	orDefault(&l.ConnsPerMember, 8)
	if l.ControlQueue < 0 || l.BulkQueue < 0 || l.WriteTime < 0 || l.ServeTime < 0 || l.ServeBytes < 0 ||
		l.Serving < 0 || l.ServingAll < 0 || l.HeldBytes < 0 || l.HeldBytesAll < 0 || l.MaxBackoff < 0 || l.MaxPenalty < 0 ||
		l.Strangers < 0 || l.HandshakeTime < 0 || l.ConnsPerMember < 0 {
		return l, fmt.Errorf("network limits must not be negative: %+v", l)
	}
	return l, nil
}

// place is where a member sits.
type place struct {
	shard uint16
	index protocols.Index
}

// roster is the checked form of Config.
type roster struct {
	self      peer.ID
	ids       [][]peer.ID
	places    map[peer.ID]place
	bootstrap []peer.AddrInfo
	listen    []ma.Multiaddr
	announce  []ma.Multiaddr
}

func (c *Config) check() (*roster, error) {
	if c.Identity == nil {
		return nil, fmt.Errorf("no network identity given")
	}
	self, err := peer.IDFromPrivateKey(c.Identity)
	if err != nil {
		return nil, fmt.Errorf("network identity: %w", err)
	}
	r := &roster{self: self, places: make(map[peer.ID]place)}
	for s, members := range c.Members {
		ids := make([]peer.ID, len(members))
		for i, m := range members {
			id, err := peer.Decode(m)
			if err != nil {
				return nil, fmt.Errorf("shard %d replica %d: peer id %q: %w", s, i, m, err)
			}
			if p, dup := r.places[id]; dup {
				return nil, fmt.Errorf("shard %d replica %d: peer id %s is shard %d replica %d already", s, i, id, p.shard, p.index)
			}
			r.places[id] = place{uint16(s), protocols.Index(i)}
			ids[i] = id
		}
		r.ids = append(r.ids, ids)
	}
	if p, ok := r.places[self]; !ok || p != (place{c.Shard, c.Self}) {
		return nil, fmt.Errorf("the network identity is %s, which is not shard %d replica %d in the genesis", self, c.Shard, c.Self)
	}
	if r.listen, err = parseAddrs("listen", c.Listen); err != nil {
		return nil, err
	}
	if len(r.listen) == 0 {
		return nil, fmt.Errorf("no address to listen on, give one like /ip4/127.0.0.1/tcp/0")
	}
	if r.announce, err = parseAddrs("announce", c.Announce); err != nil {
		return nil, err
	}
	for _, b := range c.Bootstrap {
		info, err := peer.AddrInfoFromString(b)
		if err != nil {
			return nil, fmt.Errorf("bootstrap address %q: %w (want /ip4/.../tcp/.../p2p/<peer id>)", b, err)
		}
		if _, ok := r.places[info.ID]; !ok {
			return nil, fmt.Errorf("bootstrap address %q: %s is not a member in the genesis", b, info.ID)
		}
		if info.ID != self {
			r.bootstrap = append(r.bootstrap, *info)
		}
	}
	return r, nil
}

func parseAddrs(what string, in []string) ([]ma.Multiaddr, error) {
	var out []ma.Multiaddr
	for _, s := range in {
		a, err := ma.NewMultiaddr(s)
		if err != nil {
			return nil, fmt.Errorf("%s address %q: %w", what, s, err)
		}
		out = append(out, a)
	}
	return out, nil
}
