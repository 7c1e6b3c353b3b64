package api_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/muster-hq/muster/api"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/state/statetest"
)

// BenchmarkWrite is what a PUT of a setting of 1 KiB by an application key costs this server, its commit encoded, decoded,
// verified and applied once, without network, log and other nodes. It tells the size of the commit, too.
func BenchmarkWrite(b *testing.B) {
	db := statetest.New(b, orchestrate.Tables()...)
	a, err := api.New(api.Config{Store: db, Log: newLog()})
	if err != nil {
		b.Fatal(err)
	}
	var key model.ApplicationKey
	value := func(fill string) string { return `"` + strings.Repeat(fill, 512) + `"` }
	err = db.Update(b.Context(), func(tx *state.Tx) error {
		u, err := orchestrate.CreateUser(tx, model.User{Username: "admin", Admin: true}, "")
		if err != nil {
			return err
		}
		o, err := orchestrate.CreateOrganization(tx, model.Organization{Name: "acme"}, u.ID, false)
		if err != nil {
			return err
		}
		if key, err = orchestrate.CreateApplicationKey(tx, o.ID, model.ApplicationKey{Name: "bench", Method: model.KeyToken, Group: "users"}, "admin"); err != nil {
			return err
		}
		_, err = orchestrate.CreateSetting(tx, orchestrate.OwnerOfOrganization(o), model.Setting{Key: "motd", Value: []byte(value("ab"))}, orchestrate.Trigger{})
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	commit, notes := 0, 0
	db.BeforeCommit(func(c *state.Commit) {
		commit, notes = c.EncodedSize(), 0
		for _, n := range c.Notes {
			notes += len(n.Data)
		}
	})
	bodies := [2]string{`{"key":"motd","value":` + value("cd") + `}`, `{"key":"motd","value":` + value("ef") + `}`}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		r := httptest.NewRequest("PUT", "/api/organizations/acme/settings/motd", strings.NewReader(bodies[n%2]))
		r.Header.Set("X-ComodIT-AppKey", key.Token)
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		a.Handler().ServeHTTP(w, r)
		if w.Code != 200 {
			b.Fatal(w.Code, w.Body)
		}
	}
	b.ReportMetric(float64(commit), "B/commit")
	b.ReportMetric(float64(notes), "B/record")
}
