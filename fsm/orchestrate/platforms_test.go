package orchestrate_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

const cloud = `{"uuid":"theirs","version":9,"organization":"theirs","name":"cloud","custom":{"a":1},"driver":{"className":"x.y.EuroDriver","name":"n"},
 "settings":[{"key":"zone","value":"p-zone"},{"key":"only","value":"p-only"}],
 "parameters":[{"name":"Zone","key":"zone","value":"default"},{"name":"Size","key":"size","value":"small"},{"name":"Pass","key":"apiPass","schema":{"type":"string","secret":true}}],
 "files":[{"name":"boot.ipxe","delimiter":{"start":"##","end":"##"}},{"name":"plain"}]}`

const distro = `{"name":"os","url":"http://x","locked":true,"canPull":true,"settings":[{"key":"mirror","value":"m"}],
 "parameters":[{"name":"Kickstart","key":"kickstartName","value":"ks"}],"files":[{"name":"ks"}]}`

// furnishKits gives the world a platform and a distribution, and their ids.
func (w *world) furnishKits() (platID, distID string) {
	w.t.Helper()
	w.do(func(tx *state.Tx) error {
		p, err := model.Decode[model.Platform]([]byte(cloud))
		if err != nil {
			return err
		}
		d, err := model.Decode[model.Distribution]([]byte(distro))
		if err != nil {
			return err
		}
		pr, err := orchestrate.CreatePlatform(tx, w.org, p)
		if err != nil {
			return err
		}
		dr, err := orchestrate.CreateDistribution(tx, w.org, d, "")
		if err != nil {
			return err
		}
		platID, distID = pr.ID, dr.ID
		return nil
	})
	return platID, distID
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// TestPlatformDocument: what was given comes back with what the server sets, and what the server sets is not taken.
func TestPlatformDocument(t *testing.T) {
	w := newWorld(t)
	id, distID := w.furnishKits()
	p, err := orchestrate.PlatformByName(w.db.Local(), w.org, "cloud")
	if err != nil {
		t.Fatal(err)
	}
	got := text(orchestrate.PlatformDoc(w.db.Local(), p, orchestrate.Show{}))
	for _, part := range []string{`"uuid":"` + id + `"`, `"version":1`, `"organization":"Demo"`, `"custom":{"a":1}`, `"className":"x.y.EuroDriver","name":"EuroDriver"`,
		`"key":"only","value":"p-only"`, `"delimiter":{"end":"##","start":"##"}`, `"delimiter":{"end":"}","start":"${"}`, `"description":""`} {
		if !strings.Contains(got, part) {
			t.Errorf("no %s in %s", part, got)
		}
	}
	d, err := orchestrate.DistributionByName(w.db.Local(), w.org, "os")
	if err != nil {
		t.Fatal(err)
	}
	got = text(orchestrate.DistributionDoc(w.db.Local(), d, orchestrate.Show{}))
	for _, part := range []string{`"uuid":"` + distID + `"`, `"locked":false`, `"url":"http://x"`, `"canPull":false`, `"key":"mirror"`} {
		if !strings.Contains(got, part) {
			t.Errorf("no %s in %s", part, got)
		}
	}
	w.do(func(tx *state.Tx) error {
		p, err := orchestrate.UpdatePlatform(tx, w.org, id, []byte(`{"description":"d","driver":{"className":"z"},"settings":[],"files":[],"parameters":[],"uuid":"U","version":40}`))
		if err == nil && (p.Version != 2 || p.ID != id || len(p.Document.Files) != 2 || len(p.Document.Parameters) != 3 || p.Document.Driver.ClassName != "z") {
			t.Errorf("updated %+v", p)
		}
		return err
	})
	if n := len(orchestrate.Settings(w.db.Local(), orchestrate.OwnerOfKit(p), orchestrate.Show{})); n != 2 {
		t.Errorf("an update left %d settings", n)
	}
}

// TestKitsAreRefused: each fault of a document is told, and nothing is written.
func TestKitsAreRefused(t *testing.T) {
	w := newWorld(t)
	platID, distID := w.furnishKits()
	for doc, want := range map[string]string{
		`{"name":""}`:    "name is missing: give one; driver: className is missing",
		`{"name":"a/b"}`: "contains /",
		`{"name":"x","driver":{"className":"c"},"files":[{"name":"f"},{"name":"f"}]}`:                          `file name "f" is there twice`,
		`{"name":"x","driver":{"className":"c"},"files":[{"name":"f","delimiter":{"start":"#"}}]}`:             "needs both start and end",
		`{"name":"x","driver":{"className":"c"},"parameters":[{"name":"n","key":"k"},{"name":"m","key":"k"}]}`: `parameter key "k" is there twice`,
		`{"name":"x","driver":{"className":"c"},"settings":[{"key":"k","value":1},{"key":"k","value":2}]}`:     `setting "k" is there twice`,
		`{"name":"x","driver":{"className":"c"},"parameters":[{"name":"n","key":"k","schema":{"secret":1}}]}`:  "schema",
		`{"name":"x","driver":{"className":"a\u0000b"}}`:                                                       "control character",
	} {
		w.refused(model.Invalid, want, func(tx *state.Tx) error {
			p, err := model.Decode[model.Platform]([]byte(doc))
			if err != nil {
				return err
			}
			_, err = orchestrate.CreatePlatform(tx, w.org, p)
			return err
		})
	}
	w.refused(model.Conflict, "taken", func(tx *state.Tx) error {
		_, err := orchestrate.CreatePlatform(tx, w.org, model.Platform{Name: "cloud", Driver: model.Driver{ClassName: "c"}})
		return err
	})
	w.refused(model.Conflict, "taken", func(tx *state.Tx) error {
		_, err := orchestrate.CloneDistribution(tx, w.org, distID, "os")
		return err
	})
	w.refused(model.Invalid, "choose one of centos, debian, fedora, opensuse, ubuntu", func(tx *state.Tx) error {
		_, err := orchestrate.CreateDistribution(tx, w.org, model.Distribution{Name: "x"}, "beos")
		return err
	})
	w.do(func(tx *state.Tx) error { return orchestrate.LockDistribution(tx, w.org, distID, true) })
	for name, fn := range map[string]func(tx *state.Tx) error{
		"update": func(tx *state.Tx) error {
			_, err := orchestrate.UpdateDistribution(tx, w.org, distID, []byte(`{}`))
			return err
		},
		"delete": func(tx *state.Tx) error { return orchestrate.DeleteDistribution(tx, w.org, distID) },
		"file":   func(tx *state.Tx) error { return orchestrate.PutFileContent(tx, w.org, distID, "ks", []byte("x")) },
		"parameter": func(tx *state.Tx) error {
			return orchestrate.DeleteParameter(tx, w.org, distID, "Kickstart")
		},
		"thumb": func(tx *state.Tx) error { return orchestrate.PutThumb(tx, w.org, distID, []byte("x")) },
	} {
		t.Run(name, func(t *testing.T) { w.refused(model.Conflict, "is locked: unlock it first", fn) })
	}
	w.do(func(tx *state.Tx) error { return orchestrate.LockDistribution(tx, w.org, distID, false) })
	w.refused(model.NotFound, "distribution not found", func(tx *state.Tx) error {
		_, err := orchestrate.UpdateDistribution(tx, w.org, platID, []byte(`{}`))
		return err
	})
}

// TestPlatformSettingsResolve: context, host, environment, organization, platform, default of the parameter
// (contract section 4.3), each shielding those behind it; a final one far away wins.
func TestPlatformSettingsResolve(t *testing.T) {
	w := newWorld(t)
	platID, _ := w.furnishKits()
	w.do(func(tx *state.Tx) error {
		return orchestrate.PutFileContent(tx, w.org, platID, "boot.ipxe", []byte("##zone## ##size## ##_host.name## ${x}"))
	})
	h := w.host("h1")
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.SetPlatform(tx, w.org, h, model.PlatformContext{Platform: "cloud", Settings: []model.Setting{{Key: "size", Value: value(`"big"`)}}})
		return err
	})
	rendered := func() string {
		t.Helper()
		b, err := orchestrate.RenderPlatformFile(w.db.Local(), w.org, h, "boot.ipxe")
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	c, p, err := orchestrate.PlatformOf(w.db.Local(), w.org, h)
	if err != nil {
		t.Fatal(err)
	}
	if got := rendered(); got != "p-zone big h1 ${x}" {
		t.Errorf("from the platform: %q", got)
	}
	for _, o := range []model.Owner{w.owner(model.LevelOrganization, w.org), w.owner(model.LevelEnvironment, w.env), w.owner(model.LevelHost, h), orchestrate.OwnerOfPlatformContext(c)} {
		w.set(o, model.Setting{Key: "zone", Value: value(`"` + string(o.Level) + `"`)})
		if got := rendered(); !strings.HasPrefix(got, string(o.Level)+" big") {
			t.Errorf("from %s: %q", o.Level, got)
		}
		all, err := orchestrate.ResolveAt(w.db.Local(), orchestrate.OwnerOfPlatformContext(c))
		if err != nil || !strings.Contains(fmt.Sprintf("%+v", all), "From:organizations/Demo") {
			t.Errorf("resolved %+v %v", all, err)
		}
	}
	w.set(orchestrate.OwnerOfKit(p), model.Setting{Key: "zone", Value: value(`"last word"`), Schema: value(`{"final":true}`)})
	if got := rendered(); !strings.HasPrefix(got, "last word") {
		t.Errorf("a final one: %q", got)
	}
	w.do(func(tx *state.Tx) error {
		return orchestrate.DeleteSetting(tx, orchestrate.OwnerOfKit(p), "zone", orchestrate.Trigger{})
	})
	for _, o := range []model.Owner{w.owner(model.LevelOrganization, w.org), w.owner(model.LevelEnvironment, w.env), w.owner(model.LevelHost, h), orchestrate.OwnerOfPlatformContext(c)} {
		w.do(func(tx *state.Tx) error { return orchestrate.DeleteSetting(tx, o, "zone", orchestrate.Trigger{}) })
	}
	if got := rendered(); !strings.HasPrefix(got, "default big") {
		t.Errorf("the parameter's default: %q", got)
	}
}

