package orchestrate_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// TestHostgroupSettings: those of a host group hold between host and environment, the first group by name wins, and
// handlers run when a host enters or leaves.
func TestHostgroupSettings(t *testing.T) {
	w := newWorld(t)
	appID := w.app(web)
	w.content(appID, "conf", "${port}")
	h := w.host("h1", "web")
	w.set(w.owner(model.LevelEnvironment, w.env), model.Setting{Key: "port", Value: value("1")})
	w.finish(h)
	group := func(name, port string, hosts ...model.GroupedHost) (g *model.HostgroupRow) {
		t.Helper()
		w.do(func(tx *state.Tx) (err error) {
			g, err = orchestrate.CreateHostgroup(tx, w.org, model.Hostgroup{Name: name, Hosts: hosts, Settings: []model.Setting{{Key: "port", Value: value(port)}}}, nil)
			return err
		})
		return g
	}
	in := model.GroupedHost{Environment: "Default", Host: "h1"}
	holds := func(what, want string, ran bool) {
		t.Helper()
		if got := w.rendered(h, "web", "conf"); got != want {
			t.Errorf("%s: %s holds, want %s", what, got, want)
		}
		if steps := w.steps(h); (steps != "") != ran {
			t.Errorf("%s: set off %q", what, steps)
		}
		w.finish(h)
	}
	b := group("b", "2", in)
	holds("a group", "2", true)
	group("c", "3", in)
	holds("a group that comes after", "2", false)
	a := group("a", "4")
	holds("a group without the host", "2", false)
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.UpdateHostgroup(tx, w.org, a.ID, []byte(`{"hosts":[{"environment":"Default","host":"h1"}]}`), nil)
		return err
	})
	holds("entering a group that comes before", "4", true)
	w.set(orchestrate.OwnerOfHostgroup(a), model.Setting{Key: "port", Value: value("5")})
	holds("a setting of the group", "5", true)
	w.set(w.owner(model.LevelHost, h), model.Setting{Key: "port", Value: value("6")})
	holds("the host's own", "6", true)
	w.set(orchestrate.OwnerOfHostgroup(a), model.Setting{Key: "port", Value: value("7")})
	holds("what the host shields", "6", false)
	w.do(func(tx *state.Tx) error {
		return orchestrate.DeleteSetting(tx, w.owner(model.LevelHost, h), "port", orchestrate.Trigger{Handlers: true})
	})
	holds("without the host's own", "7", true)
	w.do(func(tx *state.Tx) error { return orchestrate.DeleteHostgroup(tx, w.org, a.ID) })
	holds("without the group", "2", true)
	other := w.stranger()
	for name, fn := range map[string]func(tx *state.Tx) error{
		"update": func(tx *state.Tx) error {
			_, err := orchestrate.UpdateHostgroup(tx, other, b.ID, []byte(`{}`), nil)
			return err
		},
		"delete": func(tx *state.Tx) error { return orchestrate.DeleteHostgroup(tx, other, b.ID) },
	} {
		t.Run(name, func(t *testing.T) { w.refused(model.NotFound, "", fn) })
	}
	w.refused(model.Invalid, "does not exist", func(tx *state.Tx) error {
		_, err := orchestrate.CreateHostgroup(tx, other, model.Hostgroup{Name: "g", Hosts: []model.GroupedHost{in}}, nil)
		return err
	})
}

