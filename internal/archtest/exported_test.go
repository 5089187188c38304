package archtest

import (
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// exports checks that a program outside of the module can name every type that it meets.
type exports struct {
	seen  map[types.Type]bool
	named int // types of this module
	wrong []string
}

// visit follows a type of an exported declaration to all types that a caller can reach from it.
func (x *exports) visit(at string, t types.Type) {
	t = types.Unalias(t)
	if x.seen[t] {
		return
	}
	x.seen[t] = true
	switch t := t.(type) {
	case *types.Named:
		x.name(at, t)
	case *types.Pointer:
		x.visit(at, t.Elem())
	case *types.Slice:
		x.visit(at, t.Elem())
	case *types.Array:
		x.visit(at, t.Elem())
	case *types.Chan:
		x.visit(at, t.Elem())
	case *types.Map:
		x.visit(at, t.Key())
		x.visit(at, t.Elem())
	case *types.Signature:
		for _, list := range []*types.Tuple{t.Params(), t.Results()} {
			for v := range list.Variables() {
				x.visit(at, v.Type())
			}
		}
	case *types.Struct:
		for f := range t.Fields() {
			if f.Exported() || f.Embedded() {
				x.visit(at+"."+f.Name(), f.Type())
			}
		}
	case *types.Interface:
		for m := range t.Methods() {
			if m.Exported() {
				x.visit(at+"."+m.Name(), m.Type())
			}
		}
	}
}

func (x *exports) name(at string, t *types.Named) {
	for arg := range t.TypeArgs().Types() {
		x.visit(at, arg)
	}
	pkg := t.Obj().Pkg()
	if pkg == nil || pkg.Path() != module && !strings.HasPrefix(pkg.Path(), module+"/") {
		return // the universe, the standard library, or another module
	}
	if strings.Contains(pkg.Path()+"/", "/internal/") {
		x.wrong = append(x.wrong, fmt.Sprintf("%s has the type %s", at, t))
		return
	}
	x.named++
	at = pkg.Name() + "." + t.Obj().Name()
	for m := range t.Methods() {
		if m.Exported() {
			x.visit(at+"."+m.Name(), m.Type())
		}
	}
	x.visit(at, t.Underlying())
}

// load reads a package from the compiler's export data.
func load(t *testing.T, path string) *types.Package {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}", path).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	files := make(map[string]string)
	for line := range strings.SplitSeq(string(out), "\n") {
		if path, file, ok := strings.Cut(line, " "); ok {
			files[path] = file
		}
	}
	pkg, err := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) { return os.Open(files[path]) }).Import(path)
	if err != nil {
		t.Fatal(err)
	}
	return pkg
}

func exported(pkg *types.Package) *exports {
	x := &exports{seen: make(map[types.Type]bool)}
	for _, name := range pkg.Scope().Names() {
		if o := pkg.Scope().Lookup(name); o.Exported() {
			at := pkg.Name() + "." + name
			x.visit(at, o.Type())
		}
	}
	return x
}

// TestNoInternalTypes: no exported declaration of a package for other modules, and none of any package that its types lead
// to, has a type of an internal package.
func TestNoInternalTypes(t *testing.T) {
	for path, least := range map[string]int{"node/client": 30, "shard/proof": 10, "shard/logproof": 5} {
		x := exported(load(t, module+"/"+path))
		for _, wrong := range x.wrong {
			t.Errorf("%s: %s", path, wrong)
		}
		if x.named < least || len(x.seen) < 20 {
			t.Errorf("%s: only %d types were checked, %d of this module", path, len(x.seen), x.named)
		}
	}
}

// TestInternalTypesAreFound: the check finds the internal types of packages ledger and merkle.
func TestInternalTypesAreFound(t *testing.T) {
	x := exported(load(t, module+"/ledger"))
	for _, want := range []string{"bdtnode/internal/digest.Digest", "bdtnode/internal/sig.PublicKey", "bdtnode/internal/kv.Store"} {
		found := false
		for _, wrong := range x.wrong {
			found = found || strings.HasSuffix(wrong, " has the type "+want)
		}
		if !found {
			t.Errorf("not found: %s; found %q", want, x.wrong)
		}
	}
	if found := exported(load(t, module+"/merkle")).wrong; len(found) == 0 {
		t.Error("the check does not find the internal types of package merkle")
	}
}
