package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/node/admin"
	"bdtnode/node/api"
	"bdtnode/node/config"
	"bdtnode/node/why"
)

// get runs a command with -o json and decodes its output.
func get[T any](t *testing.T, args ...string) (v T) {
	t.Helper()
	r := bdtnode(t, append(args, "-o", "json")...)
	if r.code != 0 {
		t.Fatalf("%v: exit %d %s", args, r.code, r.err)
	}
	r.json(t, &v)
	return v
}

// TestRealDebug: on a network of real processes the commands show its state, also while two of four replicas of a shard are
// suspended, and then name the missing replicas. The archive has no secret.
func TestRealDebug(t *testing.T) {
	if apart(t) {
		return
	}
	home := filepath.Join(t.TempDir(), "net")
	n := startNet(t, "--home", home)
	n.ready(t)
	if r := bdtnode(t, "tx", "send", "--from", "alice", "--to", "bob", "--amount", "5"); r.code != 0 {
		t.Fatalf("%d %s", r.code, r.err)
	}
	for _, args := range [][]string{{"debug", "consensus"}, {"debug", "lanes"}, {"debug", "settlement"}, {"debug", "evidence"}, {"peers", "list"}, {"log", "level"}, {"log", "tail"}} {
		for _, place := range [][]string{nil, {"--replica", "1/2"}, {"--home", home, "--replica", "s0r3"}, {"--home", config.HomeDir(home, 1, 0)}} {
			if r := bdtnode(t, append(args, place...)...); r.code != 0 || r.out == "" {
				t.Errorf("%v %v: exit %d %q %s", args, place, r.code, r.out, r.err)
			}
		}
	}
	c := get[admin.Consensus](t, "debug", "consensus", "--replica", "1/2")
	if c.Shard != 1 || c.Replica != 2 || c.Consensus == nil || c.Position.Committed == 0 || !c.Position.Ready || len(c.Peers) != 3 {
		t.Errorf("%+v", c)
	}
	s := get[admin.Settlement](t, "debug", "settlement", "--replica", "0/1")
	if s.Ledger == nil || len(s.Ledger.Channels) != 1 || s.Ledger.Channels[0].Sent == 0 || s.Ledger.Channels[0].Shard != 1 || len(s.Inbound) != 1 || s.Reach[0].Reachable != 4 {
		t.Errorf("%+v", s)
	}
	p := get[admin.Peers](t, "peers", "list", "--replica", "0/1")
	for _, x := range p.Peers {
		if !x.Self && (!x.Connected || x.Transport != "tcp" || x.Direction == "" || x.Remote == "" || x.Shard == 0 && (x.HeardMS < 0 || x.Control.FramesIn == 0 || x.Control.BytesOut == 0)) {
			t.Errorf("%+v", x)
		}
	}
	if ping := get[admin.Ping](t, "peers", "ping", "1/3", "--replica", "0/1"); ping.RTTMicros <= 0 {
		t.Errorf("%+v", ping)
	}
	for args, code := range map[string]int{"debug consensus --replica 5/0": output.ExitNotFound, "peers ping 0/9": output.ExitNotFound, "peers why 0/9": output.ExitNotFound} {
		if r := bdtnode(t, strings.Fields(args)...); r.code != code {
			t.Errorf("%s: exit %d, want %d: %s", args, r.code, code, r.err)
		}
	}
	checkLogCommands(t)
	checkProfiles(t)
	checkBundle(t, home)
	checkSuspended(t, n, home)
	n.stop(t)
	if r := bdtnode(t, "debug", "consensus", "--home", config.HomeDir(home, 0, 0)); r.code != output.ExitUnreachable {
		t.Errorf("after the end: %d %s", r.code, r.err)
	}
	if _, err := os.Stat(filepath.Join(config.HomeDir(home, 0, 0), "run", "admin.sock")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}

func checkLogCommands(t *testing.T) {
	t.Helper()
	r := bdtnode(t, "log", "level", "p2p", "debug", "--replica", "0/1")
	if r.code != 0 || !strings.Contains(r.out, "p2p") || !strings.Contains(r.out, "debug") {
		t.Errorf("%d %s%s", r.code, r.out, r.err)
	}
	if r := bdtnode(t, "log", "level", "nothing", "debug"); r.code != output.ExitNotFound {
		t.Errorf("%d %s", r.code, r.err)
	}
	r = bdtnode(t, "log", "tail", "--replica", "0/1", "-o", "json")
	lines := strings.Split(strings.TrimSpace(r.out), "\n")
	if r.code != 0 || len(lines) < 3 {
		t.Fatalf("%d %d lines %s", r.code, len(lines), r.err)
	}
	for _, line := range lines {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil || fields["msg"] == "" {
			t.Errorf("%v %q", err, line)
		}
	}
}

func checkProfiles(t *testing.T) {
	t.Helper()
	for kind, begin := range map[string]string{"cpu": "\x1f\x8b", "heap": "\x1f\x8b", "goroutine": "goroutine ", "trace": "go 1."} {
		file := filepath.Join(t.TempDir(), kind)
		args := []string{"debug", "profile", kind, "--out", file}
		if kind == "cpu" || kind == "trace" {
			args = append(args, "--seconds", "1s")
		}
		r := get[profileResult](t, args...)
		raw, err := os.ReadFile(file)
		if err != nil || int64(len(raw)) != r.Bytes || !bytes.HasPrefix(raw, []byte(begin)) {
			t.Errorf("%s: %+v %v", kind, r, err)
		}
		if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", kind, st.Mode(), err)
		}
	}
}