// TestForeignKitsFindNothing: ids of a platform and a distribution of another organization find nothing.
func TestForeignKitsFindNothing(t *testing.T) {
	w := newWorld(t)
	platID, distID := w.furnishKits()
	h := w.host("h1")
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.SetPlatform(tx, w.org, h, model.PlatformContext{Platform: "cloud"})
		return err
	})
	c, p, err := orchestrate.PlatformOf(w.db.Local(), w.org, h)
	if err != nil {
		t.Fatal(err)
	}
	o := w.stranger()
	for name, fn := range map[string]func(tx *state.Tx) error{
		"platform update": func(tx *state.Tx) error {
			_, err := orchestrate.UpdatePlatform(tx, o, platID, []byte(`{}`))
			return err
		},
		"platform delete":     func(tx *state.Tx) error { return orchestrate.DeletePlatform(tx, o, platID) },
		"platform clone":      func(tx *state.Tx) error { _, err := orchestrate.ClonePlatform(tx, o, platID, "x"); return err },
		"lock":                func(tx *state.Tx) error { return orchestrate.LockDistribution(tx, o, distID, true) },
		"distribution delete": func(tx *state.Tx) error { return orchestrate.DeleteDistribution(tx, o, distID) },
		"distribution clone":  func(tx *state.Tx) error { _, err := orchestrate.CloneDistribution(tx, o, distID, "x"); return err },
		"file":                func(tx *state.Tx) error { _, err := orchestrate.FileContent(tx, o, platID, "plain"); return err },
		"file put":            func(tx *state.Tx) error { return orchestrate.PutFileContent(tx, o, distID, "ks", []byte("x")) },
		"set": func(tx *state.Tx) error {
			_, err := orchestrate.SetPlatform(tx, o, h, model.PlatformContext{Platform: "cloud"})
			return err
		},
		"detach": func(tx *state.Tx) error { return orchestrate.DetachPlatform(tx, o, h) },
		"render": func(tx *state.Tx) error { _, err := orchestrate.RenderPlatformFile(tx, o, h, "plain"); return err },
		"link": func(tx *state.Tx) error {
			_, err := orchestrate.MakeFileLink(tx, o, h, orchestrate.OwnerOfPlatformContext(c), "plain", "d")
			return err
		},
		"settings of the platform": func(tx *state.Tx) error {
			foreign := orchestrate.OwnerOfKit(p)
			foreign.OrgID = o
			_, err := orchestrate.CreateSetting(tx, foreign, model.Setting{Key: "x"}, orchestrate.Trigger{})
			return err
		},
		"settings of the context": func(tx *state.Tx) error {
			foreign := orchestrate.OwnerOfPlatformContext(c)
			foreign.OrgID = o
			_, err := orchestrate.CreateSetting(tx, foreign, model.Setting{Key: "x"}, orchestrate.Trigger{})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) { w.refused(model.NotFound, "", fn) })
	}
	w.refused(model.Invalid, "does not exist", func(tx *state.Tx) error {
		e, err := orchestrate.EnvironmentByName(tx, o, "Default")
		if err != nil {
			return err
		}
		cloud := "cloud"
		_, err = orchestrate.CreateHost(tx, o, e.ID, model.Host{Name: "x", Platform: &cloud})
		return err
	})
}

// TestFileLinksEnd: a one-time address ends with its use, its hour and its host, and a host has a bounded number.
func TestFileLinksEnd(t *testing.T) {
	w := newWorld(t)
	now := time.Now()
	w.db.SetClock(func() time.Time { return now })
	w.furnishKits()
	h := w.host("h1")
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.SetDistribution(tx, w.org, h, model.DistributionContext{Distribution: "os"})
		return err
	})
	c, _, err := orchestrate.DistributionOf(w.db.Local(), w.org, h)
	if err != nil {
		t.Fatal(err)
	}
	link := func(digest string) {
		t.Helper()
		w.do(func(tx *state.Tx) error {
			_, err := orchestrate.MakeFileLink(tx, w.org, h, orchestrate.OwnerOfDistributionContext(c), "ks", digest)
			return err
		})
	}
	use := func(digest string) func(tx *state.Tx) error {
		return func(tx *state.Tx) error { _, err := orchestrate.UseFileLink(tx, digest); return err }
	}
	link("used")
	w.do(use("used"))
	w.refused(model.NotFound, "used already, is too old", use("used"))
	link("late")
	now = now.Add(orchestrate.FileLinkLife - time.Second)
	w.do(func(tx *state.Tx) error { _, err := orchestrate.PeekFileLink(tx, "late"); return err })
	now = now.Add(time.Second)
	w.refused(model.NotFound, "used already, is too old", use("late"))
	for i := range 70 {
		now = now.Add(time.Second)
		link(fmt.Sprint("many ", i))
	}
	if n := len(state.Keys[model.FileLinkRow](w.db.Local(), model.FileLinksOf(h))); n != 64 {
		t.Errorf("a host has %d addresses", n)
	}
	w.refused(model.NotFound, "", use("many 0"))
	w.do(use("many 69"))
	// An address of a context that is gone leads nowhere.
	w.do(func(tx *state.Tx) error { return orchestrate.DeleteInstance(tx, w.org, h) })
	w.do(func(tx *state.Tx) error { return orchestrate.DetachDistribution(tx, w.org, h) })
	w.refused(model.NotFound, "used already, is too old", use("many 68"))
	w.do(func(tx *state.Tx) error { return orchestrate.DeleteHost(tx, w.org, h) })
	if n := len(state.Keys[model.FileLinkRow](w.db.Local(), model.FileLinksOf(h))); n != 0 {
		t.Errorf("a deleted host left %d addresses", n)
	}
}
