package p2p

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	yamuxv5 "github.com/libp2p/go-yamux/v5"
	ma "github.com/multiformats/go-multiaddr"

	"bdtnode/protocols"
)

// MemberView is a snapshot of the connection to another member, for operators.
type MemberView struct {
	PeerInfo
	Network     string    // of the connection: "tcp" or "quic-v1", empty without a connection
	Direction   string    // of the connection: "outbound" if this node dialled, else "inbound"
	Remote      string    // address of its other end
	Connections int       // open connections to the member
	OpenedAt    time.Time // of the youngest connection
	SessionAt   time.Time // begin of the session, zero without one
	HeardAt     time.Time // last frame, request or answer, zero if there was none
	Class       [classes]ClassStats
	Failed      uint64 // failed attempts to get a session
	Trouble     string // last failure, or cause of the end of the last session; empty if there was none
	TroubleAt   time.Time
	Refused     bool      // Trouble is that the two nodes do not belong to one network
	BannedUntil time.Time // zero if it is not banned
	Dialling    bool      // an attempt is in progress
	Optional    bool      // of another shard, and enough other replicas of it are connected
}

// trouble is a failure to get a connection or session.
type trouble struct {
	at      time.Time
	why     string
	refused bool // the two do not belong to one network
}

// maxTrouble bounds the text of a failure, in bytes: libp2p lists each address.
const maxTrouble = 1024

func (m *member) noteTrouble(err error) {
	if errors.Is(err, errStopped) {
		return
	}
	why := reason(err).Error()
	var no refusal
	m.trouble.Store(&trouble{time.Now(), why[:min(len(why), maxTrouble)], errors.As(err, &no)})
}

func (m *member) noteHeard() { m.heard.Store(time.Now().UnixNano()) }

// Inspect takes a snapshot of all other members, in genesis order.
func (n *Net) Inspect() []MemberView {
	var out []MemberView
	for _, p := range n.Peers() {
		if p.Self {
			continue
		}
		m := n.shards[p.Shard][p.Index]
		v := MemberView{PeerInfo: p, Failed: m.failed.Load()}
		for class := range v.Class {
			v.Class[class] = m.traffic[class].read()
		}
		if at := m.heard.Load(); at != 0 {
			v.HeardAt = time.Unix(0, at)
		}
		if t := m.trouble.Load(); t != nil {
			v.Trouble, v.TroubleAt, v.Refused = t.why, t.at, t.refused
		}
		if until := m.bannedUntil(); time.Now().Before(until) {
			v.BannedUntil = until
		}
		m.mu.Lock()
		v.Dialling = m.dialling != nil
		m.mu.Unlock()
		if s := m.active.Load(); s != nil {
			v.SessionAt = s.began
		}
		if n.up() {
			v.connection(n, m)
		}
		out = append(out, v)
	}
	return out
}

// connection fills in the fields of the youngest connection.
func (v *MemberView) connection(n *Net, m *member) {
	v.Connections = len(n.host.Network().ConnsToPeer(m.id))
	if m.shard != n.cfg.Shard && !v.Connected {
		v.Optional = n.enough(m.shard)
	}
	c := n.youngest(m.id)
	if c == nil {
		return
	}
	v.Remote, v.OpenedAt = c.RemoteMultiaddr().String(), c.Stat().Opened
	v.Direction = "inbound"
	if c.Stat().Direction == network.DirOutbound {
		v.Direction = "outbound"
	}
	v.Network = "tcp"
	if _, err := c.RemoteMultiaddr().ValueForProtocol(ma.P_QUIC_V1); err == nil {
		v.Network = "quic-v1"
	}
}

// enough reports whether as many replicas of another shard are connected as this node keeps connections to.
func (n *Net) enough(shard uint16) bool {
	for _, b := range n.bridges {
		if b.tries[0].shard == shard {
			return len(n.Reachable(shard)) >= b.want
		}
	}
	return false
}

// ErrNoPing is wrapped by the error of a ping on a transport that has none: QUIC.
var ErrNoPing = errors.New("the transport of the connection has no ping")

// Ping measures the round trip to a member now, on its youngest connection. The error wraps [ErrNotConnected] if there is
// none.
func (n *Net) Ping(ctx context.Context, shard uint16, to protocols.Index) (time.Duration, error) {
	m := n.shards[shard][to]
	if m == nil || !n.up() {
		return 0, ErrNotConnected
	}
	c := n.youngest(m.id)
	if c == nil {
		return 0, ErrNotConnected
	}
	var session *yamuxv5.Session
	if !c.As(&session) {
		return 0, ErrNoPing
	}
	type result struct {
		took time.Duration
		err  error
	}
	done := make(chan result, 1)
	n.serving.start(func() {
		took, err := session.Ping()
		done <- result{took, err}
	})
	select {
	case r := <-done:
		if r.err != nil {
			return 0, fmt.Errorf("ping: %w", r.err)
		}
		return r.took, nil
	case <-ctx.Done():
		return 0, fmt.Errorf("ping: no answer: %w", ctx.Err())
	}
}
