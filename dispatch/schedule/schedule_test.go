package schedule_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-hq/muster/dispatch/schedule"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/state/statetest"
)

// world is an organization with jobs.
type world struct {
	t   *testing.T
	db  *statetest.DB
	org string
	may bool
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, db: statetest.New(t, orchestrate.Tables()...), may: true}
	w.do(func(tx *state.Tx) error {
		o, err := orchestrate.CreateOrganization(tx, model.Organization{Name: "O"}, "", true)
		w.org = o.ID
		return err
	})
	return w
}

func (w *world) do(fn func(tx *state.Tx) error) {
	w.t.Helper()
	if err := w.db.Update(context.Background(), fn); err != nil {
		w.t.Fatal(err)
	}
}

// host makes a DEFINED host of the first environment.
func (w *world) host(name string) {
	w.t.Helper()
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.CreateHost(tx, w.org, orchestrate.Environments(tx, w.org)[0].ID, model.Host{Name: name})
		return err
	})
}

func (w *world) job(doc model.Job) {
	w.t.Helper()
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.CreateJob(tx, w.org, doc, model.JobMaker{Name: "ann"})
		return err
	})
}

func (w *world) shown(name string) model.Job {
	w.t.Helper()
	j, err := orchestrate.JobByName(w.db.Local(), w.org, name)
	if err != nil {
		w.t.Fatal(err)
	}
	return orchestrate.JobDoc(w.db.Local(), j)
}

func (w *world) hosts() int {
	return len(state.Keys[model.HostRow](w.db.Local(), model.HostsOfOrganization(w.org)))
}

// lead runs the duty as one leader until the answer is called.
func (w *world) lead() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- schedule.Run(ctx, schedule.Config{Store: w.db, Log: slog.New(slog.DiscardHandler), World: orchestrate.JobWorld{
			Driver: func(string) (orchestrate.DriverInfo, bool) { return orchestrate.DriverInfo{}, false },
			May:    func(state.Reader, model.JobMaker, *model.HostRow) bool { return w.may },
		}})
	}()
	return func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("the duty ended with %v", err)
		}
	}
}

func input(host string) string { return "organizations/O/environments/Default/hosts/" + host }

func TestJobsRunWhenDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.host("a")
		w.host("b")
		at := time.Now().Add(90 * time.Second)
		w.job(model.Job{Name: "once", Action: "DELETE_HOST", Input: input("a"), Date: model.FormatTime(at)})
		w.job(model.Job{Name: "off", Action: "DELETE_HOST", Input: input("b"), Cron: "* * * * *", Enabled: []byte("false")})
		w.job(model.Job{Name: "often", Action: "REBUILD_HOST", Input: input("b"), Cron: "* * * * *"})
		// Two leaders at once, as while one has not yet heard of the other: each run is one all the same.
		first, second := w.lead(), w.lead()
		synctest.Wait()
		if w.hosts() != 2 || w.shown("once").Next != model.FormatTime(at) || w.shown("off").Next != "" {
			t.Errorf("before anything is due: %d hosts, %+v", w.hosts(), w.shown("once"))
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if j := w.shown("once"); w.hosts() != 1 || j.Next != "" || j.LastError != "" || string(j.Enabled) != "false" {
			t.Errorf("after its date: %d hosts, %+v", w.hosts(), j)
		}
		// What fails is told, and goes on by its table.
		if j := w.shown("often"); !strings.Contains(j.LastError, "has no instance") || j.Next == "" {
			t.Errorf("a job that fails: %+v", j)
		}
		first()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		row, _ := orchestrate.JobByName(w.db.Local(), w.org, "often")
		if row.Runs < 11 || row.Runs > 13 {
			t.Errorf("a job of every minute ran %d times in 12 minutes", row.Runs)
		}
		second()
		before := row.Runs
		time.Sleep(time.Hour) // nobody leads
		third := w.lead()
		time.Sleep(time.Second)
		synctest.Wait()
		if row, _ = orchestrate.JobByName(w.db.Local(), w.org, "often"); row.Runs != before+1 {
			t.Errorf("after an hour without a leader it ran %d times, once is right", row.Runs-before)
		}
		third()
	})
}

func TestJobsActForTheirMaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.may = false
		w.host("a")
		w.job(model.Job{Name: "j", Action: "DELETE_HOST", Input: input("a"), Cron: "* * * * *"})
		w.job(model.Job{Name: "none", Action: "DELETE_HOST", Input: input("zz"), Cron: "* * * * *"})
		w.job(model.Job{Name: "odd", Action: "DANCE", Input: input("a"), Cron: "* * * * *"})
		stop := w.lead()
		time.Sleep(61 * time.Second)
		synctest.Wait()
		hidden, none := w.shown("j").LastError, w.shown("none").LastError
		if w.hosts() != 1 || hidden == "" || strings.ReplaceAll(hidden, "/a ", "/zz ") != none {
			t.Errorf("a host that may not be changed: %q; one that is not there: %q", hidden, none)
		}
		stop()
		w.may = true
		w.do(func(tx *state.Tx) error { return orchestrate.DeleteJob(tx, w.org, "j") })
		stop = w.lead()
		time.Sleep(61 * time.Second)
		synctest.Wait()
		if e := w.shown("odd").LastError; !strings.Contains(e, "DELETE_HOST, PROVISION_HOST") {
			t.Errorf("an action that nobody knows: %q", e)
		}
		stop()
	})
}
