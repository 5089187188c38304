package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"bdtnode/cmd/bdtnode/bench"
	"bdtnode/internal/structdoc"
)

// TestNetStatusSchemaIsDocumented: docs/debug.md has each field of net status -o json with its type and the comment of
// its declaration.
func TestNetStatusSchemaIsDocumented(t *testing.T) {
	comments := structdoc.Comments(t, filepath.Join("..", ".."), "cmd/bdtnode", "node/api")
	var want []string
	listFields(t, reflect.TypeFor[networkStatus](), "", comments, &want)
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "debug.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(text), "<!-- schema: net status -->\n\n")
	have, _, end := strings.Cut(after, "\n\n")
	if new := strings.Join(want, "\n"); !ok || !end || have != new {
		t.Errorf("the schema of net status in docs/debug.md is\n%s\nwant\n%s", have, new)
	}
}

// TestBenchSchemaIsDocumented: docs/performance.md has each field of a result of bench run -o json.
func TestBenchSchemaIsDocumented(t *testing.T) {
	comments := structdoc.Comments(t, filepath.Join("..", ".."), "cmd/bdtnode/bench", "cmd/bdtnode/load", "internal/wan")
	var want []string
	listFields(t, reflect.TypeFor[bench.Result](), "", comments, &want)
	want = slices.DeleteFunc(want, func(line string) bool { return strings.HasPrefix(line, "    runs[].") }) // the fields of a run are those of the median run
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "performance.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(text), "<!-- schema: bench run -->\n\n")
	have, _, end := strings.Cut(after, "\n\n")
	if new := strings.Join(want, "\n"); !ok || !end || have != new {
		t.Errorf("the schema of bench run in docs/performance.md is\n%s\nwant\n%s", have, new)
	}
}

// listFields lists the fields of a type, one a line: the path, the type of the value, and the comment.
func listFields(t *testing.T, of reflect.Type, path string, comments map[string]string, out *[]string) {
	t.Helper()
	for i := range of.NumField() {
		f := of.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous {
			listFields(t, f.Type, path, comments, out)
			continue
		}
		if name == "" {
			t.Errorf("%s.%s has no name in JSON", of, f.Name)
		}
		at, x := path+name, f.Type
		for x.Kind() == reflect.Pointer || x.Kind() == reflect.Slice {
			if x.Kind() == reflect.Slice {
				at += "[]"
			}
			x = x.Elem()
		}
		kind := map[reflect.Kind]string{reflect.Struct: "object", reflect.String: "text", reflect.Bool: "truth", reflect.Map: "object"}[x.Kind()]
		switch {
		case strings.Contains(options, "string"):
			kind = "text" // a number in decimal
		case kind == "":
			kind = "number"
		}
		if strings.Contains(options, "omitempty") {
			kind += " or missing"
		}
		*out = append(*out, strings.TrimRight(fmt.Sprintf("    %-25s %-18s %s", at, kind, comments[of.PkgPath()+"."+of.Name()+"."+f.Name]), " "))
		if x.Kind() == reflect.Struct {
			listFields(t, x, at+".", comments, out)
		}
	}
}
