package api_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

func coreJobCases() []exchange {
	jobs := inAcme + "/jobs/"
	return []exchange{
		{"POST", inAcme + "/environments/Dev/hosts/", `{"name": "doomed"}`, 201, ""},
		{"GET", jobs, "", 200, `{"count":0,"items":[]}`},
		{"POST", jobs, `{"name": "clean up", "description": "d", "enabled": "true", "input": "organizations/acme/environments/Dev/hosts/doomed", "action": "DELETE_HOST",
			"organization": "", "cron": "30 4 * * *", "date": "2018-04-04T15:37:30.612+0200", "operation": {"desciption": "NONE", "operation": "NONE"}}`,
			201, `"operation":{"desciption":"NONE","operation":"NONE"}`},
		{"GET", jobs, "", 200, `"organization":"acme"`},
		{"GET", jobs + "clean%20up" + clientFlags, "", 200, `"enabled":"true"`},
		{"PUT", jobs + "clean%20up?force=False", `{"name": "clean up", "description": "e", "cron": "0 5 * * mon"}`, 200, `"cron":"0 5 * * mon"`},
		{"PUT", jobs + "clean%20up//_run?wait=True", "", 200, ""},
		{"GET", inAcme + "/other/", "", 200, `"message":"job clean up: `},
		{"GET", inAcme + "/environments/Dev/hosts/doomed" + clientFlags, "", 404, `{"error":["`},
		{"DELETE", jobs + "clean%20up", "", 204, ""},
		{"GET", jobs + "clean%20up" + clientFlags, "", 404, `{"error":["`},
	}
}

func TestJobsRefuse(t *testing.T) {
	s := newSite(t, withDesk).furnish()
	jobs := inAcme + "/jobs/"
	body := func(input, action string) string {
		return `{"name": "j", "input": "` + input + `", "action": "` + action + `", "cron": "* * * * *"}`
	}
	s.play([]exchange{
		{"POST", jobs, `{"name": "j"}`, 400, "action is missing"},
		{"POST", jobs, body("organizations/other/environments/Dev/hosts/web1", "DELETE_HOST"), 400, "within its own organization"},
		{"POST", jobs, `{"name": "j", "action": "X", "cron": "61 * * * *"}`, 400, "minute"},
		{"POST", jobs, body("organizations/acme/environments/Dev/hosts/web1", "DANCE"), 201, `"nextRun":"`},
		{"POST", jobs, body("organizations/acme/environments/Dev/hosts/web1", "DANCE"), 409, "j"},
		{"PUT", jobs + "j//_run", "", 409, "does not know the action"},
		{"PUT", jobs + "j", `{"action": "RUN_HANDLER"}`, 200, ""},
		{"PUT", jobs + "j/_run", "", 409, "names no handler"},
		{"PUT", jobs + "j", `{"input": "organizations/acme/environments/Dev/hosts/none"}`, 200, ""},
		{"PUT", jobs + "j/_run", "", 409, "there is no host Dev/none"},
		// A date that is past would make it run at once; one that it has, or with a table, or of a job that is off, is fine.
		{"POST", jobs, `{"name": "late", "action": "X", "date": "2018-04-04T15:37:30.612+0200"}`, 400, "date is 2018-04-04T15:37:30.612+0200, which is past"},
		{"POST", jobs, `{"name": "late", "action": "X", "enabled": false, "date": "2018-04-04T15:37:30.612+0200"}`, 201, ""},
		{"PUT", jobs + "late", `{"description": "d"}`, 200, ""},
		{"PUT", jobs + "late", `{"enabled": true}`, 400, "which is past"},
		{"PUT", jobs + "late", `{"enabled": true, "cron": "* * * * *"}`, 200, ""},
		{"PUT", jobs + "late", `{"cron": ""}`, 400, "which is past"},
		{"DELETE", jobs + "late", "", 204, ""},
		// What a job names follows when it is renamed.
		{"PUT", jobs + "j", `{"action": "STOP_HOST", "input": "organizations/acme/environments/Dev/hosts/web1"}`, 200, ""},
		{"PUT", inAcme + "/environments/Dev/", `{"name": "Test"}`, 200, ""},
		{"PUT", inAcme + "/", `{"name": "corp"}`, 200, ""},
		{"GET", "/organizations/corp/jobs/j", "", 200, `"input":"organizations/corp/environments/Test/hosts/web1"`},
		{"PUT", "/organizations/corp/jobs/j//_run", "", 409, "enrolled by itself"},
	})
}

