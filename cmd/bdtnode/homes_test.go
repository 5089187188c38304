package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bdtnode/node/config"
)

// TestHomeOfEndingReplicas: net up names processes that still use the home, and waits for them.
func TestHomeOfEndingReplicas(t *testing.T) {
	home := newHome(t, 1, 0, "")
	replica := config.HomeDir(home, 0, 2)
	os.MkdirAll(filepath.Join(replica, "run"), 0o700)
	release, err := config.LockFile(filepath.Join(replica, "run", "lock"), replica) // held by a replica that is ending
	if err != nil {
		t.Fatal(err)
	}
	n := startNet(t, "--home", home)
	n.awaitNote(t, fmt.Sprintf("Waiting for process %d, which still uses %s", os.Getpid(), home))
	release()
	n.ready(t)
	n.stop(t)
}

// TestHomesOfKilledNetUps: temporary homes of killed net ups are removed with their keys, and no other directories are.
func TestHomesOfKilledNetUps(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	left := func(name string) string {
		dir := filepath.Join(tmp, name)
		if err := createNet(dir, &netFlags{shards: 1, nodes: 4}); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	hold := func(path string) {
		os.MkdirAll(filepath.Dir(path), 0o700)
		release, err := config.LockFile(path, "")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(release)
	}
	killed, running, orphans, new, other := left("bdtnode-net-1"), left("bdtnode-net-2"), left("bdtnode-net-3"), left("bdtnode-net-4"), left("net-5")
	for _, dir := range []string{killed, orphans, other} {
		os.WriteFile(filepath.Join(dir, upLock), []byte("1\n"), 0o600)
	}
	hold(filepath.Join(running, upLock))
	hold(filepath.Join(config.HomeDir(orphans, 0, 3), "run", "lock"))
	n := startNet(t, "--shards", "1")
	n.ready(t)
	n.stop(t)
	if _, err := os.Stat(killed); !os.IsNotExist(err) || !strings.Contains(n.err.String(), "Removed "+killed) {
		t.Errorf("%s was not removed: %s", killed, n.err.String())
	}
	for _, dir := range []string{running, orphans, new, other} {
		if _, err := os.Stat(config.HomeDir(dir, 0, 0)); err != nil {
			t.Error(err)
		}
	}
	if dirs, _ := os.ReadDir(tmp); len(dirs) != 4 {
		t.Errorf("left: %v", dirs)
	}
	var again syncBuffer
	a := &app{}
	a.print.Err = &again
	a.sweepHomes(tmp, time.Now().Add(2*unlockedAge))
	if _, err := os.Stat(new); !os.IsNotExist(err) {
		t.Errorf("a directory without a lock file was not removed: %s", again.String())
	}
}

// TestTemporaryHomeIsRemoved: the temporary home is removed when net up ends by a signal, a broken pipe or a failure.
func TestTemporaryHomeIsRemoved(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// A process started with SIGHUP ignored, for example by nohup, passes that on to its children.
	heard := make(chan os.Signal, 1)
	signal.Notify(heard, syscall.SIGHUP)
	defer signal.Stop(heard)
	for name, end := range map[string]func(up *exec.Cmd, read io.Closer){
		"SIGHUP":      func(up *exec.Cmd, _ io.Closer) { up.Process.Signal(syscall.SIGHUP) },
		"two SIGHUPs": func(up *exec.Cmd, _ io.Closer) { up.Process.Signal(syscall.SIGHUP); up.Process.Signal(syscall.SIGHUP) },
		"SIGTERM":     func(up *exec.Cmd, _ io.Closer) { up.Process.Signal(syscall.SIGTERM) },
		"broken pipe": func(_ *exec.Cmd, read io.Closer) { read.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			tmp := t.TempDir()
			read, write, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			up := exec.Command(program, "net", "up", "--shards", "1", "--fault", "freeze-followers", "--fault-every", "1s") // the faults make it print
			up.Env = append(os.Environ(), "TMPDIR="+tmp)
			up.Stderr = write
			out, err := up.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := up.Start(); err != nil {
				t.Fatal(err)
			}
			write.Close()
			first := make([]byte, 1)
			if _, err := out.Read(first); err != nil { // the network is up
				t.Fatal(err)
			}
			if homes, _ := filepath.Glob(filepath.Join(tmp, tempPrefix+"*")); len(homes) != 1 {
				t.Fatalf("homes %v", homes)
			}
			end(up, read)
			_, _ = io.Copy(io.Discard, out)
			up.Wait() // this test does not check the exit code
			read.Close()
			if homes, _ := filepath.Glob(filepath.Join(tmp, tempPrefix+"*")); len(homes) != 0 {
				t.Errorf("homes left: %v", homes)
			}
		})
	}
}
