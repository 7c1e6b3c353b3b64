package orchestrate_test

import (
	"fmt"
	"testing"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// inFlight is what counts against the quota.
func (w *world) inFlight() int {
	w.t.Helper()
	o, err := orchestrate.OrganizationByID(w.db.Local(), w.org)
	if err != nil {
		w.t.Fatal(err)
	}
	return orchestrate.QuotaDoc(w.db.Local(), o).Used.ChangesInFlight
}

// A large write counts in the quota of changes in flight as the hosts that it touches: at once, while it is worked off, and in the
// end as their changes.
func TestALargeWriteCountsItsHosts(t *testing.T) {
	w, app, hosts := fleet(t, manyHosts)
	env := w.owner(model.LevelEnvironment, w.env)
	other := ""
	w.do(func(tx *state.Tx) error { // hosts without a machine do not count
		for n := range 30 {
			if _, err := orchestrate.CreateHost(tx, w.org, w.env, model.Host{Name: fmt.Sprint("defined", n), Applications: []string{"web"}}); err != nil {
				return err
			}
		}
		e, err := orchestrate.CreateEnvironment(tx, w.org, model.Environment{Name: "Other"})
		if err == nil {
			other = e.ID
		}
		return err
	})
	w.do(func(tx *state.Tx) error { // and neither do those of another environment, though they make the first guess too large
		for n := range 25 {
			name := fmt.Sprint("elsewhere", n)
			if _, err := orchestrate.CreateHost(tx, w.org, other, model.Host{Name: name, Applications: []string{"web"}}); err != nil {
				return err
			}
			h, err := orchestrate.AdoptHost(tx, w.org, other, name)
			if err != nil {
				return err
			}
			for _, id := range state.Keys[model.Change](tx, model.OpenChangesOf(h.ID)) {
				state.Delete[model.Change](tx, id)
			}
		}
		return nil
	})
	if n := w.inFlight(); n != 0 {
		t.Fatalf("%d changes are in flight", n)
	}
	quota := func(n int) {
		w.do(func(tx *state.Tx) error {
			return orchestrate.SetQuota(tx, w.org, fmt.Appendf(nil, `{"changesInFlight": %d}`, n))
		})
	}
	write := func(value string) func(tx *state.Tx) error {
		return func(tx *state.Tx) error {
			if err := orchestrate.BulkSettings(tx, env, []model.Setting{{Key: "port", Value: []byte(value)}}, true, orchestrate.Trigger{Handlers: true}); err != nil {
				return err
			}
			return orchestrate.WithinQuota(tx)
		}
	}
	quota(manyHosts - 1)
	w.refused(model.Forbidden, fmt.Sprintf("the quota changesInFlight of the organization is %d, it has 0 and this would make %d more", manyHosts-1, manyHosts), write("1"))
	quota(manyHosts + 10)
	w.do(write("1"))
	if n := w.inFlight(); n != manyHosts {
		t.Errorf("%d changes are in flight after the write, of %d hosts", n, manyHosts)
	}
	w.refused(model.Forbidden, fmt.Sprintf("it has %d and this would make %d more", manyHosts, manyHosts), write("2"))
	w.refused(model.Forbidden, "changesInFlight", func(tx *state.Tx) error { // the edit of the application concerns those elsewhere, too
		if _, err := orchestrate.UpdateApplication(tx, w.org, app, []byte(`{"packages": [{"name": "nginx"}]}`), orchestrate.Trigger{}); err != nil {
			return err
		}
		return orchestrate.WithinQuota(tx)
	})
	e := orchestrate.NewExpander(w.db)
	for more := true; more; {
		_, more = w.step(e)
		if n := w.inFlight(); n != manyHosts {
			t.Fatalf("%d changes are in flight while the write is worked off", n)
		}
	}
	w.finish(hosts[0])
	if n := w.inFlight(); n != manyHosts-1 {
		t.Errorf("%d changes are in flight after one host is done", n)
	}
	quota(2*manyHosts - 1)
	w.do(write("2"))
}

// BenchmarkLargeWrite is a write that touches 10,000 hosts, up to its commit: with a quota that is far away, and with one that is so near
// that the hosts are counted one by one.
func BenchmarkLargeWrite(b *testing.B) {
	db, env := fleetOf(b, 10_000)
	for name, quota := range map[string]int{"far": 200_000, "near": 25_000} {
		b.Run(name, func(b *testing.B) {
			if err := db.Update(b.Context(), func(tx *state.Tx) error {
				return orchestrate.SetQuota(tx, env.OrgID, fmt.Appendf(nil, `{"changesInFlight": %d}`, quota))
			}); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				tx := db.Store().Begin(state.TxOptions{})
				err := orchestrate.BulkSettings(tx, env, []model.Setting{{Key: "port", Value: []byte("8080")}}, true, orchestrate.Trigger{Handlers: true})
				if err == nil {
					err = orchestrate.WithinQuota(tx)
				}
				if err != nil && (quota > 20_000 || model.CodeOf(err) != model.Forbidden) {
					b.Fatal(err)
				}
			}
		})
	}
}
