package mutants

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Case is a mutant with which the test of a name must fail; if there is no name, some test of the package.
type Case struct {
	Name  string
	Edits []Edit
	Test  string
}

// TestsFail checks that the tests of the package in the current directory find each mutant. dir is that directory below the
// root of the module; it is also the directory of edits whose file has none. Without run, TestsFail checks only that the
// source still contains the text that the mutants change. With run, it compiles the package once with all mutants and runs
// the tests for each, with the arguments args. All tests with the word Mutants in their name are left out, since
// they call TestsFail.
func TestsFail(t *testing.T, dir string, cases []Case, run bool, args ...string) {
	t.Helper()
	root, err := filepath.Abs(strings.Repeat("../", 1+strings.Count(dir, "/")))
	if err != nil {
		t.Fatal(err)
	}
	o := New(root)
	for _, c := range cases {
		edits := make([]Edit, len(c.Edits))
		for i, e := range c.Edits {
			if edits[i] = e; !strings.Contains(e.File, "/") {
				edits[i].File = dir + "/" + e.File
			}
		}
		if err := o.Add(c.Name, edits); err != nil {
			t.Errorf("%s: %v", c.Name, err)
		}
	}
	if t.Failed() || !run {
		return
	}
	program := o.Build(t)
	t.Run("none", func(t *testing.T) {
		if failed, out := runTests(t, program, "", "", args); failed {
			t.Errorf("without a mutant the program fails: %s", out)
		}
	})
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			failed, out := runTests(t, program, c.Name, c.Test, args)
			if !failed {
				t.Error("no test fails")
			}
			for line := range strings.Lines(out) {
				if strings.Contains(line, "_test.go:") {
					t.Log(strings.TrimSpace(line))
					return
				}
			}
		})
	}
}

// runTests runs the given test, or all tests if none is given, with a mutant. It reports whether a test failed, and the output.
func runTests(t *testing.T, program, mutant, test string, args []string) (failed bool, out string) {
	t.Helper()
	args = append([]string{"-test.run=" + test, "-test.skip=Mutants", "-test.failfast", "-test.timeout=5m"}, args...)
	cmd := exec.CommandContext(t.Context(), program, args...)
	if mutant != "" {
		cmd.Env = append(os.Environ(), Variable+"="+mutant)
	}
	text, err := cmd.CombinedOutput()
	if err != nil && !strings.Contains(string(text), "--- FAIL") {
		t.Errorf("the program does not run: %v: %s", err, text)
	}
	return err != nil, string(text)
}