// TestLinksToContexts: links reach platforms, distributions and their contexts, handlers run when the target changes, and
// a rename takes the links along.
func TestLinksToContexts(t *testing.T) {
	w := newWorld(t)
	platID, distID := w.furnishKits()
	appID := w.app(web)
	w.content(appID, "conf", "${port}")
	h := w.host("h1", "web")
	w.do(func(tx *state.Tx) error {
		if _, err := orchestrate.SetPlatform(tx, w.org, h, model.PlatformContext{Platform: "cloud"}); err != nil {
			return err
		}
		_, err := orchestrate.SetDistribution(tx, w.org, h, model.DistributionContext{Distribution: "os"})
		return err
	})
	pc, _, err := orchestrate.PlatformOf(w.db.Local(), w.org, h)
	if err != nil {
		t.Fatal(err)
	}
	for link, want := range map[string]string{
		"organizations/Demo/platforms/cloud/settings/zone":                              `"p-zone"`,
		"organizations/Demo/distributions/os/settings/mirror":                           `"m"`,
		"organizations/Demo/environments/Default/hosts/h1/platform/settings/only":       `"p-only"`,
		"organizations/Demo/environments/Default/hosts/h1/distribution/settings/mirror": `"m"`,
		"organizations/Demo/platforms/none/settings/zone":                               `"none"`,
	} {
		w.set(w.owner(model.LevelHost, h), model.Setting{Key: "port", Link: link, Value: value(`"none"`)})
		w.finish(h)
		if o, err := orchestrate.Origin(w.db.Local(), w.org, h, "web", "port"); err != nil || string(o.Value) != want {
			t.Errorf("%s: %s %v", link, o.Value, err)
		}
	}
	w.set(w.owner(model.LevelHost, h), model.Setting{Key: "port", Link: "organizations/Demo/environments/Default/hosts/h1/platform/settings/only"})
	w.finish(h)
	w.set(orchestrate.OwnerOfPlatformContext(pc), model.Setting{Key: "only", Value: value(`"here"`)})
	if w.steps(h) == "" {
		t.Error("a change behind the link set nothing off")
	}
	w.finish(h)
	w.set(w.owner(model.LevelHost, h), model.Setting{Key: "port", Link: "organizations/Demo/platforms/cloud/settings/zone"})
	w.finish(h)
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.UpdatePlatform(tx, w.org, platID, []byte(`{"name":"sky (1)"}`))
		return err
	})
	s, err := orchestrate.GetSetting(w.db.Local(), w.owner(model.LevelHost, h), "port", orchestrate.Show{})
	if err != nil || s.Link != "organizations/Demo/platforms/sky (1)/settings/zone" {
		t.Errorf("the link is %q %v", s.Link, err)
	}
	if got := w.steps(h); got != "" {
		t.Errorf("a rename set off %s", got)
	}
	// What is locked may still be linked to; what is not there resolves to the default.
	w.do(func(tx *state.Tx) error { return orchestrate.LockDistribution(tx, w.org, distID, true) })
}

