package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// runningVersion is the version of run/replica.json.
const runningVersion = 1

const (
	runningFile = "replica.json"
	lockFile    = "lock"
)

// Running is what a running replica says of itself in run/replica.json, so that whoever started it learns the
// ports it chose.
type Running struct {
	Version int      `json:"version"`
	PID     int      `json:"pid"`
	Shard   uint16   `json:"shard"`
	Replica uint16   `json:"replica"`
	P2P     []string `json:"p2p"` // multiaddrs it listens on, with /p2p/ and its peer id
	API     string   `json:"api"` // base URL of its HTTP interface
}

// Lock makes this process the only one that runs the home, until release is called. The lock goes with the
// process, however it ends.
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

// Publish says where the replica can be reached, once it listens: it replaces run/replica.json in one step and
// hands the value to the reader of [Home.Published]. Version, PID, Shard and Replica are filled in. It is called
// once per run.
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
	default: // nobody asked
	}
	return nil
}

// Published delivers what [Home.Publish] was given.
func (h *Home) Published() <-chan Running { return h.published }

// ReadRunning is what the replica with its home in dir said of itself. Without a file ok is false: it has not come
// up yet, or was stopped. After a crash the file is still there: compare the PID.
func ReadRunning(dir string) (r Running, ok bool, err error) {
	raw, err := os.ReadFile(runningPath(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return r, false, nil
	}
	if err != nil {
		return r, false, fmt.Errorf("read the published address: %w", err)
	}
	if err := json.Unmarshal(raw, &r); err != nil || r.Version != runningVersion {
		return r, false, fmt.Errorf("%s is not of version %d", runningPath(dir), runningVersion)
	}
	return r, true, nil
}

func runningPath(dir string) string { return filepath.Join(dir, runDir, runningFile) }
