package orchestrate_test

import (
	"strings"
	"testing"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// TestEditsOfFilesComeToHosts: what a change of a file of an application comes to on a host that has it.
func TestEditsOfFilesComeToHosts(t *testing.T) {
	const conf = "apply files /etc/conf, apply services nginx restart[0]"
	for name, c := range map[string]struct {
		edit func(tx *state.Tx, w *world, app string) error
		want string
	}{
		"content": {func(tx *state.Tx, w *world, app string) error {
			return orchestrate.PutFileContent(tx, w.org, app, "conf", []byte("${_host.name} and ${port}\n"))
		}, conf},
		"the same content": {func(tx *state.Tx, w *world, app string) error {
			return orchestrate.PutFileContent(tx, w.org, app, "conf", []byte("${_host.name} listens on ${port}\n"))
		}, ""},
		"a content that renders to the same": {func(tx *state.Tx, w *world, app string) error {
			return orchestrate.PutFileContent(tx, w.org, app, "conf", []byte("h000 listens on ${port}\n"))
		}, ""},
		"mode": {func(tx *state.Tx, w *world, app string) error {
			_, err := orchestrate.UpdateFile(tx, w.org, app, "conf", []byte(`{"mode":"600"}`))
			return err
		}, conf},
		"another name, the same path": {func(tx *state.Tx, w *world, app string) error {
			_, err := orchestrate.UpdateFile(tx, w.org, app, "conf", []byte(`{"name":"other"}`))
			return err
		}, ""},
		"a new file has no content yet": {func(tx *state.Tx, w *world, app string) error {
			_, err := orchestrate.CreateFile(tx, w.org, app, model.File{Name: "new", Path: "/new"})
			return err
		}, ""},
		"a new file with its content": {func(tx *state.Tx, w *world, app string) error {
			if _, err := orchestrate.CreateFile(tx, w.org, app, model.File{Name: "new", Path: "/new"}); err != nil {
				return err
			}
			return orchestrate.PutFileContent(tx, w.org, app, "new", []byte("x"))
		}, "apply files /new, apply services nginx restart[0]"},
		"a new file with empty content": {func(tx *state.Tx, w *world, app string) error {
			if _, err := orchestrate.CreateFile(tx, w.org, app, model.File{Name: "new", Path: "/new"}); err != nil {
				return err
			}
			return orchestrate.PutFileContent(tx, w.org, app, "new", nil)
		}, "apply files /new, apply services nginx restart[0]"},
		"empty content again": {func(tx *state.Tx, w *world, app string) error {
			if _, err := orchestrate.CreateFile(tx, w.org, app, model.File{Name: "new", Path: "/new"}); err != nil {
				return err
			}
			for range 2 {
				if err := orchestrate.PutFileContent(tx, w.org, app, "new", []byte{}); err != nil {
					return err
				}
			}
			return nil
		}, "apply files /new, apply services nginx restart[0]"},
	} {
		t.Run(name, func(t *testing.T) {
			w, app, hosts := fleet(t, 1)
			w.do(func(tx *state.Tx) error { return c.edit(tx, w, app) })
			if got := w.steps(hosts[0]); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
	t.Run("empty content on many hosts", func(t *testing.T) {
		w, app, hosts := fleet(t, manyHosts)
		w.do(func(tx *state.Tx) error {
			_, err := orchestrate.CreateFile(tx, w.org, app, model.File{Name: "new", Path: "/new"})
			return err
		})
		w.do(func(tx *state.Tx) error { return orchestrate.PutFileContent(tx, w.org, app, "new", nil) })
		w.expandAll()
		for _, h := range hosts {
			if got, want := w.steps(h), "apply files /new, apply services nginx restart[0]"; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
	})
	t.Run("deleted", func(t *testing.T) {
		w := newWorld(t)
		app := w.app(`{"name":"web","files":[{"name":"a","path":"/a"},{"name":"b","path":"/b"}]}`)
		w.content(app, "a", "x")
		h := w.host("h1", "web")
		w.do(func(tx *state.Tx) error { return orchestrate.DeleteFile(tx, w.org, app, "a") })
		if c := w.change(h); len(c.Tasks) != 1 || c.Tasks[0].Resource != "/a" || !strings.Contains(string(c.Tasks[0].Want), "absent") {
			t.Errorf("tasks %+v", c.Tasks)
		}
	})
	t.Run("of a distribution", func(t *testing.T) {
		w := newWorld(t)
		var dist string
		w.do(func(tx *state.Tx) error {
			d, err := orchestrate.CreateDistribution(tx, w.org, model.Distribution{Name: "d", Files: []model.File{{Name: "ks", Path: "/ks"}}}, "")
			if err == nil {
				dist = d.ID
			}
			return err
		})
		h := w.host("h1")
		w.do(func(tx *state.Tx) error { return orchestrate.PutFileContent(tx, w.org, dist, "ks", []byte("x")) })
		if got := w.steps(h); got != "" {
			t.Errorf("it comes to %s", got)
		}
	})
}

// TestAnEditedFileOnManyHosts: it is answered at once, and each host gets the file as the last edit has it.
func TestAnEditedFileOnManyHosts(t *testing.T) {
	w, app, hosts := fleet(t, manyHosts)
	w.content(app, "conf", "${_host.name} serves ${port}\n")
	if got := w.steps(hosts[0]); got != "" {
		t.Errorf("a host was planned in the transaction of the write: %s", got)
	}
	w.expandAll()
	for _, h := range hosts {
		c := w.change(h)
		if got := w.steps(h); got != "apply files /etc/conf, apply services nginx restart[0]" {
			t.Fatalf("host %s: %s", h, got)
		}
		if text, ok := state.Content(w.db.Local(), w.org, c.Tasks[0].Content); !ok || !strings.HasSuffix(string(text), " serves 80\n") {
			t.Fatalf("host %s gets %q", h, text)
		}
	}
}
