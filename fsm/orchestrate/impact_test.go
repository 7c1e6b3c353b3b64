package orchestrate_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// all may see everything.
func all(model.Owner) (orchestrate.Show, bool) { return orchestrate.Show{}, true }

// impact tells what a change of a setting would touch in short: handlers and hosts of applications, then the rest.
func (w *world) impact(o model.Owner, key string, see orchestrate.Sight) string {
	w.t.Helper()
	got, err := orchestrate.Impact(w.db.Local(), o, key, see)
	if err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for _, c := range got.SettingHandlerContexts {
		line := c.Application + ":"
		for _, h := range c.Hosts {
			line += " " + h.Environment + "/" + h.Name
		}
		for _, h := range c.Handlers {
			line += " " + h.Do[0].Action + " " + h.Do[0].Resource
		}
		if c.NoAccessToAllResources {
			line += " ..."
		}
		out = append(out, line)
	}
	for _, r := range got.OtherResources {
		out = append(out, strings.TrimPrefix(r, "organizations/Demo/"))
	}
	if got.NoAccessToAllResources {
		out = append(out, "...")
	}
	return strings.Join(out, "\n")
}

const site = `{"name":"site","files":[{"name":"conf","path":"/etc/conf"},{"name":"motd","path":"/etc/motd"},{"name":"other","path":"/etc/other"},{"name":"dyn","path":"/etc/dyn"}],
"services":[{"name":"httpd","enabled":true}],
"handlers":[{"name":"conf","on":["port","listen"],"do":[{"action":"update","resource":"file://conf"}]},{"name":"run","on":["listen"],"do":[{"action":"execute","resource":"file://motd"}]}]}`

// impactWorld has h1 and h2 with the application site, h2 with a port of its own, and h3, which has no machine yet.
func impactWorld(t *testing.T) (w *world, h1, h2 string) {
	w = newWorld(t)
	app := w.app(site)
	w.content(app, "conf", "${port}")
	w.content(app, "motd", "<#list ports as port>${port}</#list> ${listen}<#if false>${port}</#if>")
	w.content(app, "other", "port ${name!}")
	w.content(app, "dyn", "${.vars[name!'x']!}")
	h1, h2 = w.host("h1", "site"), w.host("h2", "site")
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.CreateHost(tx, w.org, w.env, model.Host{Name: "h3", Applications: []string{"site"}})
		return err
	})
	w.set(w.owner(model.LevelOrganization, w.org), model.Setting{Key: "port", Value: value("1")})
	w.set(w.owner(model.LevelHost, h2), model.Setting{Key: "port", Value: value("2")})
	return w, h1, h2
}

func TestImpact(t *testing.T) {
	w, h1, h2 := impactWorld(t)
	org, env := w.owner(model.LevelOrganization, w.org), w.owner(model.LevelEnvironment, w.env)
	const at1, at2 = "environments/Default/hosts/h1/", "environments/Default/hosts/h2/"
	check := func(what string, o model.Owner, key, want string) {
		t.Helper()
		if got := w.impact(o, key, all); got != strings.TrimSpace(want) {
			t.Errorf("%s:\n%s\nwant\n%s", what, got, want)
		}
	}
	check("of the organization, overridden at h2", org, "port", `
site: Default/h1 update file://conf
`+at1+`applications/site/files/motd
`+at1+`applications/site/files/dyn`)
	check("of a host", w.owner(model.LevelHost, h2), "port", `
site: Default/h2 update file://conf
`+at2+`applications/site/files/motd
`+at2+`applications/site/files/dyn`)
	w.set(env, model.Setting{Key: "listen", Link: "organizations/Demo/settings/port"})
	w.set(w.context(h2, "site"), model.Setting{Key: "name", Link: "organizations/Demo/environments/Default/settings/listen"})
	w.set(env, model.Setting{Key: "lost", Link: "organizations/Demo/environments/Default/hosts/h2/settings/port"})
	check("through links", org, "port", `
site: Default/h1 Default/h2 update file://conf execute file://motd
environments/Default/settings/listen
`+at2+`applications/site/settings/name
`+at1+`applications/site/files/motd
`+at1+`applications/site/files/dyn
`+at2+`applications/site/files/motd
`+at2+`applications/site/files/other
`+at2+`applications/site/files/dyn`)
	w.set(w.owner(model.LevelHost, h1), model.Setting{Key: "alone", Value: value("1")})
	check("what nobody reads but by name", w.owner(model.LevelHost, h1), "alone", at1+"applications/site/files/dyn")
	w.set(env, model.Setting{Key: "port", Value: value("3")})
	check("at no host any more", org, "port", `
site: Default/h1 Default/h2 update file://conf execute file://motd
environments/Default/settings/listen
`+at2+`applications/site/settings/name
`+at1+`applications/site/files/motd
`+at1+`applications/site/files/dyn
`+at2+`applications/site/files/motd
`+at2+`applications/site/files/other
`+at2+`applications/site/files/dyn`)
	if _, err := orchestrate.Impact(w.db.Local(), org, "nothing", all); model.CodeOf(err) != model.NotFound {
		t.Error(err)
	}
}

