package archtest

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestProtocolsAreTested: the tests of the packages below protocols, with the scripts of testdata/traces, have at least as
// many lines as the code.
func TestProtocolsAreTested(t *testing.T) {
	code, tests := 0, 0
	err := filepath.WalkDir(filepath.Join("..", "..", "protocols"), func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		slashed := filepath.ToSlash(name)
		to := &code
		switch {
		case strings.HasSuffix(slashed, "_test.go"), strings.Contains(slashed, "/testdata/traces/"):
			to = &tests
		case !strings.HasSuffix(slashed, ".go"):
			return nil
		}
		text, err := os.ReadFile(name)
		*to += bytes.Count(text, []byte("\n"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if code < 5000 || tests < code {
		t.Errorf("%d lines of tests for %d lines of code", tests, code)
	}
}
