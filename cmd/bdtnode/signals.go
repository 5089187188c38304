package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// signalled is a context that ends with the first signal to end: Ctrl-C, SIGTERM, or SIGHUP when the terminal closes,
// unless this process was told to ignore that. From then on another Ctrl-C or SIGTERM ends the process at once. A
// closing terminal may send SIGHUP twice, so a second one changes nothing.
//
// A broken pipe is an error of the write instead of a signal that would end the process before it has cleaned up.
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
