package archtest

import (
	"go/ast"
	"slices"
	"strings"
	"testing"
)

// decoders lists the packages with a function that reads an encoding or a text from outside: its name begins with decode,
// read or parse, and it has a parameter of bytes, of a reader of encodings, or, if it parses, of text.
func decoders(sources []*source) map[string]string {
	out := make(map[string]string)
	for _, s := range sources {
		if s.test || below(s.dir, "cmd") || below(s.dir, "examples") || below(s.dir, "internal") || below(s.dir, "node/sim") || strings.HasSuffix(s.dir, "test") {
			continue
		}
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv != nil {
				continue
			}
			name := strings.ToLower(f.Name.Name)
			parses := strings.HasPrefix(name, "parse")
			if !parses && !strings.HasPrefix(name, "decode") && !strings.HasPrefix(name, "read") {
				continue
			}
			for _, p := range f.Type.Params.List {
				if isEncoding(p.Type) || parses && isNamed(p.Type, "string") {
					out[s.dir] = f.Name.Name
				}
			}
		}
	}
	return out
}

func isNamed(x ast.Expr, name string) bool {
	id, ok := x.(*ast.Ident)
	return ok && id.Name == name
}

// isEncoding reports whether a type is a list of bytes or a *wire.Reader.
func isEncoding(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.ArrayType:
		return x.Len == nil && isNamed(x.Elt, "byte")
	case *ast.StarExpr:
		s, ok := x.X.(*ast.SelectorExpr)
		return ok && isNamed(s.X, "wire") && s.Sel.Name == "Reader"
	}
	return false
}

// notFuzzed are the packages whose decoders read only files and flags of the owner of the replica.
var notFuzzed = []string{"node/config", "node/admin"}

// unfuzzed lists the packages with decoders and without a fuzz target.
func unfuzzed(sources []*source) (out []string) {
	has := make(map[string]bool)
	for _, s := range sources {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && s.test && strings.HasPrefix(f.Name.Name, "Fuzz") {
				has[s.dir] = true
			}
		}
	}
	for dir, name := range decoders(sources) {
		if !has[dir] && !slices.Contains(notFuzzed, dir) {
			out = append(out, dir+": "+name+" decodes, and no target fuzzes the package")
		}
	}
	slices.Sort(out)
	return out
}

// TestDecodersAreFuzzed: each package with a decoder of data from other parties has a fuzz target. Messages inside a shard of
// all packages are decoded by the target of node/replica too.
func TestDecodersAreFuzzed(t *testing.T) {
	sources := read(t)
	if n := len(decoders(sources)); n < 20 {
		t.Fatalf("only %d packages with decoders found: the rule was not checked", n)
	}
	for _, wrong := range unfuzzed(sources) {
		t.Error(wrong)
	}
}

// TestUnfuzzedDecodersAreFound: unfuzzed finds decoders of bytes, of readers and of texts without a target.
func TestUnfuzzedDecodersAreFound(t *testing.T) {
	for code, want := range map[string]int{
		"func decodeX(b []byte) {}":                                   1,
		"func ReadX(r *wire.Reader) {}":                               1,
		"func parseX(text string) {}":                                 1,
		"func readX(path string) {}":                                  0,
		"func encodeX(b []byte) {}":                                   0,
		"type T int; func (T) decodeX(b []byte) {}":                   0,
		"func decodeX(b []byte) {}; func FuzzX(f *testing.F) {}; // ": 1, // a target is in a test
	} {
		s, err := parse("ledger/x.go", []byte("package x\n\n"+code+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		if got := unfuzzed([]*source{s}); len(got) != want {
			t.Errorf("%s: found %q, want %d", code, got, want)
		}
		target, err := parse("ledger/x_test.go", []byte("package x\n\nfunc FuzzX(f *testing.F) {}\n"))
		if err != nil {
			t.Fatal(err)
		}
		if got := unfuzzed([]*source{s, target}); len(got) != 0 {
			t.Errorf("%s: found %q beside a target", code, got)
		}
	}
}
