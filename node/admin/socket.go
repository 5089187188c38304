package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Names in the directory run of a home.
const (
	runDir     = "run"
	socketName = "admin.sock"
	// pathName is a file with the path of the socket, if the path in the home is too long for a socket's address.
	pathName = "admin.path"
)

// maxSocketPath is the largest length of a socket's path in bytes. An address has 104 bytes on some systems and 108 on
// others, with a zero byte at the end.
const maxSocketPath = 103

// shortPrefix is the prefix of the private directories of sockets outside of a home.
const shortPrefix = "bdtnode-admin-"

// probeTime bounds the attempt to connect to a socket that exists already.
const probeTime = time.Second

// ErrInUse is wrapped by the error of a socket that another process serves.
var ErrInUse = errors.New("another process serves the socket")

// ErrNoSocket is wrapped by the error for a home whose replica does not run, or runs without an administration socket.
var ErrNoSocket = errors.New("no replica serves this home")

// SocketPath is the path of the socket of a home: in the home, or in a private directory if the path there is too long.
// The error wraps [ErrNoSocket] if there is none.
func SocketPath(home string) (string, error) {
	path := filepath.Join(home, runDir, socketName)
	if len(path) > maxSocketPath {
		raw, err := os.ReadFile(filepath.Join(home, runDir, pathName))
		if errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("%s: %w", home, ErrNoSocket)
		}
		if err != nil {
			return "", fmt.Errorf("path of the administration socket: %w", err)
		}
		path = strings.TrimSpace(string(raw))
		if err := checkPrivate(filepath.Dir(path)); err != nil {
			return "", err
		}
	}
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s: %w", home, ErrNoSocket)
	}
	return path, nil
}

// checkPrivate returns an error unless a directory belongs to this user and no other user has access to it.
func checkPrivate(dir string) error {
	st, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("directory of the administration socket: %w", err)
	}
	own, ok := st.Sys().(*syscall.Stat_t)
	if !st.IsDir() || st.Mode().Perm()&0o077 != 0 || !ok || int(own.Uid) != os.Getuid() {
		return fmt.Errorf("%s, the directory of the administration socket, is not a directory of this user alone", dir)
	}
	return nil
}

// socket is a listening socket of a home.
type socket struct {
	net.Listener
	path  string
	short string // private directory outside of the home, empty if the socket is in the home
	file  string // file in the home that has the path, empty likewise
}

// Listen listens on the socket of a home. The caller holds the lock of the home. A socket that a dead process left behind
// is replaced. The error wraps [ErrInUse] if a process serves the socket.
func Listen(home string) (net.Listener, error) {
	run := filepath.Join(home, runDir)
	if err := os.MkdirAll(run, 0o700); err != nil {
		return nil, fmt.Errorf("run directory: %w", err)
	}
	if err := os.Chmod(run, 0o700); err != nil { // it may have been copied with other modes
		return nil, fmt.Errorf("run directory: %w", err)
	}
	s := &socket{path: filepath.Join(run, socketName)}
	if len(s.path) > maxSocketPath {
		s.file = filepath.Join(run, pathName)
		if err := removeShort(s.file); err != nil {
			return nil, err
		}
		var err error
		if s.short, err = shortDir(); err != nil {
			return nil, err
		}
		s.path = filepath.Join(s.short, socketName)
	} else if err := removeStale(s.path); err != nil {
		return nil, err
	}
	if err := s.listen(); err != nil {
		s.remove()
		return nil, err
	}
	return s, nil
}

func (s *socket) listen() error {
	l, err := net.Listen("unix", s.path)
	if err != nil {
		return fmt.Errorf("administration socket: %w", err)
	}
	s.Listener = l
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // Close removes it, together with the directory
	}
	// Until here the directory protects the socket.
	if err := os.Chmod(s.path, 0o600); err != nil {
		l.Close()
		return fmt.Errorf("administration socket: %w", err)
	}
	if s.file == "" {
		return nil
	}
	if err := os.WriteFile(s.file, []byte(s.path+"\n"), 0o600); err != nil {
		l.Close()
		return fmt.Errorf("path of the administration socket: %w", err)
	}
	return nil
}

// Close ends the listener and removes the socket.
func (s *socket) Close() error {
	err := s.Listener.Close()
	s.remove()
	return err
}

func (s *socket) remove() {
	os.Remove(s.path)
	if s.short != "" {
		os.Remove(s.file)
		os.Remove(s.short)
	}
}

// removeStale removes a socket that no process serves.
func removeStale(path string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("administration socket: %w", err)
	}
	if st.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("administration socket: %s is not a socket: remove it", path)
	}
	ctx, cancel := context.WithTimeout(context.Background(), probeTime)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		c.Close()
		return fmt.Errorf("%s: %w", path, ErrInUse)
	case !errors.Is(err, syscall.ECONNREFUSED):
		// A process with a full queue of connections, for example a stopped one, is alive too.
		return fmt.Errorf("%s: %w: %w", path, ErrInUse, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("administration socket: %w", err)
	}
	return nil
}

// removeShort removes a socket outside of the home that a dead process left behind, and its directory.
func removeShort(file string) error {
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("path of the administration socket: %w", err)
	}
	path := strings.TrimSpace(string(raw))
	dir := filepath.Dir(path)
	if !strings.HasPrefix(filepath.Base(dir), shortPrefix) || checkPrivate(dir) != nil {
		return nil // the directory is gone, or is not one of this program: leave it
	}
	if err := removeStale(path); err != nil {
		return err
	}
	os.Remove(dir) // an empty directory that stays does no harm
	return nil
}

// shortDir makes a private directory for a socket, whose path is short enough.
func shortDir() (string, error) {
	for _, parent := range []string{os.Getenv("XDG_RUNTIME_DIR"), os.TempDir(), "/tmp"} {
		if parent == "" || len(parent)+len(shortPrefix)+len(socketName)+16 > maxSocketPath {
			continue
		}
		dir, err := os.MkdirTemp(parent, shortPrefix) // mode 0700
		if err != nil {
			continue
		}
		return dir, nil
	}
	return "", fmt.Errorf("the path of the home is too long for the administration socket, and no directory with a short path is writable: set XDG_RUNTIME_DIR")
}
