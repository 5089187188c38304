package p2p

import (
	"testing"

	"github.com/libp2p/go-libp2p/core/network"
	ma "github.com/multiformats/go-multiaddr"
)

// All members may be behind one address and come at once; beyond what they may need it ends.
func TestConnectionsFromOneAddress(t *testing.T) {
	const members = 64
	for _, at := range []string{"/ip4/10.1.2.3/tcp/1", "/ip6/2001:db8::1/tcp/1"} {
		r, err := newResources(members)
		must(t, err)
		defer r.Close()
		open := func() error {
			_, err := r.OpenConnection(network.DirInbound, true, ma.StringCast(at))
			return err
		}
		for i := range connsPerMember * members {
			if err := open(); err != nil {
				t.Fatalf("%s: connection %d: %v", at, i, err)
			}
		}
		for range 100 {
			err = open()
		}
		if err == nil {
			t.Errorf("%s: there is no bound", at)
		}
	}
}
