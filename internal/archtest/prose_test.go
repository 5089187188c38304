package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Comments and documents name things instead of describing them with a clause: "accepted transactions", not "what was
// accepted". A few such clauses are natural, so the words are counted and bounded, for each directory.
const (
	clausesPer100 = 2
	// fewLines is the number of lines below which a directory may have one such word: a percentage of few lines is not
	// meaningful.
	fewLines = 50
)

var clauses = regexp.MustCompile(`(?i)\b(what|who|whoever|whatever|whom)\b`)

// personifications are words for persons that were used for replicas and messages.
var personifications = regexp.MustCompile(`(?i)\b(believes?|believed|wants|liars?|hermits?|tired|overslept|goodbye|at (the|its|his) door|says nothing|in vain)\b`)

// prose is the text of comments or of a document.
type prose struct {
	dir   string
	lines []proseLine
}

type proseLine struct {
	at   string // file:line
	text string
}

var quoted = regexp.MustCompile("`[^`]*`|\"[^\"]*\"")

// comments returns the lines of all comments of a Go file, without the compiler's directives, and without a name of the
// file's code with which a comment begins.
func comments(name string, text []byte) (prose, error) {
	out := prose{dir: path.Dir(name)}
	f, err := parser.ParseFile(files, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return out, err
	}
	names := make(map[string]bool)
	ast.Inspect(f, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			names[id.Name] = true
		}
		return true
	})
	for _, group := range f.Comments {
		for k, c := range group.List {
			if strings.HasPrefix(c.Text, "//go:") {
				continue
			}
			first := files.Position(c.Pos()).Line
			for i, line := range strings.Split(c.Text, "\n") {
				line = strings.TrimSpace(strings.Trim(strings.TrimSpace(line), "/*"))
				if name, rest, ok := strings.Cut(line, " "); ok && k == 0 && i == 0 && names[name] {
					line = rest
				}
				if line != "" {
					out.lines = append(out.lines, proseLine{at: fmt.Sprintf("%s:%d", name, first+i), text: line})
				}
			}
		}
	}
	return out, nil
}

// document returns the lines of a Markdown file, without blocks of code.
func document(name, text string) prose {
	out := prose{dir: path.Dir(name)}
	fenced := false
	for i, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
			continue
		}
		if !fenced && !strings.HasPrefix(line, "    ") && strings.TrimSpace(line) != "" {
			out.lines = append(out.lines, proseLine{at: fmt.Sprintf("%s:%d", name, i+1), text: line})
		}
	}
	return out
}

// poorProse lists the directories with more clauses than the bound, and all personifications. Quoted text is exempt.
func poorProse(all []prose) []string {
	total := make(map[string]int)
	found := make(map[string][]string)
	var out []string
	for _, p := range all {
		total[p.dir] += len(p.lines)
		for _, line := range p.lines {
			text := quoted.ReplaceAllString(line.text, "")
			for range clauses.FindAllString(text, -1) {
				found[p.dir] = append(found[p.dir], line.at+": "+line.text)
			}
			for _, word := range personifications.FindAllString(text, -1) {
				out = append(out, fmt.Sprintf("%s: %q is a word for persons: %s", line.at, word, line.text))
			}
		}
	}
	for dir, lines := range found {
		if len(lines)*100 > clausesPer100*max(total[dir], fewLines) {
			out = append(out, fmt.Sprintf("%s: %d of the words what, who, whoever, whatever, whom in %d lines of comments; at most %d in 100 lines:\n\t%s",
				dir, len(lines), total[dir], clausesPer100, strings.Join(lines, "\n\t")))
		}
	}
	slices.Sort(out)
	return out
}

func TestProse(t *testing.T) {
	var all []prose
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name != root && d.Name() != ".ci" && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if !strings.HasSuffix(rel, ".go") && !strings.HasSuffix(rel, ".md") || rel == "internal/archtest/prose_test.go" {
			return nil // this file names the words
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if strings.HasSuffix(rel, ".md") {
			all = append(all, document(rel, string(text)))
			return nil
		}
		p, err := comments(rel, text)
		all = append(all, p)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for _, p := range all {
		lines += len(p.lines)
	}
	if lines < 5000 {
		t.Fatalf("only %d lines of prose found: the rule was not checked", lines)
	}
	for _, wrong := range poorProse(all) {
		t.Error(wrong)
	}
}

// TestPoorProseIsFound: poorProse finds directories above the bound, and personifications.
func TestPoorProseIsFound(t *testing.T) {
	plain := strings.Repeat("// A sentence states one fact.\n", 98)
	for _, c := range []struct {
		name, file, text string
		want             bool
	}{
		{"two of 100", "ledger/x.go", plain + "// who leads\n// what was accepted\npackage x\n", false},
		{"three of 100", "ledger/x.go", plain + "// who leads\n// What was accepted, whatever comes\npackage x\n", true},
		{"inside a function", "ledger/x.go", "package x\n\nfunc f() {\n\tf() // what it does, and who\n}\n", true},
		{"in a block", "ledger/x.go", "/*\nwhat it does\nand who\n*/\npackage x\n", true},
		{"one of few lines", "ledger/x.go", "// what it does\npackage x\n", false},
		{"no comment", "ledger/x.go", "package x\n\nvar s = `\n// what who whoever\n`\n", false},
		{"a directive", "ledger/x.go", "package x\n\n//go:generate what who whoever\n", false},
		{"a part of a word", "ledger/x.go", "// whole whose somewhat\npackage x\n", false},
		{"quoted", "ledger/x.go", "// the answer is \"what who whoever\"\npackage x\n", false},
		{"a personification", "ledger/x.go", "// A replica believes it.\npackage x\n", true},
		{"a personification in a test", "ledger/x_test.go", "// the liar\npackage x\n", true},
		{"a declared name", "ledger/x.go", "package x\n\n// liar has no keys.\ntype liar int\n", false},
		{"no declared name", "ledger/x.go", "package x\n\n// liar has no keys.\ntype other int\n", true},
		{"a document", "docs/x.md", "Who leads, and what it does.\n", true},
		{"code in a document", "docs/x.md", "```\nwho what whoever\n```\n\n    who what whoever\n", false},
		{"after code in a document", "docs/x.md", "```\ncode\n```\nwho, what\n", true},
	} {
		p := document(c.file, c.text)
		if strings.HasSuffix(c.file, ".go") {
			var err error
			if p, err = comments(c.file, []byte(c.text)); err != nil {
				t.Fatal(err)
			}
		}
		if got := poorProse([]prose{p}); (len(got) > 0) != c.want {
			t.Errorf("%s: found %q, want a finding: %v", c.name, got, c.want)
		}
	}
}
