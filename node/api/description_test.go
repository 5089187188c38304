package api_test

import (
	"encoding"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"bdtnode/node/api"
)

// schema is the part of a schema that is compared with a Go type.
type schema struct {
	Ref        string             `json:"$ref"`
	Type       any                `json:"type"`
	Format     string             `json:"format"`
	Pattern    string             `json:"pattern"`
	Enum       []any              `json:"enum"`
	Items      *schema            `json:"items"`
	Properties map[string]*schema `json:"properties"`
	Required   []string           `json:"required"`
	Additional any                `json:"additionalProperties"`
}

type operation struct {
	OperationID string `json:"operationId"`
	Parameters  []struct {
		Name, In string
		Schema   schema
	} `json:"parameters"`
	RequestBody *struct {
		Content map[string]struct{ Schema schema } `json:"content"`
	} `json:"requestBody"`
	Responses map[string]struct {
		Content map[string]struct{ Schema schema } `json:"content"`
	} `json:"responses"`
}

type document struct {
	OpenAPI    string
	Info       struct{ Title, Version string }
	Paths      map[string]map[string]operation
	Components struct{ Schemas map[string]*schema }
}

func described(t *testing.T) *document {
	t.Helper()
	s := serve(t, api.Config{Version: "v1.2", Metrics: http.NotFoundHandler()}, &fake{})
	a := do(t, "GET", s.URL+"/v1/openapi.json", "", "")
	if a.status != http.StatusOK || !strings.HasPrefix(a.header.Get("Content-Type"), "application/vnd.oai.openapi+json") {
		t.Fatalf("%d %v", a.status, a.header)
	}
	var doc document
	if err := json.Unmarshal(a.body, &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1.") || doc.Info.Version != "v1.2" {
		t.Errorf("OpenAPI %q of version %q", doc.OpenAPI, doc.Info.Version)
	}
	return &doc
}

// answers are the Go types of the successful answers. Types in Go that no answer has, and answers without a type here,
// fail the tests.
var answers = map[string]reflect.Type{
	"POST /v1/txs":                           reflect.TypeFor[api.SubmitAnswer](),
	"GET /v1/txs/{id}":                       reflect.TypeFor[api.TxAnswer](),
	"GET /v1/txs/{id}/trace":                 reflect.TypeFor[api.Trace](),
	"GET /v1/accounts/{address}":             reflect.TypeFor[api.Account](),
	"GET /v1/shards/{shard}/blocks/{height}": reflect.TypeFor[api.Block](),
	"GET /v1/events":                         reflect.TypeFor[api.Event](),
	"GET /v1/status":                         reflect.TypeFor[api.Status](),
	"GET /v1/network":                        reflect.TypeFor[api.NetworkReports](),
	"GET /v1/peers":                          reflect.TypeFor[api.PeerList](),
	"GET /v1/txs/{id}/proof":                 reflect.TypeFor[api.Proof](),
	"POST /v1/log":                           reflect.TypeFor[api.AppendAnswer](),
	"GET /v1/log":                            reflect.TypeFor[api.LogEvent](),
	"GET /v1/log/{name}":                     reflect.TypeFor[api.LogPayload](),
	"GET /v1/audit":                          reflect.TypeFor[api.Audit](),
	"GET /livez": reflect.TypeOf(struct {
		Live bool `json:"live"`
	}{}),
	"GET /readyz":          reflect.TypeFor[api.Readiness](),
	"GET /metrics":         nil,
	"GET /v1/openapi.json": nil,
}