// unpack reads an archive.
func unpack(t *testing.T, file string) map[string][]byte {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zipped, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string][]byte)
	for archive := tar.NewReader(zipped); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if out[h.Name] != nil {
			t.Errorf("two items are called %s", h.Name)
		}
		raw, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		out[h.Name] = raw
	}
}

// keyForms lists each secret key of the home as bytes, in hexadecimal and in base64, and the contents of its file. It is
// independent of the code that makes the archive.
func keyForms(t *testing.T, home string) map[string][]byte {
	t.Helper()
	out := make(map[string][]byte)
	for _, name := range []string{"consensus.key", "peer.key", "coin.key"} {
		raw, err := os.ReadFile(filepath.Join(home, "keys", name))
		if err != nil {
			t.Fatal(err)
		}
		var f struct{ Seed string }
		if err := json.Unmarshal(raw, &f); err != nil {
			t.Fatal(err)
		}
		seed, err := hex.DecodeString(f.Seed)
		if err != nil || len(seed) != 32 {
			t.Fatalf("%d bytes, %v", len(seed), err)
		}
		out[name+" file"] = bytes.TrimSpace(raw)
		out[name+" raw"] = seed
		out[name+" hex"] = []byte(f.Seed)
		out[name+" upper hex"] = []byte(strings.ToUpper(f.Seed))
		for shift := range 3 {
			text := base64.RawStdEncoding.EncodeToString(append(make([]byte, shift), seed...))
			out[fmt.Sprintf("%s base64 %d", name, shift)] = []byte(text[4 : len(text)-2])
			text = base64.RawURLEncoding.EncodeToString(append(make([]byte, shift), seed...))
			out[fmt.Sprintf("%s base64url %d", name, shift)] = []byte(text[4 : len(text)-2])
		}
	}
	return out
}

