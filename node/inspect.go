package node

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/admin"
	"bdtnode/node/driver"
	"bdtnode/node/p2p"
	"bdtnode/node/replica"
	"bdtnode/protocols"
)

// inspector answers the questions of the administration interface with the parts of the node.
type inspector struct{ *Node }

var _ admin.Backend = inspector{}

// inspectTime bounds the snapshot of the engine's loop. It leaves time for the other parts of an answer.
const inspectTime = time.Second

// Head implements [admin.Backend].
func (n inspector) Head() admin.Head {
	return admin.Head{
		Schema: admin.Schema, Shard: n.home.Shard, Replica: uint16(n.home.Replica), TimeMS: time.Now().UnixMilli(), Errors: []admin.PartError{},
	}
}

// fail adds a part that is missing in an answer.
func fail(h *admin.Head, part string, err error) {
	h.Errors = append(h.Errors, admin.PartError{Part: part, Error: err.Error()})
}

// loop returns a snapshot of the engine's loop, or adds the missing part to h and returns nil.
func (n inspector) loop(ctx context.Context, h *admin.Head) *driver.View {
	ctx, cancel := context.WithTimeout(ctx, inspectTime)
	defer cancel()
	v, err := n.engine.Inspect(ctx)
	if err != nil {
		fail(h, "engine", err)
		return nil
	}
	return v
}

// Consensus implements [admin.Backend].
func (n inspector) Consensus(ctx context.Context) admin.Consensus {
	s, r := n.engine.Status(), n.read()
	out := admin.Consensus{
		Head: n.Head(), Replicas: n.committee.N(), Quorum: n.committee.Quorum(), Weak: n.committee.WeakQuorum(),
		Position: admin.Position{
			Epoch: s.Epoch, Leader: uint16(s.Leader), Committed: s.Committed, Certified: s.Certified, Executed: n.chain.Height(),
			Answering: r.answering, WaitingMS: r.waited.Milliseconds(), Work: string(r.work), NotReady: r.notReady(),
		},
	}
	out.Position.Ready = out.Position.NotReady == ""
	if root, ok, err := n.chain.States().Last(); err != nil {
		fail(&out.Head, "ledger", err)
	} else if ok {
		out.Position.StateHeight, out.Position.StateRoot = root.Height, root.Root.String()
	}
	if v := n.loop(ctx, &out.Head); v != nil {
		out.Consensus, out.Headers, out.CatchUp, out.Start, out.Peers = &v.Core.Consensus, &v.Core.Headers, &v.Core.CatchUp, &v.Core.Start, v.Core.Peers
	}
	return out
}

// Lanes implements [admin.Backend].
func (n inspector) Lanes(ctx context.Context) admin.Lanes {
	out := admin.Lanes{Head: n.Head(), Admission: n.engine.InspectClients()}
	if v := n.loop(ctx, &out.Head); v != nil {
		out.Lanes, out.Batch, out.Vouching = v.Core.Consensus.Lanes, string(v.Batch), &v.Core.Vouching
	}
	return out
}

// Settlement implements [admin.Backend].
func (n inspector) Settlement(ctx context.Context) admin.Settlement {
	out := admin.Settlement{Head: n.Head(), Reach: []admin.Reach{}}
	if v := n.loop(ctx, &out.Head); v != nil {
		out.Inbound = v.Core.Consensus.Inbound
	}
	var l ledger.SettlementView
	err := errNoPayments
	if n.state != nil {
		l, err = n.state.Settlement(ctx, uint64(time.Now().UnixMilli()))
	}
	if err != nil {
		fail(&out.Head, "ledger", err)
	} else {
		out.Ledger = &l
	}
	for s, spec := range n.home.Genesis.Shards {
		if uint16(s) != n.home.Shard {
			out.Reach = append(out.Reach, admin.Reach{Shard: uint16(s), Replicas: len(spec.Members), Reachable: len(n.net.Reachable(uint16(s)))})
		}
	}
	return out
}

// Evidence implements [admin.Backend].
func (n inspector) Evidence(ctx context.Context, proof int) (admin.Evidence, error) {
	out := admin.Evidence{Head: n.Head(), Frozen: []admin.Frozen{}, Lanes: []admin.LaneEvidence{}, Twins: []replica.TwinView{}, Faults: []admin.Fault{}}
	frozen, err := n.chain.Frozen()
	if err != nil {
		fail(&out.Head, "ledger", err)
	}
	found := false
	for i := range frozen {
		f := &frozen[i]
		x := admin.Frozen{FreezeView: ledger.FreezeView{Source: f.Source, Number: f.Number, Delivery: f.Delivery, Why: f.Why, Proof: len(f.Proof)}}
		if int(f.Source) == proof {
			x.Encoded, found = hex.EncodeToString([]byte(f.Proof)), true
		}
		out.Frozen = append(out.Frozen, x)
	}
	if proof >= 0 && !found && err == nil {
		return out, fmt.Errorf("the channel from shard %d is not frozen here: %w", proof, admin.ErrNotFound)
	}
	if v := n.loop(ctx, &out.Head); v != nil {
		out.Kept, out.Twins = v.Core.Evidence, v.Core.Start.Twins
		for _, l := range v.Core.Consensus.Lanes {
			if l.Forked || l.Frozen || l.Bad {
				out.Lanes = append(out.Lanes, admin.LaneEvidence{Lane: uint16(l.Lane), Suspected: l.Forked, Frozen: l.Frozen, FrozenAt: l.FrozenAt, Bad: l.Bad})
			}
		}
	}
	for _, f := range n.engine.Faults() {
		out.Faults = append(out.Faults, admin.Fault{Replica: uint16(f.Peer), Reason: f.Reason, Count: f.Count, FirstMS: f.First.UnixMilli(), LastMS: f.Last.UnixMilli()})
	}
	return out, nil
}

