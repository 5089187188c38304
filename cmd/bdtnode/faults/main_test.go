package faults

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
)

var everything = flag.Bool("faults", false, "stage all faults, not only the cheap ones")

// launchEnv carries a [launch] to the process that becomes the given program.
const launchEnv = "TEST_FAULTS_LAUNCH"

// launch is a program to run in a network namespace. Without a program the process waits until its standard input ends,
// which keeps its own namespace.
type launch struct {
	Namespace string // path; empty for the present one
	Program   []string
}

// TestMain makes the test binary the launcher of a [launch], and keeps its directories apart from those of the user.
func TestMain(m *testing.M) {
	if text := os.Getenv(launchEnv); text != "" {
		os.Unsetenv(launchEnv)
		var l launch
		err := json.Unmarshal([]byte(text), &l)
		switch {
		case err == nil && len(l.Program) == 0:
			_, err = io.Copy(io.Discard, os.Stdin)
		case err == nil:
			err = become(l)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	dir, err := os.MkdirTemp("", "bdtnode-faults-")
	if err != nil {
		panic(err)
	}
	for variable, value := range map[string]string{
		"XDG_RUNTIME_DIR": "run", "XDG_DATA_HOME": "data", "XDG_STATE_HOME": "state",
	} {
		os.Setenv(variable, filepath.Join(dir, value))
	}
	os.Setenv("BDTNODE_LOG_FORMAT", "json")
	builtIn = filepath.Join(dir, "bin")
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}
