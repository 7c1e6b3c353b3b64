package orchestrate_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/state/statetest"
)

// BenchmarkExpand works off a setting change that concerns many hosts, each with a handler and a rendered file: the time
// is that of one host, planned, committed and applied.
func BenchmarkExpand(b *testing.B) {
	db, env := fleetOf(b, max(b.N, 100))
	if err := db.Update(b.Context(), func(tx *state.Tx) error {
		return orchestrate.BulkSettings(tx, env, []model.Setting{{Key: "port", Value: []byte("8080")}}, true, orchestrate.Trigger{Handlers: true})
	}); err != nil {
		b.Fatal(err)
	}
	e := orchestrate.NewExpander(db)
	b.ResetTimer()
	for {
		_, more, err := e.Step(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		if !more {
			return
		}
	}
}

// fleetOf is a store with that many hosts in an environment, each with an application.
func fleetOf(b *testing.B, hosts int) (*statetest.DB, model.Owner) {
	b.Helper()
	db := statetest.New(b, orchestrate.Tables()...)
	must := func(fn func(tx *state.Tx) error) {
		b.Helper()
		if err := db.Update(context.Background(), fn); err != nil {
			b.Fatal(err)
		}
	}
	env := model.Owner{Level: model.LevelEnvironment}
	must(func(tx *state.Tx) error {
		o, err := orchestrate.CreateOrganization(tx, model.Organization{Name: "Demo"}, "", false)
		if err != nil {
			return err
		}
		e, err := orchestrate.CreateEnvironment(tx, o.ID, model.Environment{Name: "Default"})
		if err != nil {
			return err
		}
		env.OrgID, env.ID = o.ID, e.ID
		app, err := model.Decode[model.Application]([]byte(fleetApp))
		if err != nil {
			return err
		}
		a, err := orchestrate.CreateApplication(tx, o.ID, app)
		if err != nil {
			return err
		}
		return orchestrate.PutFileContent(tx, o.ID, a.ID, "conf", []byte("# ${_host.name}\nlisten ${port};\nserver_name ${_host.name}.example.org;\n"))
	})
	for k := 0; k < hosts; k += 20 {
		must(func(tx *state.Tx) error {
			for i := k; i < min(k+20, hosts); i++ {
				name := fmt.Sprintf("h%05d", i)
				if _, err := orchestrate.CreateHost(tx, env.OrgID, env.ID, model.Host{Name: name, Applications: []string{"web"}}); err != nil {
					return err
				}
				if _, err := orchestrate.AdoptHost(tx, env.OrgID, env.ID, name); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return db, env
}
