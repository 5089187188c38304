package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bdtnode/cmd/bdtnode/netup"
	"bdtnode/node/api"
	"bdtnode/node/config"
)

// startLimited starts a replica that may open at most that many files. It is killed when the test ends.
func startLimited(t *testing.T, home string, files int) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", fmt.Sprintf(`ulimit -n %d; exec "$0" start --home "$1"`, files), self, home)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd
}

// TestIdleConnectionsLeaveFilesToTheStores: a replica gets more idle connections on its API than the process may open
// files. Its stores keep their files, and it continues to work.
func TestIdleConnectionsLeaveFilesToTheStores(t *testing.T) {
	if apart(t) {
		return
	}
	const files, connections, stores = 1024, 1500, 2 * 96
	dir := filepath.Join(t.TempDir(), "net")
	if err := createNet(dir, &netFlags{shards: 1, nodes: 4, logLevel: "error"}); err != nil {
		t.Fatal(err)
	}
	var pid int
	for i := range 4 {
		cmd := startLimited(t, config.HomeDir(dir, 0, i), files)
		if i == 0 {
			pid = cmd.Process.Pid
		}
	}
	var apis []string
	for i := range 4 {
		eventually(t, "a replica listens", func() bool {
			run, ok, err := config.ReadRunning(config.HomeDir(dir, 0, i))
			if ok && err == nil {
				apis = append(apis, run.API)
			}
			return ok
		})
	}
	eventually(t, "the shard is ready", func() bool { return bdtnode(t, "status", "--node", apis[0]).code == 0 })
	for i := range connections {
		c, err := net.Dial("tcp", strings.TrimPrefix(apis[0], "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(30 * time.Second))
		fmt.Fprint(c, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if _, err := c.Read(make([]byte, 4096)); err != nil {
			t.Fatalf("connection %d was not served: %v", i, err)
		}
	}
	var answer api.TxAnswer
	r := bdtnode(t, "tx", "send", "--node", apis[0], "--keys", filepath.Join(dir, netup.AccountsDir), "--from", "alice", "--to", "bob",
		"--amount", "5", "-o", "json")
	r.json(t, &answer)
	if r.code != 0 || answer.State != api.StateSettled {
		t.Errorf("a payment: %d %s%s", r.code, r.out, r.err)
	}
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	if len(open) > files-stores {
		t.Errorf("%d of %d files are open", len(open), files)
	}
}

// TestTooFewFiles: a replica that may not open enough files does not start, and its error names the number that it
// needs.
func TestTooFewFiles(t *testing.T) {
	t.Setenv(realEnv, "1")
	dir := filepath.Join(t.TempDir(), "net")
	if err := createNet(dir, &netFlags{shards: 1, nodes: 4, logLevel: "error"}); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("/bin/sh", "-c", `ulimit -n 256; exec "$0" start --home "$1"`, self, config.HomeDir(dir, 0, 0)).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "may open 256 files") || !strings.Contains(string(out), "needs 392") {
		t.Errorf("%v: %s", err, out)
	}
}

// eventually polls a condition on a process, for 30 s.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for began := time.Now(); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > 30*time.Second {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}
