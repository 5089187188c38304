package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// ownLines are the log lines whose frequency nobody outside the replica can influence. All other lines must go
// through package loglimit.
var ownLines = []string{
	"address family not available",
	"connections closed with answers in progress", // once, when the replica stops
	"address file not read",
	"address file not written",
	"listening",
	"started", // once, like the next
	"stopped",
	"panic while answering a request", // the replica stops then
	"unsent bytes of the socket not bounded",
	"enough peers have answered: the replica may sign", // at most once per start, like the next
	"the consensus store is a copy or was restored",
	"the recording ended", // at most one recording per start
	"the recording was not written whole",
	"the recording did not begin",
	"recording",
}

// unlimitedLines lists the log lines of a file whose number is not bounded. The event of a limited line must be a
// constant, since the limiter keeps an entry for each event.
func unlimitedLines(s *source) []string {
	var out []string
	if s.test || !below(s.dir, "node") || below(s.dir, "node/loglimit") {
		return nil
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		method, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || !slices.ContainsFunc([]string{"Debug", "Info", "Warn", "Error"}, func(level string) bool { return strings.HasPrefix(method.Sel.Name, level) }) {
			return true
		}
		to := ""
		switch x := method.X.(type) {
		case *ast.Ident:
			to = x.Name
		case *ast.SelectorExpr:
			to = x.Sel.Name
		}
		event := ""
		if len(call.Args) > 0 {
			if text, ok := call.Args[0].(*ast.BasicLit); ok && text.Kind == token.STRING {
				event = strings.Trim(text.Value, "\"`")
			}
		}
		at := fmt.Sprintf("%s:%d", s.name, files.Position(call.Pos()).Line)
		switch {
		case to == "logger" && !slices.Contains(ownLines, strings.ReplaceAll(event, `\n`, "\n")):
			out = append(out, at+": a log line that is not limited")
		case (to == "outside" || to == "lasting") && event == "":
			out = append(out, at+": the event of a limited log line is not a constant")
		}
		return true
	})
	return out
}

func TestLogLinesAreLimited(t *testing.T) {
	for _, s := range read(t) {
		for _, wrong := range unlimitedLines(s) {
			t.Error(wrong)
		}
	}
}

// TestUnlimitedLinesAreFound: unlimitedLines finds lines that are not limited.
func TestUnlimitedLinesAreFound(t *testing.T) {
	for _, c := range []struct {
		file, line string
		want       bool
	}{
		{"node/engine/x.go", `logger.Warnw("a peer misbehaved", "replica", 1)`, true},
		{"node/p2p/x.go", `n.logger.Infow(text)`, true},
		{"node/p2p/x.go", `logger.Infow("listening")`, false},
		{"node/p2p/x.go", `n.outside.Infow("connected", 1)`, false},
		{"node/p2p/x.go", `n.outside.Infow(text, 1)`, true},
		{"node/p2p/x_test.go", `logger.Infow("x")`, false},
		{"internal/kv/x.go", `logger.Infow("x")`, false},
	} {
		s, err := parse(c.file, []byte("package x\n\nfunc f() { "+c.line+" }\n"))
		if err != nil {
			t.Fatal(err)
		}
		if got := len(unlimitedLines(s)) > 0; got != c.want {
			t.Errorf("%s: unlimited %v, want %v", c.line, got, c.want)
		}
	}
}
