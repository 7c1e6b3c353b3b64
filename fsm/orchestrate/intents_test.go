package orchestrate_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// fleetApp has a handler on a key, and a file that it makes of it.
const fleetApp = `{"name": "web", "services": [{"name": "nginx", "enabled": true}],
	"files": [{"name": "conf", "path": "/etc/conf", "mode": "644"}],
	"parameters": [{"name": "Port", "key": "port", "value": 80}],
	"handlers": [{"on": ["port"], "do": [{"action": "update", "resource": "file://conf"}, {"action": "restart", "resource": "service://nginx"}]}]}`

// fleet makes n provisioned hosts with an application, without changes.
func fleet(t *testing.T, n int) (w *world, app string, hosts []string) {
	t.Helper()
	w = newWorld(t)
	app = w.app(fleetApp)
	w.content(app, "conf", "${_host.name} listens on ${port}\n")
	for k := range n {
		hosts = append(hosts, w.host(fmt.Sprintf("h%03d", k), "web"))
	}
	return w, app, hosts
}

// step works off one batch, as the leader of a term would.
func (w *world) step(e *orchestrate.Expander) (hosts int, more bool) {
	w.t.Helper()
	hosts, more, err := e.Step(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	return hosts, more
}

// expandAll works off all intents.
func (w *world) expandAll() {
	w.t.Helper()
	e := orchestrate.NewExpander(w.db)
	for {
		if _, more := w.step(e); !more {
			return
		}
	}
}

const manyHosts = 80

func TestALargeSettingIsAnsweredAtOnceAndPlannedAfterwards(t *testing.T) {
	w, _, hosts := fleet(t, manyHosts)
	env := w.owner(model.LevelEnvironment, w.env)
	w.set(w.owner(model.LevelHost, hosts[3]), model.Setting{Key: "port", Value: value("1")}) // shields what is below
	w.finish(hosts[3])
	index := w.db.Local().Index()
	w.set(env, model.Setting{Key: "port", Value: value("8080")})
	if now := w.db.Local().Index(); now != index+1 {
		t.Errorf("the write took %d commits", now-index)
	}
	for _, h := range hosts[:5] {
		if s := w.steps(h); s != "" {
			t.Fatalf("planned at once: %s", s)
		}
		coming, st := orchestrate.ToCome(w.db.Local(), w.org, h), orchestrate.HostState(w.db.Local(), h)
		if len(coming) != 1 || coming[0].Description != "Run handlers: port changed" || st != model.HostUpdating {
			t.Errorf("host %s: %+v, %s", h, coming, st)
		}
	}
	// A leader works off a part, another one the rest.
	w.step(orchestrate.NewExpander(w.db))
	w.expandAll()
	for i, h := range hosts {
		want := "apply files /etc/conf, act services nginx restart"
		if i == 3 {
			want = ""
		}
		if s := w.steps(h); s != want {
			t.Errorf("host %d: %s", i, s)
		}
		if len(orchestrate.ToCome(w.db.Local(), w.org, h)) != 0 {
			t.Errorf("host %d is still to get something", i)
		}
	}
	c := w.open(hosts[0])[0]
	if content, ok := state.Content(w.db.Local(), w.org, c.Tasks[0].Content); !ok || string(content) != "h000 listens on 8080\n" {
		t.Errorf("the file is %q", content)
	}
	if orchestrate.IntentsPending(w.db.Local()) {
		t.Error("the intent is still there")
	}
	// What sets nothing off leaves nothing behind.
	w.set(env, model.Setting{Key: "port", Value: value("8080")})
	w.expandAll()
	if n := len(w.open(hosts[0])); n != 1 {
		t.Errorf("the same value: %d changes", n)
	}
}

// A later write on a host does not overtake what an earlier one is still to bring it, nor is that brought twice.
func TestLaterWritesDoNotOvertake(t *testing.T) {
	w, _, hosts := fleet(t, manyHosts)
	w.set(w.owner(model.LevelEnvironment, w.env), model.Setting{Key: "port", Value: value("8080")})
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.ServiceNow(tx, w.org, hosts[70], "web", "nginx", "restart")
		return err
	})
	want := "apply files /etc/conf, act services nginx restart\nact services nginx restart"
	if s := w.steps(hosts[70]); s != want {
		t.Errorf("the host has %s", s)
	}
	w.expandAll()
	if s := w.steps(hosts[70]); s != want {
		t.Errorf("afterwards the host has %s", s)
	}
	if s := w.steps(hosts[71]); s != "apply files /etc/conf, act services nginx restart" {
		t.Errorf("its neighbour has %s", s)
	}
}

// Two large writes are worked off in their order, and what is installed meanwhile has what it needs.
func TestTwoLargeWritesAndAHostInBetween(t *testing.T) {
	w, app, hosts := fleet(t, manyHosts)
	env := w.owner(model.LevelEnvironment, w.env)
	w.set(env, model.Setting{Key: "port", Value: value("1")})
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.UpdateApplication(tx, w.org, app, []byte(`{"packages": [{"name": "nginx"}]}`), orchestrate.Trigger{Handlers: true})
		return err
	})
	var late string
	w.do(func(tx *state.Tx) error {
		h, err := orchestrate.AdoptHost(tx, w.org, w.env, "late")
		if err != nil {
			return err
		}
		late = h.ID
		_, err = orchestrate.InstallApplication(tx, w.org, h.ID, model.ApplicationContext{Application: "web"})
		return err
	})
	coming := orchestrate.ToCome(w.db.Local(), w.org, hosts[0])
	if len(coming) != 2 || coming[1].Description != "Apply application web" {
		t.Errorf("to come: %+v", coming)
	}
	w.expandAll()
	if s := w.steps(hosts[0]); s != "apply files /etc/conf, act services nginx restart\napply packages nginx" {
		t.Errorf("a host has %s", s)
	}
	if s := w.steps(late); strings.Count(s, "\n") != 0 || !strings.HasPrefix(s, "apply packages nginx, apply files") {
		t.Errorf("the late host has %s", s)
	}
	w.do(func(tx *state.Tx) error { // what is gone from the application is removed
		_, err := orchestrate.UpdateApplication(tx, w.org, app, []byte(`{"packages": []}`), orchestrate.Trigger{Handlers: true})
		return err
	})
	w.finish(hosts[0])
	w.expandAll()
	if s := w.steps(hosts[0]); s != "apply packages nginx" {
		t.Errorf("after the package went, a host has %s", s)
	}
}

