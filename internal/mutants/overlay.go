// Package mutants compiles the tests of a package together with seeded bugs, the mutants, so that one compilation is enough
// for all of them. Tests of this module use it to show that they find these bugs.
//
// A mutant is a list of edits of source files. A process of the compiled program has the mutant that its environment names.
package mutants

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	// switchPackage holds the switches. It exists in the overlay only.
	switchPackage = "internal/mutant"
	// switchName is the name under which edited files import it. Nothing else has this name.
	switchName = "mutantSwitch"
	// Variable is the environment variable that names the one mutant of a process. A process without it has no mutant.
	Variable = "BDTNODE_MUTANT"
)

// Edit replaces a piece of source, which must be there exactly once. The piece lies in the body of one function; or the
// edit adds one function or one field of a struct, in lines of their own, at a place outside of functions. Such a
// declaration is there for all mutants: nothing but the edited bodies of its own mutant uses it.
type Edit struct {
	File     string // below the root of the overlay
	From, To string
}

// Overlay is source in which every mutant is a switch, so that one compilation is enough for all of them. A function that
// a mutant edits begins with the edited body, as the body of a function literal:
//
//	func (m *Machine) f(x int) (y int, err error) {
//		if mutantSwitch.On[7] { return func() (y int, err error) { … }() }
//		…
//
// A literal has labels, named results, deferred calls and variables of its own, so that they cannot collide with those of
// the original body. It is called where it is made, so that the parameters do not move to the heap.
type Overlay struct {
	root    string
	mutants []string // by number of the switch
	edits   [][]Edit // by number of the switch
	files   map[string]*switched
}

// switched is a source file and the text that the overlay adds to it.
type switched struct {
	path  string
	text  string
	file  *ast.File
	lines *token.File
	added []addition
	uses  bool // it has a switch, beside declarations
}

// addition is text before the byte with an offset.
type addition struct {
	at   int
	text string
}

// New makes an overlay without mutants. The root is the folder of the module.
func New(root string) *Overlay {
	return &Overlay{root: root, files: make(map[string]*switched)}
}

