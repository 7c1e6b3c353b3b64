package orchestrate_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// TestRandomVerbs runs verbs in random order and looks after each that names are unique, that numbers
// have no gaps, and that nothing hangs on a row that is gone.
func TestRandomVerbs(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			w := newWorld(t)
			w.app(web)
			w.app(full)
			r := &walker{world: w, rnd: rand.New(rand.NewPCG(seed, 1)), seen: map[string]bool{w.org: true, w.env: true}, next: map[string]int{}}
			for range 150 {
				r.step()
				r.check()
			}
			for _, h := range r.hosts() {
				_ = w.try(func(tx *state.Tx) error { return orchestrate.DeleteInstance(tx, w.org, h.ID) })
			}
			w.do(func(tx *state.Tx) error { return orchestrate.DeleteOrganization(tx, w.org) })
			r.check()
		})
	}
}

type walker struct {
	*world
	rnd  *rand.Rand
	seen map[string]bool // ids of all owners that ever were
	next map[string]int  // counter of each host
}

func (r *walker) pick(of ...string) string { return of[r.rnd.IntN(len(of))] }

func (r *walker) hosts() []*model.HostRow {
	return slices.Clone(state.List[model.HostRow](r.db.Local(), model.HostsOfOrganization(r.org)))
}

func (r *walker) step() {
	name := r.pick("a", "b", "c", "d")
	hosts := r.hosts()
	host := ""
	if len(hosts) > 0 {
		host = hosts[r.rnd.IntN(len(hosts))].ID
	}
	app := r.pick("web", "full")
	verbs := []func(tx *state.Tx) error{
		func(tx *state.Tx) error {
			_, err := orchestrate.CreateHost(tx, r.org, r.env, model.Host{Name: name, Applications: []string{app}, Settings: []model.Setting{{Key: "x"}}})
			return err
		},
		func(tx *state.Tx) error { _, err := orchestrate.AdoptHost(tx, r.org, r.env, name); return err },
		func(tx *state.Tx) error { _, err := orchestrate.CloneHost(tx, r.org, host); return err },
		func(tx *state.Tx) error {
			_, err := orchestrate.UpdateHost(tx, r.org, host, []byte(`{"name":"`+name+`"}`))
			return err
		},
		func(tx *state.Tx) error { return orchestrate.DeleteHost(tx, r.org, host) },
		func(tx *state.Tx) error { return orchestrate.DeleteInstance(tx, r.org, host) },
		func(tx *state.Tx) error {
			_, err := orchestrate.InstallApplication(tx, r.org, host, model.ApplicationContext{Application: app, Settings: []model.Setting{{Key: "port"}}})
			return err
		},
		func(tx *state.Tx) error {
			return orchestrate.UninstallApplication(tx, r.org, host, app, orchestrate.Trigger{Handlers: true})
		},
		func(tx *state.Tx) error {
			s := model.Setting{Key: r.pick("port", "x", "y"), Value: value(r.pick("1", "2", "3"))}
			return orchestrate.BulkSettings(tx, r.owner(model.LevelEnvironment, r.env), []model.Setting{s}, true, orchestrate.Trigger{Handlers: true})
		},
		func(tx *state.Tx) error { return orchestrate.DeleteChanges(tx, r.org, host, r.rnd.IntN(2) == 0) },
		func(tx *state.Tx) error { _, err := orchestrate.Rebuild(tx, r.org, host); return err },
		func(tx *state.Tx) error {
			return orchestrate.PutCompliance(tx, host, model.Origin{Application: app, Type: "files", Name: name}, value(`{}`), value(`{}`))
		},
	}
	err := r.db.Update(context.Background(), verbs[r.rnd.IntN(len(verbs))])
	if code := model.CodeOf(err); code == model.Internal {
		r.t.Fatalf("a verb failed: %v", err)
	}
}

// check looks at all that the invariants speak of.
func (r *walker) check() {
	r.t.Helper()
	view := r.db.Local()
	names := map[string]bool{}
	alive := map[string]bool{}
	for _, h := range state.List[model.HostRow](view, model.HostsOfOrganization(r.org)) {
		if names[h.EnvID+h.Name] {
			r.t.Fatalf("two hosts are named %q", h.Name)
		}
		names[h.EnvID+h.Name] = true
		alive[h.ID], r.seen[h.ID] = true, true
		for _, c := range state.List[model.ContextRow](view, model.ContextsOf(h.ID)) {
			alive[c.ID], r.seen[c.ID] = true, true
		}
		r.checkChanges(view, h.ID)
	}
	for _, o := range state.List[model.OrganizationRow](view, model.AllOrganizations) {
		alive[o.ID] = true
		for _, e := range state.List[model.EnvironmentRow](view, model.EnvironmentsOf(o.ID)) {
			alive[e.ID] = true
		}
	}
	for id := range r.seen {
		if alive[id] {
			continue
		}
		left := len(state.Keys[model.SettingRow](view, model.SettingsOf(id))) + len(state.Keys[model.GroupRow](view, model.GroupsOf(id))) +
			len(state.Keys[model.ContextRow](view, model.ContextsOf(id))) + len(state.Keys[model.Change](view, model.ChangesOf(id))) +
			len(state.Keys[model.ComplianceRow](view, model.ComplianceOf(id))) + len(state.Keys[model.Order](view, "host/"+id))
		_, instance := state.Get[model.InstanceRow](view, id)
		_, counter := state.Get[model.ChangeCounter](view, id)
		if left > 0 || instance || counter {
			r.t.Fatalf("%d rows, instance %v, counter %v hang on %s, which is gone", left, instance, counter, id)
		}
	}
}

func (r *walker) checkChanges(view *state.View, host string) {
	nums := map[int]bool{}
	counter, _ := state.Get[model.ChangeCounter](view, host)
	for _, c := range state.List[model.Change](view, model.ChangesOf(host)) {
		if nums[c.OrderNum] || counter == nil || c.OrderNum >= counter.Next {
			r.t.Fatalf("change number %d is there twice or beyond the counter %+v", c.OrderNum, counter)
		}
		nums[c.OrderNum] = true
		for i, task := range c.Tasks {
			if task.OrderNum != i {
				r.t.Fatalf("task %d has number %d", i, task.OrderNum)
			}
			for _, n := range task.Restart {
				if n < 0 || n >= i || c.Tasks[n].Collection != model.TypeFiles {
					r.t.Fatalf("task %d restarts for %d", i, n)
				}
			}
		}
	}
	if counter != nil {
		if counter.Next < r.next[host] {
			r.t.Fatalf("the counter went back from %d to %d", r.next[host], counter.Next)
		}
		r.next[host] = counter.Next
	}
}
