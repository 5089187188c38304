package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"
)

// Tests of real networks wait most of their time, and the choice of real replicas, the registry of running networks and
// the directories of the user belong to a process. So such a test runs in a process of its own, beside the other tests.

// placeEnv has the number of the process among those that run at the same time. It sets the ports of its networks.
const placeEnv = "TEST_PLACE"

// placeCount is the number of places. The race detector makes a network several times slower, so that two at the same time
// would miss the time limits of their requests on 2 cores.
func placeCount() int {
	if raceDetector {
		return 1
	}
	return 2
}

// places bounds the processes that run at the same time. Each place is a number from 1 on; the first process of the tests
// has 0.
var places = func() chan int {
	c := make(chan int, placeCount())
	for i := range placeCount() {
		c <- i + 1
	}
	return c
}()

// portsOfPlace is the number of ports from which the networks of a place choose: two networks that start at the same time
// never choose the same one.
const portsOfPlace = 2000

// takePlace sets the ports of this process.
func takePlace() {
	place, err := strconv.Atoi(os.Getenv(placeEnv)) // not a number in the first process
	if err != nil {
		place = 0
	}
	firstPort += place * portsOfPlace
	lastPort = firstPort + portsOfPlace - 1
}

// endWithParent ends a process of a test apart when the process that started it is gone.
func endWithParent() {
	_, _ = io.Copy(io.Discard, os.Stdin) // until the other end of the pipe is closed
	fmt.Fprintln(os.Stderr, "the process that started this test has ended")
	os.Exit(1)
}

// allPlaces has the turn to take all places: two takers with one place each would wait for each other for ever.
var allPlaces sync.Mutex

// takePlaces waits for a free place, or for all.
func takePlaces(all bool) []int {
	if !all {
		return []int{<-places}
	}
	allPlaces.Lock()
	defer allPlaces.Unlock()
	var taken []int
	for len(taken) < placeCount() {
		taken = append(taken, <-places)
	}
	return taken
}

// beside runs the test binary with arguments as soon as a place is free, with real replicas and further variables of the
// environment. The channel gets its result. Environment and directory are those at the time of the call. If alone is true,
// no other such process runs at the same time.
func beside(ctx context.Context, alone bool, variables []string, args ...string) (<-chan result, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	env := append(append(os.Environ(), realEnv+"=1"), variables...)
	done := make(chan result, 1)
	go func() {
		taken := takePlaces(alone)
		defer func() {
			for _, place := range taken {
				places <- place
			}
		}()
		cmd := exec.CommandContext(ctx, self, args...)
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // its networks end with it
		cmd.Dir, cmd.Env = dir, append(env, fmt.Sprintf("%s=%d", placeEnv, taken[0]))
		var out, errs syncBuffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		in, err := cmd.StdinPipe() // open until the process has ended
		if err == nil {
			err = cmd.Run()
			_ = in.Close()
		}
		if cmd.ProcessState == nil {
			fmt.Fprintln(&errs, err)
			done <- result{-1, "", errs.String()}
			return
		}
		done <- result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
	}()
	return done, nil
}

// apart runs a test with real replicas in a process of its own, beside the tests that follow it in the order of the files.
// In that process it returns false, and the test runs. Elsewhere it returns true once that process has ended. When the
// coverage of the tests is measured, they run in one process after another.
func apart(t *testing.T) bool {
	t.Helper()
	return apartWith(t, false)
}

// apartAlone is apart for a test that measures delays: no other test runs in a process of its own at the same time.
func apartAlone(t *testing.T) bool {
	t.Helper()
	return apartWith(t, true)
}

func apartWith(t *testing.T, alone bool) bool {
	t.Helper()
	if os.Getenv(placeEnv) != "" || testing.CoverMode() != "" {
		t.Setenv(realEnv, "1")
		return false
	}
	args := []string{"-test.run=^" + t.Name() + "$", "-test.v=true"}
	if end, ok := t.Deadline(); ok {
		args = append(args, "-test.timeout="+time.Until(end).String())
	}
	done, err := beside(t.Context(), alone, nil, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Parallel()
	if r := <-done; r.code != 0 {
		t.Errorf("exit %d\n%s%s", r.code, r.out, r.err)
	} else {
		t.Logf("%s%s", r.out, r.err)
	}
	return true
}
