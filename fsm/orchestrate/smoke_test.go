package orchestrate_test

import (
	"context"
	"testing"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/state/statetest"
)

func TestInstallOnAdoptedHost(t *testing.T) {
	db := statetest.New(t)
	err := db.Update(context.Background(), func(tx *state.Tx) error {
		org, err := orchestrate.CreateOrganization(tx, model.Organization{Name: "Demo"}, "", true)
		if err != nil {
			return err
		}
		env, err := orchestrate.EnvironmentByName(tx, org.ID, "Default")
		if err != nil {
			return err
		}
		app, err := model.Decode[model.Application]([]byte(`{"name":"web","files":[{"name":"f","path":"/etc/f"}],"services":[{"name":"nginx","enabled":true}]}`))
		if err != nil {
			return err
		}
		if _, err := orchestrate.CreateApplication(tx, org.ID, app); err != nil {
			return err
		}
		h, err := orchestrate.CreateHost(tx, org.ID, env.ID, model.Host{Name: "h", Applications: []string{"web"}})
		if err != nil {
			return err
		}
		if s := orchestrate.HostState(tx, h.ID); s != model.HostDefined {
			t.Errorf("state is %s before there is a machine", s)
		}
		if _, err := orchestrate.AdoptHost(tx, org.ID, env.ID, "h"); err != nil {
			return err
		}
		cs, err := orchestrate.Changes(tx, org.ID, h.ID, false)
		if err != nil {
			return err
		}
		if len(cs) != 1 || len(cs[0].Tasks) != 2 {
			t.Errorf("changes: %+v", cs)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
