package orchestrate_test

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
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

// TestLinesOfHosts: machines that enrol, come and go, drift, and changes that fail are told, each once.
func TestLinesOfHosts(t *testing.T) {
	w := newWorld(t)
	w.db.SetClock(time.Now)
	h := w.enrol("a1", "h1")
	presence := func(up bool) {
		t.Helper()
		w.do(func(tx *state.Tx) error {
			return orchestrate.RecordPresence(tx, []orchestrate.Transition{{AgentID: "a1", Up: up}})
		})
	}
	presence(true) // it is so already
	presence(false)
	presence(false)
	presence(true)
	w.app(`{"name": "web", "services": [{"name": "httpd", "enabled": true}]}`)
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.InstallApplication(tx, w.org, h, model.ApplicationContext{Application: "web"})
		return err
	})
	w.order(h, "o1")
	for range 2 {
		w.reply("a1", orchestrate.StepOutcome{OrderID: "o1", Step: orchestrate.WholeOrder, Error: "no"})
	}
	drift := model.Origin{Application: "web", Type: "services", Name: "httpd"}
	for range 2 {
		w.do(func(tx *state.Tx) error {
			return orchestrate.PutCompliance(tx, h, drift, value(`{"running":true}`), value(`{"running":false}`))
		})
	}
	for range 2 {
		w.do(func(tx *state.Tx) error { return orchestrate.ClearCompliance(tx, h, drift) })
	}
	lines := func(log string) (all []string) {
		state.ReadLog(w.db.Local(), log, state.LogRange{}, func(l state.LogRecord) bool {
			var rec model.LogRecord
			if err := json.Unmarshal(l.Data, &rec); err != nil || rec.HostID != h || rec.EnvID == "" {
				t.Errorf("%s: %v", l.Data, err)
			}
			all = append(all, rec.Message)
			return true
		})
		return all
	}
	if got := lines(model.AgentLogOf(w.org)); !slices.Equal(got, []string{"Default/h1: a machine enrolled", "Default/h1: the agent does not answer any more", "Default/h1: the agent is connected"}) {
		t.Errorf("the agents' log: %q", got)
	}
	got := lines(model.NotificationLogOf(w.org))
	if len(got) != 3 || !strings.Contains(got[0], "failed: 1 of") || got[1] != "Default/h1: applications/web/services/httpd is not as it should be" || got[2] != "Default/h1: applications/web/services/httpd is as it should be again" {
		t.Errorf("notices: %q", got)
	}
}

// BenchmarkAudit is what a record adds to a write of a setting: encoded, decoded, applied.
func BenchmarkAudit(b *testing.B) {
	for _, audited := range []bool{false, true} {
		b.Run(map[bool]string{false: "plain", true: "audited"}[audited], func(b *testing.B) {
			db := statetest.New(b, orchestrate.Tables()...)
			var org string
			if err := db.Update(b.Context(), func(tx *state.Tx) error {
				o, err := orchestrate.CreateOrganization(tx, model.Organization{Name: "acme"}, "", false)
				org = o.ID
				return err
			}); err != nil {
				b.Fatal(err)
			}
			owner := model.Owner{Level: model.LevelOrganization, OrgID: org, ID: org}
			for n := 0; b.Loop(); n++ {
				if err := db.Update(b.Context(), func(tx *state.Tx) error {
					row := &model.SettingRow{ID: "s", Owner: owner, Name: "port", Version: n, Value: value(strconv.Itoa(n))}
					if err := state.Put(tx, row); err != nil || !audited {
						return err
					}
					return orchestrate.Audit(tx, org, model.AuditRecord{Actor: "ann", Kind: model.ActorUser, Address: "192.0.2.1", Request: "0123456789abcdef",
						Action: "settings.update", Object: "organizations/acme/settings/port", Message: "updated settings/port"})
				}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
