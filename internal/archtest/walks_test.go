package archtest

import (
	"fmt"
	"go/ast"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// walk is a table of docs/walks.md: the packages in the order of its steps, and the functions of each step.
type walk struct {
	packages []string
	steps    []walkStep
}

type walkStep struct {
	packages, functions []string
}

var code = regexp.MustCompile("`([^`]+)`")

// codeIn returns the quoted words of a cell.
func codeIn(cell string) (out []string) {
	for _, m := range code.FindAllStringSubmatch(cell, -1) {
		out = append(out, m[1])
	}
	return out
}

// tableRows returns the cells of the tables of a document, without the lines that begin a table.
func tableRows(text string) (out [][]string) {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") || i+1 < len(lines) && strings.HasPrefix(lines[i+1], "|---") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for k := range cells {
			cells[k] = strings.TrimSpace(cells[k])
		}
		out = append(out, cells)
	}
	return out
}

func walkOf(text string) (w walk) {
	for _, cells := range tableRows(text) {
		s := walkStep{codeIn(cells[1]), codeIn(cells[2])}
		for _, p := range s.packages {
			if n := len(w.packages); n == 0 || w.packages[n-1] != p {
				w.packages = append(w.packages, p)
			}
		}
		w.steps = append(w.steps, s)
	}
	return w
}

// returns counts, for each package, how often the walk comes back to it.
func (w *walk) returns() map[string]int {
	out := make(map[string]int)
	seen := make(map[string]bool)
	for _, p := range w.packages {
		if seen[p] {
			out[p]++
		}
		seen[p] = true
	}
	return out
}

// declared are the functions, methods and variables of each directory, as Name or Type.Name.
func declared(sources []*source) map[string]map[string]bool {
	out := make(map[string]map[string]bool)
	for _, s := range sources {
		if s.test {
			continue
		}
		if out[s.dir] == nil {
			out[s.dir] = make(map[string]bool)
		}
		for _, d := range s.file.Decls {
			switch x := d.(type) {
			case *ast.FuncDecl:
				name := x.Name.Name
				if x.Recv != nil {
					name = receiver(x.Recv.List[0].Type) + "." + name
				}
				out[s.dir][name] = true
			case *ast.GenDecl:
				for _, spec := range x.Specs {
					if v, ok := spec.(*ast.ValueSpec); ok {
						for _, name := range v.Names {
							out[s.dir][name.Name] = true
						}
					}
				}
			}
		}
	}
	return out
}

// lost lists the functions of a walk that none of the packages of their step has. A function may have the name of its package
// before it.
func (w *walk) lost(in map[string]map[string]bool) (out []string) {
	for _, s := range w.steps {
		for _, f := range s.functions {
			if !slices.ContainsFunc(s.packages, func(p string) bool {
				return in[p][f] || in[p][strings.TrimPrefix(f, p[strings.LastIndex(p, "/")+1:]+".")]
			}) {
				out = append(out, fmt.Sprintf("%s is in none of %v", f, s.packages))
			}
		}
	}
	return out
}

// mostReturns is the number of times that a walk may come back to a package.
const mostReturns = 2

// TestWalks: each function in docs/walks.md is in a package of its step. The walks come back to packages as often as the
// document states, and to none more than twice.
func TestWalks(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "walks.md"))
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(text), "\n## ")
	if len(parts) != 4 {
		t.Fatalf("docs/walks.md has %d parts", len(parts))
	}
	in, stated := declared(read(t)), tableRows(parts[3])
	for i := range 2 {
		w := walkOf(parts[i+1])
		if len(w.steps) < 8 {
			t.Errorf("walk %d has only %d steps", i+1, len(w.steps))
		}
		for _, f := range w.lost(in) {
			t.Error(f)
		}
		by := make(map[int][]string)
		for p, n := range w.returns() {
			if n > mostReturns {
				t.Errorf("%s: %d returns to %s", stated[i][0], n, p)
			}
			by[n] = append(by[n], p)
		}
		for n, cell := range map[int]string{2: stated[i][1], 1: stated[i][2]} {
			slices.Sort(by[n])
			if got := codeIn(cell); !slices.Equal(got, by[n]) {
				t.Errorf("%s: the document states %d returns to %q, the walk has them to %q", stated[i][0], n, got, by[n])
			}
		}
	}
}

// TestReturnsAreCounted: a step in the same package is no return, and functions that do not exist are found.
func TestReturnsAreCounted(t *testing.T) {
	w := walkOf("| step | package | function |\n|---|---|---|\n| a | `a` | `F` |\n| b | `a`, then `b/c` | `T.G`, `c.H` |\n| c | `a` | `I` |\n| d | `b/c`, `a` | |\n")
	if got, want := w.returns(), map[string]int{"a": 2, "b/c": 1}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	in := map[string]map[string]bool{"a": {"F": true, "T.G": true}, "b/c": {"H": true}}
	if lost := w.lost(in); len(lost) != 1 || !strings.HasPrefix(lost[0], "I ") {
		t.Errorf("%q", lost)
	}
}