// Add makes a mutant a switch. Two mutants of one name are one, and must have the same edits. It returns an error if the text
// of an edit is not in its file exactly once, or if an edit cannot be a switch.
func (o *Overlay) Add(name string, edits []Edit) error {
	if k := slices.Index(o.mutants, name); k >= 0 {
		if !slices.Equal(o.edits[k], edits) {
			return errors.New("another mutant of this name has other edits")
		}
		return nil
	}
	number := len(o.mutants)
	o.mutants, o.edits = append(o.mutants, name), append(o.edits, edits)
	var files []string
	of := make(map[string][]Edit)
	for _, e := range edits {
		if of[e.File] == nil {
			files = append(files, e.File)
		}
		of[e.File] = append(of[e.File], e)
	}
	for _, file := range files {
		f, err := o.source(file)
		if err != nil {
			return err
		}
		if err := f.add(name, number, of[file]); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return nil
}

// source is a file below the root, which is read and parsed once.
func (o *Overlay) source(file string) (*switched, error) {
	if f, ok := o.files[file]; ok {
		return f, nil
	}
	path := filepath.Join(o.root, file)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	f, err := newSwitched(path, string(text))
	if err != nil {
		return nil, err
	}
	o.files[file] = f
	return f, nil
}

func newSwitched(path, text string) (*switched, error) {
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, path, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	return &switched{path: path, text: text, file: parsed, lines: set.File(parsed.Package)}, nil
}

// add takes the edits that a mutant has in this file.
func (f *switched) add(name string, number int, edits []Edit) error {
	var functions []*ast.FuncDecl
	of := make(map[*ast.FuncDecl][]Edit)
	for _, e := range edits {
		if n := strings.Count(f.text, e.From); n != 1 {
			return fmt.Errorf("%d times in the file: %s", n, e.From)
		}
		at := strings.Index(f.text, e.From)
		d := f.function(at, at+len(e.From))
		if d == nil {
			if err := f.declare(at, e); err != nil {
				return fmt.Errorf("%w: %s", err, e.From)
			}
			continue
		}
		if of[d] == nil {
			functions = append(functions, d)
		}
		of[d] = append(of[d], e)
	}
	for _, d := range functions {
		if err := f.branch(name, number, d, of[d]); err != nil {
			return err
		}
	}
	return nil
}

// function is the one that has all bytes of a range, or nil.
func (f *switched) function(from, to int) *ast.FuncDecl {
	for _, d := range f.file.Decls {
		if d, ok := d.(*ast.FuncDecl); ok && d.Body != nil && f.lines.Offset(d.Pos()) <= from && to <= f.lines.Offset(d.End()) {
			return d
		}
	}
	return nil
}

// branch lets a function begin with the body that edits make of its own.
func (f *switched) branch(name string, number int, d *ast.FuncDecl, edits []Edit) error {
	start, open := f.lines.Offset(d.Pos()), f.lines.Offset(d.Body.Lbrace)
	text := f.text[start:f.lines.Offset(d.End())]
	for _, e := range edits {
		if n := strings.Count(text, e.From); n != 1 {
			return fmt.Errorf("%d times after the edits before it: %s", n, e.From)
		}
		text = strings.Replace(text, e.From, e.To, 1)
	}
	const header = "package p\n"
	edited, err := newSwitched("edited.go", header+text)
	if err != nil {
		return fmt.Errorf("%s is no function after its edits: %w", d.Name.Name, err)
	}
	one, ok := edited.file.Decls[0].(*ast.FuncDecl)
	if !ok || len(edited.file.Decls) != 1 {
		return fmt.Errorf("%s is more than a function after its edits", d.Name.Name)
	}
	body := edited.lines.Offset(one.Body.Lbrace) - len(header)
	if text[:body] != f.text[start:open] {
		return fmt.Errorf("edits change the signature of %s", d.Name.Name)
	}
	literal := "func() " + text[body:] + "(); return"
	if r := d.Type.Results; r.NumFields() > 0 {
		literal = "return func() " + f.text[f.lines.Offset(r.Pos()):f.lines.Offset(r.End())] + " " + text[body:] + "()"
	}
	// Messages of the compiler and stacks of panics name the mutant, and count the lines as the real file does.
	line := f.lines.Line(d.Body.Lbrace)
	alias := filepath.Join(filepath.Dir(f.path), strings.ReplaceAll(name, " ", "_")+".go")
	f.uses = true
	f.added = append(f.added, addition{open + 1, fmt.Sprintf("\n//line %s:%d\nif %s.On[%d] { %s }\n//line %s:%d\n", alias, line, switchName, number, literal, f.path, line)})
	return nil
}

// declare takes an edit outside of functions.
func (f *switched) declare(at int, e Edit) error {
	before := 0
	for before < min(len(e.From), len(e.To)) && e.From[before] == e.To[before] {
		before++
	}
	added, whole := strings.CutSuffix(e.To[before:], e.From[before:])
	at += before
	if !whole || !strings.HasSuffix(added, "\n") || at > 0 && f.text[at-1] != '\n' {
		return errors.New("outside of functions an edit can only add lines")
	}
	edited, err := newSwitched(f.path, f.text[:at]+added+f.text[at:])
	if err != nil {
		return err
	}
	lead := len(added) - len(strings.TrimLeft(added, " \t\n"))
	if !edited.declares(at+lead, at+len(strings.TrimRight(added, " \t\n"))) {
		return errors.New("outside of functions an edit can only add one function or one field of a struct")
	}
	f.added = append(f.added, addition{at, fmt.Sprintf("%s//line %s:%d\n", added, f.path, f.lines.Line(f.lines.Pos(at)))})
	return nil
}

// declares reports whether the bytes of a range are one function, or one field of a struct.
func (f *switched) declares(from, to int) bool {
	found := false
	is := func(n ast.Node) { found = found || f.lines.Offset(n.Pos()) == from && f.lines.Offset(n.End()) == to }
	ast.Inspect(f.file, func(n ast.Node) bool {
		switch x := n.(type) {
		case *ast.FuncDecl:
			is(x)
		case *ast.StructType:
			for _, field := range x.Fields.List {
				is(field)
			}
		}
		return true
	})
	return found
}

// switches is the text with all that is added to it.
func (f *switched) switches() string {
	slices.SortStableFunc(f.added, func(a, b addition) int { return a.at - b.at })
	var out strings.Builder
	at := f.lines.Offset(f.file.Name.End()) // of the package clause
	out.WriteString(f.text[:at])
	if f.uses {
		fmt.Fprintf(&out, "; import %s \"bdtnode/%s\"", switchName, switchPackage)
	}
	for _, x := range f.added {
		out.WriteString(f.text[at:x.at] + x.text)
		at = x.at
	}
	out.WriteString(f.text[at:])
	return out.String()
}

// switchSource is the package of the switches.
func (o *Overlay) switchSource() string {
	return fmt.Sprintf(`package mutant

import "os"

var On [%d]bool

func init() {
	wanted, ok := os.LookupEnv(%q)
	for k, name := range %#v {
		if On[k] = name == wanted; On[k] {
			return
		}
	}
	if ok {
		panic("no mutant is named " + wanted)
	}
}
`, len(o.mutants), Variable, o.mutants)
}

// Len is the number of mutants.
func (o *Overlay) Len() int { return len(o.mutants) }

// Build compiles the tests of the package in the current directory with all switches in the source, and returns the path of
// the program, which exists until the test ends.
func (o *Overlay) Build(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if _, err := os.Stat(filepath.Join(o.root, switchPackage)); !os.IsNotExist(err) {
		t.Fatalf("%s is a real package: %v", switchPackage, err)
	}
	replace := make(map[string]string)
	write := func(path, text string) {
		replace[path] = filepath.Join(dir, fmt.Sprintf("%d.go", len(replace)))
		if err := os.WriteFile(replace[path], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(o.root, switchPackage, "mutant.go"), o.switchSource())
	for _, f := range o.files {
		write(f.path, f.switches())
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	file, program := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "mutants.test")
	if err := os.WriteFile(file, list, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "test", "-c", "-vet=off", "-overlay", file, "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}
