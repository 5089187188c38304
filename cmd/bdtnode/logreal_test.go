package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/node/api"
	"bdtnode/node/client"
	"bdtnode/shard/logproof"
	"bdtnode/shard/proof"
)

// TestRealLog: on a network of real processes that orders payloads, payloads from arguments, files and lines have the same
// places at every replica, with proofs, also after the end of all replicas. Commands for payments are refused with the reason,
// and so are commands for a log on a network of payments.
func TestRealLog(t *testing.T) {
	if apart(t) {
		return
	}
	home := filepath.Join(t.TempDir(), "net")
	n := startNet(t, "--home", home, "--shards", "1", "--ledger", "log")
	n.ready(t)
	if len(n.intro.Accounts) != 0 {
		t.Errorf("accounts %+v", n.intro.Accounts)
	}
	ok := func(args ...string) result {
		t.Helper()
		r := bdtnode(t, args...)
		if r.code != 0 {
			t.Fatalf("%v: exit %d %s%s", args, r.code, r.out, r.err)
		}
		return r
	}
	var a api.AppendAnswer
	ok("log", "append", "hello", "world", "--wait", "certified", "-o", "json").json(t, &a)
	if a.State != api.StateCertified || len(a.Placed) != 1 || a.Placed[0].Count != 2 {
		t.Errorf("%+v", a)
	}
	provedPayload(t, home, n.intro.Replicas[2].API)
	longest := filepath.Join(t.TempDir(), "longest")
	if err := os.WriteFile(longest, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	ok("log", "append", "--file", longest, "--once")
	again := ok("log", "append", "--file", longest, "--once")
	if !strings.Contains(again.out, "its id was in the log") {
		t.Errorf("appended twice: %s", again.out)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"log", "append", ""}, "the payload is empty"},
		{[]string{"log", "append", "--file", filepath.Join(home, "genesis.json"), "x"}, "give payloads"},
		{[]string{"log", "tail", "--from", "first"}, "is not a place in the log"},
		{[]string{"tx", "send", "--from", "alice", "--to", "bob", "--amount", "5"}, "orders opaque payloads"},
		{[]string{"query", "balance", "alice"}, "orders opaque payloads"},
		{[]string{"net", "up", "--load", "5", "--home", home}, "--load submits transfers"},
		{[]string{"net", "up", "--ledger", "payments", "--home", home}, "ledger log, not payments"},
	} {
		if r := bdtnode(t, c.args...); r.code != output.ExitUsage || !strings.Contains(r.err, c.want) {
			t.Errorf("%v: exit %d %s", c.args, r.code, r.err)
		}
	}
	tail := func(node string) string {
		return ok("log", "tail", "--from", "0", "--genesis", filepath.Join(home, "genesis.json"), "--node", node, "-o", "json").out
	}
	want := tail(n.intro.Replicas[0].API)
	if lines := strings.Split(strings.TrimSpace(want), "\n"); len(lines) != 3 || !strings.Contains(lines[0], `"payload":"aGVsbG8="`) {
		t.Errorf("%d payloads: %.300s", len(lines), want)
	}
	for _, r := range n.intro.Replicas {
		syscall.Kill(r.PID, syscall.SIGKILL)
	}
	<-n.done
	n = startNet(t, "--home", home)
	n.ready(t)
	for _, r := range n.intro.Replicas {
		for end := time.Now().Add(20 * time.Second); tail(r.API) != want; time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("replica %d has other payloads after the restart", r.Replica)
			}
		}
	}
	n.stop(t)

	pays := startNet(t, "--shards", "1")
	pays.ready(t)
	for _, args := range [][]string{{"log", "append", "x"}, {"log", "tail", "--from", "0"}} {
		if r := bdtnode(t, args...); r.code != output.ExitUsage || !strings.Contains(r.err, "settles payments") {
			t.Errorf("%v on a network of payments: exit %d %s", args, r.code, r.err)
		}
	}
	pays.stop(t)
}

// provedPayload reads the first payload with a proof, and checks it with the genesis.
func provedPayload(t *testing.T, home, node string) {
	t.Helper()
	c, err := client.New(node, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p, err := c.Payload(t.Context(), "1.0.0", true)
	for end := time.Now().Add(10 * time.Second); err != nil && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		p, err = c.Payload(t.Context(), "1.0.0", true) // this replica may be behind
	}
	if err != nil {
		t.Fatal(err)
	}
	genesis, err := os.ReadFile(filepath.Join(home, "genesis.json"))
	if err != nil {
		t.Fatal(err)
	}
	network, err := proof.ReadGenesis(genesis)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := base64.StdEncoding.DecodeString(p.Proof)
	if err != nil {
		t.Fatal(err)
	}
	x, err := logproof.Decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	if f, err := x.Verify(network); err != nil || string(f.Payload) != "hello" || f.Height != 1 {
		t.Errorf("%+v, %v", f, err)
	}
}

