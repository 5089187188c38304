package p2p

import (
	"slices"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/network"
	ma "github.com/multiformats/go-multiaddr"
)

// All members may connect from one address at the same time; beyond their needs there is a bound.
func TestConnectionsFromOneAddress(t *testing.T) {
	const members, each = 64, 8
	for _, at := range []string{"/ip4/10.1.2.3/tcp/1", "/ip6/2001:db8::1/tcp/1"} {
		r, err := newResources(members, each, false)
		must(t, err)
		defer r.Close()
		open := func() error {
			_, err := r.OpenConnection(network.DirInbound, true, ma.StringCast(at))
			return err
		}
		for i := range each * members {
			if err := open(); err != nil {
				t.Fatalf("%s: connection %d: %v", at, i, err)
			}
		}
		for range 2 * each * members {
			err = open()
		}
		if err == nil {
			t.Errorf("%s: the number of connections is not bounded", at)
		}
	}
}

// Inbound connections with unknown peers take no place of own dials.
func TestUnknownPeersTakeNoPlacesOfDials(t *testing.T) {
	r, err := newResources(4, 8, false)
	must(t, err)
	defer r.Close()
	at := ma.StringCast("/ip4/127.0.0.1/tcp/1")
	for err == nil {
		_, err = r.OpenConnection(network.DirInbound, true, at)
	}
	if _, err := r.OpenConnection(network.DirOutbound, true, at); err != nil {
		t.Errorf("a dial: %v", err)
	}
}

// TCP with TLS and yamux, identify and discovery: no relay, no reachability probe, no ping.
func TestOnlyWhatIsNeeded(t *testing.T) {
	w := newTestNetwork(t, 4)
	a := start(t, w.config(0, 0))
	b := start(t, w.config(0, 1, a.Addrs()[0]))
	mesh(a, b)
	for _, c := range a.host.Network().Conns() {
		if s := c.ConnState(); s.Security != "/tls/1.0.0" || s.StreamMultiplexer != "/yamux/1.0.0" || s.Transport != "tcp" {
			t.Errorf("a connection with %+v", s)
		}
	}
	var got []string
	for _, p := range a.host.Mux().Protocols() {
		got = append(got, string(p))
	}
	slices.Sort(got)
	want := []string{"/bdt/" + w.network.Short() + "/kad/1.0.0", "/bdt/" + w.network.Short() + "/gossip/1.0.0", "/bdt/bulk/1.0.0", "/bdt/control/1.0.0", "/bdt/fetch/1.0.0",
		"/ipfs/id/1.0.0", "/ipfs/id/push/1.0.0"}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("serves %q, want %q", got, want)
	}
}

// QUIC is an option. It uses neither the pacer nor this package's muxer.
func TestQUIC(t *testing.T) {
	w := newTestNetwork(t, 4)
	config := func(i int, bootstrap ...string) Config {
		cfg := w.config(0, i, bootstrap...)
		cfg.QUIC = true
		cfg.Listen = []string{"/ip4/127.0.0.1/udp/0/quic-v1"}
		return cfg
	}
	a := start(t, config(0))
	b := start(t, config(1, a.Addrs()[0]))
	mesh(a, b)
	for class := range Class(classes) {
		a.Send(1, class, make([]byte, class.MaxFrame()))
		b.await("the frame", func() bool { return len(b.got[flow(0, class)]) == 1 })
	}
	if at := a.host.Network().Conns()[0].RemoteMultiaddr().String(); !strings.Contains(at, "quic") {
		t.Errorf("connected over %s", at)
	}
}

// A bootstrap address may be a name, and a node may announce an address on which it does not listen.
func TestNamesAndAnnouncements(t *testing.T) {
	w := newTestNetwork(t, 4)
	a := start(t, w.config(0, 0))
	port := strings.Split(a.Addrs()[0], "/")[4]
	cfg := w.config(0, 1, "/dns4/localhost/tcp/"+port+"/p2p/"+w.members[0][0])
	cfg.Announce = []string{"/dns4/replica-1.example/tcp/4001"}
	b := start(t, cfg)
	mesh(a, b)
	if got, want := b.Addrs(), cfg.Announce[0]+"/p2p/"+w.members[0][1]; len(got) != 1 || got[0] != want {
		t.Errorf("announces %v, want %s", got, want)
	}
	a.eventually("the announced address", func() bool { return slices.Contains(a.Peers()[1].Addrs, cfg.Announce[0]) })
}
