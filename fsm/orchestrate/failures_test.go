package orchestrate_test

import (
	"testing"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// partly ends the open change of a host: its tasks from one on failed, as when that one did and the rest was skipped.
func (w *world) partly(hostID string, from int) {
	w.t.Helper()
	var failing []int
	for i := from; i < len(w.change(hostID).Tasks); i++ {
		failing = append(failing, i)
	}
	w.finish(hostID, failing...)
}

// A host tells a failure until it is made good: a good change of something else does not hide it.
func TestAFailureIsToldUntilItIsMadeGood(t *testing.T) {
	type world3 struct {
		*world
		h, app string
	}
	act := func(fn func(tx *state.Tx, w world3) error) func(world3) {
		return func(w world3) { w.do(func(tx *state.Tx) error { return fn(tx, w) }) }
	}
	retry := func(num int, skip bool) func(world3) {
		return act(func(tx *state.Tx, w world3) error {
			_, err := orchestrate.RetryChange(tx, w.org, w.h, num, skip)
			return err
		})
	}
	good := func(w world3) { w.finish(w.h) }
	rebuild := act(func(tx *state.Tx, w world3) error { _, err := orchestrate.Rebuild(tx, w.org, w.h); return err })
	uninstall := act(func(tx *state.Tx, w world3) error {
		return orchestrate.UninstallApplication(tx, w.org, w.h, "full", orchestrate.Trigger{})
	})
	upload := func(w world3) { w.content(w.app, "b", "other") }
	run := act(func(tx *state.Tx, w world3) error {
		_, err := orchestrate.RunHandler(tx, w.org, w.h, "full", "first")
		return err
	})
	remove := func(num int) func(world3) {
		return act(func(tx *state.Tx, w world3) error { return orchestrate.DeleteChange(tx, w.org, w.h, num) })
	}
	// Of the installation, change 0, the packages and all behind them failed, the script among it.
	for name, c := range map[string]struct {
		then []func(world3)
		want model.HostState
	}{
		"nothing":                               {nil, model.HostError},
		"a file that is uploaded":               {[]func(world3){upload, good}, model.HostError},
		"a handler that runs":                   {[]func(world3){run, good}, model.HostError},
		"the rest again":                        {[]func(world3){upload, good, retry(0, false), good}, model.HostReady},
		"the rest again, and it fails":          {[]func(world3){retry(0, false), func(w world3) { w.partly(w.h, 3) }, upload, good}, model.HostError},
		"the rest of the rest":                  {[]func(world3){retry(0, false), func(w world3) { w.partly(w.h, 3) }, retry(1, false), good}, model.HostReady},
		"all but the script that failed":        {[]func(world3){rebuild, good}, model.HostError},
		"uninstalled":                           {[]func(world3){uninstall, good}, model.HostReady},
		"uninstalled, which fails":              {[]func(world3){uninstall, func(w world3) { w.partly(w.h, 1) }}, model.HostError},
		"uninstalled the second time":           {[]func(world3){uninstall, func(w world3) { w.partly(w.h, 1) }, retry(1, false), good}, model.HostReady},
		"the change deleted":                    {[]func(world3){remove(0)}, model.HostReady},
		"what made a part good deleted":         {[]func(world3){upload, good, remove(1)}, model.HostError},
		"what made all good deleted":            {[]func(world3){retry(0, false), good, remove(1)}, model.HostReady},
		"made good and failed since":            {[]func(world3){retry(0, false), good, upload, func(w world3) { w.partly(w.h, 0) }}, model.HostError},
		"made good, failed, and made good":      {[]func(world3){retry(0, false), good, upload, func(w world3) { w.partly(w.h, 0) }, rebuild, good}, model.HostReady},
		"a restart that comes after its update": {[]func(world3){retry(0, false), good, run, func(w world3) { w.partly(w.h, 1) }, upload, good}, model.HostReady},
	} {
		t.Run(name, func(t *testing.T) {
			w := world3{world: newWorld(t)}
			w.app = w.world.app(full)
			w.content(w.app, "b", "b")
			w.h = w.host("h1")
			act(func(tx *state.Tx, w world3) error {
				_, err := orchestrate.InstallApplication(tx, w.org, w.h, model.ApplicationContext{Application: "full"})
				return err
			})(w)
			w.partly(w.h, 2)
			for _, then := range c.then {
				then(w)
			}
			if got := orchestrate.HostState(w.db.Local(), w.h); got != c.want || len(w.open(w.h)) > 0 {
				t.Errorf("%s, want %s; open: %s", got, c.want, w.steps(w.h))
			}
		})
	}
}

// What counts as failed is kept however old it is, and what made a part of it good is not needed any more.
func TestAFailureOutlivesWhatIsDropped(t *testing.T) {
	u := newUpkeepWorld(t, orchestrate.ChangesKept{Expiry: time.Hour, Age: 24 * time.Hour, Most: 1000})
	host := u.member("a1", "h", true)
	one := func(resource string, failing ...int) string {
		var id string
		u.do(func(tx *state.Tx) error {
			c, err := orchestrate.QueueChange(tx, host, orchestrate.Draft{Tasks: []model.Task{{Status: model.TaskPending, Collection: "files", Resource: resource, Verb: "apply"}}})
			id = c.ID
			return err
		})
		u.finish(host, failing...)
		return id
	}
	failed := u.queue(host, 1)[0]
	u.finish(host, 0, 1)
	mends := one("/a")
	for range 25 {
		one("/c")
	}
	drop := func(want int) {
		t.Helper()
		u.pass(25 * time.Hour)
		for range 20 { // the newest stay
			one("/c")
		}
		if n, err := u.work.Drop(t.Context()); err != nil || n != want {
			t.Errorf("%d changes dropped, %v; want %d", n, err, want)
		}
	}
	is := func(want model.HostState) {
		t.Helper()
		if got := orchestrate.HostState(u.db.Local(), host); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	drop(26)
	if _, ok := state.Get[model.Change](u.db.Local(), mends); ok || !u.change(failed).Done {
		t.Error("the failed change was dropped, or the one that made a part of it good was not")
	}
	is(model.HostError)
	one("/b")
	is(model.HostReady)
	drop(22)
	if _, ok := state.Get[model.Change](u.db.Local(), failed); ok {
		t.Error("a failed change that was made good is kept")
	}
	is(model.HostReady)
}
