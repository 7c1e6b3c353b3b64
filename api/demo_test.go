package api_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/muster-hq/muster/api/client"
)

// The demo applications are posted as they are, and come back field by field (contract section 3.5).
func TestDemoApplicationsRoundTrip(t *testing.T) {
	demos := filepath.Join("..", "..", "shared", "demo-apps")
	found, err := filepath.Glob(filepath.Join(demos, "*", "definition.json"))
	if err != nil || len(found) == 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("../shared/demo-apps, beside the repository, is absent")
		}
		t.Skip("../shared/demo-apps, beside the repository, is absent")
	}
	s := newSite(t)
	s.call(s.admin, client.Op{Name: "organizations.create", Body: map[string]any{"name": "acme"}}, nil)
	for _, path := range found {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var sent, got map[string]any
		if err := json.Unmarshal(text, &sent); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		name, _ := sent["name"].(string)
		if a := s.raw("POST", "/organizations/acme/applications/", string(text)); a.status != 201 {
			t.Errorf("%s: %d %s", path, a.status, a.body)
			continue
		}
		s.call(s.admin, client.Op{Name: "applications.show", Params: map[string]string{"org": "acme", "app": name}}, &got)
		for _, ours := range []string{"organization", "price", "version", "canPull", "canPush", "uuid", "publishedAs", "purchasedAs", "locked"} {
			delete(sent, ours)
			delete(got, ours)
		}
		dropVersions(sent)
		dropVersions(got)
		for field, want := range sent {
			if !reflect.DeepEqual(got[field], want) {
				t.Errorf("%s: %s came back as %v, not %v", name, field, got[field], want)
			}
		}
	}
}

// dropVersions drops what the server sets in the parts of a document.
func dropVersions(v any) {
	switch v := v.(type) {
	case map[string]any:
		delete(v, "version")
		delete(v, "uuid")
		for _, e := range v {
			dropVersions(e)
		}
	case []any:
		for _, e := range v {
			dropVersions(e)
		}
	}
}
