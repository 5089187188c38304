package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/node/config"
)

// TestLostReplica: a replica whose data was emptied does not start again, with an exit code of its own and an error that has
// the next step. A copy of a home starts with a warning, as its store may be the newest.
func TestLostReplica(t *testing.T) {
	t.Setenv(realEnv, "1")
	dir := filepath.Join(t.TempDir(), "net")
	if err := createNet(dir, &netFlags{shards: 1, nodes: 4, logLevel: "warn"}); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	home := config.HomeDir(dir, 0, 0)
	// start runs a replica until it has published its address, or until it has ended.
	start := func(home string) (code int, text string) {
		t.Helper()
		var out syncBuffer
		cmd := exec.Command(self, "start", "--home", home, "--api", "127.0.0.1:0")
		cmd.Stderr = &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = cmd.Wait() // the exit code is checked
		}()
		eventually(t, "the replica starts or ends", func() bool {
			select {
			case <-ended:
				return true
			default:
				return strings.Contains(out.String(), "API at http://")
			}
		})
		_ = cmd.Process.Kill() // fails if it has ended
		<-ended
		return cmd.ProcessState.ExitCode(), out.String()
	}
	if _, text := start(home); !strings.Contains(text, "API at http://") || strings.Contains(text, "is a copy") {
		t.Fatalf("the first start: %s", text)
	}
	if err := os.RemoveAll(filepath.Join(home, "run")); err != nil { // a socket is not copied
		t.Fatal(err)
	}
	second := home + "-copy"
	if text, err := exec.Command("cp", "-R", "-p", home, second).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if _, text := start(second); !strings.Contains(text, "API at http://") || !strings.Contains(text, "the consensus store is a copy or was restored") {
		t.Errorf("a copy: %s", text)
	}
	if _, text := start(home); !strings.Contains(text, "API at http://") || strings.Contains(text, "is a copy") {
		t.Errorf("the original: %s", text)
	}
	if err := os.RemoveAll(filepath.Join(home, "data")); err != nil {
		t.Fatal(err)
	}
	code, text := start(home)
	for _, want := range []string{"must not sign any more", "its consensus store is empty", "stop every other process that uses these keys", "leave this replica stopped"} {
		if !strings.Contains(text, want) {
			t.Errorf("the error of emptied data has not %q: %s", want, text)
		}
	}
	if code != output.ExitLost {
		t.Errorf("emptied data: exit %d, want %d", code, output.ExitLost)
	}
}