// Files of platforms and distributions are made when they are asked for, also for a host that has no machine.
func TestImpactOfPlatformFiles(t *testing.T) {
	w := newWorld(t)
	org := w.owner(model.LevelOrganization, w.org)
	metal, os := "metal", "os"
	w.do(func(tx *state.Tx) error {
		p, err := orchestrate.CreatePlatform(tx, w.org, model.Platform{Name: "metal", Driver: model.Driver{ClassName: "c"}, Files: []model.File{{Name: "boot"}, {Name: "none"}}})
		if err != nil {
			return err
		}
		d, err := orchestrate.CreateDistribution(tx, w.org, model.Distribution{Name: "os", Files: []model.File{{Name: "kickstart"}}}, "")
		if err != nil {
			return err
		}
		for of, name := range map[string]string{p.ID: "boot", d.ID: "kickstart"} {
			if err := orchestrate.PutFileContent(tx, w.org, of, name, []byte("${proxy}")); err != nil {
				return err
			}
		}
		_, err = orchestrate.CreateHost(tx, w.org, w.env, model.Host{Name: "h", Platform: &metal, Distribution: &os})
		return err
	})
	w.set(org, model.Setting{Key: "proxy", Value: value(`"x"`)})
	const at = "environments/Default/hosts/h/"
	if got := w.impact(org, "proxy", all); got != at+"platform/files/boot\n"+at+"distribution/files/kickstart" {
		t.Errorf("got\n%s", got)
	}
}

// What cannot be seen is left out; that there is more is told, but of secret settings, which are not there then.
func TestImpactWithinSight(t *testing.T) {
	w, h1, _ := impactWorld(t)
	org := w.owner(model.LevelOrganization, w.org)
	w.set(w.owner(model.LevelEnvironment, w.env), model.Setting{Key: "listen", Link: "organizations/Demo/settings/port"})
	w.set(org, model.Setting{Key: "hush", Link: "organizations/Demo/settings/port", Schema: value(`{"secret": true}`)})
	sees := func(levels ...model.Level) orchestrate.Sight {
		return func(o model.Owner) (orchestrate.Show, bool) {
			return orchestrate.Show{NoSecret: true}, slices.Contains(levels, o.Level) && (o.Level != model.LevelHost || o.ID == h1)
		}
	}
	for _, c := range []struct {
		see  orchestrate.Sight
		want string
	}{
		{sees(), "..."},
		{sees(model.LevelOrganization), "site: update file://conf execute file://motd ...\n..."},
		{sees(model.LevelEnvironment), "environments/Default/settings/listen\n..."},
		{sees(model.LevelHost), "site: Default/h1 update file://conf execute file://motd ...\nenvironments/Default/hosts/h1/applications/site/files/motd\nenvironments/Default/hosts/h1/applications/site/files/dyn\n..."},
	} {
		if got := w.impact(org, "port", c.see); got != c.want {
			t.Errorf("got\n%s\nwant\n%s", got, c.want)
		}
	}
	if got := w.impact(org, "port", all); !strings.Contains(got, "\nsettings/hush") {
		t.Errorf("who may see secrets does not see the link: %s", got)
	}
}
