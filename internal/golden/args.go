package golden

import (
	"strconv"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// Args are the arguments of one input: words, and keys with values. An argument that a command does not read fails the
// script.
type Args struct {
	t    *testing.T
	pos  string
	cmd  string
	args []datadriven.CmdArg
	used []bool
}

// Fatalf ends the test of the script.
func (a *Args) Fatalf(format string, args ...any) {
	a.t.Helper()
	a.t.Fatalf("%s: %s: "+format, append([]any{a.pos, a.cmd}, args...)...)
}

// Check ends the test of the script if err is not nil.
func (a *Args) Check(err error) {
	a.t.Helper()
	if err != nil {
		a.Fatalf("%v", err)
	}
}

// Word is the next argument without a value.
func (a *Args) Word() string {
	a.t.Helper()
	for i, x := range a.args {
		if !a.used[i] && len(x.Vals) == 0 {
			a.used[i] = true
			return x.Key
		}
	}
	a.Fatalf("a word is missing")
	return ""
}

// Words are all further arguments without values.
func (a *Args) Words() []string {
	var out []string
	for i, x := range a.args {
		if !a.used[i] && len(x.Vals) == 0 {
			a.used[i] = true
			out = append(out, x.Key)
		}
	}
	return out
}

// Flag reports whether a word is among the arguments.
func (a *Args) Flag(word string) bool {
	for i, x := range a.args {
		if !a.used[i] && len(x.Vals) == 0 && x.Key == word {
			a.used[i] = true
			return true
		}
	}
	return false
}

// List is the values of a key, nil if it is missing.
func (a *Args) List(key string) []string {
	for i, x := range a.args {
		if !a.used[i] && len(x.Vals) > 0 && x.Key == key {
			a.used[i] = true
			return x.Vals
		}
	}
	return nil
}

// Ints is the values of a key as numbers, nil if it is missing.
func (a *Args) Ints(key string) []int {
	a.t.Helper()
	var out []int
	for _, v := range a.List(key) {
		out = append(out, a.number(v))
	}
	return out
}

// Str is the value of a key, or otherwise.
func (a *Args) Str(key, otherwise string) string {
	a.t.Helper()
	switch v := a.List(key); len(v) {
	case 0:
		return otherwise
	case 1:
		return v[0]
	}
	a.Fatalf("%s has several values", key)
	return ""
}

// Int is the value of a key as a number. It must be there.
func (a *Args) Int(key string) int {
	a.t.Helper()
	v := a.Ints(key)
	if len(v) != 1 {
		a.Fatalf("%s=NUMBER is missing", key)
	}
	return v[0]
}

// IntOr is the value of a key as a number, or otherwise.
func (a *Args) IntOr(key string, otherwise int) int {
	a.t.Helper()
	switch v := a.Ints(key); len(v) {
	case 0:
		return otherwise
	case 1:
		return v[0]
	}
	a.Fatalf("%s has several values", key)
	return 0
}

// Number is the next word as a number.
func (a *Args) Number() int {
	a.t.Helper()
	return a.number(a.Word())
}

// Duration is the next word as a duration.
func (a *Args) Duration() time.Duration {
	a.t.Helper()
	d, err := time.ParseDuration(a.Word())
	a.Check(err)
	return d
}

func (a *Args) number(text string) int {
	a.t.Helper()
	n, err := strconv.Atoi(text)
	a.Check(err)
	return n
}

// done fails if an argument was not read.
func (a *Args) done() {
	a.t.Helper()
	for i, x := range a.args {
		if !a.used[i] {
			a.Fatalf("the argument %s means nothing here", x.String())
		}
	}
}
