package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/api"
	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

func (a answer) events(t *testing.T) spec.EventList {
	t.Helper()
	var l spec.EventList
	if err := json.Unmarshal([]byte(a.body), &l); err != nil || a.status != 200 || l.Count != len(l.Items) || l.Cursor == "" {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	return l
}

const acmeEvents = "/organizations/acme/events"

func kinds(l []spec.Event) string {
	var out []string
	for _, e := range l {
		out = append(out, e.Kind)
	}
	return strings.Join(out, " ")
}

func TestEventsInPieces(t *testing.T) {
	s := newSite(t).furnish()
	whole := s.do("GET", acmeEvents, "").events(t)
	if !strings.Contains(kinds(whole.Items), "environment.created") || whole.Items[0].Organization != "acme" || whole.Items[0].Actor != "admin" {
		t.Fatalf("%+v", whole)
	}
	for _, limit := range []int{1, 2, 3} {
		var got []spec.Event
		after := ""
		for range 100 {
			l := s.do("GET", fmt.Sprintf("%s?limit=%d&after=%s", acmeEvents, limit, after), "").events(t)
			got, after = append(got, l.Items...), l.Cursor
			if l.Count == 0 {
				break
			}
			if l.Count > limit {
				t.Fatalf("%d events, though %d were asked for", l.Count, limit)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(whole.Items) {
			t.Errorf("in pieces of %d: %v, want %v", limit, got, whole.Items)
		}
	}
	// From each event on come those after it.
	for i, e := range whole.Items {
		rest := s.do("GET", acmeEvents+"?after="+e.Cursor, "").events(t)
		if fmt.Sprint(rest.Items) != fmt.Sprint(whole.Items[i+1:]) {
			t.Errorf("after %s: %v", e.Cursor, rest.Items)
		}
	}
	// From an answer on come the events after it.
	a := s.do("GET", settings, "")
	s.do("POST", settings, `{"key": "new", "value": 1}`)
	if l := s.do("GET", acmeEvents+"?after="+a.at(), "").events(t); kinds(l.Items) != "setting.created" {
		t.Errorf("after the answer: %+v", l)
	}
}

func TestEventsWait(t *testing.T) {
	s := newSite(t).furnish()
	after := s.do("GET", acmeEvents+"?after=now", "").events(t).Cursor
	got := s.later("GET", acmeEvents+"?wait=1m&after="+after, "")
	s.do("POST", "/organizations/", `{"name": "other"}`)
	s.do("POST", settings, `{"key": "a", "value": 1}`)
	if l := s.soon(got).events(t); kinds(l.Items) != "setting.created" {
		t.Errorf("%+v", l)
	}
	end := s.do("GET", acmeEvents+"?wait=10ms&after=now", "").events(t)
	if end.Count != 0 || end.Items == nil {
		t.Errorf("at the end of a wait: %+v", end)
	}
}

// Another organization's events cannot be seen, nor counted by the cursors of one's own.
func TestEventsOfOthers(t *testing.T) {
	s := newSite(t).furnish()
	s.do("POST", "/organizations/", `{"name": "rival"}`)
	s.user("eve", "admin", "rival")
	eve := []string{"Authorization", basicAuth("eve", "eve-password")}
	var rival, acme string
	s.update(func(tx *state.Tx) error { // one entry with events of both
		for _, name := range []string{"acme", "rival"} {
			o, _ := state.Find[model.OrganizationRow](tx, model.OrganizationNamed(name))
			for i := range 3 {
				if err := state.Put(tx, &model.EnvironmentRow{ID: fmt.Sprint(name, i), OrgID: o.ID, Name: fmt.Sprint("e", i), Version: 1}); err != nil {
					return err
				}
			}
			if name == "rival" {
				rival = o.ID
			} else {
				acme = o.ID
			}
		}
		return nil
	})
	l := s.do("GET", "/organizations/rival/events", "", eve...).events(t)
	last := l.Items[len(l.Items)-3:]
	for i, e := range last {
		if !strings.HasSuffix(e.Cursor, fmt.Sprintf("-%d", i+1)) || e.Object != fmt.Sprint("rival", i) {
			t.Errorf("event %d is %+v", i, e)
		}
	}
	for _, e := range l.Items {
		if e.Organization != "rival" || strings.Contains(fmt.Sprint(e), acme) {
			t.Errorf("eve sees %+v", e)
		}
	}
	for path, status := range map[string]int{"/events": 403, acmeEvents: 404, "/organizations/nope/events": 404} {
		if a := s.raw("GET", path, "", eve...); a.status != status {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	all := s.do("GET", "/events?limit=1000", "").events(t)
	if got := kinds(all.Items); !strings.Contains(got, "user.created") || !strings.Contains(s.do("GET", "/events?limit=1000", "").body, `"rival"`) || rival == "" {
		t.Errorf("an administrator sees %s", got)
	}
	// Who does not see all of an organization does not see its events.
	s.user("ben", "readonly", "acme")
	ben := []string{"Authorization", basicAuth("ben", "ben-password")}
	s.do("GET", acmeEvents, "", ben...)
	s.join("ben", "no access", "acme/Dev")
	if a := s.raw("GET", acmeEvents, "", ben...); a.status != 403 {
		t.Errorf("with an environment hidden: %d %s", a.status, a.body)
	}
	s.user("guest", "users", "acme/Dev")
	if a := s.raw("GET", acmeEvents, "", "Authorization", basicAuth("guest", "guest-password")); a.status != 403 {
		t.Errorf("a user of one environment: %d %s", a.status, a.body)
	}
}

func TestEventsThatAreNoMore(t *testing.T) {
	s := newSite(t).furnish()
	for after, want := range map[string]struct {
		status int
		text   string
	}{
		"1-0":                 {410, "no longer kept: read what you need anew, then follow events with after=1-"},
		"7-3":                 {410, "is of epoch 7"},
		"x":                   {400, "cursor"},
		"1":                   {400, "cursor"},
		"0-1":                 {400, "cursor"},
		"1-1-1-1":             {400, "cursor"},
		"1-1-99999999999":     {400, "cursor"},
		"1-5&limit=0":         {400, "1 to 1000"},
		"1-5&limit=1001":      {400, "1 to 1000"},
		"1-5&limit=many":      {400, "1 to 1000"},
		"1-5&wait=1h":         {400, "up to 5m"},
		"1-5&consistency=all": {400, "consistency"},
	} {
		a := s.raw("GET", acmeEvents+"?after="+after, "")
		if after == "1-0" && a.status == 200 {
			continue // the ring goes back to the beginning
		}
		if a.status != want.status || !strings.Contains(a.errors(t), want.text) {
			t.Errorf("after %s: %d %s", after, a.status, a.body)
		}
	}
}

// sse reads a stream until stop says so, and gives the events and the last id.
func (s *site) sse(ctx context.Context, path, from string, stop func([]spec.Event) bool, headers ...string) (got []spec.Event, last string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(ctx, "GET", s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	req.SetBasicAuth("admin", adminPassword)
	if from != "" {
		req.Header.Set("Last-Event-ID", from)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		s.t.Fatalf("%s %v", resp.Status, resp.Header)
	}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
			last = id
		}
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			var e spec.Event
			if err := json.Unmarshal([]byte(data), &e); err != nil {
				s.t.Fatalf("%s: %v", data, err)
			}
			got = append(got, e)
		}
		if lines.Text() == "" && stop(got) {
			break
		}
	}
	return got, last
}

func TestEventStream(t *testing.T) {
	s := newSite(t).furnish()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	first := true
	got, last := s.sse(ctx, acmeEvents, "", func(got []spec.Event) bool {
		if first { // the stream has begun
			first = false
			s.do("POST", "/organizations/", `{"name": "other"}`)
			s.do("POST", settings, `{"key": "a", "value": 1}`)
			s.do("PUT", settings+"a", `{"value": 2}`)
		}
		return len(got) >= 2
	})
	if kinds(got) != "setting.created setting.updated" {
		t.Errorf("%+v", got)
	}
	s.do("DELETE", settings+"a", "")
	got, _ = s.sse(ctx, acmeEvents, last, func(got []spec.Event) bool { return len(got) > 0 })
	if kinds(got) != "setting.deleted" {
		t.Errorf("resumed after %s: %+v", last, got)
	}
	if a := s.raw("GET", acmeEvents, "", "Accept", "text/event-stream", "Last-Event-ID", "9-9"); a.status != 410 {
		t.Errorf("resumed in another epoch: %d %s", a.status, a.body)
	}
}

// A stream ends with the credentials that opened it, and with the server.
func TestEventStreamEnds(t *testing.T) {
	stop, end := context.WithCancel(t.Context())
	s := newSite(t, func(c *api.Config) { c.Stop = stop }).furnish()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var key model.ApplicationKey
	s.call(s.admin, client.Op{Name: "applicationkeys.create", Params: map[string]string{"org": "acme"}, Body: map[string]any{"name": "ci", "method": "TOKEN", "group": "readonly"}}, &key)
	once := false
	never := func([]spec.Event) bool {
		if !once {
			once = true
			s.do("DELETE", "/organizations/acme/applicationkeys/ci", "")
		}
		return false
	}
	if got, _ := s.sse(ctx, acmeEvents, "", never, "Authorization", "", spec.HeaderAppKey, key.Token); ctx.Err() != nil || kinds(got) != "" && strings.Contains(kinds(got), "applicationkey.deleted") {
		t.Errorf("after the key was revoked: %v, %v", got, ctx.Err())
	}
	s.sse(ctx, acmeEvents, "", func([]spec.Event) bool { end(); return false })
	if ctx.Err() != nil {
		t.Error("the stream did not end with the server")
	}
}
