// Package registry lets commands find the networks that run on this machine: whoever runs one keeps a file about it
// in a directory of the user, and holds a lock on that file for as long as it lives.
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

// entryVersion is the version of an entry's file.
const entryVersion = 1

const fileSuffix = ".json"

// Entry is one running network, or the part of it that one process runs.
type Entry struct {
	Version  int       `json:"version"`
	Name     string    `json:"name"`
	Network  string    `json:"network"` // genesis id
	PID      int       `json:"pid"`
	Started  time.Time `json:"started"`
	Replicas []Replica `json:"replicas"`
	Accounts string    `json:"accounts,omitempty"` // keystore of its funded accounts
}

// Replica is one replica's HTTP interface.
type Replica struct {
	Shard   uint16 `json:"shard"`
	Replica uint16 `json:"replica"`
	API     string `json:"api"` // base URL
}

// Dir is the user's directory of running networks: below $XDG_RUNTIME_DIR, else $XDG_STATE_HOME, else
// ~/.local/state, else the system's directory of temporary files.
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

// Known is an entry that others can find, until it is removed or the process ends.
type Known struct {
	path    string
	file    *os.File // locked
	started time.Time
}

// Add makes the network known. Version, PID and Started are filled in.
func Add(dir string, e Entry) (*Known, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the network known to other commands: %w", err)
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

// Update replaces the entry, in one step.
func (k *Known) Update(e Entry) error {
	f, err := k.write(filepath.Dir(k.path), e)
	if err != nil {
		return err
	}
	return k.put(f)
}

// Remove makes the network unknown again.
func (k *Known) Remove() {
	os.Remove(k.path)
	k.file.Close()
}

// write makes a file of the entry, under a name that nobody looks for. It is locked before it gets the one that others
// look for, so that nobody takes it for a dead process's.
func (k *Known) write(dir string, e Entry) (*os.File, error) {
	e.Version, e.PID, e.Started = entryVersion, os.Getpid(), k.started
	raw, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode entry: %w", err)
	}
	f, err := os.CreateTemp(dir, "new-*")
	if err != nil {
		return nil, fmt.Errorf("make the network known to other commands: %w", err)
	}
	_, err = f.Write(raw)
	if err = errors.Join(err, syscall.Flock(int(f.Fd()), syscall.LOCK_EX)); err != nil {
		os.Remove(f.Name())
		f.Close()
		return nil, fmt.Errorf("make the network known to other commands: %w", err)
	}
	return f, nil
}

// put gives a file the entry's name, in the place of the one that had it.
func (k *Known) put(f *os.File) error {
	if err := os.Rename(f.Name(), k.path); err != nil {
		os.Remove(f.Name())
		f.Close()
		return fmt.Errorf("make the network known to other commands: %w", err)
	}
	if k.file != nil {
		k.file.Close()
	}
	k.file = f
	return nil
}

// List is the running networks, newest first; processes that each run a part of one are one entry. What dead processes
// left is removed; files it cannot read are passed over.
func List(dir string) ([]Entry, error) {
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("look for running networks: %w", err)
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

// merge joins entries of one network: the first of them, which is the newest, with the replicas of the others.
func merge(entries []Entry) []Entry {
	var out []Entry
	at := make(map[string]int) // by network, in out
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
			if !slices.ContainsFunc(out[i].Replicas, same) { // an older word on the same replica is out of date
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
		// Nobody holds it: its process is gone, or has just put another in its place.
		if replaced(f, path) {
			return readLive(path)
		}
		os.Remove(path)
		return e, false
	}
	err = json.NewDecoder(f).Decode(&e)
	return e, err == nil && e.Version == entryVersion
}

// replaced reports whether a path is by now that of another file.
func replaced(f *os.File, path string) bool {
	opened, err := f.Stat()
	there, err2 := os.Stat(path)
	return err == nil && err2 == nil && !os.SameFile(opened, there)
}
