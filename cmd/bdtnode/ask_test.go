package main

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bdtnode/cmd/bdtnode/keystore"
	"bdtnode/cmd/bdtnode/output"
	"bdtnode/cmd/bdtnode/registry"
	"bdtnode/node/api"
)

func writeFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestStatus(t *testing.T) {
	n := newNetwork(t)
	var st api.Status
	r := bdtnode(t, "status", "--node", n.url, "-o", "json")
	r.json(t, &st)
	if r.code != 0 || st.Network != n.network.String() {
		t.Errorf("%d %+v", r.code, st)
	}
	if r := bdtnode(t, "status", "--node", n.url); r.code != 0 || !strings.Contains(r.out, n.network.String()) {
		t.Errorf("text: %d %s%s", r.code, r.out, r.err)
	}

	n.status.Ready, n.status.NotReady = false, "catching up"
	r = bdtnode(t, "status", "--node", n.url, "-o", "json")
	r.json(t, &st)
	if code, message, _ := r.failure(t); r.code != output.ExitUnhealthy || code != "unhealthy" || !strings.Contains(message, "catching up") {
		t.Errorf("not ready: %d %s %s", r.code, code, message)
	}
	if r := bdtnode(t, "net", "status", n.url); r.code != output.ExitUnhealthy {
		t.Errorf("net status with a replica that is not ready: exit %d", r.code)
	}
}

func TestPeers(t *testing.T) {
	n := newNetwork(t)
	var l api.PeerList
	r := bdtnode(t, "peers", "list", "--node", n.url, "-o", "json")
	r.json(t, &l)
	if r.code != 0 || len(l.Peers) != 2 || !l.Peers[1].Connected {
		t.Errorf("%d %+v", r.code, l)
	}
	if r := bdtnode(t, "peers", "list", "--node", n.url); !strings.Contains(r.out, "self") || !strings.Contains(r.out, "150µs") {
		t.Errorf("text: %s", r.out)
	}
}

func TestUnreachable(t *testing.T) {
	s := httptest.NewServer(nil)
	s.Close() // no listener is left at this address
	for _, line := range []string{"status", "peers list", "query balance alice", "tx get " + strings.Repeat("0", 64), "tx send --from alice --to bob --amount 1"} {
		r := bdtnode(t, append(strings.Fields(line), "--node", s.URL, "-o", "json")...)
		if code, _, hint := r.failure(t); r.code != output.ExitUnreachable || code != "unreachable" || hint == "" || r.out != "" {
			t.Errorf("%s: exit %d, %s, hint %q", line, r.code, code, hint)
		}
		r = bdtnode(t, append(strings.Fields(line), "-o", "json")...)
		if _, message, hint := r.failure(t); r.code != output.ExitUnreachable || !strings.Contains(message, "no network") || !strings.Contains(hint, "bdtnode net up") {
			t.Errorf("%s without a network: exit %d, %s, hint %q", line, r.code, message, hint)
		}
	}
}

// TestFindsNetwork: without --node, commands use the newest network on this machine, its accounts, and the first of its
// replicas that answers.
func TestFindsNetwork(t *testing.T) {
	old, n := newNetwork(t), newNetwork(t, 100)
	dead := httptest.NewServer(nil)
	dead.Close()
	add := func(name, accounts string, urls ...string) {
		e := registry.Entry{Name: name, Network: name, Accounts: accounts}
		for i, url := range urls {
			e.Replicas = append(e.Replicas, registry.Replica{Replica: uint16(i), API: url})
		}
		known, err := registry.Add(registry.Dir(), e)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(known.Remove)
	}
	add("old", old.keys, old.url)
	add("new", n.keys, dead.URL, n.url)

	var b balance
	r := bdtnode(t, "query", "balance", "alice", "-o", "json")
	r.json(t, &b)
	if r.code != 0 || b.Balance != 100 || b.Outputs != 1 {
		t.Errorf("%d %+v %s", r.code, b, r.err)
	}
	if r := bdtnode(t, "tx", "send", "--from", "alice", "--to", "bob", "--amount", "40"); r.code != 0 {
		t.Errorf("send: %d %s", r.code, r.err)
	}
	var all networkStatus
	r = bdtnode(t, "net", "status", "-o", "json")
	r.json(t, &all)
	if r.code != output.ExitUnhealthy || len(all.Unreachable) != 1 || len(all.Replicas) != 4 || all.Replicas[0].Health != api.HealthReady {
		t.Errorf("status of all: %d %+v", r.code, all)
	}
	var accounts struct{ Accounts []keystore.Account }
	r = bdtnode(t, "keys", "list", "-o", "json")
	r.json(t, &accounts)
	if len(accounts.Accounts) != 2 || accounts.Accounts[0].Name != "alice" {
		t.Errorf("keys list: %+v", accounts)
	}
	var shown shownAccount
	r = bdtnode(t, "keys", "show", "bob", "-o", "json")
	r.json(t, &shown)
	if shown.Shard == nil || shown.Network != n.network.String() || shown.Secret != "" {
		t.Errorf("keys show: %+v", shown)
	}

	t.Setenv(nodeEnv, old.url)
	r = bdtnode(t, "query", "balance", "alice", "--keys", n.keys, "-o", "json")
	r.json(t, &b)
	if b.Balance != 0 {
		t.Errorf("$%s is not used: %+v", nodeEnv, b)
	}
}

