package folder

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/muster-hq/muster/fsm/model"
)

// FuzzRead reads a folder in which somebody changed one file, wherever it lies.
func FuzzRead(f *testing.F) {
	files := []string{"definition.json", "applications/web/definition.json", "applications/web/files/motd", "environments/Dev/definition.json",
		"environments/Dev/hosts/h/definition.json", "environments/Dev/hosts/h/applications/web.json", "platforms/p/definition.json", "distributions/d/definition.json",
		"environments/Dev/hosts/h/instance.json", "hostgroups/g.json", "users/u.json"}
	for i := range files {
		f.Add(uint8(i), []byte(`{"name": "web", "files": [{"name": "../../x"}], "settings": [{"key": "a", "value": 1e400}], "organization": 7}`))
	}
	f.Add(uint8(0), []byte("{\"name\": \"\xff\"}"))
	f.Add(uint8(3), []byte(`[`))
	f.Fuzz(func(t *testing.T, at uint8, content []byte) {
		dir := small(t)
		path := filepath.Join(dir, files[int(at)%len(files)])
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		tree, err := Read(dir)
		if err != nil {
			if model.CodeOf(err) != model.Invalid || len(err.Error()) < 10 {
				t.Fatalf("%v", err)
			}
			return
		}
		if got := Compare(tree, tree); len(got) > 0 {
			t.Fatalf("a folder differs from itself: %+v", got)
		}
	})
}
