package linstor

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// openAPIEnv names the controller's OpenAPI document, docs/rest_v1_openapi.yaml
// of the project linstor-server.
const openAPIEnv = "VOLBRIDGE_LINSTOR_OPENAPI"

// document is an OpenAPI document, as far as it is used here.
type document struct {
	root map[string]any
}

// openAPI reads the document. It is not ours to give away, so that where it is
// not at hand nothing is compared with it, in CI too, and ok is false.
func openAPI(t *testing.T) (d document, ok bool) {
	t.Helper()
	candidates, err := filepath.Glob("../../../shared/data/linstor-rest-v1-openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if file := os.Getenv(openAPIEnv); file != "" {
		candidates = []string{file}
	}
	if len(candidates) == 0 {
		t.Logf("not compared with LINSTOR's OpenAPI document: %s does not name it", openAPIEnv)
		return d, false
	}
	text, err := os.ReadFile(candidates[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &d.root); err != nil {
		t.Fatal(err)
	}
	return d, true
}

// at follows keys through maps and references; nil if there is nothing.
func (d document) at(v any, keys ...string) any {
	for _, k := range keys {
		m, ok := d.resolve(v).(map[string]any)
		if !ok {
			return nil
		}
		v = m[k]
	}
	return d.resolve(v)
}

func (d document) resolve(v any) any {
	for {
		m, ok := v.(map[string]any)
		ref, is := m["$ref"].(string)
		if !ok || !is {
			return v
		}
		v = d.root
		for _, k := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
			v = v.(map[string]any)[k]
		}
	}
}

var parameter = regexp.MustCompile(`\{[^}]*\}`)

// path finds the description of a path whose parameters have other names there.
func (d document) path(pattern string) map[string]any {
	plain := parameter.ReplaceAllString(pattern, "{}")
	for p, v := range d.root["paths"].(map[string]any) {
		if parameter.ReplaceAllString(p, "{}") == plain {
			return v.(map[string]any)
		}
	}
	return nil
}

// check says what is wrong with a call and its answer.
func (d document) check(e Exchange) (wrong []string) {
	operation, ok := d.path(e.Pattern)[strings.ToLower(e.Method)].(map[string]any)
	single := false
	if list := e.Pattern[:strings.LastIndexByte(e.Pattern, '/')]; !ok && e.Method == "GET" {
		// The document says in words that the name of one may follow the path of all.
		operation, single = d.path(list)["get"].(map[string]any)
		ok = single
	}
	if !ok {
		return []string{fmt.Sprintf("%s %s is not documented", e.Method, e.Pattern)}
	}
	say := func(where, text string) { wrong = append(wrong, e.Method+" "+e.Pattern+": "+where+": "+text) }
	for name := range mustQuery(e.Query) {
		if !slices.ContainsFunc(list(operation["parameters"]), func(p any) bool { return d.at(p, "name") == name }) && !undocumented[name] {
			say("query", name+" is not documented")
		}
	}
	if len(e.Request) > 0 {
		d.matches(d.at(operation, "requestBody", "content", "application/json", "schema"), decoded(e.Request), "request", say)
	}
	answer := d.at(operation, "responses", fmt.Sprint(e.Status), "content", "application/json", "schema")
	switch {
	case e.Status >= 400:
		// The document shows one ApiCallRc; the controller sends a list, which
		// its vendor's client insists on.
		answer = d.at(d.root, "components", "schemas", "ApiCallRcList")
	case single:
		answer = d.at(answer, "items")
	}
	if answer == nil {
		say("status", fmt.Sprintf("%d is not documented", e.Status))
	} else {
		d.matches(answer, decoded(e.Response), "response", say)
	}
	return wrong
}

// undocumented are parameters that golinstor sends with every list.
var undocumented = map[string]bool{"snapshots": true}

func mustQuery(text string) url.Values {
	q, err := url.ParseQuery(text)
	if err != nil {
		panic(err)
	}
	return q
}

func decoded(text []byte) (v any) {
	if err := json.Unmarshal(text, &v); err != nil {
		return fmt.Errorf("no JSON: %w", err)
	}
	return v
}

func list(v any) []any { l, _ := v.([]any); return l }

