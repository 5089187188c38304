package admin

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// shortHome is a home whose socket's path is short enough on every system.
func shortHome(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "h")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func mode(t *testing.T, path string) os.FileMode {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st.Mode().Perm()
}

// connects reports whether a socket of a home is served.
func connects(t *testing.T, home string) bool {
	t.Helper()
	path, err := SocketPath(home)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// TestOnlyTheOwnerMayOpenTheSocket: the socket has mode 0600 and its directory 0700, also if the directory had another
// mode before, and with any umask.
func TestOnlyTheOwnerMayOpenTheSocket(t *testing.T) {
	home := shortHome(t)
	run := filepath.Join(home, runDir)
	if err := os.Mkdir(run, 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := Listen(home)
	if err != nil {
		t.Fatal(err)
	}
	if got := mode(t, run); got != 0o700 {
		t.Errorf("directory %04o", got)
	}
	if got := mode(t, filepath.Join(run, socketName)); got != 0o600 {
		t.Errorf("socket %04o", got)
	}
	if !connects(t, home) {
		t.Error("the socket is not served")
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := SocketPath(home); !errors.Is(err, ErrNoSocket) {
		t.Errorf("after the end: %v", err)
	}
}

// TestLongPath: a home with a path that is too long for a socket has its socket in a private directory, which clients find
// through the home. Nothing is left of it at the end.
func TestLongPath(t *testing.T) {
	home := filepath.Join(shortHome(t), strings.Repeat("long/", 30))
	t.Setenv("XDG_RUNTIME_DIR", "/nonexistent")
	t.Setenv("TMPDIR", filepath.Join(home, "tmp")) // too long itself
	l, err := Listen(home)
	if err != nil {
		t.Fatal(err)
	}
	path, err := SocketPath(home)
	if err != nil || len(path) > maxSocketPath || strings.HasPrefix(path, home) {
		t.Fatalf("%q %v", path, err)
	}
	if m := mode(t, filepath.Dir(path)); m != 0o700 {
		t.Errorf("directory %04o", m)
	}
	if m := mode(t, path); m != 0o600 {
		t.Errorf("socket %04o", m)
	}
	if !connects(t, home) {
		t.Error("the socket is not served")
	}
	// A directory that others can read is not trusted.
	if err := os.Chmod(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := SocketPath(home); err == nil {
		t.Error("a directory with mode 0755 was accepted")
	}
	l.Close()
	if _, err := os.Stat(filepath.Dir(path)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is left: %v", err)
	}
	if _, err := SocketPath(home); !errors.Is(err, ErrNoSocket) {
		t.Errorf("after the end: %v", err)
	}
}

// TestStaleSocketIsReplaced: the socket of a dead process is replaced, also outside of the home; that of a live one is
// refused.
func TestStaleSocketIsReplaced(t *testing.T) {
	for name, home := range map[string]string{"in the home": shortHome(t), "elsewhere": filepath.Join(shortHome(t), strings.Repeat("long/", 30))} {
		t.Run(name, func(t *testing.T) {
			first, err := Listen(home)
			if err != nil {
				t.Fatal(err)
			}
			old, err := SocketPath(home)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Listen(home); !errors.Is(err, ErrInUse) {
				t.Errorf("a second listener: %v", err)
			}
			if !connects(t, home) {
				t.Fatal("the first listener lost its socket")
			}
			first.(*socket).Listener.Close() // as if the process had been killed: its files stay
			if connects(t, home) {
				t.Fatal("the test did not end the first listener")
			}
			second, err := Listen(home)
			if err != nil {
				t.Fatal(err)
			}
			defer second.Close()
			if !connects(t, home) {
				t.Error("the second listener is not served")
			}
			if path, _ := SocketPath(home); path != old {
				if _, err := os.Stat(filepath.Dir(old)); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("%s is left", old)
				}
			}
		})
	}
}

// TestNoSocket: a file that is not a socket is not removed.
func TestNoSocket(t *testing.T) {
	home := shortHome(t)
	path := filepath.Join(home, runDir, socketName)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(home); err == nil || !strings.Contains(err.Error(), "is not a socket") {
		t.Errorf("%v", err)
	}
	if raw, err := os.ReadFile(path); err != nil || string(raw) != "data" {
		t.Error("the file is gone")
	}
	c := Client{home: home}
	if err := c.lost(context.Background(), ErrNoSocket); !errors.Is(err, ErrNoSocket) {
		t.Error(err)
	}
}
