package orchestrate_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/state/statetest"
)

// leave are the two marks.
func (w *world) leave() map[string]func(tx *state.Tx) error {
	return map[string]func(tx *state.Tx) error{
		"organization": func(tx *state.Tx) error { return orchestrate.LeaveOrganization(tx, w.org) },
		"environment":  func(tx *state.Tx) error { return orchestrate.LeaveEnvironment(tx, w.org, w.env) },
	}
}

// crowd makes DEFINED hosts in the environment.
func (w *world) crowd(n int) {
	w.t.Helper()
	for from := 0; from < n; from += 100 {
		w.do(func(tx *state.Tx) error {
			for i := from; i < min(from+100, n); i++ {
				if _, err := orchestrate.CreateHost(tx, w.org, w.env, model.Host{Name: fmt.Sprintf("h%05d", i)}); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

// TestNoMachineComesIntoWhatGoes: a machine that comes beside the mark is in its way, one that comes after it is refused.
func TestNoMachineComesIntoWhatGoes(t *testing.T) {
	for _, hosts := range []int{3, 250} { // each host is looked at, or ranges
		for _, kind := range []string{"organization", "environment"} {
			t.Run(fmt.Sprint(kind, " of ", hosts), func(t *testing.T) {
				w := newWorld(t)
				w.crowd(hosts)
				adopt := func(name string) func(tx *state.Tx) error {
					return func(tx *state.Tx) error { _, err := orchestrate.AdoptHost(tx, w.org, w.env, name); return err }
				}
				mark, beside := w.leave()[kind], true
				w.db.BeforeCommit(func(*state.Commit) {
					if beside {
						beside = false
						if err := w.db.Inject(adopt("h00001")); err != nil {
							t.Error(err)
						}
					}
				})
				if err := w.try(mark); model.CodeOf(err) != model.Conflict || !strings.Contains(err.Error(), "1 host(s) with an instance") {
					t.Fatalf("with a machine that came beside it: %v", err)
				}
				host, err := orchestrate.HostByName(w.db.Local(), w.org, w.env, "h00001")
				if err != nil {
					t.Fatal(err)
				}
				w.do(func(tx *state.Tx) error { return orchestrate.DeleteInstance(tx, w.org, host.ID) })
				beside = true
				w.db.BeforeCommit(func(*state.Commit) { // the mark comes beside the machine
					if beside {
						beside = false
						if err := w.db.Inject(mark); err != nil {
							t.Error(err)
						}
					}
				})
				for _, name := range []string{"h00001", "new"} {
					if err := w.try(adopt(name)); model.CodeOf(err) != model.NotFound {
						t.Errorf("machine %s in what goes: %v", name, err)
					}
				}
			})
		}
	}
}

// TestAMarkWaitsForAllMembers: before all know of it, nobody marks.
func TestAMarkWaitsForAllMembers(t *testing.T) {
	w := &world{t: t, db: statetest.NewOptions(t, state.Options{Tables: statetest.Tables(t, orchestrate.Tables()...), Known: state.SchemaContents})}
	w.do(func(tx *state.Tx) error {
		o, err := orchestrate.CreateOrganization(tx, model.Organization{Name: "Demo"}, "", false)
		if err != nil {
			return err
		}
		e, err := orchestrate.CreateEnvironment(tx, o.ID, model.Environment{Name: "Default"})
		w.org, w.env = o.ID, e.ID
		return err
	})
	for _, mark := range w.leave() {
		w.refused(model.Unavailable, "once all are updated", mark)
	}
	w.do(func(tx *state.Tx) error { return orchestrate.DeleteOrganization(tx, w.org) }) // small ones go as ever
}

// TestDeletionsFitTheirCommits: an environment and its organization go at once, with a group of all their hosts, which is written again with each
// commit, by one duty after the other; each commit is one that fits.
func TestDeletionsFitTheirCommits(t *testing.T) {
	w := newWorld(t)
	w.crowd(1200)
	w.do(func(tx *state.Tx) error {
		doc := model.Hostgroup{Name: "all"}
		for i := range 1200 {
			doc.Hosts = append(doc.Hosts, model.GroupedHost{Environment: "Default", Host: fmt.Sprintf("h%05d", i)})
		}
		_, err := orchestrate.CreateHostgroup(tx, w.org, doc, nil)
		return err
	})
	for _, kind := range []string{"environment", "organization"} {
		w.do(w.leave()[kind])
	}
	commits := 0
	w.db.BeforeCommit(func(*state.Commit) { commits++ })
	for n := 0; ; n++ {
		more, err := orchestrate.NewDeleter(w.db).Step(context.Background()) // each is another leader's
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			break
		}
		if n > 1000 {
			t.Fatal("it does not end")
		}
	}
	if commits < 5 {
		t.Errorf("all went in %d commits", commits)
	}
	if err := state.Rows(w.db.Local(), func(r state.RawRow) error {
		if !strings.HasPrefix(r.Table, "_") {
			t.Errorf("left is %s %s", r.Table, r.Key)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
