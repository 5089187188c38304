package p2p

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

func TestIdentityFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "identity")
	if _, err := LoadIdentity(path); err == nil {
		t.Error("loaded a file that is not there")
	}
	made, err := GenerateIdentity(path)
	must(t, err)
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %04o", info.Mode().Perm())
	}
	loaded, err := LoadIdentity(path)
	must(t, err)
	if !loaded.Equals(made) {
		t.Error("loaded another key")
	}
	if id, err := PeerID(made); err != nil || !strings.HasPrefix(id, "12D3KooW") {
		t.Errorf("peer id %s, %v", id, err)
	}
	if _, err := GenerateIdentity(path); err == nil {
		t.Error("overwrote an identity")
	}
	must(t, os.Chmod(path, 0o640))
	if _, err := LoadIdentity(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("readable by others: %v", err)
	}
	for name, content := range map[string]string{"garbage": "hello", "empty": "", "long": strings.Repeat("x", 5000)} {
		p := filepath.Join(t.TempDir(), name)
		must(t, os.WriteFile(p, []byte(content), 0o600))
		if _, err := LoadIdentity(p); err == nil {
			t.Errorf("%s: loaded", name)
		}
	}
}

func TestAddressBook(t *testing.T) {
	w := newTown(t, 2)
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
		t.Error("wrote a file with nothing in it")
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
		t.Errorf("kept a stranger's addresses: %v", got)
	}
	b.reached(one, []ma.Multiaddr{at(19)})
	if b.dirty {
		t.Error("news that is none makes it write")
	}
	left, err := filepath.Glob(path + ".*")
	must(t, err)
	if len(left) != 0 {
		t.Errorf("left behind: %v", left)
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
		t.Errorf("of a good and a bad address: %v", got)
	}
}
