package web

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

type schema struct {
	Ref        string `json:"$ref"`
	Type       any
	Required   []string
	Properties map[string]*schema
	Items      *schema
	OneOf      []*schema
}

type description struct {
	OpenAPI string
	Paths   map[string]map[string]struct {
		Responses map[string]struct {
			Content map[string]struct{ Schema *schema }
		}
	}
	Components struct{ Schemas map[string]*schema }
}

func described(t *testing.T, handler http.Handler) description {
	t.Helper()
	got := call{method: "GET", path: "/api/openapi.json"}.to(handler)
	var found description
	if err := json.Unmarshal(got.Body.Bytes(), &found); err != nil || got.Header().Get("Content-Type") != "application/json" {
		t.Fatal(got.Header(), err)
	}
	return found
}

func TestTheDescriptionHasEachRouteOfTheAPI(t *testing.T) {
	handler, _ := serve(t, nil)
	described := described(t, handler)
	is, want := map[string]bool{}, map[string]bool{}
	for path, item := range described.Paths {
		for method := range item {
			if method != "parameters" {
				is[strings.ToUpper(method)+" "+path] = true
			}
		}
	}
	for path, methods := range (&server{}).routes() {
		for method := range methods {
			if strings.HasPrefix(path, "/api/") {
				want[method+" "+path] = true
			}
		}
	}
	if described.OpenAPI != "3.1.0" || !maps.Equal(is, want) {
		t.Errorf("%v, not %v", is, want)
	}
}

// differences returns the properties that only a value or only its schema has.
func (d description) differences(at string, s *schema, value any) []string {
	for s.Ref != "" {
		s = d.Components.Schemas[s.Ref[strings.LastIndex(s.Ref, "/")+1:]]
	}
	if len(s.OneOf) > 0 && value != nil {
		return d.differences(at, s.OneOf[0], value)
	}
	var found []string
	switch value := value.(type) {
	case map[string]any:
		if s.Properties == nil {
			return nil // Labels have any names.
		}
		for _, name := range s.Required {
			if _, there := value[name]; !there {
				found = append(found, at+"."+name+" is missing")
			}
		}
		for _, name := range slices.Sorted(maps.Keys(value)) {
			if s.Properties[name] == nil {
				found = append(found, at+"."+name+" is not described")
				continue
			}
			found = append(found, d.differences(at+"."+name, s.Properties[name], value[name])...)
		}
	case []any:
		for _, one := range value {
			found = append(found, d.differences(at+"[]", s.Items, one)...)
		}
	}
	return found
}

func TestEachAnswerIsAsDescribed(t *testing.T) {
	handler, store, _ := serveWith(t, some(), io.Discard)
	described := described(t, handler)
	made, err := store.Add("a:1", before(), *at(1))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ method, path, route, body, status string }{
		{"GET", "/api/health", "/api/health", "", "200"},
		{"GET", "/api/images", "/api/images", "", "200"},
		{"POST", "/api/reports", "/api/reports", `{"image":"a:1"}`, "201"},
		{"GET", "/api/reports", "/api/reports", "", "200"},
		{"GET", "/api/reports/" + made.ID, "/api/reports/{id}", "", "200"},
	} {
		var got any
		text := call{method: c.method, path: c.path, body: c.body}.to(handler).Body.Bytes()
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(c.path, err)
		}
		answer := described.Paths[c.route][strings.ToLower(c.method)].Responses[c.status]
		if differ := described.differences("", answer.Content["application/json"].Schema, got); len(differ) > 0 {
			t.Errorf("%s %s: %v", c.method, c.path, differ)
		}
	}
}
