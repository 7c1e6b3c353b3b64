package orchestrate_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// TestNoRowShowsARenderedSecret: a secret setting is rendered into a file of a change. No row shows it, nor the digest of
// the file, by which who knows the template could try passwords.
func TestNoRowShowsARenderedSecret(t *testing.T) {
	const marker = "tr0ub4dor-and-3"
	w := newWorld(t)
	appID := w.app(full)
	w.content(appID, "a", "password = ${s}\n")
	h := w.host("h1")
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.CreateSetting(tx, w.owner(model.LevelOrganization, w.org),
			model.Setting{Key: "s", Value: json.RawMessage(`"` + marker + `"`), Schema: json.RawMessage(`{"type": "string", "secret": true}`)}, orchestrate.Trigger{})
		return err
	})
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.InstallApplication(tx, w.org, h, model.ApplicationContext{Application: "full"})
		return err
	})
	rendered := "password = " + marker + "\n"
	digest := w.change(h).Tasks[4].Content
	if got, ok := state.Content(w.db.Local(), w.org, digest); !ok || string(got) != rendered || digest != state.Digest([]byte(rendered)) {
		t.Fatalf("rendered %q, %v", got, ok)
	}
	rows, changes := 0, 0
	if err := state.Rows(w.db.Local(), func(r state.RawRow) error {
		rows++
		if r.Table == "change" {
			changes++
		}
		for _, s := range []string{marker, digest} {
			if bytes.Contains(r.Value, []byte(s)) || strings.Contains(r.Key, s) || strings.Contains(strings.Join(r.Ranges, " "), s) {
				t.Errorf("row %s %s shows it", r.Table, r.Key)
			}
		}
		return nil
	}); err != nil || rows < 10 || changes == 0 {
		t.Errorf("%d rows and %d changes were looked at, %v", rows, changes, err)
	}
}
