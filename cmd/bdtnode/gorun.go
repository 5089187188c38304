package main

import (
	"context"
	"os"
	"strings"
	"time"
)

// parentCheck is how often a program started by go run looks whether that is still there.
const parentCheck = 500 * time.Millisecond

// stopWithGoRun ends the context when the go command that built and runs this program is gone: it passes no signal on,
// so killing it would leave a whole network running behind.
func stopWithGoRun(ctx context.Context, cancel context.CancelFunc) {
	if !byGoRun() {
		return // an installed program may well outlive the shell that started it
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

// byGoRun reports whether go run built and runs this program.
func byGoRun() bool {
	program, err := os.Executable()
	return err == nil && strings.Contains(program, "go-build")
}

// self is how this program is called on a command line like the one it was started with.
func self() string {
	switch {
	case byGoRun():
		return "go run ./cmd/bdtnode"
	case strings.ContainsRune(os.Args[0], os.PathSeparator):
		return os.Args[0]
	}
	return "bdtnode"
}
