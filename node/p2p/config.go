// Package p2p connects the replicas of a network over libp2p. It finds them, keeps two long-lived streams to each other
// replica of the own shard (control and bulk), sends requests to any replica of any shard on a stream of their own, and
// publishes gossip to shards over GossipSub.
//
// Guarantees: frames of one class between two replicas arrive in order and unchanged while a session lasts.
// [Handler.Connected] begins a session and is called again whenever frames may have been lost. So a caller that keeps
// its messages until they are settled, and sends them again then, has reliable links without unbounded queues. No
// behaviour of a peer blocks [Net.Send], another peer, or the other class. Gossip is only a hint: a publication may be
// lost without notice.
//
// Assumptions: the genesis contains the libp2p peer id of every member, and connections are authenticated by TLS. Other
// peers are refused.
package p2p

import (
	"context"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/prometheus/client_golang/prometheus"

	"bdtnode/internal/digest"
	"bdtnode/internal/wan"
	"bdtnode/node/loglimit"
	"bdtnode/protocols"
)

// Class is a kind of traffic with its own streams and queues.
type Class uint8

// Control is for small, urgent frames, which never wait behind Bulk.
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

// Largest sizes of frames, requests and gossip, in bytes.
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

// Handler receives the input of the network. Calls of Receive, Connected and Disconnected for one peer and class are
// sequential; those for different peers or classes are concurrent. Connected and Disconnected of a peer alternate,
// except for repeated calls of Connected after a loss. Receive is called only between them. Serve and Gossip are called
// concurrently. All calls must return when the node stops.
type Handler interface {
	// Receive gets one frame from replica from of the own shard, and may keep it. It is called on the goroutine that
	// reads that peer's class, so blocking it applies back-pressure to that peer and class only. An error means that
	// the frame is invalid: the peer is dropped and banned for a while, without further effects.
	Receive(from protocols.Index, class Class, frame []byte) error
	// Connected means that both classes reach replica i. Everything sent to it before may be lost and must be sent
	// again. It is called after each reconnect, and after a queue to the peer had overflowed and drained. It must not
	// block.
	Connected(i protocols.Index)
	// Disconnected ends the period that Connected began. It must not block.
	Disconnected(i protocols.Index)
	// Serve answers a request of replica from of any shard. It calls w for each response frame of 1 to [MaxBulkFrame]
	// bytes. An error, also of w, aborts the answer; the peer can see that. ctx ends after [Limits].ServeTime.
	Serve(ctx context.Context, shard uint16, from protocols.Index, request []byte, w func(frame []byte) error) error
	// Gossip gets a publication to this replica's shard, 1 to [MaxGossip] bytes, which it may keep but not change, and
	// returns a verdict. The same content is not passed again for some time, from any sender. It is called on one of a
	// few goroutines. While all of them are busy, messages wait in a short queue; beyond that they are lost.
	Gossip(data []byte) Verdict
}

// Config identifies this node and its network, and sets its addresses.
type Config struct {
	// Identity is the node's libp2p key, Ed25519. Its peer id must be Members[Shard][Self].
	Identity crypto.PrivKey
	// Network is the id of the genesis. Peers of another network are refused.
	Network digest.Digest
	// Shard and Self are the shard and the index of this replica.
	Shard uint16
	Self  protocols.Index
	// Members are the peer ids of all replicas, by shard and index.
	Members [][]string
	// Listen are the multiaddrs to listen on, for example /ip4/127.0.0.1/tcp/0. Port 0 chooses a free port.
	Listen []string
	// Announce replaces the addresses announced to others, for a node behind a port mapping. Empty: the listen
	// addresses.
	Announce []string
	// Bootstrap are multiaddrs of members, with /p2p/ and the peer id, through which the others are found. Addresses of
	// this node are skipped.
	Bootstrap []string
	// AddressFile is the file in which the last known addresses of members are kept. Empty: they are not kept.
	AddressFile string
	// QUIC adds the QUIC transport, for Listen and Bootstrap addresses with /udp/.../quic-v1.
	QUIC bool
	// WAN delays the bytes received from other replicas, for measurements on one machine; over TCP only. Nil: no delays.
	WAN *wan.Matrix
	// Metrics gets the metrics of libp2p. Nil: there are none.
	Metrics prometheus.Registerer
	// Limits are resource bounds; a zero field means its default.
	Limits Limits

	log      loglimit.Sink                // sink of log lines that peers cause; nil: the package's logger
	resolver network.MultiaddrDNSResolver // resolver of names in addresses; nil: the system's
}

