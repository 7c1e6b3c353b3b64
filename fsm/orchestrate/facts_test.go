package orchestrate_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// The facts of a machine are properties of its instance from the first plan on: a template of an application that
// waited for the machine finds them.
func TestFactsBecomeProperties(t *testing.T) {
	w := newWorld(t)
	id := w.app(`{"name": "a", "parameters": [{"name": "addr", "key": "addr", "schema": {"type": "string"}}],
		"files": [{"name": "f", "path": "/f", "template": {"name": "f", "delimiter": {"start": "${", "end": "}"}}}]}`)
	w.content(id, "f", "at ${addr}\n")
	w.set(w.owner(model.LevelEnvironment, w.env), model.Setting{Key: "addr", Property: "ip.eth0"})
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.CreateHost(tx, w.org, w.env, model.Host{Name: "h1", Applications: []string{"a"}})
		return err
	})
	w.token("any", 0, time.Time{})
	e := enrolment("any", "a1", "h1")
	e.Facts = map[string]string{
		"ip.eth0": "192.0.2.7", "hostname": "box", "os": "debian", "empty": "", "": "x", "b c": "x", "9": "x",
		"big": strings.Repeat("x", 2000),
	}
	for i := range 300 {
		e.Facts[fmt.Sprintf("z%03d", i)] = "x"
	}
	var host string
	w.do(func(tx *state.Tx) error {
		a, err := orchestrate.Enrol(tx, e)
		if err == nil {
			host = a.HostID
		}
		return err
	})
	i, err := orchestrate.GetInstance(w.db.Local(), w.org, host)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, p := range i.Properties {
		got[p.Key] = p.Value
	}
	if got["ip.eth0"] != "192.0.2.7" || got["hostname"] != "box" || got["os"] != "debian" || i.Hostname != "box" {
		t.Errorf("the properties are %v, the host name is %s", got, i.Hostname)
	}
	for _, key := range []string{"empty", "", "b c", "9", "big"} {
		if _, ok := got[key]; ok {
			t.Errorf("the fact %q became a property", key)
		}
	}
	if len(got) > 260 {
		t.Errorf("%d facts became properties", len(got))
	}
	changes := w.open(host)
	if len(changes) != 1 {
		t.Fatalf("%d changes, expected the installation alone", len(changes))
	}
	for _, task := range changes[0].Tasks {
		if task.Fail != "" {
			t.Errorf("%s: %s", task.Description, task.Fail)
		}
	}
}