// TestDescriptionHasEveryRoute: every route is described, and every described route exists.
func TestDescriptionHasEveryRoute(t *testing.T) {
	doc := described(t)
	var found []string
	for path, item := range doc.Paths {
		for method := range item {
			found = append(found, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(found)
	if routes := api.Routes(api.New(api.Config{Metrics: http.NotFoundHandler()}, &fake{})); !slices.Equal(found, routes) {
		t.Errorf("described\n%s\nand served\n%s", strings.Join(found, "\n"), strings.Join(routes, "\n"))
	}
	if want := slices.Sorted(maps.Keys(answers)); !slices.Equal(found, want) {
		t.Errorf("described\n%s\nwant\n%s", strings.Join(found, "\n"), strings.Join(want, "\n"))
	}
}

// TestDescriptionHasEveryParameter: a described query parameter is taken by the handler, and every other one is refused.
// Parameters of the path are those of the path's text.
func TestDescriptionHasEveryParameter(t *testing.T) {
	doc := described(t)
	fields := api.QueryFields()
	for path, item := range doc.Paths {
		for method, op := range item {
			var query, inPath []string
			for _, p := range op.Parameters {
				switch p.In {
				case "query":
					query = append(query, p.Name)
				case "path":
					inPath = append(inPath, p.Name)
				}
				if p.Schema.Type == nil {
					t.Errorf("%s %s: parameter %s has no type", method, path, p.Name)
				}
			}
			slices.Sort(query)
			if want := fields[op.OperationID]; !slices.Equal(query, want) {
				t.Errorf("%s: described %v, the handler reads %v", op.OperationID, query, want)
			}
			for _, name := range inPath {
				if !strings.Contains(path, "{"+name+"}") {
					t.Errorf("%s has no %s", path, name)
				}
			}
			if len(inPath) != strings.Count(path, "{") {
				t.Errorf("%s has parameters %v", path, inPath)
			}
		}
	}
}

// TestDescriptionHasEveryField: the schemas of answers, requests and problems have exactly the fields of the Go types,
// with their forms.
func TestDescriptionHasEveryField(t *testing.T) {
	doc := described(t)
	c := comparison{doc: doc, seen: make(map[string]reflect.Type)}
	for path, item := range doc.Paths {
		for method, op := range item {
			name := strings.ToUpper(method) + " " + path
			for media, content := range op.Responses["200"].Content {
				if of := answers[name]; of != nil {
					c.compare(name+" "+media, &content.Schema, of, false)
				} else if content.Schema.Type != "string" {
					t.Errorf("%s: %+v", name, content.Schema)
				}
			}
			for status, r := range op.Responses {
				for _, content := range r.Content {
					if status != "200" {
						c.compare(name+" "+status, &content.Schema, reflect.TypeFor[api.Problem](), false)
					}
				}
			}
		}
	}
	body := doc.Paths["/v1/txs"]["post"].RequestBody.Content
	if x := body[jsonType].Schema; len(x.Properties) != 1 || x.Properties["txs"] == nil || x.Additional != false || len(body) != 2 || body[api.TxsType].Schema.Format != "binary" {
		t.Errorf("body of submissions: %+v", body)
	}
	for name := range doc.Components.Schemas {
		if c.seen[name] == nil {
			t.Errorf("schema %s belongs to no answer", name)
		}
	}
	for _, wrong := range c.wrong {
		t.Error(wrong)
	}
	if c.fields < 100 {
		t.Errorf("only %d fields were compared", c.fields)
	}
}

// comparison compares schemas with Go types.
type comparison struct {
	doc    *document
	seen   map[string]reflect.Type // by schema
	fields int
	wrong  []string
}

func (c *comparison) say(at, format string, args ...any) {
	c.wrong = append(c.wrong, at+": "+fmt.Sprintf(format, args...))
}

func (c *comparison) compare(at string, s *schema, t reflect.Type, text bool) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/"); ok {
		if s = c.doc.Components.Schemas[name]; s == nil {
			c.say(at, "there is no schema %s", name)
			return
		}
		if before := c.seen[name]; before == t {
			return
		} else if before != nil && before.Name() != "" {
			c.say(at, "schema %s is that of %v, and of %v", name, before, t)
			return
		}
		c.seen[name] = t
	}
	want := ""
	switch k := t.Kind(); {
	case text:
		if s.Type != "string" || s.Pattern == "" {
			c.say(at, "a number as text is described as %v with pattern %q", s.Type, s.Pattern)
		}
		return
	case reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) || k == reflect.String:
		want = "string"
	case k == reflect.Bool:
		want = "boolean"
	case k == reflect.Float64:
		want = "number"
	case k >= reflect.Int && k <= reflect.Uint64:
		want = "integer"
	case k == reflect.Slice:
		if s.Items == nil {
			c.say(at, "no items")
			return
		}
		want = "array"
		c.compare(at+"[]", s.Items, t.Elem(), false)
	case k == reflect.Struct:
		want = "object"
		c.object(at, s, t)
	}
	types, ok := s.Type.([]any) // with null
	if s.Type != want && !(ok && slices.Contains(types, any(want))) && want != "" {
		c.say(at, "described as %v, want %s", s.Type, want)
	}
}

func (c *comparison) object(at string, s *schema, t reflect.Type) {
	var names, required []string
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous || !f.IsExported() || name == "-" {
			continue
		}
		names = append(names, name)
		if !strings.Contains(options, "omitempty") {
			required = append(required, name)
		}
		c.fields++
		p := s.Properties[name]
		if p == nil {
			c.say(at, "the field %s is not described", name)
			continue
		}
		c.compare(at+"."+name, p, f.Type, strings.Contains(options, "string"))
	}
	for name := range s.Properties {
		if !slices.Contains(names, name) && name != "$schema" {
			c.say(at, "%s is described, and %v has no such field", name, t)
		}
	}
	slices.Sort(required)
	slices.Sort(s.Required)
	if !slices.Equal(required, s.Required) {
		c.say(at, "required are %v, want %v", s.Required, required)
	}
}

// TestOtherSchemasAreFound: compare finds missing, additional and differing fields.
func TestOtherSchemasAreFound(t *testing.T) {
	type x struct {
		A uint64   `json:"a,string"`
		B []string `json:"b,omitempty"`
	}
	good := func() *schema {
		return &schema{Type: "object", Required: []string{"a"}, Properties: map[string]*schema{
			"a": {Type: "string", Pattern: "^[0-9]+$"}, "b": {Type: []any{"array", "null"}, Items: &schema{Type: "string"}},
		}}
	}
	for name, change := range map[string]func(s *schema){
		"":          func(*schema) {},
		"missing":   func(s *schema) { delete(s.Properties, "b") },
		"further":   func(s *schema) { s.Properties["c"] = &schema{Type: "string"} },
		"number":    func(s *schema) { s.Properties["a"].Type = "integer" },
		"items":     func(s *schema) { s.Properties["b"].Items.Type = "integer" },
		"optional":  func(s *schema) { s.Required = nil },
		"mandatory": func(s *schema) { s.Required = []string{"a", "b"} },
	} {
		c := comparison{doc: &document{}, seen: make(map[string]reflect.Type)}
		s := good()
		change(s)
		c.compare("x", s, reflect.TypeFor[x](), false)
		if (len(c.wrong) > 0) != (name != "") {
			t.Errorf("%s: %q", name, c.wrong)
		}
	}
}