// matches compares a value with a schema: types, keys, enumerations.
func (d document) matches(schema, v any, where string, say func(where, text string)) {
	s, ok := d.resolve(schema).(map[string]any)
	if !ok {
		say(where, "no schema")
		return
	}
	if all := list(s["allOf"]); all != nil {
		s = d.merged(all)
	}
	if one := list(s["oneOf"]); one != nil {
		d.matchesOne(one, v, where, say)
		return
	}
	if enum := list(s["enum"]); enum != nil && !slices.Contains(enum, v) {
		say(where, fmt.Sprintf("%v is none of %v", v, enum))
	}
	switch s["type"] {
	case "object":
		d.matchesObject(s, v, where, say)
	case "array":
		items, ok := v.([]any)
		if !ok {
			say(where, fmt.Sprintf("%T is no array", v))
		}
		for i, item := range items {
			d.matches(s["items"], item, fmt.Sprintf("%s[%d]", where, i), say)
		}
	case "string":
		typed[string](v, where, say)
	case "boolean":
		typed[bool](v, where, say)
	case "integer", "number":
		typed[float64](v, where, say)
	default:
		say(where, fmt.Sprintf("the schema has type %v", s["type"]))
	}
}

func typed[T any](v any, where string, say func(where, text string)) {
	if _, ok := v.(T); !ok {
		say(where, fmt.Sprintf("%T instead of %T", v, *new(T)))
	}
}

func (d document) merged(all []any) map[string]any {
	properties, required := map[string]any{}, []any{}
	for _, part := range all {
		p := d.resolve(part).(map[string]any)
		for k, v := range d.at(p, "properties").(map[string]any) {
			properties[k] = v
		}
		required = append(required, list(p["required"])...)
	}
	return map[string]any{"type": "object", "properties": properties, "required": required}
}

func (d document) matchesOne(schemas []any, v any, where string, say func(where, text string)) {
	var all []string
	for _, s := range schemas {
		var wrong []string
		d.matches(s, v, where, func(where, text string) { wrong = append(wrong, where+": "+text) })
		if wrong == nil {
			return
		}
		all = append(all, wrong...)
	}
	say(where, "matches none: "+strings.Join(all, "; "))
}

func (d document) matchesObject(s map[string]any, v any, where string, say func(where, text string)) {
	object, ok := v.(map[string]any)
	if !ok {
		say(where, fmt.Sprintf("%T is no object", v))
		return
	}
	for _, k := range list(s["required"]) {
		if _, there := object[k.(string)]; !there {
			say(where, fmt.Sprintf("%v is missing", k))
		}
	}
	properties, _ := s["properties"].(map[string]any)
	for k, item := range object {
		switch schema, known := properties[k]; {
		case known:
			d.matches(schema, item, where+"."+k, say)
		case s["additionalProperties"] != nil:
			d.matches(s["additionalProperties"], item, where+"."+k, say)
		default:
			say(where, k+" is not documented")
		}
	}
}

// The checker finds what it is for.
func TestCheckerFindsMistakes(t *testing.T) {
	d, there := openAPI(t)
	if !there {
		t.Skip("there is no document")
	}
	const ok = `[{"ret_code":1,"message":"m"}]`
	for _, c := range []struct {
		e    Exchange
		says string
	}{
		{Exchange{"GET", "/v1/nodess", "", nil, 200, []byte(`[]`)}, "not documented"},
		{Exchange{"GET", "/v1/view/resources", "node=a", nil, 200, []byte(`[]`)}, "query: node"},
		{Exchange{"GET", "/v1/view/resources", "", nil, 200, []byte(`{}`)}, "no array"},
		{Exchange{"GET", "/v1/view/resources", "", nil, 200, []byte(`[{"nam":"a"}]`)}, "nam is not documented"},
		{Exchange{"GET", "/v1/view/resources", "", nil, 200, []byte(`[{"volumes":[{"provider_kind":"RAM"}]}]`)}, "none of"},
		{Exchange{"POST", "/v1/resource-definitions", "", []byte(`{}`), 201, []byte(ok)}, "resource_definition is missing"},
		{Exchange{"POST", "/v1/resource-definitions", "", nil, 201, []byte(`[{"ret_code":"1","message":"m"}]`)}, "ret_code: string instead"},
		{Exchange{"POST", "/v1/resource-definitions", "", nil, 204, []byte(ok)}, "204"},
	} {
		if got := strings.Join(d.check(c.e), "\n"); !strings.Contains(got, c.says) {
			t.Errorf("%+v: found %q, want %q", c.e, got, c.says)
		}
	}
	if wrong := d.check(Exchange{"GET", "/v1/view/resources", "nodes=a", nil, 200, []byte(`[{"name":"a"}]`)}); wrong != nil {
		t.Error(wrong)
	}
}
