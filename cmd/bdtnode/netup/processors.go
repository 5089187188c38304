package netup

import (
	"fmt"
	"os"
	"runtime"
)

// Processors is the number of processors that each replica of a network on this machine uses at a time (GOMAXPROCS); 0 is
// Go's own choice, or that of the environment. It is 1 if there are more replicas than processors. The processes fill the
// processors then. With more threads each, they spend time on the change between threads, and run no faster.
func Processors(replicas int) int {
	if os.Getenv("GOMAXPROCS") == "" && replicas > runtime.NumCPU() {
		return 1
	}
	return 0
}

// environment has the variable for a number of processors.
func environment(processors int) []string {
	if processors == 0 {
		return nil
	}
	return []string{fmt.Sprintf("GOMAXPROCS=%d", processors)}
}