func TestQueries(t *testing.T) {
	n := newNetwork(t, 50, 60)
	var b balance
	r := n.run(t, "query", "balance", n.accounts["alice"].Address.String(), "-o", "json")
	r.json(t, &b)
	if r.code != 0 || b.Balance != 110 || b.Outputs != 2 {
		t.Errorf("%d %+v", r.code, b)
	}
	if r := n.run(t, "query", "balance", "alice"); r.code != 0 || strings.Contains(r.out, "unconfirmed") {
		t.Errorf("%d %s", r.code, r.out)
	}
	n.unconfirmed = true
	if r := n.run(t, "query", "balance", "alice"); r.code != 0 || !strings.Contains(r.out, "(unconfirmed)\n") {
		t.Errorf("%d %s", r.code, r.out)
	}
	if r := n.run(t, "query", "history", "alice"); r.code != 0 || !strings.Contains(r.err, "unconfirmed: fewer than f+1 replicas") {
		t.Errorf("%d %s", r.code, r.err)
	}
	if r := n.run(t, "query", "balance", "nobody", "-o", "json"); r.code != output.ExitNotFound {
		t.Errorf("unknown account: exit %d %s", r.code, r.err)
	}
	for range 5 {
		if r := n.run(t, "tx", "send", "--from", "alice", "--to", "bob", "--amount", "1"); r.code != 0 {
			t.Fatal(r.err)
		}
	}
	seen := map[string]bool{}
	for page, older := 0, ""; page == 0 || older != ""; page++ {
		var h history
		r := n.run(t, "query", "history", "alice", "--limit", "2", "--older", older, "-o", "json")
		r.json(t, &h)
		for _, e := range h.History {
			seen[e.Tx.String()] = true
		}
		if page == 0 && !strings.Contains(r.err, "--older") {
			t.Errorf("no command for the next page: %q", r.err)
		}
		older = h.Older
	}
	if len(seen) != 5 {
		t.Errorf("%d entries over all pages, want 5", len(seen))
	}
	var none history
	r = n.run(t, "query", "history", strings.Repeat("0", 64), "-o", "json")
	r.json(t, &none)
	if !strings.Contains(r.out, `"history":[]`) {
		t.Errorf("empty history: %s", r.out)
	}
}

func TestKeys(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "k")
	pass := writeFile(t, "secret words\nsecond line\n")
	var acc keystore.Account
	r := bdtnode(t, "keys", "new", "erin", "--keys", dir, "-o", "json")
	r.json(t, &acc)
	if r.code != 0 || acc.Encrypted || !strings.Contains(r.err, "not encrypted") {
		t.Errorf("%d %+v %s", r.code, acc, r.err)
	}
	if r := bdtnode(t, "keys", "new", "erin", "--keys", dir); r.code != output.ExitFailure || !strings.Contains(r.err, "exists") {
		t.Errorf("again: %d %s", r.code, r.err)
	}
	r = bdtnode(t, "keys", "new", "frank", "--keys", dir, "--passphrase-file", pass, "-o", "json")
	r.json(t, &acc)
	if r.code != 0 || !acc.Encrypted {
		t.Errorf("encrypted: %d %+v %s", r.code, acc, r.err)
	}
	r = bdtnode(t, "keys", "show", "frank", "--keys", dir, "-o", "json")
	if r.code != 0 || strings.Contains(r.out, "secret") {
		t.Errorf("show: %d %s", r.code, r.out)
	}
	var shown shownAccount
	t.Setenv(passphraseEnv, "secret words")
	r = bdtnode(t, "keys", "show", "frank", "--keys", dir, "--secret", "-o", "json")
	r.json(t, &shown)
	if len(shown.Secret) != 64 {
		t.Errorf("show --secret: %d %s", r.code, r.err)
	}
	if raw, _ := os.ReadFile(filepath.Join(dir, "frank.json")); strings.Contains(string(raw), shown.Secret) {
		t.Error("the encrypted file contains the secret in plain text")
	}
	t.Setenv(passphraseEnv, "other words")
	if r := bdtnode(t, "keys", "show", "frank", "--keys", dir, "--secret"); r.code != output.ExitFailure || !strings.Contains(r.err, "wrong passphrase") {
		t.Errorf("wrong passphrase: %d %s", r.code, r.err)
	}
	for _, args := range [][]string{{"--passphrase-file", ""}, {}} {
		t.Setenv(passphraseEnv, "")
		r := bdtnode(t, append([]string{"keys", "new", "grace", "--keys", dir}, args...)...)
		if _, err := os.Stat(filepath.Join(dir, "grace.json")); err == nil || r.code != output.ExitUsage {
			t.Errorf("an empty passphrase with %q: %d %s", args, r.code, r.err)
		}
	}
	if r := bdtnode(t, "keys", "new", "grace", "--keys", dir, "--passphrase-file", writeFile(t, "\ufeffother words\r\n")); r.code != 0 {
		t.Errorf("%d %s", r.code, r.err)
	}
	t.Setenv(passphraseEnv, "other words")
	if r := bdtnode(t, "keys", "show", "grace", "--keys", dir, "--secret"); r.code != 0 {
		t.Errorf("the passphrase contains the byte-order mark: %d %s", r.code, r.err)
	}
	t.Setenv(passphraseEnv, "")
	if r := bdtnode(t, "keys", "show", "frank", "--keys", dir, "--secret"); r.code != output.ExitUsage || !strings.Contains(r.err, "--passphrase-file") {
		t.Errorf("no passphrase and no terminal: %d %s", r.code, r.err)
	}
	if r := bdtnode(t, "keys", "show", "ghost", "--keys", dir); r.code != output.ExitNotFound {
		t.Errorf("unknown: %d %s", r.code, r.err)
	}
}