// TestAttachments: one of each on a host; replaced and detached while there is no machine; clones and moves keep them.
func TestAttachments(t *testing.T) {
	w := newWorld(t)
	platID, distID := w.furnishKits()
	p, d := "cloud", "os"
	var h *model.HostRow
	w.do(func(tx *state.Tx) (err error) {
		h, err = orchestrate.CreateHost(tx, w.org, w.env, model.Host{Name: "h1", Platform: &p, Distribution: &d})
		return err
	})
	doc := orchestrate.HostDoc(w.db.Local(), h, orchestrate.Show{})
	if doc.Platform == nil || *doc.Platform != "cloud" || doc.Distribution == nil || *doc.Distribution != "os" {
		t.Errorf("host %+v", doc)
	}
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.SetPlatform(tx, w.org, h.ID, model.PlatformContext{Platform: "cloud", Settings: []model.Setting{{Key: "k", Value: value("1")}}})
		return err
	})
	var clone *model.HostRow
	w.do(func(tx *state.Tx) (err error) {
		clone, err = orchestrate.CloneHost(tx, w.org, h.ID)
		return err
	})
	c, _, err := orchestrate.PlatformOf(w.db.Local(), w.org, clone.ID)
	if err != nil {
		t.Fatal(err)
	}
	if got := orchestrate.PlatformContextDoc(w.db.Local(), c, orchestrate.Show{}); len(got.Settings) != 1 || got.Host != "h1-clone" || got.Environment != "Default" {
		t.Errorf("the clone's context %+v", got)
	}
	for what, fn := range map[string]func(tx *state.Tx) error{
		"platform":     func(tx *state.Tx) error { return orchestrate.DeletePlatform(tx, w.org, platID) },
		"distribution": func(tx *state.Tx) error { return orchestrate.DeleteDistribution(tx, w.org, distID) },
	} {
		w.refused(model.Conflict, what+` "`+map[string]string{"platform": p, "distribution": d}[what]+`" is that of 2 host(s)`, fn)
		var used *orchestrate.InUse
		if err := w.try(fn); !errors.As(err, &used) || len(used.Hosts) != 2 || used.Hosts[0].Name != "h1" {
			t.Errorf("%s in use: %+v", what, used)
		}
	}
	w.do(func(tx *state.Tx) error { return orchestrate.DetachPlatform(tx, w.org, clone.ID) })
	w.do(func(tx *state.Tx) error { _, err := orchestrate.AdoptHost(tx, w.org, w.env, "h1"); return err })
	w.refused(model.Conflict, "its platform stays", func(tx *state.Tx) error { return orchestrate.DetachPlatform(tx, w.org, h.ID) })
	w.refused(model.Conflict, "its distribution stays", func(tx *state.Tx) error { return orchestrate.DetachDistribution(tx, w.org, h.ID) })
	w.do(func(tx *state.Tx) error {
		if err := orchestrate.DeleteInstance(tx, w.org, h.ID); err != nil {
			return err
		}
		return orchestrate.DeleteEnvironment(tx, w.org, w.env)
	})
	w.do(func(tx *state.Tx) error { return orchestrate.DeletePlatform(tx, w.org, platID) })
	w.do(func(tx *state.Tx) error { return orchestrate.DeleteDistribution(tx, w.org, distID) })
}
