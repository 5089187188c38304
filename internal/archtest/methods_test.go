package archtest

import (
	"fmt"
	"go/ast"
	"maps"
	"slices"
	"testing"
)

// maxMethods is the greatest number of methods of a type, so that a type has one responsibility.
const maxMethods = 49

// methodsOf counts the methods of each type in the given files, tests excluded, by "directory.Type".
func methodsOf(sources []*source) map[string]int {
	out := make(map[string]int)
	for _, s := range sources {
		if s.test {
			continue
		}
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv != nil {
				out[s.dir+"."+receiver(f.Recv.List[0].Type)]++
			}
		}
	}
	return out
}

// receiver returns the name of a receiver's type, without pointer and type parameters.
func receiver(e ast.Expr) string {
	switch x := e.(type) {
	case *ast.StarExpr:
		return receiver(x.X)
	case *ast.IndexExpr:
		return receiver(x.X)
	case *ast.IndexListExpr:
		return receiver(x.X)
	case *ast.Ident:
		return x.Name
	}
	return fmt.Sprintf("%T", e)
}

func TestTypesHaveFewMethods(t *testing.T) {
	counts := methodsOf(read(t))
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		if n := counts[name]; n > maxMethods {
			t.Errorf("%s has %d methods, at most %d are allowed: split it by responsibility", name, n, maxMethods)
		}
	}
}

// TestMethodsAreCounted: methodsOf counts methods with every kind of receiver, and no functions or methods of tests.
func TestMethodsAreCounted(t *testing.T) {
	var sources []*source
	for name, text := range map[string]string{
		"a/x.go":      "func (t T) a() {}; func (t *T) b() {}; func (*T) c() {}; func d() {}; func (g G[K]) e() {}",
		"a/y.go":      "func (t T) f() {}; func (g *G[K, V]) h() {}",
		"b/x.go":      "func (t T) a() {}",
		"a/x_test.go": "func (t T) z() {}",
	} {
		s, err := parse(name, []byte("package x; "+text))
		if err != nil {
			t.Fatal(err)
		}
		sources = append(sources, s)
	}
	if got, want := methodsOf(sources), map[string]int{"a.T": 4, "a.G": 2, "b.T": 1}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
