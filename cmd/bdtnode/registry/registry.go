// Package registry lets commands find the networks that run on this machine. Each process that runs replicas keeps a
// file about them in a directory of the user, and holds a lock on that file while it runs.
package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// entryVersion is the version of the format of an entry file.
const entryVersion = 1

const fileSuffix = ".json"

// Entry describes a running network, or the part of it that one process runs.
type Entry struct {
	Version  int       `json:"version"`
	Name     string    `json:"name"`
	Network  string    `json:"network"` // genesis id
	PID      int       `json:"pid"`
	Started  time.Time `json:"started"`
	Replicas []Replica `json:"replicas"`
	Accounts string    `json:"accounts,omitempty"` // keystore of the funded accounts
}

// Replica is the HTTP API and the home of one replica.
type Replica struct {
	Shard   uint16 `json:"shard"`
	Replica uint16 `json:"replica"`
	API     string `json:"api"`            // base URL
	Home    string `json:"home,omitempty"` // its home directory
}

// Dir is the user's directory of running networks: below $XDG_RUNTIME_DIR, else $XDG_STATE_HOME, else ~/.local/state,
// else the system's directory of temporary files.
func Dir() string {
	for _, env := range []string{"XDG_RUNTIME_DIR", "XDG_STATE_HOME"} {
		if d := os.Getenv(env); filepath.IsAbs(d) {
			return filepath.Join(d, "bdtnode", "networks")
		}
	}
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, ".local", "state", "bdtnode", "networks")
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("bdtnode-%d", os.Getuid()), "networks")
}

// Known is a registered entry. It is visible until it is removed or the process ends.
type Known struct {
	path    string
	file    *os.File // locked
	started time.Time
}

// Add registers a network. It fills in Version, PID and Started.
func Add(dir string, e Entry) (*Known, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("register the network: %w", err)
	}
	k := &Known{started: time.Now()}
	f, err := k.write(dir, e)
	if err != nil {
		return nil, err
	}
	k.path = strings.Replace(f.Name(), "new-", fmt.Sprintf("%d-", os.Getpid()), 1) + fileSuffix
	if err := k.put(f); err != nil {
		return nil, err
	}
	return k, nil
}

// Update replaces the entry atomically.
func (k *Known) Update(e Entry) error {
	f, err := k.write(filepath.Dir(k.path), e)
	if err != nil {
		return err
	}
	return k.put(f)
}

// Remove removes the entry.
func (k *Known) Remove() {
	os.Remove(k.path)
	k.file.Close()
}

// write writes the entry to a file with a temporary name, which readers ignore. The file is locked before it gets its
// final name, so that readers never take it for the entry of a dead process.
func (k *Known) write(dir string, e Entry) (*os.File, error) {
	e.Version, e.PID, e.Started = entryVersion, os.Getpid(), k.started
	raw, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode entry: %w", err)
	}
	f, err := os.CreateTemp(dir, "new-*")
	if err != nil {
		return nil, fmt.Errorf("register the network: %w", err)
	}
	_, err = f.Write(raw)
	if err = errors.Join(err, syscall.Flock(int(f.Fd()), syscall.LOCK_EX)); err != nil {
		os.Remove(f.Name())
		f.Close()
		return nil, fmt.Errorf("register the network: %w", err)
	}
	return f, nil
}

// put renames a file to the name of the entry, replacing the old one.
func (k *Known) put(f *os.File) error {
	if err := os.Rename(f.Name(), k.path); err != nil {
		os.Remove(f.Name())
		f.Close()
		return fmt.Errorf("register the network: %w", err)
	}
	if k.file != nil {
		k.file.Close()
	}
	k.file = f
	return nil
}

// List returns the running networks, newest first. Entries of processes that each run a part of one network are merged.
// Entries of dead processes are removed; unreadable files are skipped.
func List(dir string) ([]Entry, error) {
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("list running networks: %w", err)
	}
	var out []Entry
	for _, file := range files {
		if !strings.HasSuffix(file.Name(), fileSuffix) {
			continue
		}
		if e, ok := readLive(filepath.Join(dir, file.Name())); ok {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b Entry) int { return b.Started.Compare(a.Started) })
	return merge(out), nil
}

// merge joins the entries of one network: the newest entry, with the replicas of the others.
func merge(entries []Entry) []Entry {
	var out []Entry
	at := make(map[string]int) // index in out, by network
	for _, e := range entries {
		i, known := at[e.Network]
		if !known {
			at[e.Network] = len(out)
			out = append(out, e)
			continue
		}
		if out[i].Accounts == "" {
			out[i].Accounts = e.Accounts
		}
		for _, r := range e.Replicas {
			same := func(have Replica) bool { return have.Shard == r.Shard && have.Replica == r.Replica }
			if !slices.ContainsFunc(out[i].Replicas, same) { // an older entry of the same replica is out of date
				out[i].Replicas = append(out[i].Replicas, r)
			}
		}
	}
	return out
}

func readLive(path string) (e Entry, ok bool) {
	f, err := os.Open(path)
	if err != nil {
		return e, false
	}
	defer f.Close()
	if syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) == nil {
		// No process holds the lock: the process has ended, or has just replaced the file.
		if replaced(f, path) {
			return readLive(path)
		}
		os.Remove(path)
		return e, false
	}
	err = json.NewDecoder(f).Decode(&e)
	return e, err == nil && e.Version == entryVersion
}

// replaced reports whether the path now names another file.
func replaced(f *os.File, path string) bool {
	opened, err := f.Stat()
	there, err2 := os.Stat(path)
	return err == nil && err2 == nil && !os.SameFile(opened, there)
}
