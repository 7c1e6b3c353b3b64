package spec_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/muster-hq/muster/api/spec"
)

//go:generate go test -run TestReferenceIsInSync . -update

func TestReferenceIsInSync(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "reference", "api.md")
	if update := flag.Lookup("update"); update != nil && update.Value.String() == "true" {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(spec.Reference()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("read the reference page: %v; make it with go generate ./api/spec", err)
	}
	if string(b) != spec.Reference() {
		t.Errorf("%s is not what the table says: run go generate ./api/spec", path)
	}
}

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write the reference page anew")
	flag.Parse()
	os.Exit(m.Run())
}
