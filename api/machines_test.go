package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/muster-hq/muster/api"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// desk stands in for the drivers: one for the class "sim" that can do everything, one for FreeDriver that can do nothing.
type desk struct{}

func (desk) Driver(class string) (orchestrate.DriverInfo, bool) {
	switch class {
	case "sim":
		return orchestrate.DriverInfo{Name: "Sim", Text: "for tests", Power: true, Images: true}, true
	case model.FreeDriver:
		return orchestrate.DriverInfo{Name: "FreeDriver", Text: "by hand"}, true
	}
	return orchestrate.DriverInfo{}, false
}

func (desk) Token(_ state.Reader, i *model.InstanceRow) (string, error) {
	return "muster-enrol-1.of-" + i.ID, nil
}

func (desk) Console(_ context.Context, _ state.Reader, i *model.InstanceRow) (host, port string, err error) {
	if i.PlatformID == "" {
		return "", "", errors.New("no console")
	}
	return "192.0.2.7", "5901", nil
}

func (desk) Images(_ context.Context, _ state.Reader, p *model.PlatformRow) ([]model.Image, error) {
	if p.Document.Driver.ClassName != "sim" {
		return nil, nil
	}
	return []model.Image{{ID: "1", Name: "gold", Settings: []model.Setting{}}}, nil
}

func (desk) ImageParameters(class string) []model.Parameter {
	if class != "sim" {
		return nil
	}
	return []model.Parameter{{Name: "Size", Key: "size", Value: json.RawMessage(`"big"`)}}
}

func (desk) Defaults(string) ([]model.Setting, []model.Parameter) {
	return []model.Setting{{Key: "zone", Value: json.RawMessage(`"a"`)}}, []model.Parameter{{Name: "Size", Key: "size"}}
}

func (desk) Test(_ context.Context, _ string, settings []model.Setting) error {
	for _, s := range settings {
		if s.Key == "bad" {
			return model.Errorf(model.Invalid, "the driver tried the settings: bad")
		}
	}
	return nil
}

func withDesk(c *api.Config) { c.Machines = desk{} }

// machine makes a host on platform "vms" of class "sim" whose machine is in a state.
func (s *site) machine(name string, st model.InstanceState) {
	s.t.Helper()
	if s.raw("GET", inAcme+"/platforms/vms", "").status == 404 {
		s.play([]exchange{{"POST", inAcme + "/platforms/", `{"name": "vms", "driver": {"className": "sim"}}`, 201, `"name":"Sim"`}})
	}
	at := inAcme + "/environments/Dev/hosts/"
	s.play([]exchange{{"POST", at, `{"name": "` + name + `", "platform": "vms"}`, 201, ""}})
	if st == "" {
		return
	}
	s.play([]exchange{{"POST", at + name + "/instance/", "{}", 201, `"STARTING"`}})
	s.update(func(tx *state.Tx) error {
		o, err := orchestrate.OrganizationByName(tx, "acme")
		if err != nil {
			return err
		}
		e, err := orchestrate.EnvironmentByName(tx, o.ID, "Dev")
		if err != nil {
			return err
		}
		h, err := orchestrate.HostByName(tx, o.ID, e.ID, name)
		if err != nil {
			return err
		}
		i, _ := state.Edit[model.InstanceRow](tx, h.ID)
		i.Provisioning, i.State = false, st
		state.Delete[model.MachineWork](tx, i.ID)
		return state.Put(tx, i)
	})
}

// furnishMachines makes a host for each thing that is done to a machine.
func (s *site) furnishMachines() *site {
	s.t.Helper()
	for name, st := range map[string]model.InstanceState{
		"new": "", "old": "", "off": model.InstanceRunning, "stopped": model.InstanceStopped, "busy": model.InstanceRunning,
		"paused": model.InstancePaused, "idle": model.InstanceRunning, "gold": model.InstanceRunning,
	} {
		s.machine(name, st)
	}
	return s
}

