package p2p

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

func TestAddressBook(t *testing.T) {
	w := newTestNetwork(t, 2)
	one, other := decode(t, w.members[0][0]), decode(t, w.members[0][1])
	member := func(id peer.ID) bool { return id == one }
	path := tempFile(t)
	open := func() *addressBook {
		t.Helper()
		b, err := openAddressBook(path, member)
		must(t, err)
		return b
	}
	at := func(port int) ma.Multiaddr { return ma.StringCast(fmt.Sprintf("/ip4/10.0.0.1/tcp/%d", port)) }
	b := open()
	must(t, b.save())
	if _, err := os.Stat(path); err == nil {
		t.Error("wrote an empty file")
	}
	for port := range 20 {
		b.reached(one, []ma.Multiaddr{at(port), at(port)})
	}
	b.reached(other, []ma.Multiaddr{at(1)})
	must(t, b.save())
	got := open().get(one)
	if len(got) != maxAddressesKept || !got[0].Equal(at(19)) || !got[1].Equal(at(18)) {
		t.Errorf("kept %v", got)
	}
	if got := open().get(other); got != nil {
		t.Errorf("kept addresses of a peer that is not a member: %v", got)
	}
	b.reached(one, []ma.Multiaddr{at(19)})
	if b.dirty {
		t.Error("known addresses made it write again")
	}
	left, err := filepath.Glob(path + ".*")
	must(t, err)
	if len(left) != 0 {
		t.Errorf("files left: %v", left)
	}
	for name, content := range map[string]string{
		"later version": `{"version":2,"peers":{}}`, "torn": `{"version":1,"pee`, "empty": "",
	} {
		must(t, os.WriteFile(path, []byte(content), 0o600))
		b, err := openAddressBook(path, member)
		if err == nil || b == nil || b.get(one) != nil {
			t.Errorf("%s: %v, %v", name, b, err)
		}
	}
	must(t, os.WriteFile(path, []byte(`{"version":1,"peers":{"x":["/ip4/1.1.1.1/tcp/1"],"`+one.String()+`":["bad","/ip4/1.1.1.1/tcp/1"]}}`), 0o600))
	if got := open().get(one); len(got) != 1 {
		t.Errorf("from a valid and an invalid address: %v", got)
	}
}
