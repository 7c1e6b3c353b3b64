package api_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
)

// work is what a write is, as section 3.1 of the contract tells the groups apart.
func work(r spec.Route) string {
	verb := r.Name[strings.LastIndexByte(r.Name, '.')+1:]
	starts := func(names ...string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(r.Name, n) })
	}
	switch {
	case strings.Contains(r.Name, "groups.update") && !strings.HasPrefix(r.Name, "host"+"groups"),
		starts("access.", "organizations.", "applicationkeys.", "invitations.", "enroltokens."):
		return "manage"
	case verb == "clone" && starts("environments.", "hosts.", "platforms.", "distributions."):
		return "copy"
	case starts("applications.", "platforms.", "distributions."), r.Level == "application", r.Level == "platform", r.Level == "distribution":
		return "design"
	}
	return "operate"
}

// mayWork tells which kinds of writes the members of a group may do.
func mayWork() map[string][]string {
	return map[string][]string{
		model.GroupAdmin:      {"manage", "copy", "design", "operate"},
		model.GroupUsers:      {"copy", "design", "operate"},
		model.GroupAuditors:   {"design", "operate"},
		model.GroupArchitects: {"design"},
		model.GroupReadonly:   nil,
		model.GroupNoAccess:   nil,
	}
}

// TestGroupsAtEveryLevel tries every write of an organization as a member of every group, given at the organization, the
// environment and the host: it is refused, hidden or done as the contract tells of the group, and no answer to who may
// not see secrets holds one, whether it is of a read, of a write or of its rehearsal.
func TestGroupsAtEveryLevel(t *testing.T) {
	w := newHostileSite(t)
	w.hideSecrets()
	hash := auth.HashPassword(strangersPassword)
	levels := []struct{ where, name string }{{"acme", "org"}, {"acme/Dev", "env"}, {"acme/Dev/web1", "host"}}
	type member struct {
		stranger
		group string
		depth int
	}
	var members []member
	for depth, at := range levels {
		for group := range mayWork() {
			name := "m-" + at.name + "-" + strings.ReplaceAll(group, " ", "")
			w.person(name, hash)
			w.join(name, group, at.where)
			members = append(members, member{stranger{role: group + " of " + at.where, headers: []string{"Authorization", basicAuth(name, strangersPassword)}}, group, depth})
		}
	}
	list := make([]stranger, len(members))
	for i, m := range members {
		list[i] = m.stranger
	}
	w.settle(list)
	tries, told := 0, 0
	for i, r := range spec.Routes() {
		if r.State != spec.Built || !strings.HasPrefix(r.Pattern, "/organizations/{org}") {
			continue
		}
		for j, m := range members {
			if underRace && (i+j)%8 != 0 {
				continue
			}
			index := w.db.Local().Index()
			answers := w.tryAs(m.stranger, r)
			a := answers[0]
			tries += len(answers)
			for _, a := range answers {
				if tells := strings.Contains(a.Body.String(), "s3cret"); tells && slices.Contains(mayWork()[m.group], "copy") {
					told++
				} else if tells {
					t.Errorf("%s %s as %s tells a secret: %d %s", r.Method, r.Pattern, m.role, a.Code, a.Body)
				}
			}
			if r.Method == spec.GET || r.Name == "host.preview" {
				continue
			}
			if now := w.db.Local().Index(); now != index && r.Name != "organizations.export" { // that is recorded
				t.Errorf("%s %s as %s, only tried, moved the state from %d to %d", r.Method, r.Pattern, m.role, index, now)
			}
			depth := min(strings.Count(r.Pattern, "{org}")+strings.Count(r.Pattern, "{env}")+strings.Count(r.Pattern, "{host}"), 3) - 1
			want := "done"
			switch {
			case m.group == model.GroupNoAccess:
				want = "hidden"
			case depth < m.depth, !slices.Contains(mayWork()[m.group], work(r)):
				want = "refused"
			}
			got := "done"
			switch {
			case a.Code == http.StatusForbidden:
				got = "refused"
			case a.Code == http.StatusNotFound && strings.Contains(problem(a), "no work on a machine"): // there is none: it got that far
			case a.Code == http.StatusNotFound:
				got = "hidden"
			case a.Code >= 500:
				got = fmt.Sprint(a.Code)
			}
			if got != want {
				t.Errorf("%s %s (%s, %s) as %s: %s, want %s: %d %.300s", r.Method, r.Pattern, r.Name, work(r), m.role, got, want, a.Code, a.Body)
			}
		}
	}
	if told == 0 {
		t.Error("nobody is told a secret: then this looks for nothing")
	}
	t.Logf("%d requests of %d members, %d answers with a secret for who may see it", tries, len(members), told)
}

// hideSecrets puts a secret wherever a setting may stand, and into what is rendered.
func (w *hostileSite) hideSecrets() {
	w.t.Helper()
	o := "/organizations/acme"
	for i, owner := range []string{o, o + "/environments/Dev", web1, web1 + "/applications/web", web1 + "/platform", web1 + "/distribution",
		o + "/platforms/cloud", o + "/distributions/os", o + "/hostgroups/all"} {
		secret := fmt.Sprintf(`{"key": "pw", "value": "s3cret-%d", "schema": {"type": "string", "secret": true}}`, i)
		w.play([]exchange{{"POST", owner + "/settings/?trigger_application_handler=false", secret, 201, ""}})
	}
	for _, file := range []string{"applications/web/files/site.conf", "platforms/cloud/files/site.conf", "distributions/os/files/site.conf"} {
		body, kind := form("file", "listen ${port} ${pw};\n")
		if a := w.raw("POST", o+"/"+file+"/content", body, "Content-Type", kind); a.status != http.StatusOK {
			w.t.Fatalf("%s: %d %s", file, a.status, a.body)
		}
	}
}

// tryAs sends what the route takes, as a rehearsal where it writes; a second time for the secret where it names a setting.
func (w *hostileSite) tryAs(p stranger, r spec.Route) []*httptest.ResponseRecorder {
	w.t.Helper()
	body, ok := tried[r.Name+" "+r.Level]
	if !ok {
		body, ok = tried[r.Name]
	}
	if r.Name == "host.preview" {
		body = `{"template": "${pw}"}`
	} else if !ok {
		body = described
	}
	var out []*httptest.ResponseRecorder
	for _, key := range []string{"port", "pw"} {
		path := w.path(r, func(place, v string) string {
			if place == "key" {
				return key
			}
			return v
		})
		switch {
		case key == "pw" && (!strings.Contains(r.Pattern, "{key}") || strings.Contains(r.Pattern, "applicationkeys")):
			continue
		case r.Method == spec.GET:
			out = append(out, w.ask(p, r.Method, path, ""))
		case takes(r) == "form":
			out = append(out, w.askRoute(p, r, path+"?dry_run=true"))
		case r.Name == "organizations.export": // it changes nothing, and cannot be rehearsed
			out = append(out, w.ask(p, r.Method, path, "{}"))
		default:
			out = append(out, w.ask(p, r.Method, path+"?dry_run=true&name=other&no_delete=true", body))
		}
	}
	return out
}
