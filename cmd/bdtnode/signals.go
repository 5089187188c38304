package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// signalled returns a context that ends at the first of these signals: Ctrl-C, SIGTERM, or SIGHUP when the terminal
// closes, unless this process ignores SIGHUP. After that, another Ctrl-C or SIGTERM ends the process at once. A closing
// terminal may send SIGHUP twice, so a second SIGHUP has no effect.
//
// A broken pipe becomes a write error. As a signal it would end the process before the cleanup.
func signalled() (context.Context, context.CancelFunc) {
	signal.Ignore(syscall.SIGPIPE)
	ctx, cancel := context.WithCancel(context.Background())
	came := make(chan os.Signal, 1)
	signal.Notify(came, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(came, syscall.SIGHUP)
	}
	go func() {
		select {
		case <-came:
		case <-ctx.Done():
		}
		signal.Reset(os.Interrupt, syscall.SIGTERM)
		cancel()
	}()
	return ctx, cancel
}
