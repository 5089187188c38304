package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/node/api"
	"bdtnode/node/config"
	"bdtnode/node/record"
)

// TestRealRecording: a real replica records its next start after debug record. sim replay gives the same results, and
// finds changes and cuts. The recording has no secret key.
func TestRealRecording(t *testing.T) {
	if apart(t) {
		return
	}
	net := filepath.Join(t.TempDir(), "net")
	n := startNet(t, "--home", net)
	n.ready(t)
	pay := func() {
		t.Helper()
		var answer api.TxAnswer
		r := bdtnode(t, "tx", "send", "--from", "alice", "--to", "bob", "--amount", "5", "-o", "json")
		r.json(t, &answer)
		if answer.State != api.StateSettled {
			t.Fatalf("%d %s%s", r.code, r.out, r.err)
		}
	}
	pay()
	if r := bdtnode(t, "debug", "record", "--home", net, "--replica", "0/1", "--cancel"); r.code != output.ExitNotFound {
		t.Errorf("not armed: %d %s%s", r.code, r.out, r.err)
	}
	var armed recordResult
	for _, replica := range []string{"0/1", "1/2"} {
		bdtnode(t, "debug", "record", "--home", net, "--replica", replica, "-o", "json").json(t, &armed)
	}
	bdtnode(t, "debug", "record", "--home", net, "--replica", "1/2", "--cancel")
	n.stop(t)

	for range 2 { // the second start does not record
		n = startNet(t, "--home", net)
		n.ready(t)
		pay()
		n.stop(t)
	}
	found, err := filepath.Glob(filepath.Join(net, "*", "recordings", "*"))
	home := filepath.Join(net, "shard0-replica1")
	if err != nil || len(found) != 1 || filepath.Dir(filepath.Dir(found[0])) != home {
		t.Fatalf("recordings %q %v", found, err)
	}
	dir := found[0]
	whole := bdtnode(t, "sim", "replay", dir)
	for _, part := range []string{"restored", "connect", "message", "executed", "deliver", "execute", "applied", "timer"} {
		if !strings.Contains(whole.out, " 0/ "+part) {
			t.Errorf("the replay shows no %s", part)
		}
	}
	if whole.code != 0 || !strings.Contains(whole.err, "The recording ended: the replica stopped") || !strings.Contains(whole.err, "equal to the recorded ones") {
		t.Fatalf("exit %d %s", whole.code, whole.err)
	}
	noSecrets(t, home, dir, whole.out)

	some := bdtnode(t, "sim", "replay", filepath.Join(dir, record.InputsFile), "--from", "3", "--to", "9", "--only", "0/", "-o", "json")
	for _, line := range strings.Split(strings.TrimSpace(some.out), "\n") {
		var e simEvent
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.Step < 3 || e.Step > 9 || e.Shard != 0 || e.Who != 1 {
			t.Errorf("%s: %v", line, err)
		}
	}

	name := filepath.Join(dir, record.InputsFile)
	inputs, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	rewrite := func(b []byte) {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rewrite(inputs[:len(inputs)*2/3])
	if r := bdtnode(t, "sim", "replay", dir); r.code != 0 || !strings.Contains(r.err, "The recording is cut") || !strings.Contains(r.err, "equal to the recorded ones") {
		t.Errorf("cut: exit %d %s", r.code, r.err)
	}
	rewrite(inputs)
	if err := os.RemoveAll(filepath.Join(dir, "consensus")); err != nil { // the replica is another one then
		t.Fatal(err)
	}
	if r := bdtnode(t, "sim", "replay", dir); r.code != output.ExitFailure {
		t.Errorf("without its store: exit %d %s", r.code, r.err)
	}
}

// noSecrets checks that no file of a recording has a secret key of the home.
func noSecrets(t *testing.T, home, dir, shown string) {
	t.Helper()
	h, err := config.Load(home, nil)
	if err != nil {
		t.Fatal(err)
	}
	peer, err := h.PeerKey.Raw()
	if err != nil {
		t.Fatal(err)
	}
	secrets := map[string][]byte{"consensus": h.ConsensusKey.Seed(), "peer": peer[:32], "coin": h.Coin.Bytes()}
	has := func(b []byte, where string) {
		for name, key := range secrets {
			for _, form := range [][]byte{key, []byte(hex.EncodeToString(key)), []byte(base64.StdEncoding.EncodeToString(key))[:40]} {
				if bytes.Contains(b, form) {
					t.Errorf("%s has the secret %s key", where, name)
				}
			}
		}
	}
	files := 0
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		b, err := os.ReadFile(path)
		has(b, path)
		return err
	})
	if err != nil || files < 6 {
		t.Errorf("%d files, %v", files, err)
	}
	has([]byte(shown), "the output of sim replay")
}