func coreMachineCases() []exchange {
	at := inAcme + "/environments/Dev/hosts/"
	return []exchange{
		{"POST", at + "new/instance/", "{}", 201, `"state":"STARTING","synapseState":"Down"`},
		{"GET", at + "new" + clientFlags, "", 200, `"state":"PROVISIONING"`},
		{"POST", at + "new/instance/", "{}", 409, "has an instance already"},
		{"GET", at + "new/instance/vnc", "", 200, `{"hostname":"192.0.2.7","port":"5901"}`},
		{"POST", at + "old/instance/properties", `[{"key": "ip.eth0", "value": "192.0.2.1"}]`, 201, `"properties":[{"key":"ip.eth0","value":"192.0.2.1"}]`},
		{"PUT", at + "stopped/instance/_start", "", 202, ""},
		{"PUT", at + "busy/instance/_pause", "", 202, ""},
		{"PUT", at + "paused/instance/_resume", "", 202, ""},
		{"PUT", at + "idle/instance/_stop", "", 202, ""},
		{"PUT", at + "off/instance/_off", "", 202, ""},
		{"PUT", at + "gold/instance/_create_image", `{"name": null, "createDistribution": false, "settings": [{"key": "size", "value": "big"}]}`, 202, ""},
		{"DELETE", at + "gold/instance/", "", 204, ""},
		{"GET", at + "gold/instance/" + clientFlags, "", 404, `{"error":["`},
		{"GET", at + "gold" + clientFlags, "", 200, `"state":"DEFINED"`},
		{"GET", inAcme + "/platforms/vms/images", "", 200, `"name":"gold"`},
		{"GET", inAcme + "/platforms/vms/driver/image_parameters", "", 200, `"key":"size"`},
	}
}

func TestInstancesRefuse(t *testing.T) {
	s := newSite(t, withDesk).furnish().furnishMachines()
	at := inAcme + "/environments/Dev/hosts/"
	s.play([]exchange{
		{"POST", inAcme + "/platforms/", `{"name": "hv", "driver": {"className": "com.example.Nobody"}}`, 201, "no driver of that class"},
		{"POST", inAcme + "/platforms/", `{"name": "rack", "driver": {"className": "` + model.FreeDriver + `"}}`, 201, "by hand"},
		{"POST", at, `{"name": "bare"}`, 201, ""},
		{"POST", at + "bare/instance/", "{}", 409, "has no platform"},
		{"POST", at + "bare/platform/", `{"platform": "hv"}`, 201, ""},
		{"POST", at + "bare/instance/", "{}", 409, "driver com.example.Nobody, which this server does not have"},
		{"POST", at + "bare/instance/properties", "[]", 409, "com.example.Nobody"},
		{"GET", at + "bare", "", 200, `"state":"DEFINED"`},
		{"POST", at + "bare/platform/", `{"platform": "rack"}`, 201, ""},
		{"POST", at + "bare/instance/", "{}", 201, `"waiting":"create: the driver is asked"`},
		{"PUT", at + "bare/instance/_start", "", 409, "is being provisioned"},
		{"PUT", at + "bare/instance/_create_image", "{}", 409, "is being provisioned"},
		{"POST", at + "bare/applications/", `{"application": "web"}`, 201, ""},
		{"PUT", at + "bare/applications/web/services/nginx/_restart", "", 409, "has no agent yet"},
		{"GET", at + "bare/changes/?show_processed=True", "", 200, `{"count":0,"items":[]}`},

		{"PUT", at + "busy/instance/_start", "", 409, "it has to be STOPPED or ERROR"},
		{"PUT", at + "busy/instance/_resume", "", 409, "it has to be PAUSED"},
		{"PUT", at + "stopped/instance/_stop", "", 409, "it has to be RUNNING"},
		{"POST", at + "busy/instance/lock", "", 200, ""},
		{"PUT", at + "busy/instance/_stop", "", 409, "locked"},
		{"PUT", at + "busy/instance/_off", "", 409, "locked"},
		{"DELETE", at + "busy/instance/", "", 409, "locked"},
		{"PUT", at + "busy/instance/_pause", "", 202, ""},
		{"PUT", at + "busy/instance/_create_image", "{}", 409, "pause of the machine of host"},
		{"PUT", web1 + "/instance/_start", "", 409, "enrolled by itself"},
		{"GET", web1 + "/instance/vnc", "", 200, `{"hostname":"","port":""}`},

		{"POST", at + "new/instance/properties", `{"key": "a"}`, 400, "a JSON list was expected"},
		{"POST", at + "new/instance/properties", `[{"key": "a b", "value": ""}]`, 400, "is not usable"},
		{"POST", at + "new/instance/properties", `[{"key": "a", "value": "1"}, {"key": "a", "value": "2"}]`, 400, "is there twice"},
		{"POST", at + "new/instance/properties", `[{"key": "a", "value": "` + strings.Repeat("x", 1025) + `"}]`, 400, "at most 1024"},
		{"PUT", at + "idle/instance/_create_image", `{"createDistribution": "perhaps"}`, 400, "give true or false"},
		{"PUT", at + "idle/instance/_create_image", `{"name": "a/b"}`, 400, "image"},
		{"GET", at + "new/instance/vnc", "", 404, "has no instance"},
		{"PUT", at + "new/instance/_off", "", 404, "has no instance"},
		{"POST", at + "new/instance/token", "", 404, "has no instance"},
		{"POST", at + "idle/instance/token", "", 409, "used up"},

		{"POST", inAcme + "/platforms/?test=true", `{"name": "t", "driver": {"className": "sim"}, "settings": [{"key": "bad", "value": 1}]}`, 400, "tried the settings"},
		{"GET", inAcme + "/platforms/t", "", 404, ""},
		{"POST", inAcme + "/platforms/?default=true", `{"name": "t", "driver": {"className": "sim"}, "settings": [{"key": "zone", "value": "mine"}]}`, 201, `"key":"zone","value":"mine"`},
		{"GET", inAcme + "/platforms/t/parameters/Size", "", 200, `"key":"size"`},
		{"PUT", inAcme + "/machines/nope/_retry", "", 404, "no work on a machine"},
	})
}

