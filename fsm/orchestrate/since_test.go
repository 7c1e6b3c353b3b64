package orchestrate_test

import (
	"context"
	"strings"
	"testing"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/state/statetest"
)

// TestTablesOfLater: while some member knows no more than the first schema, rows of later tables are refused with a
// sentence, and those of the first ones are not.
func TestTablesOfLater(t *testing.T) {
	db := statetest.NewOptions(t, state.Options{Tables: statetest.Tables(t, orchestrate.Tables()...), Known: state.SchemaFirst})
	var orgID string
	if err := db.Update(context.Background(), func(tx *state.Tx) error {
		o, err := orchestrate.CreateOrganization(tx, model.Organization{Name: "Demo"}, "", false)
		if err == nil {
			orgID = o.ID
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	kit := model.Kit{ID: "I", OrgID: orgID, Name: "n"}
	def := model.Definition{ID: "I", OrgID: orgID, OwnerID: orgID, Name: "n"}
	for name, put := range map[string]func(tx *state.Tx) error{
		"platform":     func(tx *state.Tx) error { return state.Put(tx, &model.PlatformRow{Kit: kit}) },
		"distribution": func(tx *state.Tx) error { return state.Put(tx, &model.DistributionRow{Kit: kit}) },
		"hostgroup":    func(tx *state.Tx) error { return state.Put(tx, &model.HostgroupRow{ID: "I", OrgID: orgID, Name: "n"}) },
		"orchestration": func(tx *state.Tx) error {
			return state.Put(tx, &model.OrchestrationRow{ID: "I", OrgID: orgID, Name: "n"})
		},
		"webhook":      func(tx *state.Tx) error { return state.Put(tx, &model.WebhookRow{Definition: def}) },
		"notification": func(tx *state.Tx) error { return state.Put(tx, &model.NotificationRow{Definition: def}) },
		"rpmmodule":    func(tx *state.Tx) error { return state.Put(tx, &model.RpmModuleRow{Definition: def}) },
		"git":          func(tx *state.Tx) error { return state.Put(tx, &model.GitRow{Definition: def}) },
		"filelink":     func(tx *state.Tx) error { return state.Put(tx, &model.FileLinkRow{Digest: "I", OrgID: orgID}) },
		"platformcontext": func(tx *state.Tx) error {
			return state.Put(tx, &model.PlatformContextRow{Attachment: model.Attachment{ID: "I", OrgID: orgID}})
		},
		"distributioncontext": func(tx *state.Tx) error {
			return state.Put(tx, &model.DistributionContextRow{Attachment: model.Attachment{ID: "I", OrgID: orgID}})
		},
	} {
		err := db.Update(context.Background(), put)
		if model.CodeOf(err) != model.Unavailable || !strings.Contains(err.Error(), "a "+name+" cannot be stored yet: some member") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
