package mutants

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"strings"
	"testing"
)

// switchExample has labels, named results and deferred calls, with which a second body in one function could collide.
const switchExample = `package example // of functions

type T[E any] struct {
	a E
	n int
}

const limit = 64

// Get has named results, a label and a deferred call.
func (t *T[E]) Get(k int, _ string, more ...E) (x E, err error) {
	defer func() { err = nil }()
again:
	for i := range k {
		if i == limit {
			break again
		}
		t.n++
	}
	x = t.a
	return
}

// Reset has no results.
func (t *T[E]) Reset() { t.n = 0 }

func both() (int, bool) { return limit, true }
`

// fromSource imports the package of the switches, whatever the path is.
type fromSource string

func (text fromSource) Import(path string) (*types.Package, error) {
	return compiled(path, string(text), nil)
}

// compiled checks the types of a package of one file.
func compiled(path, text string, imports types.Importer) (*types.Package, error) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	return (&types.Config{Importer: imports}).Check(path, set, []*ast.File{file}, nil)
}

// TestMutantSwitches: several mutants of one function compile, each line has the number that it has in the file, and
// edits that cannot be switches are refused.
func TestMutantSwitches(t *testing.T) {
	o := New("/")
	f, err := newSwitched("/example.go", switchExample)
	if err != nil {
		t.Fatal(err)
	}
	o.files["example.go"] = f
	mutants := map[string][]Edit{
		"the label stays":             {{"", "		t.n++\n", "		t.n += 2\n"}},
		"the rest of the body is cut": {{"", "	x = t.a\n	return\n", "	return x, nil\n"}, {"", "			break again\n", "			continue again\n"}},
		"a field is added":            {{"", "	n int\n", "	n int\n	m int\n"}, {"", "{ t.n = 0 }", "{ t.m++ }"}},
		"a method is added":           {{"", "// Reset has", "func (t *T[E]) four() int { return 4 }\n\n// Reset has"}, {"", "t.n = 0", "t.n = t.four()"}},
		"one line":                    {{"", "return limit, true", "return 0, false"}},
		"the header is in the text":   {{"", "func both() (int, bool) { return limit, true }", "func both() (int, bool) { panic(limit) }"}},
	}
	for name, edits := range mutants {
		for k := range edits {
			edits[k].File = "example.go"
		}
		if err := o.Add(name, edits); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	text := f.switches()
	if _, err := compiled("example", text, fromSource("package mutant\n\nvar On [8]bool\n")); err != nil {
		t.Errorf("%v\n%s", err, text)
	}
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, "/overlay.go", text, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range file.Decls {
		if d, ok := d.(*ast.FuncDecl); ok {
			last := set.Position(d.Body.Rbrace)
			declared := "\nfunc (t *T[E]) " + d.Name.Name
			if d.Recv == nil {
				declared = "\nfunc " + d.Name.Name
			}
			at := strings.Index(switchExample, declared)
			if at < 0 {
				continue // it is added
			}
			original := f.function(at+1, at+2)
			if want := f.lines.Line(original.End() - 1); last.Line != want || last.Filename != "/example.go" {
				t.Errorf("%s ends at %s:%d, want line %d", d.Name.Name, last.Filename, last.Line, want)
			}
		}
	}

	for name, e := range map[string]Edit{
		"text that is not there":        {"", "t.n--", ""},
		"text that is there twice":      {"", "t.n", "t.a"},
		"a constant":                    {"", "limit = 64", "limit = 0"},
		"a constant with a digit more":  {"", "limit = 64", "limit = 640"},
		"a line of constants":           {"", "const limit = 64\n", "const limit = 64\nconst other = 1\n"},
		"a signature":                   {"", "func (t *T[E]) Reset() {", "func (t *T[E]) Reset() (x int) {"},
		"two functions":                 {"", "func both() (int, bool) { return limit, true }", "func both() (int, bool) { return limit, true }\n\nfunc two() {}"},
		"a body that is none":           {"", "return limit, true }", "return limit, true"},
		"a comment of a function":       {"", "// Reset has no results.\nfunc", "func"},
		"two fields":                    {"", "	n int\n", "	n int\n	m, l int\n	k int\n"},
		"a body with another after it ": {"", "t.n = 0 }", "t.n = 0 }\n\nvar other int"},
	} {
		f, err := newSwitched("/example.go", switchExample)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.add(name, 0, []Edit{e}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := o.Add("one line", []Edit{{"example.go", "return limit, true", "return 0, true"}}); err == nil {
		t.Error("two mutants have one name")
	}
}