// The token is the same as long as it is good: whoever makes a machine by hand may ask for it twice.
func TestMachineToken(t *testing.T) {
	s := newSite(t, withDesk).furnish().furnishMachines()
	at := inAcme + "/environments/Dev/hosts/new/instance/"
	s.play([]exchange{{"POST", at, "{}", 201, ""}})
	first, second := s.raw("POST", at+"token", ""), s.raw("POST", at+"token", "")
	if first.status != 200 || !strings.Contains(first.body, `"token":"muster-enrol-1.of-`) || first.body != second.body {
		t.Errorf("the token: %d %s, then %s", first.status, first.body, second.body)
	}
	s.user("reader", "readonly", "acme")
	if a := s.raw("POST", at+"token", "", "Authorization", basicAuth("reader", "reader-password")); a.status != 403 {
		t.Errorf("who only reads gets it: %d %s", a.status, a.body)
	}
	if strings.Contains(s.log.String(), "muster-enrol-1") {
		t.Error("the token is in the log")
	}
}

// A machine that cannot be destroyed keeps its platform and its organization, until somebody gives it up.
func TestMachinesToBeDestroyed(t *testing.T) {
	s := newSite(t, withDesk).furnish()
	s.machine("vm", model.InstanceRunning)
	s.play([]exchange{
		{"DELETE", inAcme + "/environments/Dev/hosts/vm/instance/", "", 204, ""},
		{"DELETE", inAcme + "/environments/Dev/hosts/vm", "", 204, ""},
		{"DELETE", web1 + "/instance/", "", 204, ""},
		{"DELETE", inAcme + "/platforms/vms", "", 409, "still to be destroyed"},
		{"DELETE", inAcme, "", 409, "still to be destroyed"},
	})
	var list struct{ Items []model.Machine }
	if err := json.Unmarshal([]byte(s.raw("GET", inAcme+"/machines/", "").body), &list); err != nil || len(list.Items) != 1 {
		t.Fatalf("the machines: %v %v", list, err)
	}
	m := list.Items[0]
	if m.Do != model.DoDestroy || m.Host != "Dev/vm" || m.Platform != "vms" || m.Failed {
		t.Errorf("the machine is told as %+v", m)
	}
	s.play([]exchange{
		{"PUT", inAcme + "/machines/" + m.ID + "/_retry", "", 200, `"do":"destroy"`},
		{"DELETE", inAcme + "/machines/" + m.ID, "", 204, ""},
		{"DELETE", inAcme + "/platforms/vms", "", 204, ""},
		{"DELETE", inAcme, "", 204, ""},
	})
	if left := s.rowsLeft(); len(left) > 0 {
		t.Errorf("rows are left: %v", left)
	}
}
