package orchestrate_test

import (
	"slices"
	"testing"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/state/statetest"
)

// TestLogsOfWhatIsGone: of an organization that was deleted the audit stays until it is too old, all else goes.
func TestLogsOfWhatIsGone(t *testing.T) {
	db := statetest.New(t, orchestrate.Tables()...)
	now := time.Now()
	db.SetClock(func() time.Time { return now })
	do := func(f func(tx *state.Tx) error) {
		t.Helper()
		if err := db.Update(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	do(func(tx *state.Tx) error {
		return state.Put(tx, &model.OrganizationRow{ID: "A", Name: "acme", AccessKey: "a"})
	})
	for _, org := range []string{"A", "B"} {
		do(func(tx *state.Tx) error {
			for _, log := range []string{model.NotificationLogOf(org), model.AgentLogOf(org), model.OtherLogOf(org), model.DeliveryLogOf(org, "h")} {
				if err := orchestrate.Tell(tx, log, "", "", "hello"); err != nil {
					return err
				}
			}
			return orchestrate.Audit(tx, org, model.AuditRecord{Actor: "ann", Message: "did it"})
		})
	}
	do(func(tx *state.Tx) error {
		return orchestrate.Audit(tx, "", model.AuditRecord{Actor: "ann", Message: "did it"})
	})
	kept := orchestrate.LogsKept{AuditBytes: 1 << 20, AuditAge: 100 * time.Hour}
	tidy := func() []string {
		t.Helper()
		if _, err := state.TidyLogs(t.Context(), db, db.Local(), kept.KeepOf(db.Local())); err != nil {
			t.Fatal(err)
		}
		return state.Logs(db.Local())
	}
	if got := tidy(); !slices.Equal(got, []string{"agent/A", "audit/A", "audit/B", "audit/site", "notification/A", "other/A"}) {
		t.Errorf("at first there are %q", got)
	}
	now = now.Add(101 * time.Hour)
	if got := tidy(); !slices.Equal(got, []string{"agent/A", "audit/A", "audit/site", "notification/A", "other/A"}) {
		t.Errorf("later there are %q", got)
	}
}
