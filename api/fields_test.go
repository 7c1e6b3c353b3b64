package api_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/muster-hq/muster/api/spec"
)

// TestFieldsOfEveryWrite takes the document of everything that can be written, puts into each of its fields in turn what
// is of another kind, and tries to write that: it is refused with a reason that is no copy of what was sent, or taken as
// what it is, and is never a fault of the server.
func TestFieldsOfEveryWrite(t *testing.T) {
	w := newHostileSite(t)
	statuses, mutants := map[int]int{}, 0
	untried := []string{"organizations.export", "host.preview"} // they write nothing but the record of who read
	for i, r := range spec.Routes() {
		if r.State != spec.Built || takes(r) != "object" || strings.HasPrefix(r.Name, "cluster.") || slices.Contains(untried, r.Name) {
			continue
		}
		path := w.path(r, func(_, v string) string { return v })
		doc := w.document(r, path)
		for j, m := range mutated(doc, "") {
			if (i+j)%4 != 0 || underRace && (i+j)%32 != 0 { // all 19,000 take 10 s
				continue
			}
			body, err := json.Marshal(m.doc)
			if err != nil {
				t.Fatal(err)
			}
			check := w.unchanged(r.Name)
			a := w.send(r.Method, path+"?dry_run=true", string(body))
			statuses[a.Code]++
			mutants++
			text := problem(a)
			switch {
			case a.Code >= 500:
				t.Errorf("%s %s with %s: %d %.300s", r.Method, path, m.what, a.Code, a.Body)
			case a.Code >= 400 && len(text) < 10:
				t.Errorf("%s %s with %s is refused without a reason: %d %.300s", r.Method, path, m.what, a.Code, a.Body)
			case a.Code == http.StatusBadRequest && len(text) > 4096:
				t.Errorf("%s %s with %s is told in %d bytes: %.300s", r.Method, path, m.what, len(text), text)
			}
			check()
		}
	}
	t.Logf("%d documents, answers by status: %v", mutants, statuses)
}

// document is what the route takes, with all the fields that are known of it.
func (w *hostileSite) document(r spec.Route, path string) map[string]any {
	w.t.Helper()
	doc := map[string]any{}
	var list struct{ Items []map[string]any }
	if a := w.send("GET", path, ""); a.Code == http.StatusOK {
		_ = json.Unmarshal(a.Body.Bytes(), &doc) // what is no document is not there, as for routes without a GET
		if json.Unmarshal(a.Body.Bytes(), &list) == nil && len(list.Items) > 0 {
			doc = list.Items[0]
		}
	}
	body, ok := tried[r.Name+" "+r.Level]
	if !ok {
		body = tried[r.Name]
	}
	var own map[string]any
	if json.Unmarshal([]byte(body), &own) == nil {
		maps.Copy(doc, own)
	}
	if len(doc) == 0 {
		doc = map[string]any{"name": "other", "description": "tried"}
	}
	return doc
}

// mutant is a document with something else in one field.
type mutant struct {
	doc  any
	what string
}

// mutated are the mutants of a document, each field on its own, however deep.
func mutated(doc map[string]any, above string) []mutant {
	var out []mutant
	for _, key := range slices.Sorted(maps.Keys(doc)) {
		with := func(v any) map[string]any {
			m := maps.Clone(doc)
			m[key] = v
			return m
		}
		values := map[string]any{
			"null": nil, "a list": []any{}, "an object": map[string]any{}, "a text": "x", "no text": "", "a number": 7, "a large integer": json.Number("9007199254740993"),
			"a huge integer": json.Number("-123456789012345678901234567890"), "a fraction": 0.5, "true": true, "a list of null": []any{nil}, "a list of lists": []any{[]any{}},
			"a list of texts": []any{"x", "x"}, "a list of objects": []any{map[string]any{}, map[string]any{}}, "an object of null": map[string]any{"name": nil, "": nil},
			"NUL": "a\x00b", "a long text": strings.Repeat("y", 70_000), "a climbing text": "../../etc/passwd",
		}
		for _, what := range slices.Sorted(maps.Keys(values)) {
			out = append(out, mutant{with(values[what]), above + key + ": " + what})
		}
		switch v := doc[key].(type) {
		case map[string]any:
			for _, m := range mutated(v, above+key+".") {
				out = append(out, mutant{with(m.doc), m.what})
			}
		case []any:
			if len(v) == 0 {
				continue
			}
			if item, ok := v[0].(map[string]any); ok {
				for _, m := range mutated(item, above+key+"[0].") {
					out = append(out, mutant{with(append([]any{m.doc}, v[1:]...)), m.what})
				}
			}
		}
	}
	return out
}
