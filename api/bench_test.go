package api_test

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/muster-hq/muster/api"
	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/api/spec"
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

// BenchmarkBulk is what a bulk write of 32 settings of 1 KiB costs, without network, log and cluster.
func BenchmarkBulk(b *testing.B) {
	db := statetest.New(b, orchestrate.Tables()...)
	a, err := api.New(api.Config{Store: db, Log: newLog()})
	if err != nil {
		b.Fatal(err)
	}
	token := ""
	err = db.Update(b.Context(), func(tx *state.Tx) error {
		o, err := orchestrate.CreateOrganization(tx, model.Organization{Name: "acme"}, "", false)
		if err != nil {
			return err
		}
		if _, err := orchestrate.CreateEnvironment(tx, o.ID, model.Environment{Name: "Dev"}); err != nil {
			return err
		}
		k, err := orchestrate.CreateApplicationKey(tx, o.ID, model.ApplicationKey{Name: "k", Method: model.KeyToken, Group: "users"}, "")
		token = k.Token
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	var bodies [2]string
	for n := range bodies {
		var body strings.Builder
		for i := range 32 {
			fmt.Fprintf(&body, `,{"key":"key%d","value":"%d %s"}`, i, n, strings.Repeat("x", 1000))
		}
		bodies[n] = `{"newOrUpdatedSettings":[` + body.String()[1:] + `]}`
	}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		r := httptest.NewRequest("PUT", "/api/organizations/acme/environments/Dev/settings/", strings.NewReader(bodies[n%2]))
		r.Header.Set(spec.HeaderAppKey, token)
		w := httptest.NewRecorder()
		if a.Handler().ServeHTTP(w, r); w.Code != 200 {
			b.Fatal(w.Code, w.Body)
		}
	}
}
