// Package structdoc reads the comments of struct fields, for tests that compare documented schemas with the code.
package structdoc

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// Comments returns the comments of the fields of all struct types in packages of this module, by package, type and
// field, such as "bdtnode/node/api.Status.Ready". root is the directory of the module, and dirs are those of the packages
// in it.
func Comments(t *testing.T, root string, dirs ...string) map[string]string {
	t.Helper()
	out := make(map[string]string)
	for _, dir := range dirs {
		names, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
		if err != nil || len(names) == 0 {
			t.Fatalf("%s: %v", dir, err)
		}
		for _, name := range names {
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				spec, ok := n.(*ast.TypeSpec)
				if !ok {
					return true
				}
				if body, ok := spec.Type.(*ast.StructType); ok {
					for _, field := range body.Fields.List {
						for _, id := range field.Names {
							out["bdtnode/"+dir+"."+spec.Name.Name+"."+id.Name] = strings.TrimSpace(field.Comment.Text())
						}
					}
				}
				return true
			})
		}
	}
	return out
}
