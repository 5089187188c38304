package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// logEvent is one kind of log line: a constant message with its level and the names of its fields.
type logEvent struct {
	at, event, level string
	fields           []string
}

var logLevels = map[string]string{"Debugw": "debug", "Infow": "info", "Warnw": "warn", "Errorw": "error"}

// literal is the value of a string constant in the source; ok is false for any other expression.
func literal(x ast.Expr) (text string, ok bool) {
	lit, is := x.(*ast.BasicLit)
	if !is || lit.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(lit.Value)
	return text, err == nil
}

// logEvents lists the log lines of a file. Fields that are collected in a variable are found where the variable is
// assigned or appended to, in the same function.
func logEvents(s *source) []logEvent {
	if s.test || !below(s.dir, "node") || below(s.dir, "node/loglimit") || below(s.dir, "node/sim") {
		return nil
	}
	var out []logEvent
	ast.Inspect(s.file, func(n ast.Node) bool {
		f, ok := n.(*ast.FuncDecl)
		if !ok || f.Body == nil {
			return true
		}
		collected := collectedFields(f)
		ast.Inspect(f.Body, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				return true
			}
			method, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || logLevels[method.Sel.Name] == "" {
				return true
			}
			event, ok := literal(call.Args[0])
			if !ok {
				return true
			}
			e := logEvent{at: fmt.Sprintf("%s:%d", s.name, files.Position(call.Pos()).Line), event: event, level: logLevels[method.Sel.Name]}
			first := 1
			if x, is := method.X.(*ast.Ident); !is || x.Name != "logger" {
				first = 2 // after the party of a limited line
			}
			if call.Ellipsis.IsValid() {
				if x, is := call.Args[len(call.Args)-1].(*ast.Ident); is {
					e.fields = collected[x.Name]
				}
			} else {
				for i := first; i < len(call.Args); i += 2 {
					if name, is := literal(call.Args[i]); is {
						e.fields = append(e.fields, name)
					}
				}
			}
			out = append(out, e)
			return true
		})
		return false
	})
	return out
}

// collectedFields returns, by the name of a variable, the names of fields in its lists of alternating names and values.
func collectedFields(f *ast.FuncDecl) map[string][]string {
	out := make(map[string][]string)
	names := func(list []ast.Expr) (found []string) {
		for i := 0; i < len(list); i += 2 {
			if name, is := literal(list[i]); is {
				found = append(found, name)
			}
		}
		return found
	}
	ast.Inspect(f.Body, func(n ast.Node) bool {
		a, ok := n.(*ast.AssignStmt)
		if !ok || len(a.Lhs) != 1 || len(a.Rhs) != 1 {
			return true
		}
		to, ok := a.Lhs[0].(*ast.Ident)
		if !ok {
			return true
		}
		switch x := a.Rhs[0].(type) {
		case *ast.CompositeLit:
			out[to.Name] = append(out[to.Name], names(x.Elts)...)
		case *ast.CallExpr:
			if f, is := x.Fun.(*ast.Ident); is && f.Name == "append" && len(x.Args) > 1 {
				out[to.Name] = append(out[to.Name], names(x.Args[1:])...)
			}
		}
		return true
	})
	return out
}

var (
	eventRow   = regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (debug|info|warn|error) \\| (.*) \\| (.*) \\|$")
	eventField = regexp.MustCompile("`([^`]+)`")
)

// documentedEvents reads the table of log events in a document. The fields are those of its last column.
func documentedEvents(text string) map[string][]logEvent {
	out := make(map[string][]logEvent)
	for _, m := range eventRow.FindAllStringSubmatch(text, -1) {
		e := logEvent{event: m[1], level: m[2]}
		for _, f := range eventField.FindAllStringSubmatch(m[4], -1) {
			e.fields = append(e.fields, f[1])
		}
		out[e.event] = append(out[e.event], e)
	}
	return out
}

// undocumented lists the differences between the log lines of the source and a document.
func undocumented(events []logEvent, text string) (out []string) {
	table := documentedEvents(text)
	used := make(map[string]bool)
	for _, e := range events {
		used[e.event+e.level] = true
		rows := table[e.event]
		i := slices.IndexFunc(rows, func(r logEvent) bool { return r.level == e.level })
		if i < 0 {
			out = append(out, fmt.Sprintf("%s: no row for %q at level %s", e.at, e.event, e.level))
			continue
		}
		for _, f := range e.fields {
			if !slices.Contains(rows[i].fields, f) {
				out = append(out, fmt.Sprintf("%s: the row of %q lacks the field %s", e.at, e.event, f))
			}
			if strings.ContainsAny(f, " ABCDEFGHIJKLMNOPQRSTUVWXYZ-") {
				out = append(out, fmt.Sprintf("%s: the field %q is not in lower case with underscores", e.at, f))
			}
		}
	}
	for event, rows := range table {
		for _, r := range rows {
			if !used[event+r.level] {
				out = append(out, fmt.Sprintf("the row of %q at level %s has no line in the source", event, r.level))
			}
		}
	}
	slices.Sort(out)
	return out
}

// TestLogEventsAreDocumented: the table in docs/operations.md has every event with its level and its fields, and no
// other event.
func TestLogEventsAreDocumented(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	var events []logEvent
	for _, s := range read(t) {
		events = append(events, logEvents(s)...)
	}
	if len(events) < 30 {
		t.Fatalf("only %d log lines found: the rule was not checked", len(events))
	}
	for _, wrong := range undocumented(events, string(text)) {
		t.Error(wrong)
	}
}

// TestUndocumentedEventsAreFound: undocumented finds missing rows, levels, fields and lines.
func TestUndocumentedEventsAreFound(t *testing.T) {
	const table = "| `listening` | info | at the start | `peer` |\n| `stalled` | warn | no commit | `height`, `waiting` |\n"
	for _, c := range []struct {
		code, table string
		want        int
	}{
		{`logger.Infow("listening", "peer", 1)` + "\n" + `n.outside.Warnw("stalled", "own", "height", 1)`, table, 0},
		{`logger.Infow("listening", "peer", 1)`, table, 1},
		{`logger.Warnw("listening", "peer", 1); l.to.Warnw("stalled", "own", "height", 1)`, table, 2},
		{`logger.Infow("listening", "peer", 1, "at", 2); outside.Warnw("stalled", "own")`, table, 1},
		{`f := []any{"height", 1}; f = append(f, "Since", 2); outside.Warnw("stalled", "own", f...)`, table[strings.Index(table, "| `stalled"):], 2},
	} {
		s, err := parse("node/x.go", []byte("package x\n\nfunc f() { "+c.code+" }\n"))
		if err != nil {
			t.Fatal(err)
		}
		if got := undocumented(logEvents(s), c.table); len(got) != c.want {
			t.Errorf("%s: found %q, want %d differences", c.code, got, c.want)
		}
	}
}