// A group that many hosts join brings them its settings.
func TestALargeGroup(t *testing.T) {
	w, _, hosts := fleet(t, manyHosts)
	var in []model.GroupedHost
	for k := range manyHosts {
		in = append(in, model.GroupedHost{Position: k, Environment: "Default", Host: fmt.Sprintf("h%03d", k)})
	}
	var id string
	w.do(func(tx *state.Tx) error {
		g, err := orchestrate.CreateHostgroup(tx, w.org, model.Hostgroup{Name: "all", Hosts: in, Settings: []model.Setting{{Key: "port", Value: value("9")}}}, nil)
		if err == nil {
			id = g.ID
		}
		return err
	})
	w.expandAll()
	if s := w.steps(hosts[5]); s != "apply files /etc/conf, act services nginx restart" {
		t.Errorf("joining: %s", s)
	}
	w.finish(hosts[5])
	w.do(func(tx *state.Tx) error { return orchestrate.DeleteHostgroup(tx, w.org, id) })
	w.expandAll()
	if s := w.steps(hosts[5]); s != "apply files /etc/conf, act services nginx restart" || w.rendered(hosts[5], "web", "conf") != "h005 listens on 80\n" {
		t.Errorf("leaving: %s", s)
	}
}

// A default that many hosts go by is as a setting.
func TestALargeDefault(t *testing.T) {
	w, app, hosts := fleet(t, manyHosts)
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.UpdateParameter(tx, w.org, app, "Port", []byte(`{"value": 81}`))
		return err
	})
	if len(w.open(hosts[0])) != 0 {
		t.Error("planned at once")
	}
	w.expandAll()
	if s := w.steps(hosts[0]); s != "apply files /etc/conf, act services nginx restart" {
		t.Errorf("%s", s)
	}
}

// fencedStore is the store of a leader whose term ends.
type fencedStore struct {
	orchestrate.IntentStore
	left int
}

func (s *fencedStore) Update(ctx context.Context, fn func(tx *state.Tx) error) error {
	if s.left--; s.left < 0 {
		return state.ErrFenced
	}
	return s.IntentStore.Update(ctx, fn)
}

func TestTheNextLeaderGoesOn(t *testing.T) {
	w, _, hosts := fleet(t, manyHosts)
	w.set(w.owner(model.LevelOrganization, w.org), model.Setting{Key: "port", Value: value("8080")})
	old := orchestrate.NewExpander(&fencedStore{w.db, 2})
	if err := old.Work(t.Context(), func(context.Context) error { return errors.New("nothing to wait for") }); !errors.Is(err, state.ErrFenced) {
		t.Fatalf("the old leader ended with %v", err)
	}
	done := 0
	for _, h := range hosts {
		done += len(w.open(h))
	}
	if done == 0 || done == len(hosts) {
		t.Fatalf("the old leader planned for %d hosts", done)
	}
	w.expandAll()
	for _, h := range hosts {
		if n := len(w.open(h)); n != 1 {
			t.Errorf("host %s has %d changes", h, n)
		}
	}
}

// An organization that is deleted takes what is still to be planned along.
func TestIntentsGoWithTheirOrganization(t *testing.T) {
	w, _, hosts := fleet(t, manyHosts)
	w.set(w.owner(model.LevelOrganization, w.org), model.Setting{Key: "port", Value: value("8080")})
	e := orchestrate.NewExpander(w.db)
	w.step(e)
	for _, h := range hosts {
		w.do(func(tx *state.Tx) error { return orchestrate.DeleteInstance(tx, w.org, h) })
	}
	w.do(func(tx *state.Tx) error { return orchestrate.DeleteOrganization(tx, w.org) })
	for more := true; more; {
		_, more = w.step(e)
	}
	if orchestrate.IntentsPending(w.db.Local()) {
		t.Error("an intent is left")
	}
}

// A large write that is only tried is told host by host, as far as that is bounded.
func TestOutlookOfALargeWrite(t *testing.T) {
	w, _, hosts := fleet(t, 120)
	w.set(w.owner(model.LevelHost, hosts[3]), model.Setting{Key: "port", Value: value("1")})
	tx := state.Rehearse(w.db.Local(), "admin")
	err := orchestrate.BulkSettings(tx, w.owner(model.LevelEnvironment, w.env), []model.Setting{{Key: "port", Value: value("8080")}}, true, orchestrate.Trigger{Handlers: true})
	if err != nil {
		t.Fatal(err)
	}
	p, err := orchestrate.Outlook(t.Context(), tx, func(*model.HostRow) bool { return true }, nil)
	if err != nil {
		t.Fatal(err)
	}
	if p.Count != 119 || len(p.Hosts) != 100 || p.LeftOut != 19 || p.Hosts[0].Changes[0].Tasks[0].Diff == "" {
		t.Errorf("%d hosts, %d shown, %d left out", p.Count, len(p.Hosts), p.LeftOut)
	}
	if orchestrate.IntentsPending(w.db.Local()) {
		t.Error("it was written")
	}
}
