package spec_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/muster-hq/muster/api/spec"
)

//go:generate go test -run TestOpenAPIIsInSync . -update

func openAPI(t *testing.T) []byte {
	t.Helper()
	b, err := spec.OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestOpenAPIIsInSync(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "reference", "openapi.json")
	want := openAPI(t)
	if update := flag.Lookup("update"); update != nil && update.Value.String() == "true" {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != string(want) {
		t.Errorf("%s is not what the table says (%v): run go generate ./api/spec", path, err)
	}
}

// The document is one of OpenAPI 3.1, by the judgement of another.
func TestOpenAPIIsValid(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(openAPI(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Error(err)
	}
}

// Every route is in the document, once, with what it answers and with the shapes that the table names.
func TestOpenAPIHasAllRoutes(t *testing.T) {
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string
			Responses   map[string]any
			Parameters  []map[string]any
		}
	}
	if err := json.Unmarshal(openAPI(t), &doc); err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for path, ops := range doc.Paths {
		for method, op := range ops {
			if ids[op.OperationID] || len(op.Responses) < 5 {
				t.Errorf("%s %s: the id %s twice, or too few answers", method, path, op.OperationID)
			}
			ids[op.OperationID] = true
			for _, p := range op.Parameters {
				if name, _ := p["name"].(string); p["$ref"] == nil && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") != "" {
					t.Errorf("%s %s: the parameter %q", method, path, name)
				}
			}
		}
	}
	built := 0
	for _, r := range spec.Routes() {
		op, ok := doc.Paths[r.OpenPath()][strings.ToLower(r.Method)]
		if !ok {
			t.Errorf("%s %s is missing", r.Method, r.Pattern)
		}
		if _, planned := op.Responses["501"]; r.State == spec.Planned && (!planned || op.Responses["200"] != nil) {
			t.Errorf("%s %s is not built, and answers %v", r.Method, r.Pattern, op.Responses)
		}
		if r.State == spec.Built {
			built++
		}
	}
	if built < 300 {
		t.Errorf("%d routes", built)
	}
}