func checkBundle(t *testing.T, home string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "bundle.tar.gz")
	r := get[bundleResult](t, "debug", "bundle", "--replica", "0/1", "--cpu", "1s", "--out", file)
	items := unpack(t, file)
	for _, name := range []string{
		"program.json", "version.json", "config.toml", "genesis.json", "consensus.json", "lanes.json", "settlement.json", "evidence.json",
		"peers.json", "log.ndjson", "log-levels.json", "metrics.txt", "goroutines.txt", "heap.pprof", "cpu.pprof", "disk.json", "running.json", "replica.log", "errors.json",
	} {
		if len(items[name]) == 0 {
			t.Errorf("%s is missing: %+v", name, r.Errors)
		}
	}
	if len(r.Errors) != 0 || len(r.Items) != len(items) || strings.TrimSpace(string(items["errors.json"])) != "[]" {
		t.Errorf("%+v %s", r, items["errors.json"])
	}
	if !bytes.Contains(items["metrics.txt"], []byte("bdtnode_height")) || !bytes.Contains(items["goroutines.txt"], []byte("engine")) {
		t.Error("metrics or goroutines are not those of the replica")
	}
	var disk diskReport
	if err := json.Unmarshal(items["disk.json"], &disk); err != nil || len(disk.Kinds) != len(diskKinds) || disk.Kinds[0].Bytes == 0 || disk.Free == 0 {
		t.Errorf("%+v %v", disk, err)
	}
	forms := keyForms(t, config.HomeDir(home, 0, 1))
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	items["the archive itself"] = whole
	for name, content := range items {
		if strings.HasSuffix(name, ".pprof") {
			if zipped, err := gzip.NewReader(bytes.NewReader(content)); err == nil {
				plain, err := io.ReadAll(zipped)
				if err != nil {
					t.Error(err)
				}
				content = plain
			}
		}
		for form, secret := range forms {
			if bytes.Contains(content, secret) {
				t.Errorf("%s contains %s", name, form)
			}
		}
	}
}

// checkSuspended suspends two of four replicas of shard 0. The others answer in time and name the missing ones.
func checkSuspended(t *testing.T, n *runningNet, home string) {
	t.Helper()
	for _, i := range []int{2, 3} {
		syscall.Kill(n.intro.Replicas[i].PID, syscall.SIGSTOP)
	}
	resume := func() {
		for _, i := range []int{2, 3} {
			syscall.Kill(n.intro.Replicas[i].PID, syscall.SIGCONT)
		}
	}
	defer resume()
	var sent api.TxAnswer
	r := bdtnode(t, "tx", "send", "--from", "alice", "--to", "bob", "--amount", "7", "--wait", "accepted", "--timeout", "4s", "--node", n.intro.Replicas[1].API, "-o", "json")
	r.json(t, &sent)
	var last admin.Consensus
	named := func() bool {
		last = get[admin.Consensus](t, "debug", "consensus", "--replica", "0/1")
		if last.Position.Answering != 2 || last.Position.Ready || last.Consensus == nil {
			return false
		}
		for _, p := range last.Peers {
			if p.Answers == (p.Replica >= 2) {
				return false
			}
		}
		return true
	}
	for deadline := time.Now().Add(30 * time.Second); !named(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%+v", last)
		}
	}
	w := get[admin.Why](t, "debug", "why", sent.ID.String(), "--replica", "0/1")
	i := slices.IndexFunc(w.Reasons, func(r why.Reason) bool { return r.Kind == why.NoQuorum })
	if w.Final || i < 0 || len(w.Reasons[i].Replicas) != 2 || w.Reasons[i].Replicas[0] != 2 || !strings.Contains(w.Reasons[i].Text, "Replicas 2 and 3 do not answer") {
		t.Errorf("%+v", w)
	}
	if r := bdtnode(t, "peers", "ping", "0/2", "--replica", "0/1"); r.code != output.ExitUnreachable {
		t.Errorf("ping of a suspended replica: %d %s%s", r.code, r.out, r.err)
	}
	// The suspended replica itself does not answer, and its archive has the files of its home.
	if r := bdtnode(t, "debug", "consensus", "--replica", "0/2"); r.code != output.ExitUnreachable || !strings.Contains(r.err, "suspended") {
		t.Errorf("a suspended replica: %d %s", r.code, r.err)
	}
	file := filepath.Join(t.TempDir(), "bundle.tar.gz")
	b := get[bundleResult](t, "debug", "bundle", "--home", config.HomeDir(home, 0, 2), "--out", file)
	items := unpack(t, file)
	if len(b.Errors) == 0 || len(items["config.toml"]) == 0 || len(items["disk.json"]) == 0 || !bytes.Contains(items["errors.json"], []byte("consensus.json")) {
		t.Errorf("%+v", b)
	}
	resume()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		w = get[admin.Why](t, "debug", "why", sent.ID.String(), "--replica", "0/1")
		if w.Final && w.Reasons[0].Kind == why.Settled {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v", w)
		}
	}
}

