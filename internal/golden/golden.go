// Package golden serves tests alone. It runs scripts against machines: each line of a script is an input, and the text under
// it has all records, messages and outputs of the step that the input caused. The scripts document a protocol step by step, and a
// change of a protocol shows as a difference in them.
//
// A script is a text file in the format of the package datadriven. Its first line is a comment that states the claim
// which the script shows. A directive is one or more lines of input, then a line of four dashes, then the expected text:
//
//	deliver from=3 batch a1
//	time 15ms
//	----
//	> deliver from=3 batch a1
//	persist l/b 3 1 a1: a1
//	> time 15ms
//	send 3 Ack Lane=3 Tip=1:a1
//
// Of several inputs each that had an effect is repeated before its text.
//
// The flag -rewrite of a test replaces the expected texts by those of this run.
package golden

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// Commands are the inputs that a script may have, by name. A command prints through the [Printer] of its script.
type Commands map[string]func(a *Args)

// Run runs every script that pattern matches, each with commands of its own.
func Run(t *testing.T, pattern string, commands func(t *testing.T, p *Printer) Commands) {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("no script matches %s: %v", pattern, err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), filepath.Ext(name)), func(t *testing.T) {
			statesClaim(t, name)
			p := NewPrinter()
			known := commands(t, p)
			datadriven.RunTest(t, name, func(t *testing.T, d *datadriven.TestData) string {
				return directive(t, p, known, d)
			})
		})
	}
}

// statesClaim fails unless the script begins with its claim.
func statesClaim(t *testing.T, name string) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(text), "# Claim: ") {
		t.Fatalf("%s: the first line must be a comment that begins with \"# Claim: \"", name)
	}
}

// directive carries out the inputs of a directive and returns the text that they print.
func directive(t *testing.T, p *Printer, known Commands, d *datadriven.TestData) string {
	t.Helper()
	do := func(cmd string, args []datadriven.CmdArg) {
		t.Helper()
		f := known[cmd]
		if f == nil {
			d.Fatalf(t, "there is no command %q", cmd)
		}
		a := &Args{t: t, pos: d.Pos, cmd: cmd, args: args, used: make([]bool, len(args))}
		f(a)
		a.done()
	}
	if strings.TrimSpace(d.Input) == "" {
		do(d.Cmd, d.CmdArgs)
		return cmp.Or(p.take(), "nothing\n")
	}
	first, all := d.Cmd, ""
	for _, x := range d.CmdArgs {
		first += " " + strings.ReplaceAll(x.String(), ", ", ",")
	}
	for _, line := range append([]string{first}, strings.Split(d.Input, "\n")...) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		cmd, args, err := datadriven.ParseLine(line)
		if err != nil {
			d.Fatalf(t, "%q: %v", line, err)
		}
		do(cmd, args)
		if text := p.take(); text != "" {
			all += "> " + line + "\n" + text
		}
	}
	return cmp.Or(all, "nothing\n")
}