// kvProcess is a process of examples/kv.
type kvProcess struct {
	cmd *exec.Cmd
	url string
}

func startKV(t *testing.T, binary, node, data string) *kvProcess {
	t.Helper()
	p := &kvProcess{cmd: exec.Command(binary, "-node", node, "-data", data, "-listen", "127.0.0.1:0")}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stderr = os.Stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	m := regexp.MustCompile(`http://[0-9.:]+`).FindString(line)
	if m == "" {
		t.Fatalf("the key-value store printed %q, %v", line, err)
	}
	p.url = m
	t.Cleanup(func() { p.kill() })
	return p
}

func (p *kvProcess) kill() {
	_ = p.cmd.Process.Kill() // the end may have come already
	_ = p.cmd.Wait()
}

func (p *kvProcess) do(ctx context.Context, method, key, value string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, method, p.url+"/"+key, strings.NewReader(value))
	if err != nil {
		return "", err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", answer.Status, raw)
	}
	return string(raw), err
}

type kvState struct {
	Cursor string            `json:"cursor"`
	Pairs  map[string]string `json:"pairs"`
}

// TestRealKV: the key-value store of examples/ is built outside of this module and runs as two processes at two replicas. One
// of them is killed while both take writes, and resumes from its checkpoint; the replica of the other is killed too. In the
// end both have every write that was answered, and the same pairs.
func TestRealKV(t *testing.T) {
	if apart(t) {
		return
	}
	binary, data := filepath.Join(t.TempDir(), "kv"), t.TempDir()
	program(t, "kv", "go", "build", "-o", binary, ".")
	n := startNet(t, "--shards", "1", "--ledger", "log")
	n.ready(t)
	a := startKV(t, binary, n.intro.Replicas[1].API, filepath.Join(data, "a"))
	b := startKV(t, binary, n.intro.Replicas[2].API, filepath.Join(data, "b"))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if _, err := a.do(ctx, http.MethodPut, "colour", "blue"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.do(ctx, http.MethodPut, "gone", "soon"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.do(ctx, http.MethodDelete, "gone", ""); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	answered := map[string]string{"colour": "blue"}
	write := func(p *kvProcess, name string, count int) {
		for i := range count {
			key, value := fmt.Sprintf("%s-%d", name, i), fmt.Sprint("value ", i)
			if _, err := p.do(ctx, http.MethodPut, key, value); err != nil {
				return // the process was killed: the write may have had its effect or not
			}
			mu.Lock()
			answered[key] = value
			mu.Unlock()
		}
	}
	var writers sync.WaitGroup
	writers.Go(func() { write(a, "a", 400) })
	writers.Go(func() { write(b, "b", 150) })
	time.Sleep(1500 * time.Millisecond) // a has made a checkpoint
	b.kill()
	writers.Wait()
	if raw, err := os.ReadFile(filepath.Join(data, "b", "state.json")); err != nil || !strings.Contains(string(raw), "cursor") {
		t.Errorf("checkpoint %.100s, %v", raw, err)
	}
	syscall.Kill(n.intro.Replicas[1].PID, syscall.SIGKILL) // of a, which waits for it
	b = startKV(t, binary, n.intro.Replicas[3].API, filepath.Join(data, "b"))
	write(b, "c", 50)
	a.kill()
	a = startKV(t, binary, n.intro.Replicas[0].API, filepath.Join(data, "a"))
	for {
		var x, y kvState
		for p, into := range map[*kvProcess]*kvState{a: &x, b: &y} {
			raw, err := p.do(ctx, http.MethodGet, "", "")
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(raw), into); err != nil {
				t.Fatal(err)
			}
		}
		if x.Cursor == y.Cursor && len(x.Pairs) >= len(answered) {
			for key, value := range answered {
				if x.Pairs[key] != value {
					t.Errorf("%s is %q, want %q", key, x.Pairs[key], value)
				}
			}
			if fmt.Sprint(x.Pairs) != fmt.Sprint(y.Pairs) {
				t.Error("the two processes have other pairs")
			}
			if _, gone := x.Pairs["gone"]; gone {
				t.Error("a deleted key is there")
			}
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("one process is at %s with %d pairs, the other at %s with %d; %d writes were answered", x.Cursor, len(x.Pairs), y.Cursor, len(y.Pairs), len(answered))
		}
		time.Sleep(50 * time.Millisecond)
	}
	n.stop(t)
}
