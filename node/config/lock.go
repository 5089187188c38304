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

// lockPoll is the interval at which a lock held by another process is tried again.
const lockPoll = 50 * time.Millisecond

// InUseError is the error of a lock that another process holds.
type InUseError struct {
	What string // locked object
	PID  int    // process id of the holder, 0 if it is not known yet
}

// Error names the locked object and the process.
func (e *InUseError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("%s is in use by another process: stop it first", e.What)
	}
	return fmt.Sprintf("%s is in use by process %d: stop it first", e.What, e.PID)
}

// LockFile takes the lock at path, creating the file if needed, and writes this process's id into it. The lock ends
// with the process at the latest. If another process holds it, the error is an [*InUseError] for what.
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
	return func() { f.Close() }, nil // closing releases the lock
}

// AwaitLock is like [LockFile], but waits up to limit for the process that holds the lock.
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

// AwaitUnlocked waits up to limit until no process holds the lock of the home in dir. The error is an [*InUseError] if
// one still does. A home that was never locked is free.
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
	n, _ := f.ReadAt(text, 0) // an error only leaves the process id unknown
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
