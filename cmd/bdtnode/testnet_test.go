package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bdtnode/cmd/bdtnode/netup"
	"bdtnode/cmd/bdtnode/output"
	"bdtnode/node/config"
)

func TestTestnetGenerate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net")
	var made netup.Network
	r := bdtnode(t, "testnet", "generate", "--nodes", "5", "--hosts", "10.0.0.1,eu.example.com,2001:db8::1,127.0.0.2", "--out", dir, "-o", "json")
	r.json(t, &made)
	if r.code != 0 || len(made.Homes) != 5 || len(made.Accounts) != 4 {
		t.Fatalf("%d %+v %s", r.code, made, r.err)
	}
	for i, want := range []struct{ listen, announce, api string }{
		{"/ip4/0.0.0.0/tcp/26600", "/ip4/10.0.0.1/tcp/26600", "127.0.0.1:26700"},
		{"/ip4/0.0.0.0/tcp/26600 /ip6/::/tcp/26600", "/dns/eu.example.com/tcp/26600", "127.0.0.1:26700"},
		{"/ip6/::/tcp/26600", "/ip6/2001:db8::1/tcp/26600", "127.0.0.1:26700"},
		{"/ip4/127.0.0.2/tcp/26600", "", "127.0.0.1:26700"},
		{"/ip4/0.0.0.0/tcp/26601", "/ip4/10.0.0.1/tcp/26601", "127.0.0.1:26701"}, // the first host again, at the next port
	} {
		h, err := config.Load(made.Homes[i].Dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		c := h.Config
		if got := strings.Join(c.P2P.Announce, " "); strings.Join(c.P2P.Listen, " ") != want.listen || got != want.announce || c.API.Address != want.api {
			t.Errorf("replica %d: %+v, want %+v", i, c, want)
		}
		if at := strings.Join(c.P2P.Bootstrap, " "); len(c.P2P.Bootstrap) != 4 || strings.Contains(at, h.PeerID.String()) ||
			i != 1 && !strings.Contains(at, "/dns/eu.example.com/tcp/26600/p2p/") {
			t.Errorf("replica %d has bootstrap replicas %v", i, c.P2P.Bootstrap)
		}
	}
	again := bdtnode(t, "testnet", "generate", "--hosts", "10.0.0.1", "--out", dir)
	if again.code != output.ExitFailure || !strings.Contains(again.err, "not empty") {
		t.Errorf("over another network: %d %s", again.code, again.err)
	}
	if r := bdtnode(t, "testnet", "generate", "--hosts", "10.0.0.1", "--out", dir+"2"); r.code != 0 || !strings.Contains(r.out, "bdtnode start --home") {
		t.Errorf("the output has no next command: %d %s", r.code, r.out)
	}
}

// TestTestnetOfShards: each replica has the other replicas of its shard and f+1 of each other shard as bootstrap
// replicas, and every shard is the home of some account.
func TestTestnetOfShards(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net")
	var made netup.Network
	r := bdtnode(t, "testnet", "generate", "--shards", "3", "--hosts", "a.example,b.example,c.example,d.example,e.example", "--out", dir, "-o", "json")
	r.json(t, &made)
	if r.code != 0 || len(made.Homes) != 12 || len(made.Accounts) != 4 {
		t.Fatalf("%d %+v %s", r.code, made, r.err)
	}
	for i, acc := range made.Accounts {
		if acc.Shard != uint16(i%3) || acc.Balance != 1_000_000 {
			t.Errorf("%+v", acc)
		}
	}
	listens := map[string]bool{}
	for i, made := range made.Homes {
		h, err := config.Load(made.Dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		if int(h.Shard) != i/4 || int(h.Replica) != i%4 || len(h.Genesis.Shards) != 3 {
			t.Errorf("home %d is of replica %d of shard %d of %d", i, h.Replica, h.Shard, len(h.Genesis.Shards))
		}
		listens[h.Config.P2P.Announce[0]] = true
		of := map[uint16]int{}
		for s, spec := range h.Genesis.Shards {
			for _, m := range spec.Members {
				if strings.Contains(strings.Join(h.Config.P2P.Bootstrap, " "), m.Peer) {
					of[uint16(s)]++
				}
			}
		}
		for s := range uint16(3) {
			if want := map[bool]int{true: 3, false: 2}[s == h.Shard]; of[s] != want {
				t.Errorf("home %d has %d bootstrap replicas of shard %d, want %d", i, of[s], s, want)
			}
		}
	}
	if len(listens) != 12 {
		t.Errorf("addresses %v", listens)
	}
}

func TestTestnetRefuses(t *testing.T) {
	for args, want := range map[string]string{
		"--hosts 0.0.0.0":                                     "not an address that other hosts can reach",
		"--hosts 224.0.0.1":                                   "not an address that other hosts can reach",
		"--hosts 10.0.0.256":                                  "neither an IP address nor a DNS name",
		"--hosts exa_mple.com":                                "neither an IP address nor a DNS name",
		"--hosts a.example,,b.example":                        "neither an IP address nor a DNS name",
		"--hosts a.example --p2p-port 0":                      "--p2p-port",
		"--hosts a.example --p2p-port 65534":                  "port 65536",
		"--hosts a.example --api-port 65534":                  "port 65536",
		"--hosts a.example --nodes 3":                         "--nodes 3",
		"--hosts a.example --shards 65":                       "--shards 65",
		"--hosts a.example --name " + strings.Repeat("x", 65): "name must have 1 to 64 bytes",
	} {
		dir := filepath.Join(t.TempDir(), "net")
		r := bdtnode(t, append([]string{"testnet", "generate", "--out", dir}, strings.Fields(args)...)...)
		if r.code == 0 || !strings.Contains(r.err, want) {
			t.Errorf("%s: %d %s, want %q", args, r.code, r.err, want)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s: files were written", args)
		}
	}
}
