package webhook

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/state/statetest"
)

// rig is a store with an organization, and a server that webhooks lead to.
type rig struct {
	t      *testing.T
	db     *statetest.DB
	server *httptest.Server
	org    string

	mu     sync.Mutex
	now    time.Time
	status int
	got    []arrived
	hold   chan struct{} // nil: answers at once
}

// arrived is a request that came.
type arrived struct {
	id   string
	kind string
	good bool // its signature
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, now: time.Now(), status: http.StatusNoContent}
	r.db = statetest.New(t, orchestrate.Tables()...)
	r.db.SetClock(func() time.Time { r.mu.Lock(); defer r.mu.Unlock(); return r.now })
	r.server = httptest.NewServer(http.HandlerFunc(r.serve))
	t.Cleanup(r.server.Close)
	r.do(func(tx *state.Tx) error {
		r.org = "ORG"
		return state.Put(tx, &model.OrganizationRow{ID: r.org, Name: "acme", AccessKey: "a"})
	})
	return r
}

func (r *rig) serve(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	var m message
	_ = json.Unmarshal(body, &m)
	key, _ := (&model.Webhook{SigningSecret: testSecret}).SigningKey()
	id := req.Header.Get("webhook-id")
	r.mu.Lock()
	r.got = append(r.got, arrived{id, m.Type, req.Header.Get("webhook-signature") == Sign(key, id, req.Header.Get("webhook-timestamp"), body)})
	status, hold := r.status, r.hold
	r.mu.Unlock()
	if hold != nil {
		<-hold
	}
	w.WriteHeader(status)
}

func (r *rig) do(f func(tx *state.Tx) error) {
	r.t.Helper()
	if err := r.db.Update(r.t.Context(), f); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) set(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

func (r *rig) arrivals() []arrived {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]arrived(nil), r.got...)
}

// hook makes a webhook for kinds of events.
func (r *rig) hook(events ...string) {
	r.t.Helper()
	doc := hookAt(r.t, r.server.URL)
	doc.Events = events
	r.do(func(tx *state.Tx) error {
		_, err := orchestrate.Webhooks().Create(tx, r.org, r.org, doc, true)
		return err
	})
}

func (r *rig) environment(name string) {
	r.t.Helper()
	r.do(func(tx *state.Tx) error {
		tx.SetActor("ann")
		_, err := orchestrate.CreateEnvironment(tx, r.org, model.Environment{Name: name})
		return err
	})
}

// lead runs a duty until the function that it gives.
func (r *rig) lead() (stop func()) {
	ctx, cancel := context.WithCancel(r.t.Context())
	sender := NewSender(local())
	done := make(chan error, 1)
	d := New(Config{Store: r.db, Sender: sender, Log: slog.New(slog.DiscardHandler)})
	go func() { done <- d.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("the duty ended with %v", err)
		}
		sender.Close()
	}
}

// until waits for a condition.
func (r *rig) until(what string, ok func() bool) {
	r.t.Helper()
	end := time.After(time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			r.t.Fatalf("never: %s; what came: %+v", what, r.arrivals())
		}
	}
}

func (r *rig) waiting() []*model.Delivery {
	return state.List[model.Delivery](r.db.Local(), model.AllDeliveries)
}

// marked waits until the first look at events was written down: events from then on are followed.
func (r *rig) marked() {
	r.t.Helper()
	r.until("the mark", func() bool { _, ok := state.Get[model.EventMark](r.db.Local(), model.EventMarkKey); return ok })
}

func (r *rig) lines(log string) string {
	var all []string
	state.ReadLog(r.db.Local(), log, state.LogRange{}, func(l state.LogRecord) bool { all = append(all, string(l.Data)); return true })
	return strings.Join(all, "\n")
}

func (r *rig) hookID() string {
	return state.List[model.WebhookRow](r.db.Local(), model.EventWebhooks)[0].ID
}

func TestEventsAreSent(t *testing.T) {
	r := newRig(t)
	stop := r.lead()
	r.marked()
	r.environment("before")
	r.hook("environment.*")
	r.environment("one")
	r.do(func(tx *state.Tx) error {
		_, err := orchestrate.UpdateOrganization(tx, r.org, []byte(`{"description": "nobody asked"}`))
		return err
	})
	r.environment("two")
	r.until("two requests", func() bool { return len(r.arrivals()) >= 2 && len(r.waiting()) == 0 })
	stop()
	got := r.arrivals()
	if len(got) != 2 || got[0].id == got[1].id {
		t.Errorf("%+v", got)
	}
	for _, g := range got {
		if g.kind != "environment.created" || !g.good {
			t.Errorf("%+v", g)
		}
	}
	if log := r.lines(model.DeliveryLogOf(r.org, r.hookID())); strings.Count(log, `"status":204`) != 2 {
		t.Errorf("the log of deliveries: %s", log)
	}
}

