package archtest

import (
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// vocabulary are the names of the source: the identifiers of each package by its name and by its directory, its files, and
// the directories.
type vocabulary struct {
	identifiers map[string]map[string]bool
	files       map[string]bool
	directories map[string]bool
}

func vocabularyOf(sources []*source) *vocabulary {
	v := &vocabulary{identifiers: make(map[string]map[string]bool), files: make(map[string]bool), directories: make(map[string]bool)}
	for _, s := range sources {
		v.files[path.Base(s.name)] = true
		for dir := s.dir; dir != "."; dir = path.Dir(dir) {
			v.directories[dir] = true
		}
		known := v.of(s.file.Name.Name)
		ast.Inspect(s.file, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok {
				known[id.Name] = true
			}
			return true
		})
	}
	return v
}

// of are the identifiers of packages with a name.
func (v *vocabulary) of(name string) map[string]bool {
	if v.identifiers[name] == nil {
		v.identifiers[name] = make(map[string]bool)
	}
	return v.identifiers[name]
}

// has reports whether the source has a name: of a directory, a file, a package, or an identifier, with its package before it
// or without.
func (v *vocabulary) has(name string) bool {
	if v.directories[name] || v.files[name] || v.identifiers[name] != nil {
		return true
	}
	first, rest, qualified := strings.Cut(name, ".")
	known := v.identifiers[first]
	if !qualified || known == nil { // in any package
		for _, known := range v.identifiers {
			if !slices.ContainsFunc(strings.Split(name, "."), func(part string) bool { return !known[part] }) {
				return true
			}
		}
		return false
	}
	return !slices.ContainsFunc(strings.Split(rest, "."), func(part string) bool { return !known[part] })
}

// wrongTerms lists the terms of a glossary without a definition, those that come twice or out of order, and the names in the
// last column that the source does not have.
func wrongTerms(text string, v *vocabulary) (out []string) {
	last := ""
	for _, cells := range tableRows(text) {
		switch {
		case len(cells) != 4:
			out = append(out, cells[0]+": not four columns")
			continue
		case cells[0] == "" || cells[1] == "":
			out = append(out, cells[0]+": no definition")
		case strings.ToLower(cells[0]) < last:
			out = append(out, cells[0]+": not in the order of the alphabet")
		}
		last = strings.ToLower(cells[0])
		for _, name := range codeIn(cells[3]) {
			if !v.has(name) {
				out = append(out, cells[0]+": the source has no "+name)
			}
		}
	}
	return out
}

// TestGlossary: each term in docs/glossary.md has a definition, and the names of its types and packages exist.
func TestGlossary(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "glossary.md"))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(tableRows(string(text))); n < 100 {
		t.Fatalf("only %d terms found: the rule was not checked", n)
	}
	for _, wrong := range wrongTerms(string(text), vocabularyOf(read(t))) {
		t.Error(wrong)
	}
}

// TestWrongTermsAreFound: wrongTerms finds missing definitions and names that do not exist.
func TestWrongTermsAreFound(t *testing.T) {
	s, err := parse("a/b/x.go", []byte("package b\n\ntype T struct{ Field int }\n\nfunc (T) Method() {}\n"))
	if err != nil {
		t.Fatal(err)
	}
	v := vocabularyOf([]*source{s})
	const head = "| term | definition | papers | Go |\n|---|---|---|---|\n"
	for row, wrong := range map[string]bool{
		"| a | one | | `b.T` |":                     false,
		"| a | one | | `b.T.Field`, `b.T.Method` |": false,
		"| a | one | | `T.Method` |":                false,
		"| a | one | | `a/b` (`x.go`), `b` |":       false,
		"| a | one | | |":                           false,
		"| a | | | |":                               true,
		"| a | one | |":                             true,
		"| a | one | | `b.U` |":                     true,
		"| a | one | | `b.T.Other` |":               true,
		"| a | one | | `c.T` |":                     true,
		"| a | one | | `a/c` |":                     true,
		"| a | one | | `y.go` |":                    true,
		"| b | one | | |\n| a | one | | |":          true,
	} {
		if got := wrongTerms(head+row+"\n", v); (len(got) > 0) != wrong {
			t.Errorf("%s: found %q, want a finding: %v", row, got, wrong)
		}
	}
}
