package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// runningVersion is the version of the format of run/replica.json.
const runningVersion = 1

const (
	runningFile = "replica.json"
	lockFile    = "lock"
)

// Running is the content of run/replica.json: the addresses of a running replica, including ports chosen at its start.
type Running struct {
	Version int      `json:"version"`
	PID     int      `json:"pid"`
	Shard   uint16   `json:"shard"`
	Replica uint16   `json:"replica"`
	P2P     []string `json:"p2p"` // listen multiaddrs, with /p2p/ and the peer id
	API     string   `json:"api"` // base URL of the HTTP API
}

// Lock makes this process the only one that runs the home, until release is called. The lock ends with the process at
// the latest.
func (h *Home) Lock() (release func(), err error) {
	dir := filepath.Join(h.Dir, runDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("run directory: %w", err)
	}
	unlock, err := LockFile(lockPath(h.Dir), "home "+h.Dir)
	if err != nil {
		return nil, err
	}
	return func() {
		os.Remove(filepath.Join(dir, runningFile))
		unlock()
	}, nil
}

// Publish publishes the addresses of the replica once it listens. It replaces run/replica.json atomically and sends the
// value to the reader of [Home.Published]. It fills in Version, PID, Shard and Replica. It must be called at most once
// in a run.
func (h *Home) Publish(p2p []string, api string) error {
	r := Running{Version: runningVersion, PID: os.Getpid(), Shard: h.Shard, Replica: uint16(h.Replica), P2P: p2p, API: api}
	raw, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode %s: %w", runningFile, err)
	}
	path := runningPath(h.Dir)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("run directory: %w", err)
	}
	if err := os.WriteFile(path+".new", append(raw, '\n'), 0o600); err != nil {
		return fmt.Errorf("publish the listen address: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("publish the listen address: %w", err)
	}
	select {
	case h.published <- r:
	default: // there is no reader
	}
	return nil
}

// Published delivers the value of [Home.Publish].
func (h *Home) Published() <-chan Running { return h.published }

// ReadRunning returns the published addresses of the replica with its home in dir. ok is false without a file: the
// replica has not published them yet, or has stopped. After a crash the file still exists, so compare the PID.
func ReadRunning(dir string) (r Running, ok bool, err error) {
	raw, err := os.ReadFile(runningPath(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return r, false, nil
	}
	if err != nil {
		return r, false, fmt.Errorf("read the published address: %w", err)
	}
	if err := json.Unmarshal(raw, &r); err != nil || r.Version != runningVersion {
		return r, false, fmt.Errorf("%s does not have version %d", runningPath(dir), runningVersion)
	}
	return r, true, nil
}

func runningPath(dir string) string { return filepath.Join(dir, runDir, runningFile) }
