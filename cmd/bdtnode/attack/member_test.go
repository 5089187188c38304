package attack

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"bdtnode/node/config"
	"bdtnode/node/p2p"
	"bdtnode/protocols"
)

// The attacking replica, and the shard that a member of another shard attacks.
const (
	memberShard = 1
	memberIndex = 3
	otherShard  = 0
)

// member is a Byzantine replica: it has the keys and the connections of a replica whose process was killed. Only some
// attacks answer requests.
type member struct {
	t    *testing.T
	home *config.Home
	net  *p2p.Net
}

// becomeMember takes the place of a replica whose process is down. serve answers requests; nil refuses them.
func becomeMember(t *testing.T, dir string, s *scene, serve func(context.Context, func([]byte) error) error) *member {
	t.Helper()
	home, err := config.Load(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := &member{t: t, home: home}
	var members [][]string
	for _, spec := range home.Genesis.Shards {
		var ids []string
		for _, x := range spec.Members {
			ids = append(ids, x.Peer)
		}
		members = append(members, ids)
	}
	var bootstrap []string
	for _, other := range s.targets {
		bootstrap = append(bootstrap, other.P2P...)
	}
	m.net, err = p2p.New(p2p.Config{
		Identity: home.PeerKey, Network: home.Genesis.ID(), Shard: home.Shard, Self: home.Replica, Members: members,
		Listen: home.Config.P2P.Listen, Bootstrap: bootstrap,
		Limits: p2p.Limits{Serving: 1 << 20, ServingAll: 1 << 20, ServeBytes: maxAnswer, HeldBytes: 1 << 40, HeldBytesAll: 1 << 40}, // effectively no limits for the attacker
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := m.net.Run(ctx, handler{serve}); err != nil {
			t.Errorf("the attacker's network: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	deadline := time.Now().Add(30 * time.Second)
	for m.net.ReadyPeers() < perShard-1 || len(m.net.Reachable(otherShard)) < perShard {
		if time.Now().After(deadline) {
			t.Fatalf("the attacker has %d sessions in its shard and reaches %v of the other", m.net.ReadyPeers(), m.net.Reachable(otherShard))
		}
		time.Sleep(20 * time.Millisecond)
	}
	return m
}

// send sends a frame to each other replica of the attacker's shard.
func (m *member) send(class p2p.Class, frame []byte) {
	for i := range protocols.Index(perShard) {
		if i != memberIndex {
			m.net.Send(i, class, frame)
		}
	}
}

// handler receives the input of the member's network.
type handler struct {
	serve func(ctx context.Context, w func(frame []byte) error) error
}

func (handler) Receive(protocols.Index, p2p.Class, []byte) error { return nil }
func (handler) Connected(protocols.Index)                        {}
func (handler) Disconnected(protocols.Index)                     {}
func (handler) Gossip([]byte) p2p.Verdict                        { return p2p.Ignore }
func (h handler) Serve(ctx context.Context, _ uint16, _ protocols.Index, _ []byte, w func([]byte) error) error {
	if h.serve == nil {
		return errors.New("not answered")
	}
	return h.serve(ctx, w)
}
