package orchestrate_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// Agents tell what differs; the published client prints whole states, and knows six types only.
func TestComplianceShowsWholeStates(t *testing.T) {
	w := newWorld(t)
	w.app(`{"name":"all","packages":[{"name":"nginx"}],"services":[{"name":"nginx","enabled":true}],
		"files":[{"name":"conf","path":"/etc/conf","owner":"root","group":"www","mode":"644"}],
		"directories":[{"name":"data","path":"/data","mode":"0755"},{"name":"conf","path":"/etc/conf.d"}],
		"users":[{"name":"bob","loginGroup":"www","groups":["adm"],"uid":7,"home":"/home/bob","shell":"/bin/sh","fullName":"Bob"},{"name":"al","gid":5}],
		"groups":[{"name":"www","gid":33},{"name":"any","gid":-1}]}`)
	h := w.host("h1", "all")
	for _, c := range []struct{ typ, name, expected, observed, wantExpected, wantCurrent string }{
		{"files", "conf", `{"mode":"0644"}`, `{"mode":"0600"}`, `{"group":"www","mode":"0644","owner":"root","path":"/etc/conf","present":true}`,
			`{"group":"www","mode":"0600","owner":"root","path":"/etc/conf","present":true}`},
		{"files", "conf", `{"present":true}`, `{"present":false}`, `{"group":"www","mode":"0644","owner":"root","path":"/etc/conf","present":true}`,
			`{"path":"/etc/conf","present":false}`},
		{"directories", "data", `{"owner":"root"}`, `{"owner":"eve"}`, `{"mode":"0755","owner":"root","path":"/data","present":true}`,
			`{"mode":"0755","owner":"eve","path":"/data","present":true}`},
		{"services", "nginx", `{"running":true}`, `{"running":false}`, `{"enabled":true,"running":true}`, `{"enabled":true,"running":false}`},
		{"packages", "nginx", `{"version":"2"}`, `{"version":"1"}`, `{"installed":true,"version":"2"}`, `{"installed":true,"version":"1"}`},
		{"packages", "nginx", `{"installed":true}`, `{"installed":false}`, `{"installed":true}`, `{"installed":false}`},
		{"users", "bob", `{"group":"www","home":"/home/bob"}`, `{"group":"bob","home":"/"}`,
			`{"dir":"/home/bob","gecos":"Bob","gid":"www","group":"www","groups":["adm"],"home":"/home/bob","name":"bob","present":true,"shell":"/bin/sh","uid":"7"}`,
			`{"dir":"/","gecos":"Bob","gid":"bob","group":"bob","groups":["adm"],"home":"/","name":"bob","present":true,"shell":"/bin/sh","uid":"7"}`},
		{"users", "al", `{"present":true}`, `{"present":false}`, `{"dir":"","gecos":"","gid":"5","groups":[],"name":"al","present":true,"shell":""}`, `{"name":"al","present":false}`},
		{"groups", "www", `{"gid":33}`, `{"gid":34}`, `{"gid":33,"name":"www","present":true}`, `{"gid":34,"name":"www","present":true}`},
		{"groups", "any", `{"present":true}`, `{"present":false}`, `{"name":"any","present":true}`, `{"name":"any","present":false}`},
	} {
		origin := model.Origin{Application: "all", Type: c.typ, Name: c.name}
		w.do(func(tx *state.Tx) error {
			return orchestrate.PutCompliance(tx, h, origin, value(c.expected), value(c.observed))
		})
		list, err := orchestrate.ComplianceErrors(w.db.Local(), w.org, h)
		if err != nil || len(list) != 1 {
			t.Fatalf("%s %s: %+v %v", c.typ, c.name, list, err)
		}
		got := list[0]
		if string(got.ExpectedState) != c.wantExpected || string(got.CurrentState) != c.wantCurrent {
			t.Errorf("%s %s: expected %s\ncurrent %s", c.typ, c.name, got.ExpectedState, got.CurrentState)
		}
		shown := strings.TrimSuffix(got.Type, "Resource") + "s" // as the published client makes the identifier
		if one, err := orchestrate.GetComplianceError(w.db.Local(), w.org, h, "all", shown, c.name); err != nil || string(one.CurrentState) != c.wantCurrent {
			t.Errorf("applications/all/%s/%s: %+v %v", shown, c.name, one, err)
		}
		w.do(func(tx *state.Tx) error { return orchestrate.DeleteComplianceError(tx, w.org, h, "all", shown, c.name) })
	}
}

// A file and a directory of one name are told apart: the file comes first, then the directory.
func TestComplianceOfFileAndDirectoryOfOneName(t *testing.T) {
	w := newWorld(t)
	w.app(`{"name":"all","files":[{"name":"conf","path":"/etc/conf"}],"directories":[{"name":"conf","path":"/etc/conf.d"}]}`)
	h := w.host("h1", "all")
	for _, typ := range []string{"directories", "files"} {
		w.do(func(tx *state.Tx) error {
			return orchestrate.PutCompliance(tx, h, model.Origin{Application: "all", Type: typ, Name: "conf"}, value(`{"mode":"1"}`), value(`{"mode":"2"}`))
		})
	}
	for _, path := range []string{"/etc/conf", "/etc/conf.d"} {
		one, err := orchestrate.GetComplianceError(w.db.Local(), w.org, h, "all", "files", "conf")
		var current struct{ Path string }
		if err != nil || json.Unmarshal(one.CurrentState, &current) != nil || current.Path != path {
			t.Errorf("got %+v %v, want that of %s", one, err, path)
		}
		w.do(func(tx *state.Tx) error {
			return orchestrate.DeleteComplianceError(tx, w.org, h, "all", "files", "conf")
		})
	}
}

func TestOrganizationKeepsAnAdministrator(t *testing.T) {
	w := newWorld(t)
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.CreateUser(tx, model.User{Username: "ann"}, "hash")
		return err
	})
	update := func(patch string) func(tx *state.Tx) error {
		return func(tx *state.Tx) error {
			_, err := orchestrate.UpdateGroup(tx, model.Owner{Level: model.LevelOrganization, OrgID: w.org, ID: w.org}, "admin", []byte(patch))
			return err
		}
	}
	w.do(update(`{"name":"admin","users":[{"username":"ann"}]}`))
	w.refused(model.Conflict, "nobody could manage it", update(`{"users":[]}`))
	w.refused(model.Invalid, "the groups are fixed", update(`{"name":"root","users":[{"username":"ann"}]}`))
	w.refused(model.Invalid, "has no username", update(`{"users":[{}]}`))
	w.refused(model.Conflict, "nobody could manage it", update(`{"users":[{"username":"bob"}]}`))
}
