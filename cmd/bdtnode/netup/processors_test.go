package netup

import (
	"runtime"
	"strings"
	"testing"
)

// TestProcessors: replicas share the processors one each if there are more replicas. The environment's choice comes first.
func TestProcessors(t *testing.T) {
	t.Setenv("GOMAXPROCS", "")
	cpus := runtime.NumCPU()
	if got := Processors(cpus); got != 0 {
		t.Errorf("as many replicas as processors: %d", got)
	}
	if got := Processors(cpus + 1); got != 1 {
		t.Errorf("more replicas than processors: %d", got)
	}
	t.Setenv("GOMAXPROCS", "2")
	if got := Processors(cpus + 1); got != 0 {
		t.Errorf("with a choice in the environment: %d", got)
	}
}

// TestEnvironmentOfReplicas: a replica's process gets the number of processors.
func TestEnvironmentOfReplicas(t *testing.T) {
	p, err := spawn(t.TempDir(), "/bin/sh", environment(1), "-c", `echo "GOMAXPROCS is $GOMAXPROCS"`)
	if err != nil {
		t.Fatal(err)
	}
	<-p.done
	if got := p.logTail(); !strings.Contains(got, "GOMAXPROCS is 1") {
		t.Error(got)
	}
}
