package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/node/config"
)

// tempPrefix begins the name of the directory of a network that is not to be kept.
const tempPrefix = "bdtnode-net-"

// upLock is the lock in the directory of a network that the net up which runs it holds.
const upLock = "net-up.lock"

// Times that ending processes get to let go of a network. A killed net up is gone at once; a replica may take
// stopTimeout and is then ended.
const (
	upEnds      = time.Second
	replicaEnds = stopTimeout + 2*time.Second
)

// unlockedAge is the age from which a directory in which no lock was ever taken counts as left behind.
const unlockedAge = time.Minute

// temporaryHome makes a directory for a network that is not to be kept. It has secret keys, so remove must be called.
func (a *app) temporaryHome() (dir string, remove func(), err error) {
	a.sweepHomes(os.TempDir(), time.Now())
	if dir, err = os.MkdirTemp("", tempPrefix); err != nil {
		return "", nil, fmt.Errorf("temporary home: %w", err)
	}
	return dir, func() {
		if err := os.RemoveAll(dir); err != nil {
			a.print.Note("note: %s has secret keys and could not be removed: %v", dir, err)
		}
	}, nil
}

// sweepHomes removes the temporary homes, secret keys in them, of net ups that were killed. A home of which any process
// still runs stays.
func (a *app) sweepHomes(parent string, now time.Time) {
	homes, err := filepath.Glob(filepath.Join(parent, tempPrefix+"*"))
	if err != nil {
		return // the pattern is constant: only a parent with a bracket in its name is not searched
	}
	for _, dir := range homes {
		st, err := os.Lstat(dir)
		if err != nil || !st.IsDir() {
			continue
		}
		if own, ok := st.Sys().(*syscall.Stat_t); !ok || int(own.Uid) != os.Getuid() {
			continue
		}
		path := filepath.Join(dir, upLock)
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) && now.Sub(st.ModTime()) < unlockedAge {
			continue // just made
		}
		release, err := config.LockFile(path, dir)
		if err != nil {
			continue
		}
		if busyReplica(dir) == nil {
			if err := os.RemoveAll(dir); err != nil {
				a.print.Note("note: %s, of a net up that was killed, has secret keys and could not be removed: %v", dir, err)
			} else {
				a.print.Note("Removed %s, which a net up that was killed left behind", dir)
			}
		}
		release()
	}
}

// lockNet makes this process the only net up of a directory, until release is called, and waits for processes that are
// just ending there. One that still runs after that is named by the error.
func (a *app) lockNet(ctx context.Context, dir string) (release func(), err error) {
	if release, err = config.AwaitLock(ctx, filepath.Join(dir, upLock), "home "+dir, upEnds); err != nil {
		return nil, err
	}
	if used := busyReplica(dir); used != nil {
		a.print.Note("Waiting for process %d, which still has %s", used.PID, dir)
	}
	deadline := time.Now().Add(replicaEnds)
	for _, home := range replicaHomes(dir) {
		if err := config.AwaitUnlocked(ctx, home, time.Until(deadline)); err != nil {
			release()
			return nil, err
		}
	}
	return release, nil
}

// busyReplica is a process that runs a replica of the network in dir, nil if there is none.
func busyReplica(dir string) *config.InUseError {
	for _, home := range replicaHomes(dir) {
		var used *config.InUseError
		if errors.As(config.AwaitUnlocked(context.Background(), home, 0), &used) {
			return used
		}
	}
	return nil
}

// replicaHomes are the homes of replicas in the directory of a network.
func replicaHomes(dir string) (homes []string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // told by whoever reads the network
	}
	for _, e := range entries {
		if config.IsHomeName(e.Name()) {
			homes = append(homes, filepath.Join(dir, e.Name()))
		}
	}
	return homes
}

// refuseReplicaSettings refuses variables that would give all replicas of a machine the same addresses.
func refuseReplicaSettings() error {
	for _, key := range []string{config.KeyListen, config.KeyAnnounce, config.KeyBootstrap, config.KeyAPIAddress} {
		if name := config.EnvName(key); os.Getenv(name) != "" {
			return output.Usage("environment variable %s is of one replica, and net up runs several: unset it", name)
		}
	}
	return nil
}