// TestRetriesOutliveTheLeader: what fails waits with back-off, and another leader sends it under the same id.
func TestRetriesOutliveTheLeader(t *testing.T) {
	r := newRig(t)
	stop := r.lead()
	r.marked()
	r.hook("*")
	r.until("the webhook's own event", func() bool { return len(r.arrivals()) == 1 && len(r.waiting()) == 0 })
	r.set(func() { r.status = http.StatusServiceUnavailable })
	r.environment("one")
	failed := func(n int) func() bool {
		return func() bool { w := r.waiting(); return len(w) == 1 && w[0].Attempts == n }
	}
	r.until("a failed attempt", failed(1))
	stop()
	r.set(func() { r.now = r.now.Add(10 * time.Second) })
	stop = r.lead()
	r.until("a second attempt", failed(2))
	if h, ok := state.Get[model.WebhookHealth](r.db.Local(), r.hookID()); !ok || h.Disabled || !strings.Contains(h.Error, "503") {
		t.Errorf("health %+v", h)
	}
	stop()
	r.set(func() { r.now, r.status = r.now.Add(time.Minute), http.StatusOK })
	stop = r.lead()
	r.until("it was taken", func() bool { return len(r.waiting()) == 0 })
	stop()
	got := r.arrivals()
	if len(got) != 4 || got[1].id != got[2].id || got[2].id != got[3].id || got[0].id == got[1].id {
		t.Errorf("%+v", got)
	}
	if _, ok := state.Get[model.WebhookHealth](r.db.Local(), r.hookID()); ok {
		t.Error("it is well again, and still noted as failing")
	}
}

// TestCutOffAttemptIsSentAgain: a leader that goes while a request is under way leaves the delivery to the next.
func TestCutOffAttemptIsSentAgain(t *testing.T) {
	r := newRig(t)
	stop := r.lead()
	r.marked()
	hold := make(chan struct{})
	r.set(func() { r.hold = hold })
	r.hook("environment.*")
	r.environment("one")
	r.until("a request", func() bool { return len(r.arrivals()) == 1 })
	stop()
	close(hold)
	if w := r.waiting(); len(w) != 1 || w[0].Attempts != 0 {
		t.Fatalf("waiting %+v", w)
	}
	stop = r.lead()
	r.until("it was taken", func() bool { return len(r.waiting()) == 0 })
	stop()
	if got := r.arrivals(); len(got) != 2 || got[0].id != got[1].id {
		t.Errorf("%+v", got)
	}
}

// TestFailingWebhookIsDisabled after days, with a notice, until it is updated.
func TestFailingWebhookIsDisabled(t *testing.T) {
	r := newRig(t)
	stop := r.lead()
	r.marked()
	r.set(func() { r.status = http.StatusGone })
	r.hook("environment.*")
	r.environment("one")
	r.until("a failed attempt", func() bool { w := r.waiting(); return len(w) == 1 && w[0].Attempts == 1 })
	stop()
	r.set(func() { r.now = r.now.Add(6 * 24 * time.Hour) })
	stop = r.lead()
	r.until("it is disabled, and nothing waits", func() bool {
		h, ok := state.Get[model.WebhookHealth](r.db.Local(), r.hookID())
		return ok && h.Disabled && len(r.waiting()) == 0
	})
	if log := r.lines(model.NotificationLogOf(r.org)); !strings.Contains(log, "disabled") || !strings.Contains(log, "webhook h") {
		t.Errorf("notices: %s", log)
	}
	r.set(func() { r.status = http.StatusOK })
	r.do(func(tx *state.Tx) error {
		_, err := orchestrate.Webhooks().Update(tx, r.org, r.org, "h", []byte(`{"description": "again"}`), true)
		return err
	})
	r.environment("two")
	r.until("it is sent again", func() bool { return len(r.arrivals()) == 3 && len(r.waiting()) == 0 })
	stop()
}

// TestForgottenEventsAreTold: when the ring was too small, the organization hears of it.
func TestForgottenEventsAreTold(t *testing.T) {
	r := newRig(t)
	stop := r.lead()
	r.marked()
	r.hook("environment.*")
	stop()
	r.do(func(tx *state.Tx) error {
		return state.Put(tx, &model.EventMark{Epoch: r.db.Local().Epoch() - 1, Index: 1})
	})
	r.environment("one")
	stop = r.lead()
	r.until("a notice", func() bool { return strings.Contains(r.lines(model.NotificationLogOf(r.org)), "forgotten") })
	r.until("what is still kept is sent", func() bool { return len(r.arrivals()) == 1 && len(r.waiting()) == 0 })
	stop()
}
