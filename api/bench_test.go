package api_test

import (
	"fmt"
	"net/http/httptest"
	"testing"

	"github.com/muster-hq/muster/api"
	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/state/statetest"
)

// BenchmarkRead is what a read costs this server, without network, log and cluster.
func BenchmarkRead(b *testing.B) {
	db := statetest.New(b, orchestrate.Tables()...)
	a, err := api.New(api.Config{Store: db, Log: newLog()})
	if err != nil {
		b.Fatal(err)
	}
	hash := auth.HashPassword(adminPassword)
	err = db.Update(b.Context(), func(tx *state.Tx) error {
		u, err := orchestrate.CreateUser(tx, model.User{Username: "admin", Admin: true}, hash)
		if err != nil {
			return err
		}
		o, err := orchestrate.CreateOrganization(tx, model.Organization{Name: "acme"}, u.ID, false)
		if err != nil {
			return err
		}
		e, err := orchestrate.CreateEnvironment(tx, o.ID, model.Environment{Name: "Dev"})
		if err != nil {
			return err
		}
		for n := range 100 {
			h := model.Host{Name: fmt.Sprintf("host%03d", n), Settings: []model.Setting{{Key: "port", Value: []byte("80")}, {Key: "role", Value: []byte(`"web"`)}}}
			if _, err := orchestrate.CreateHost(tx, o.ID, e.ID, h); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	for name, path := range map[string]string{"object": "host042", "list": ""} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest("GET", "/api/organizations/acme/environments/Dev/hosts/"+path, nil)
				r.SetBasicAuth("admin", adminPassword)
				w := httptest.NewRecorder()
				a.Handler().ServeHTTP(w, r)
				if w.Code != 200 {
					b.Fatal(w.Code, w.Body)
				}
			}
		})
	}
}
