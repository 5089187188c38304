package config

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// lockPoll is how often a lock that another process holds is tried again.
const lockPoll = 50 * time.Millisecond

// InUseError says that another process holds a lock.
type InUseError struct {
	What string // that the lock guards
	PID  int    // of the holder, 0 if it has not said so yet
}

// Error names the process.
func (e *InUseError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("%s is in use by another process: stop it first", e.What)
	}
	return fmt.Sprintf("%s is in use by process %d: stop it first", e.What, e.PID)
}

// LockFile takes the lock at path, which is made if it does not exist, and writes this process's id into it. The lock
// goes with the process, however it ends. What another process holds is an [*InUseError] about what.
func LockFile(path, what string) (release func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock file: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		return nil, &InUseError{What: what, PID: holderOf(f)}
	}
	if err := errors.Join(f.Truncate(0), writeAt(f, fmt.Sprintf("%d\n", os.Getpid()))); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock file: %w", err)
	}
	return func() { f.Close() }, nil // and with it the lock
}

// AwaitLock is [LockFile], but waits up to a time for the process that holds the lock.
func AwaitLock(ctx context.Context, path, what string, limit time.Duration) (release func(), err error) {
	deadline := time.Now().Add(limit)
	for {
		release, err = LockFile(path, what)
		var used *InUseError
		if !errors.As(err, &used) || time.Until(deadline) <= 0 {
			return release, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lockPoll):
		}
	}
}

// AwaitUnlocked waits up to a time until no process holds the lock of the home in dir, and is an [*InUseError] if one
// still does. A home that was never locked is free.
func AwaitUnlocked(ctx context.Context, dir string, limit time.Duration) error {
	if _, err := os.Stat(lockPath(dir)); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	release, err := AwaitLock(ctx, lockPath(dir), "home "+dir, limit)
	if err == nil {
		release()
	}
	return err
}

func lockPath(dir string) string { return filepath.Join(dir, runDir, lockFile) }

// holderOf is the process id in a lock file, 0 if there is none.
func holderOf(f *os.File) int {
	text := make([]byte, 32)
	n, _ := f.ReadAt(text, 0) // only to name the process
	pid, err := strconv.Atoi(strings.TrimSpace(string(text[:n])))
	if err != nil {
		return 0
	}
	return pid
}

func writeAt(f *os.File, s string) error {
	_, err := f.WriteAt([]byte(s), 0)
	return err
}
