package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// letters is a mail server that keeps what it got.
type letters struct {
	mu   sync.Mutex
	got  []letter
	fail error
}

type letter struct{ id, to, subject, text string }

func (l *letters) SendAll(_ context.Context, id string, to []string, subject, text string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.got = append(l.got, letter{id, strings.Join(to, " "), subject, text})
	return l.fail
}

func (l *letters) all() []letter {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]letter(nil), l.got...)
}

func (l *letters) failWith(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail = err
}

// tells runs a duty that mails.
func (r *rig) tells(m Mailer) {
	ctx, cancel := context.WithCancel(r.t.Context())
	sender, done := NewSender(local()), make(chan error, 1)
	go func() {
		done <- New(Config{Store: r.db, Sender: sender, Mail: m, Log: slog.New(slog.DiscardHandler)}).Run(ctx)
	}()
	r.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("the duty ended with %v", err)
		}
		sender.Close()
	})
}

// later moves the leader's clock, and wakes the duty.
func (r *rig) later(by time.Duration) {
	r.mu.Lock()
	r.now = r.now.Add(by)
	r.mu.Unlock()
	r.environment("E" + time.Now().Format("150405.000000000"))
}

func (r *rig) channel(name, value string, actions ...string) {
	r.t.Helper()
	doc := model.NotificationChannel{Name: name, Channel: "any", Value: value}
	for _, a := range actions {
		doc.NotifiableViews = append(doc.NotifiableViews, model.NotifiableView{ActionType: a, Active: true})
	}
	r.do(func(tx *state.Tx) error {
		_, err := orchestrate.NotificationChannels().Create(tx, r.org, r.org, doc, true)
		return err
	})
}

