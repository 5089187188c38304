package main

import (
	"context"
	"os"
	"strings"
	"time"
)

// parentCheck is the interval at which a program started by go run checks that the go command is still there.
const parentCheck = 500 * time.Millisecond

// stopWithGoRun ends the context when the go command that built and started this program is gone. The go command does
// not pass signals on, so a network would keep running after go run was killed.
func stopWithGoRun(ctx context.Context, cancel context.CancelFunc) {
	if !byGoRun() {
		return // an installed program may outlive the shell that started it
	}
	parent := os.Getppid()
	tick := time.NewTicker(parentCheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if os.Getppid() != parent {
				cancel()
				return
			}
		}
	}
}

// byGoRun reports whether this program was built and started by go run.
func byGoRun() bool {
	program, err := os.Executable()
	return err == nil && strings.Contains(program, "go-build")
}

// self is the command name that the user types to run this program. Printed suggestions begin with it.
func self() string {
	switch {
	case byGoRun():
		return "go run ./cmd/bdtnode"
	case strings.ContainsRune(os.Args[0], os.PathSeparator):
		return os.Args[0]
	}
	return "bdtnode"
}