// Limits bound the resources that a peer may take, in bytes and times. A zero field means the default in parentheses.
type Limits struct {
	// ControlQueue and BulkQueue are the bytes that may wait for one peer (8 MiB, 64 MiB). A frame beyond that drops
	// the whole queue, and Connected is called when the frames being written have left.
	ControlQueue int
	BulkQueue    int
	// WriteTime is the time after which a peer that does not read one write of at most 64 KiB is disconnected (20 s).
	WriteTime time.Duration
	// ServeTime bounds the duration of the answer to a request, at both ends (60 s).
	ServeTime time.Duration
	// ServeBytes bounds the total size of an answer's frames, at both ends (8 MiB).
	ServeBytes int64
	// Serving is the number of requests of one peer that are served at a time, and of open requests to one peer (4).
	// ServingAll is the number for all peers together (1,024), in addition to one reserved for each peer. Further
	// requests are refused.
	Serving    int
	ServingAll int
	// RequestRate is the number of bytes a second of requests of one peer that are served (4 MiB), and twice that at once.
	// Each request counts 4 KiB in addition to its own bytes. Further ones wait, within ServeTime.
	RequestRate int
	// HeldBytes is the number of bytes held for one peer: its requests, answers not yet written, and answers being read
	// from it (8 MiB). HeldBytesAll is that number for all peers together (32 MiB), in addition to 64 KiB reserved for
	// each peer. Data beyond that is refused.
	HeldBytes    int64
	HeldBytesAll int64
	// MaxBackoff is the longest pause between attempts to reach a peer (5 s). MaxPenalty is the longest time for which
	// a peer is banned after a protocol violation (60 s).
	MaxBackoff time.Duration
	MaxPenalty time.Duration
	// Strangers is the number of inbound TCP connections that may be without a TLS handshake at a time (512); a further
	// one closes an older one. HandshakeTime bounds the handshake of each (5 s).
	Strangers     int
	HandshakeTime time.Duration
	// ConnsPerMember is the number of connections of one member that are kept in each direction (8). Simultaneous dials
	// create two, and dead ones of a crashed process stay until the muxer's keepalive ends them.
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
	orDefault(&l.RequestRate, 4<<20)
	orDefault(&l.HeldBytes, 8<<20)
	orDefault(&l.HeldBytesAll, 32<<20)
	orDefault(&l.MaxBackoff, 5*time.Second)
	orDefault(&l.MaxPenalty, 60*time.Second)
	orDefault(&l.Strangers, 512)
	orDefault(&l.HandshakeTime, 5*time.Second)
	orDefault(&l.ConnsPerMember, 8)
	if l.ControlQueue < 0 || l.BulkQueue < 0 || l.WriteTime < 0 || l.ServeTime < 0 || l.ServeBytes < 0 ||
		l.Serving < 0 || l.ServingAll < 0 || l.RequestRate < 0 || l.HeldBytes < 0 || l.HeldBytesAll < 0 || l.MaxBackoff < 0 || l.MaxPenalty < 0 ||
		l.Strangers < 0 || l.HandshakeTime < 0 || l.ConnsPerMember < 0 {
		return l, fmt.Errorf("network limits must not be negative: %+v", l)
	}
	return l, nil
}

// place is the shard and the index of a member.
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
		return nil, fmt.Errorf("the network identity is missing")
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
	if c.WAN != nil && c.QUIC {
		return nil, fmt.Errorf("delays of a wide-area network need TCP alone: turn QUIC off")
	}
	if r.listen, err = parseAddrs("listen", c.Listen); err != nil {
		return nil, err
	}
	if len(r.listen) == 0 {
		return nil, fmt.Errorf("no listen address: give one such as /ip4/127.0.0.1/tcp/0")
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