// Peers implements [admin.Backend].
func (n inspector) Peers(context.Context) admin.Peers {
	out := admin.Peers{Head: n.Head(), Peers: []admin.Peer{}}
	members := make(map[[2]uint16]*p2p.MemberView)
	list := n.net.Inspect()
	for i := range list {
		members[[2]uint16{list[i].Shard, uint16(list[i].Index)}] = &list[i]
	}
	now := time.Now()
	for _, p := range (backend(n)).Peers() {
		x := admin.Peer{
			Shard: p.Shard, Replica: p.Replica, PeerID: p.PeerID, Self: p.Self, Connected: p.Connected, Addresses: p.Addresses,
			RTTMicros: p.RTTMicros, Height: p.Height, Answers: p.Answers, ClockMS: p.ClockMS, HeardMS: -1,
		}
		if m := members[[2]uint16{p.Shard, p.Replica}]; m != nil {
			describeMember(&x, m, now)
		}
		out.Peers = append(out.Peers, x)
	}
	return out
}

// age is the time since t in milliseconds, at least 1; none if t is zero.
func age(now, t time.Time, none int64) int64 {
	if t.IsZero() {
		return none
	}
	return max(1, now.Sub(t).Milliseconds())
}

func describeMember(x *admin.Peer, m *p2p.MemberView, now time.Time) {
	x.Connected = m.Connected
	x.Direction, x.Transport, x.Remote, x.Connections = m.Direction, m.Network, m.Remote, m.Connections
	x.OpenMS, x.SessionMS, x.HeardMS = age(now, m.OpenedAt, 0), age(now, m.SessionAt, 0), age(now, m.HeardAt, -1)
	x.Control, x.Bulk = traffic(m.Class[p2p.Control]), traffic(m.Class[p2p.Bulk])
	x.Failed, x.Trouble, x.TroubleMS = m.Failed, m.Trouble, age(now, m.TroubleAt, 0)
	if !m.BannedUntil.IsZero() {
		x.BannedMS = max(1, m.BannedUntil.Sub(now).Milliseconds())
	}
	why := admin.WhyNotConnected(&admin.Link{
		Connected: m.Connected, Stream: m.Remote != "", Addresses: len(m.Addrs), Banned: time.Duration(x.BannedMS) * time.Millisecond,
		Optional: m.Optional, Dialling: m.Dialling, Failed: m.Failed, Trouble: m.Trouble, Refused: m.Refused, TroubleAge: now.Sub(m.TroubleAt),
	})
	x.Why, x.WhyText = string(why.Kind), why.Text
}

func traffic(c p2p.ClassStats) admin.Traffic {
	return admin.Traffic{FramesIn: c.FramesIn, FramesOut: c.FramesOut, BytesIn: c.BytesIn, BytesOut: c.BytesOut, Lost: c.Lost}
}

// Ping implements [admin.Backend].
func (n inspector) Ping(ctx context.Context, shard uint16, to protocols.Index) (admin.Ping, error) {
	out := admin.Ping{Head: n.Head(), To: fmt.Sprintf("%d/%d", shard, to)}
	if int(shard) >= len(n.home.Genesis.Shards) || int(to) >= len(n.home.Genesis.Shards[shard].Members) {
		return out, fmt.Errorf("replica %d/%d: %w", shard, to, admin.ErrNotFound)
	}
	if shard == n.home.Shard && to == n.home.Replica {
		return out, fmt.Errorf("replica %d/%d is this replica itself: %w", shard, to, admin.ErrNotFound)
	}
	took, err := n.net.Ping(ctx, shard, to)
	if err != nil {
		out.Error = err.Error()
	}
	out.RTTMicros = took.Microseconds()
	if shard == n.home.Shard {
		p := n.engine.Presence()
		x := p.Peers[to]
		out.Engine, out.EngineUS, out.EngineMS = p.Answers(to, p.Now), x.RoundTrip.Microseconds(), protocols.AgeMS(p.Now, x.Answered)
	}
	return out, nil
}

// Version implements [admin.Backend].
func (n inspector) Version() admin.Build {
	c := &n.home.Config
	return admin.Build{
		Head: n.Head(), Version: n.version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		PID: os.Getpid(), UptimeMS: time.Since(n.started).Milliseconds(),
		Config: admin.Config{
			Network: n.committee.Network().String(), Name: n.home.Genesis.Name, Consensus: n.home.Genesis.Consensus,
			Shards: len(n.home.Genesis.Shards), Replicas: n.committee.N(),
			Listen: list(c.P2P.Listen), Announce: list(c.P2P.Announce), Bootstrap: list(c.P2P.Bootstrap), QUIC: c.P2P.QUIC,
			API: c.API.Address, LogLevel: c.Log.Level,
		},
	}
}

// list is a list that is encoded as [] if it is empty.
func list(l []string) []string {
	if l == nil {
		return []string{}
	}
	return l
}

// Metrics implements [admin.Backend].
func (n inspector) Metrics() http.Handler { return n.metrics() }
