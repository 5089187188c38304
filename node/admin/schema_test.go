package admin

import (
	"encoding"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"bdtnode/internal/structdoc"
)

var rewrite = flag.Bool("rewrite", false, "write the schema of the answers to docs/debug.md")

// document is the page with the schema of the answers.
var document = filepath.Join("..", "..", "docs", "debug.md")

// answers are the answers of the administration interface, by the heading of their schema in the document.
var answers = []struct {
	path string
	of   any
}{
	{"GET /v1/version", Build{}},
	{"GET /v1/consensus", Consensus{}},
	{"GET /v1/lanes", Lanes{}},
	{"GET /v1/settlement", Settlement{}},
	{"GET /v1/evidence", Evidence{}},
	{"GET /v1/why/{id}", Why{}},
	{"GET /v1/peers", Peers{}},
	{"POST /v1/peers/{shard}/{replica}/ping", Ping{}},
	{"GET /v1/log/levels", LogLevels{}},
	{"GET /v1/log", LogLine{}},
}

// schema lists the fields of a type, one a line: its path, the type of its value, and the comment of its declaration.
func schema(t *testing.T, of reflect.Type, path string, comments map[string]string, out *[]string) {
	for i := range of.NumField() {
		f := of.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" {
			if f.Type != reflect.TypeFor[Head]() { // the head is described once
				schema(t, f.Type, path, comments, out)
			}
			continue
		}
		if name == "-" {
			continue
		}
		if name == "" {
			t.Errorf("%s.%s has no name in JSON", of, f.Name)
		}
		comment := comments[of.PkgPath()+"."+of.Name()+"."+f.Name]
		at, x := path+name, f.Type
		null := ""
		for x.Kind() == reflect.Pointer || x.Kind() == reflect.Slice {
			if x.Kind() == reflect.Pointer {
				null = " or null"
			} else {
				at += "[]"
			}
			x = x.Elem()
		}
		kind := kindOf(x)
		line := fmt.Sprintf("    %-44s %-14s %s", at, kind+null, comment)
		*out = append(*out, strings.TrimRight(line, " "))
		if kind == "object" {
			schema(t, x, at+".", comments, out)
		}
	}
}

func kindOf(x reflect.Type) string {
	if x.Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
		return "text"
	}
	switch x.Kind() {
	case reflect.Struct:
		return "object"
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "truth"
	default:
		return "number"
	}
}

// TestSchemaIsDocumented: docs/debug.md has each field of each answer with its type and its comment. With -rewrite the test
// writes them.
func TestSchemaIsDocumented(t *testing.T) {
	comments := structdoc.Comments(t, filepath.Join("..", ".."),
		"node/admin", "node/why", "node/replica", "node/admission", "ledger",
		"protocols/bdt", "protocols/bolt", "protocols/mvba", "protocols/lanes", "protocols/inbound", "protocols/certify", "protocols/vouch")
	raw, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	parts := map[string]any{"Head": Head{}}
	order := []string{"Head"}
	for _, a := range answers {
		parts[a.path] = a.of
		order = append(order, a.path)
	}
	for _, name := range order {
		var want []string
		schema(t, reflect.TypeOf(parts[name]), "", comments, &want)
		mark := "<!-- schema: " + name + " -->\n\n"
		_, rest, ok := strings.Cut(text, mark)
		if !ok {
			t.Errorf("%s has no schema of %s", document, name)
			continue
		}
		var have []string
		for _, line := range strings.Split(rest, "\n") {
			if !strings.HasPrefix(line, "    ") {
				break
			}
			have = append(have, line)
		}
		old, new := strings.Join(have, "\n"), strings.Join(want, "\n")
		if old == new {
			continue
		}
		if !*rewrite {
			t.Errorf("the schema of %s in %s differs from the code (go test ./node/admin -run TestSchema -rewrite):\n%s\nwant\n%s", name, document, old, new)
			continue
		}
		if old == "" {
			text = strings.Replace(text, mark, mark+new+"\n\n", 1)
		} else {
			text = strings.Replace(text, mark+old, mark+new, 1)
		}
	}
	if *rewrite {
		if err := os.WriteFile(document, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
