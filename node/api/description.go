package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"bdtnode/internal/spell"
)

// specType is the media type of the description.
const specType = "application/vnd.oai.openapi+json;version=3.1"

// paramKind says whether a query parameter may be repeated.
type paramKind bool

const (
	single   paramKind = false
	repeated paramKind = true
)

// raw registers a GET route without parameters that writes its answer itself.
func (s *Server) raw(a huma.API, path, id, summary, media string, h http.HandlerFunc) {
	a.OpenAPI().AddOperation(&huma.Operation{
		Method: http.MethodGet, Path: path, OperationID: id, Summary: summary,
		Responses: map[string]*huma.Response{"200": {
			Description: "OK", Content: map[string]*huma.MediaType{media: {Schema: &huma.Schema{Type: huma.TypeString}}},
		}},
	})
	s.routes.HandleFunc("GET "+path, h)
}

// describe completes the description of the API, and returns its text and the query parameters of each route.
func describe(d *huma.OpenAPI) (spec []byte, params map[string]map[string]paramKind) {
	types := d.Components.Schemas
	// The library describes its own type of errors, without the time after which to try again.
	failure := types.Schema(reflect.TypeFor[Problem](), true, "")
	delete(types.Map(), reflect.TypeFor[huma.ErrorModel]().Name())
	for name, schema := range types.Map() {
		if t := types.TypeFromRef("#/components/schemas/" + name); t != nil {
			describeTexts(t, schema)
		}
	}
	params = make(map[string]map[string]paramKind)
	for path, item := range d.Paths {
		for method, op := range map[string]*huma.Operation{http.MethodGet: item.Get, http.MethodPost: item.Post} {
			if op == nil {
				continue
			}
			for status, r := range op.Responses {
				for _, content := range r.Content {
					if status != "200" {
						content.Schema = failure
					}
				}
			}
			known := make(map[string]paramKind)
			for _, p := range op.Parameters {
				if p.In == "query" {
					known[p.Name] = p.Schema != nil && p.Schema.Type == huma.TypeArray
				}
			}
			params[method+" "+path] = known
		}
	}
	spec, err := json.Marshal(d)
	if err != nil {
		panic(fmt.Sprintf("cannot encode the API description: %v", err))
	}
	return spec, params
}

// describeTexts describes the numbers that are encoded as texts. The library describes them as numbers.
func describeTexts(t reflect.Type, schema *huma.Schema) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return
	}
	for i := range t.NumField() {
		name, options, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if p := schema.Properties[name]; p != nil && slices.Contains(strings.Split(options, ","), "string") {
			p.Type, p.Format, p.Minimum, p.Pattern = huma.TypeString, "uint64", nil, "^[0-9]{1,20}$"
		}
	}
}

// checkQuery returns the problem of a query with unknown or repeated parameters, or nil. The library would ignore both.
func checkQuery(raw string, known map[string]paramKind) *Problem {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return problem(http.StatusBadRequest, "the query of the URL is malformed: "+err.Error())
	}
	names := slices.Sorted(maps.Keys(known))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		kind, ok := known[name]
		switch {
		case !ok && len(names) == 0:
			return wrongParameter(name, fmt.Sprintf("query parameter %q is unknown: this path has none", name))
		case !ok:
			text := fmt.Sprintf("query parameter %q is unknown: this path has %s", name, strings.Join(names, ", "))
			if near := spell.Nearest(name, names); near != "" {
				text += fmt.Sprintf("; did you mean %s?", near)
			}
			return wrongParameter(name, text)
		case len(values[name]) > 1 && kind == repeated:
			return wrongParameter(name, fmt.Sprintf("query parameter %q is given %d times: separate its values by commas", name, len(values[name])))
		case len(values[name]) > 1:
			return wrongParameter(name, fmt.Sprintf("query parameter %q is given %d times", name, len(values[name])))
		}
	}
	return nil
}

func wrongParameter(name, text string) *Problem {
	p := problem(http.StatusUnprocessableEntity, text)
	p.Errors = []*huma.ErrorDetail{{Location: "query." + name, Message: "not accepted"}}
	return p
}