// jobsFail lets so many jobs of the organization fail at once.
func (r *rig) jobsFail(jobs int) {
	r.t.Helper()
	name := func(i int) string { return "j" + strconv.Itoa(i) }
	r.do(func(tx *state.Tx) error {
		for i := range jobs {
			_, err := orchestrate.CreateJob(tx, r.org, model.Job{Name: name(i), Cron: "* * * * *", Enabled: json.RawMessage("true"), Action: "STOP_HOST",
				Input: "organizations/acme/environments/none/hosts/none"}, model.JobMaker{Name: "ann"})
			if err != nil {
				return err
			}
		}
		return nil
	})
	r.mu.Lock()
	r.now = r.now.Add(2 * time.Minute)
	r.mu.Unlock()
	r.do(func(tx *state.Tx) error {
		for i := range jobs {
			j, err := orchestrate.JobByName(tx, r.org, name(i))
			if err == nil {
				err = orchestrate.FailDueJob(tx, j.ID, model.Errorf(model.NotFound, "no such host"))
			}
			if err == nil {
				err = orchestrate.DeleteJob(tx, r.org, name(i))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// standing is how a channel does.
func (r *rig) standing(name string) (waiting int, h *model.WebhookHealth) {
	r.t.Helper()
	v, err := r.db.View(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	_, waiting, h, err = orchestrate.ChannelStanding(v, r.org, name)
	if err != nil {
		r.t.Fatal(err)
	}
	return waiting, h
}

// TestChannelsAreTold: only of what they want to hear, together, and again under the same id after a failure.
func TestChannelsAreTold(t *testing.T) {
	r, m := newRig(t), &letters{fail: errors.New("dial 10.9.8.7:25: refused")}
	r.tells(m)
	r.channel("ops", `{"to": ["ops@example.org", "night@example.org"]}`, model.NoticeError)
	r.channel("deaf", `{"to": "deaf@example.org"}`, model.NoticeDrift)
	r.channel("nowhere", `{"colour": "red"}`, model.NoticeError)
	r.jobsFail(3)
	r.later(time.Minute)
	r.until("a first attempt", func() bool { w, h := r.standing("ops"); return len(m.all()) == 1 && w == 3 && h != nil })
	first := m.all()[0]
	if first.to != "ops@example.org night@example.org" || strings.Count(first.text, "no such host") != 3 || !strings.Contains(first.text, first.id) {
		t.Errorf("the letter: %+v", first)
	}
	if _, h := r.standing("ops"); strings.Contains(h.Error, "10.9.8.7") || !strings.Contains(h.Error, "mail server") {
		t.Errorf("the owner is told %q", h.Error)
	}
	m.failWith(nil)
	r.later(time.Minute)
	r.until("a second attempt", func() bool { w, h := r.standing("ops"); return len(m.all()) == 2 && w == 0 && h == nil })
	if again := m.all()[1]; again != first {
		t.Errorf("sent again: %+v, first: %+v", again, first)
	}
	if _, h := r.standing("nowhere"); h == nil || !strings.Contains(h.Error, "webHookUrl") || strings.Contains(h.Error, "red") {
		t.Errorf("a channel that leads nowhere tells %+v", h)
	}
	if w, h := r.standing("deaf"); w != 0 || h != nil {
		t.Errorf("deaf: %d wait, %+v", w, h)
	}
}

// TestChannelTest: a test goes out at once, and a channel that failed for days begins anew by it.
func TestChannelTest(t *testing.T) {
	r := newRig(t)
	var mu sync.Mutex
	var got told
	status := http.StatusGone
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		_ = json.NewDecoder(req.Body).Decode(&got)
		w.WriteHeader(status)
	}))
	defer server.Close()
	r.channel("chat", `{"webHookUrl": "`+server.URL+`/in/s3cret-path"}`, model.NoticeError)
	r.tells(nil)
	try := func() { r.do(func(tx *state.Tx) error { return orchestrate.TestChannel(tx, r.org, "chat") }) }
	try()
	r.until("a failed test", func() bool { _, h := r.standing("chat"); return h != nil })
	for range 6 {
		r.later(25 * time.Hour)
		r.until("another attempt", func() bool {
			w, h := r.standing("chat")
			v, err := r.db.View(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			due, _, _ := orchestrate.DueNotices(v)
			return h != nil && (h.Disabled || w > 0 && len(due) == 0)
		})
	}
	_, h := r.standing("chat")
	if h == nil || !h.Disabled || strings.Contains(h.Error, "s3cret") {
		t.Fatalf("after six days: %+v", h)
	}
	r.jobsFail(1)
	r.until("nothing waits for a disabled channel", func() bool { w, _ := r.standing("chat"); return w == 0 })
	mu.Lock()
	status = http.StatusOK
	mu.Unlock()
	r.later(time.Minute)
	try()
	r.until("a test that is taken", func() bool { w, h := r.standing("chat"); return w == 0 && h == nil })
	mu.Lock()
	defer mu.Unlock()
	if got.Organization != "acme" || len(got.Notices) != 1 || got.Notices[0].ActionType != model.NoticeTest || !strings.Contains(got.Text, "test") {
		t.Errorf("sent %+v", got)
	}
}

func TestWhereChannelsLead(t *testing.T) {
	for value, want := range map[string]string{
		`{"to": "a@b.example"}`: "mail to 1 address(es)", `{"to": ["a@b.example", "c@d.example"]}`: "mail to 2 address(es)",
		`{"webHookUrl": "https://chat.example/in/x?y=z"}`: "https://chat.example",
		`{"to": []}`: "", `{"to": 5}`: "", `{"to": "A <a@b.example>"}`: "", `{"to": "a@b.example\r\nBcc: x@y"}`: "", `{"webHookUrl": "value"}`: "",
		`{"webHookUrl": "ftp://x/y"}`: "", `{"webHookUrl": "https://u:p@x/y"}`: "", `[]`: "", ``: "", `{}`: "",
	} {
		n := model.NotificationChannel{Name: "n", Value: value}
		to, err := n.To()
		if want == "" && model.CodeOf(err) != model.Conflict || want != "" && (err != nil || to.Shown() != want) {
			t.Errorf("%s: %v, %v", value, to, err)
		}
	}
}

func FuzzWhereChannelsLead(f *testing.F) {
	f.Add(`{"to": ["a@b"]}`)
	f.Add(`{"webHookUrl": "http://[::1]:8/"}`)
	f.Fuzz(func(t *testing.T, value string) {
		n := model.NotificationChannel{Name: "n", Value: value}
		to, err := n.To()
		if err == nil && (to.URL == nil) == (len(to.Mail) == 0) {
			t.Errorf("%q leads to %+v", value, to)
		}
		for _, a := range to.Mail {
			if strings.ContainsAny(a, "\r\n") {
				t.Errorf("%q leads to %q", value, a)
			}
		}
	})
}
