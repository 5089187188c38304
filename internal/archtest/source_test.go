package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// module is the path in go.mod.
const module = "bdtnode"

// source is one Go file.
type source struct {
	name string // slash-separated path relative to the module's root
	dir  string // directory of its package, in the same form
	test bool
	file *ast.File
}

var files = token.NewFileSet()

// imports maps each path that a file imports to the name that it has in the file.
func (s *source) imports() map[string]string {
	out := make(map[string]string)
	for _, spec := range s.file.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			panic(err) // the parser has accepted it
		}
		name := path.Base(p)
		if isVersion(name) {
			name = path.Base(path.Dir(p))
		}
		if spec.Name != nil {
			name = spec.Name.Name
		}
		out[p] = name
	}
	return out
}

// isVersion recognises a last path element such as v2 in math/rand/v2, which is not the package's name.
func isVersion(name string) bool {
	n, err := strconv.Atoi(strings.TrimPrefix(name, "v"))
	return strings.HasPrefix(name, "v") && err == nil && n > 1
}

// own returns the directory of an imported package of this module; ok is false for other packages.
func own(imported string) (dir string, ok bool) {
	return strings.CutPrefix(imported, module+"/")
}

// below reports whether dir is tree or a directory below it.
func below(dir, tree string) bool { return dir == tree || strings.HasPrefix(dir, tree+"/") }

// read parses every Go file of the module.
func read(t *testing.T) []*source {
	t.Helper()
	root := filepath.Join("..", "..")
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(mod), "module "+module+"\n") {
		t.Fatalf("go.mod does not begin with the module %s", module)
	}
	var out []*source
	err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go"):
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		s, err := parse(filepath.ToSlash(rel), text)
		out = append(out, s)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 100 {
		t.Fatalf("only %d Go files found: the rules were not checked", len(out))
	}
	return out
}

func parse(name string, text []byte) (*source, error) {
	f, err := parser.ParseFile(files, name, text, parser.SkipObjectResolution)
	return &source{name: name, dir: path.Dir(name), test: strings.HasSuffix(name, "_test.go"), file: f}, err
}
