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

// tempPrefix is the prefix of the directory names of temporary networks.
const tempPrefix = "bdtnode-net-"

// upLock is the name of the lock file in the directory of a network. The running net up holds it.
const upLock = "net-up.lock"

// How long net up waits for processes of an earlier net up that are ending. A killed net up is gone at once; a replica
// may take stopTimeout and is then ended.
const (
	upEnds      = time.Second
	replicaEnds = stopTimeout + 2*time.Second
)

// unlockedAge is the age from which a directory without a lock file is treated as left over from a killed net up.
const unlockedAge = time.Minute

// temporaryHome creates the directory of a temporary network. It contains secret keys, so the caller must call remove.
func (a *app) temporaryHome() (dir string, remove func(), err error) {
	a.sweepHomes(os.TempDir(), time.Now())
	if dir, err = os.MkdirTemp("", tempPrefix); err != nil {
		return "", nil, fmt.Errorf("create temporary home: %w", err)
	}
	return dir, func() {
		if err := os.RemoveAll(dir); err != nil {
			a.print.Note("note: %s contains secret keys and could not be removed: %v", dir, err)
		}
	}, nil
}

// sweepHomes removes the temporary homes of killed net ups, because these contain secret keys. It keeps a home while
// any process of its network still runs.
func (a *app) sweepHomes(parent string, now time.Time) {
	homes, err := filepath.Glob(filepath.Join(parent, tempPrefix+"*"))
	if err != nil {
		return // the pattern is malformed only if parent contains a bracket; then parent is not searched
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
			continue // just created: its net up has not locked it yet
		}
		release, err := config.LockFile(path, dir)
		if err != nil {
			continue
		}
		if busyReplica(dir) == nil {
			if err := os.RemoveAll(dir); err != nil {
				a.print.Note("note: %s, left by a killed net up, contains secret keys and could not be removed: %v", dir, err)
			} else {
				a.print.Note("Removed %s, left by a killed net up", dir)
			}
		}
		release()
	}
}

// lockNet locks a directory for this net up until release is called. It waits for processes of an earlier net up that
// are ending. If one still runs after replicaEnds, the error names it.
func (a *app) lockNet(ctx context.Context, dir string) (release func(), err error) {
	if release, err = config.AwaitLock(ctx, filepath.Join(dir, upLock), "home "+dir, upEnds); err != nil {
		return nil, err
	}
	if used := busyReplica(dir); used != nil {
		a.print.Note("Waiting for process %d, which still uses %s", used.PID, dir)
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

// busyReplica returns the error that names a process which runs a replica of the network in dir, nil if there is none.
func busyReplica(dir string) *config.InUseError {
	for _, home := range replicaHomes(dir) {
		var used *config.InUseError
		if errors.As(config.AwaitUnlocked(context.Background(), home, 0), &used) {
			return used
		}
	}
	return nil
}

// replicaHomes lists the homes of replicas in the directory of a network.
func replicaHomes(dir string) (homes []string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // the caller that reads the network reports the error
	}
	for _, e := range entries {
		if config.IsHomeName(e.Name()) {
			homes = append(homes, filepath.Join(dir, e.Name()))
		}
	}
	return homes
}

// refuseReplicaSettings refuses environment variables that would give all replicas of this machine the same addresses.
func refuseReplicaSettings() error {
	for _, key := range []string{config.KeyListen, config.KeyAnnounce, config.KeyBootstrap, config.KeyAPIAddress} {
		if name := config.EnvName(key); os.Getenv(name) != "" {
			return output.Usage("environment variable %s sets the address of one replica, but net up starts several: unset it", name)
		}
	}
	if name := config.EnvName(config.KeyWAN); os.Getenv(name) != "" {
		return output.Usage("environment variable %s sets delays that are not measured: use --wan in place of it", name)
	}
	return nil
}
