package orchestrate_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/state/statetest"
)

// world is a store with the organization Demo and its environment Default.
type world struct {
	t   *testing.T
	db  *statetest.DB
	org string
	env string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, db: statetest.New(t, orchestrate.Tables()...)}
	w.do(func(tx *state.Tx) error {
		o, err := orchestrate.CreateOrganization(tx, model.Organization{Name: "Demo"}, "", true)
		if err != nil {
			return err
		}
		e, err := orchestrate.EnvironmentByName(tx, o.ID, "Default")
		if err != nil {
			return err
		}
		w.org, w.env = o.ID, e.ID
		return nil
	})
	return w
}

// try runs a transaction and gives its error.
func (w *world) try(fn func(tx *state.Tx) error) error {
	w.t.Helper()
	return w.db.Update(context.Background(), fn)
}

// do runs a transaction that must succeed.
func (w *world) do(fn func(tx *state.Tx) error) {
	w.t.Helper()
	if err := w.try(fn); err != nil {
		w.t.Fatal(err)
	}
}

// refused runs a transaction that must fail with a code and a text, and change nothing.
func (w *world) refused(code model.Code, text string, fn func(tx *state.Tx) error) {
	w.t.Helper()
	before := w.db.Local().Index()
	err := w.try(fn)
	if model.CodeOf(err) != code || !strings.Contains(fmt.Sprint(err), text) {
		w.t.Errorf("got %v (%s), want %s with %q", err, model.CodeOf(err), code, text)
	}
	if after := w.db.Local().Index(); after != before {
		w.t.Errorf("a refused request changed the state")
	}
}

func (w *world) app(doc string) string {
	w.t.Helper()
	var id string
	w.do(func(tx *state.Tx) error {
		app, err := model.Decode[model.Application]([]byte(doc))
		if err != nil {
			return err
		}
		a, err := orchestrate.CreateApplication(tx, w.org, app)
		if err == nil {
			id = a.ID
		}
		return err
	})
	return id
}

func (w *world) content(appID, file, text string) {
	w.t.Helper()
	w.do(func(tx *state.Tx) error { return orchestrate.PutFileContent(tx, w.org, appID, file, []byte(text)) })
}

// host makes a provisioned host with applications, and ends the changes that install them.
func (w *world) host(name string, apps ...string) string {
	w.t.Helper()
	var id string
	w.do(func(tx *state.Tx) error {
		if _, err := orchestrate.CreateHost(tx, w.org, w.env, model.Host{Name: name, Applications: apps}); err != nil {
			return err
		}
		h, err := orchestrate.AdoptHost(tx, w.org, w.env, name)
		if err == nil {
			id = h.ID
		}
		return err
	})
	w.finish(id)
	return id
}

// open are the open changes of a host.
func (w *world) open(hostID string) []*model.Change {
	w.t.Helper()
	var out []*model.Change
	view := w.db.Local()
	cs, err := orchestrate.Changes(view, w.org, hostID, false)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range cs {
		row, _ := state.Get[model.Change](view, c.UUID)
		out = append(out, row)
	}
	return out
}

// finish ends all open changes of a host well, but for the tasks of the numbers given, which fail.
func (w *world) finish(hostID string, failing ...int) {
	w.t.Helper()
	open := w.open(hostID)
	w.do(func(tx *state.Tx) error {
		for _, c := range open {
			e, _ := state.Edit[model.Change](tx, c.ID)
			for i := range e.Tasks {
				e.Tasks[i].Status = model.TaskOK
			}
			for _, i := range failing {
				e.Tasks[i].Status, e.Tasks[i].Error = model.TaskError, "failed"
			}
			e.Done = true
			if err := state.Put(tx, e); err != nil {
				return err
			}
		}
		return nil
	})
}

// steps tells the open changes of a host in short: one line per change, its tasks joined by commas.
func (w *world) steps(hostID string) string {
	w.t.Helper()
	var lines []string
	for _, c := range w.open(hostID) {
		lines = append(lines, taskLine(w.t, c.Tasks))
	}
	return strings.Join(lines, "\n")
}

func taskLine(t *testing.T, tasks []model.Task) string {
	t.Helper()
	var parts []string
	for i, task := range tasks {
		if task.OrderNum != i || task.Status != model.TaskPending {
			t.Errorf("task %d has number %d and status %s", i, task.OrderNum, task.Status)
		}
		s := task.Verb + " " + task.Collection + " " + task.Resource
		if task.Action != "" {
			s += " " + task.Action
		}
		if len(task.Restart) > 0 {
			s += fmt.Sprint(" restart", task.Restart)
		}
		if task.Fail != "" {
			s += " FAIL"
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, ", ")
}

func (w *world) owner(level model.Level, id string) model.Owner {
	return model.Owner{Level: level, OrgID: w.org, ID: id}
}

// context is the owner that an application on a host is.
func (w *world) context(hostID, app string) model.Owner {
	w.t.Helper()
	c, _, err := orchestrate.ContextByName(w.db.Local(), w.org, hostID, app)
	if err != nil {
		w.t.Fatal(err)
	}
	return orchestrate.OwnerOfContext(c)
}

// set creates or replaces a setting with handlers.
func (w *world) set(o model.Owner, s model.Setting) {
	w.t.Helper()
	w.do(func(tx *state.Tx) error {
		return orchestrate.BulkSettings(tx, o, []model.Setting{s}, true, orchestrate.Trigger{Handlers: true})
	})
}

func value(text string) json.RawMessage { return json.RawMessage(text) }

// rendered is a file as it is on a host.
func (w *world) rendered(hostID, app, file string) string {
	w.t.Helper()
	text, err := orchestrate.RenderHostFile(w.db.Local(), w.org, hostID, app, file)
	if err != nil {
		return "error: " + err.Error()
	}
	return string(text)
}