// TestBundleLeavesSecretsOut: an item that contains a secret in any form is left out, and errors.json says so; other items
// stay. An item that takes too long is an error, and the others are there.
func TestBundleLeavesSecretsOut(t *testing.T) {
	home := config.HomeDir(newHome(t, 1, 0, ""), 0, 1)
	secrets, err := secretsOf(home)
	if err != nil || len(secrets) == 0 {
		t.Fatalf("%d %v", len(secrets), err)
	}
	var items []bundleItem
	add := func(name string, content []byte) {
		items = append(items, bundleItem{name, itemTime, true, func(_ context.Context, w io.Writer) error {
			_, err := w.Write(content)
			return err
		}})
	}
	forms := keyForms(t, home)
	for form, secret := range forms {
		add(form, append([]byte("before "), append(secret, " after"...)...))
	}
	add("plain", []byte("text"))
	items = append(items, bundleItem{"slow", 10 * time.Millisecond, true, func(ctx context.Context, _ io.Writer) error { <-ctx.Done(); return ctx.Err() }})
	add("last", []byte("text"))
	var out bytes.Buffer
	var r bundleResult
	if err := writeBundle(t.Context(), &out, items, secrets, &r); err != nil {
		t.Fatal(err)
	}
	if want := []string{"plain", "last", "errors.json"}; !slices.Equal(r.Items, want) {
		t.Errorf("items %v, want %v", r.Items, want)
	}
	if len(r.Errors) != len(forms)+1 {
		t.Errorf("%d errors, want %d: %+v", len(r.Errors), len(forms)+1, r.Errors)
	}
	file := writeFile(t, out.String())
	if got := unpack(t, file); len(got) != 3 || !bytes.Contains(got["errors.json"], []byte("secret key")) {
		t.Errorf("%v", got)
	}
	// Without the keys no archive is written, because a secret could not be recognised.
	if err := os.WriteFile(filepath.Join(home, "keys", "coin.key"), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := bdtnode(t, "debug", "bundle", "--home", home, "--out", filepath.Join(t.TempDir(), "x")); r.code == 0 {
		t.Error("an archive was written although a key could not be read")
	}
}

// TestDebugWithoutReplica: commands for a home whose replica does not run end with exit code 3, and the archive has the files.
func TestDebugWithoutReplica(t *testing.T) {
	net := newHome(t, 1, 0, "")
	for _, args := range []string{"debug consensus", "debug lanes", "debug settlement", "debug evidence", "log level", "log tail", "peers list", "peers ping 0/1", "debug profile heap"} {
		for _, home := range []string{net, config.HomeDir(net, 0, 1)} {
			if r := bdtnode(t, append(strings.Fields(args), "--home", home)...); r.code != output.ExitUnreachable || r.out != "" {
				t.Errorf("%s --home %s: %d %s%s", args, home, r.code, r.out, r.err)
			}
		}
	}
	file := filepath.Join(t.TempDir(), "b.tar.gz")
	r := get[bundleResult](t, "debug", "bundle", "--home", config.HomeDir(net, 0, 1), "--out", file)
	if items := unpack(t, file); len(r.Errors) == 0 || len(items["config.toml"]) == 0 || len(items["genesis.json"]) == 0 {
		t.Errorf("%+v", r)
	}
}

func TestLogText(t *testing.T) {
	for in, want := range map[string]string{
		`{"level":"info","ts":"T","logger":"bdt/p2p","caller":"x.go:1","msg":"connected","replica":3,"address":"a b"}`: `T  info  bdt/p2p  connected  address="a b"  replica=3`,
		"no JSON": "no JSON",
	} {
		if got := logText(in); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