// Who may not change a host cannot make a job do it.
func TestJobsDoNotLendRights(t *testing.T) {
	s := newSite(t).furnish()
	s.user("ben", "users", "acme")
	s.join("ben", "no access", "acme/Dev")
	ben := []string{"Authorization", basicAuth("ben", "ben-password")}
	make := func(name, host string) {
		a := s.raw("POST", inAcme+"/jobs/", `{"name": "`+name+`", "action": "DELETE_INSTANCE", "input": "organizations/acme/environments/Dev/hosts/`+host+`"}`, ben...)
		if a.status != http.StatusCreated {
			t.Fatalf("ben's job: %d %s", a.status, a.body)
		}
	}
	make("hidden", "web1")
	make("absent", "web9")
	hidden, absent := s.raw("PUT", inAcme+"/jobs/hidden/_run", "", ben...), s.raw("PUT", inAcme+"/jobs/absent/_run", "", ben...)
	if hidden.status != http.StatusConflict || strings.NewReplacer("web1", "web9", "hidden", "absent").Replace(hidden.errors(t)) != absent.errors(t) {
		t.Errorf("a hidden host: %d %s; an absent one: %s", hidden.status, hidden.body, absent.body)
	}
	s.play([]exchange{{"GET", web1 + "/instance/", "", 200, ""}, {"PUT", inAcme + "/jobs/hidden//_run", "", 200, ""}, {"GET", web1 + "/instance/", "", 404, ""}})
	s.user("reader", "readonly", "acme")
	reader := []string{"Authorization", basicAuth("reader", "reader-password")}
	if a := s.raw("PUT", inAcme+"/jobs/hidden/_run", "", reader...); a.status != http.StatusForbidden {
		t.Errorf("who only reads runs a job: %d %s", a.status, a.body)
	}
}

// With wait the answer comes when what the job began is over.
func TestJobRunWaits(t *testing.T) {
	s := newSite(t, withDesk).furnish().remembered()
	s.machine("vm", model.InstanceRunning)
	s.play([]exchange{{"POST", inAcme + "/jobs/", `{"name": "j", "action": "STOP_HOST", "input": "organizations/acme/environments/Dev/hosts/vm"}`, 201, ""}})
	got := make(chan answer, 1)
	go func() { got <- s.raw("PUT", inAcme+"/jobs/j//_run?wait=True", "") }()
	var work *model.MachineWork
	for deadline := time.After(time.Minute); work == nil; {
		ws := state.NewWatchSet()
		if all := state.List[model.MachineWork](s.db.Local().Watched(ws), model.OpenMachineWork); len(all) == 1 {
			work = all[0]
			break
		}
		select {
		case a := <-got:
			t.Fatalf("it answered before anything was begun: %d %s", a.status, a.body)
		case <-deadline:
			t.Fatal("nothing was begun")
		case <-waited(t, ws):
		}
	}
	select {
	case a := <-got:
		t.Fatalf("it answered while the machine was being stopped: %d %s", a.status, a.body)
	default:
	}
	s.update(func(tx *state.Tx) error {
		state.Delete[model.MachineWork](tx, work.InstanceID)
		return nil
	})
	if a := <-got; a.status != http.StatusOK {
		t.Errorf("when it was over: %d %s", a.status, a.body)
	}
}

// waited is closed when the set changed.
func waited(t *testing.T, ws *state.WatchSet) <-chan struct{} {
	ch := make(chan struct{})
	go func() { _ = ws.Wait(t.Context()); close(ch) }()
	return ch
}
