package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/api"
	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// later sends a request that may wait, and gives its answer when it comes.
func (s *site) later(method, path, body string, headers ...string) <-chan answer {
	got := make(chan answer, 1)
	go func() { got <- s.raw(method, path, body, headers...) }()
	return got
}

func (s *site) soon(got <-chan answer) answer {
	s.t.Helper()
	select {
	case a := <-got:
		return a
	case <-time.After(time.Minute):
		s.t.Fatal("no answer came")
		return answer{}
	}
}

// at is where an answer says that it was read, as the parameter index takes it.
func (a answer) at() string {
	return a.header.Get(spec.HeaderEpoch) + "-" + a.header.Get(spec.HeaderIndex)
}

func (a answer) index(t *testing.T) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(a.header.Get(spec.HeaderIndex), 10, 64)
	if err != nil {
		t.Fatalf("the answer %d tells no index: %v", a.status, err)
	}
	return n
}

const settings = "/organizations/acme/environments/Dev/settings/"

// do sends a request that must succeed.
func (s *site) do(method, path, body string, headers ...string) answer {
	s.t.Helper()
	a := s.raw(method, path, body, headers...)
	if a.status/100 != 2 {
		s.t.Fatalf("%s %s: %d %s", method, path, a.status, a.body)
	}
	return a
}

func TestBlockingReadWakesForWhatItRead(t *testing.T) {
	s := newSite(t).furnish()
	s.do("POST", settings, `{"key": "a", "value": 1}`)
	s.do("POST", settings, `{"key": "b", "value": 1}`)
	a := s.do("GET", settings+"a", "")
	for _, c := range []struct{ path, change, want string }{
		{settings + "a", settings + "a", `"value":2`},
		{"/organizations/acme/tree/settings/", settings + "a", `"value":2`},
		{"/organizations/acme/environments/Dev", settings + "a", `"value":2`},
	} {
		s.do("PUT", settings+"a", `{"value": 1}`)
		a = s.do("GET", c.path, "")
		got := s.later("GET", c.path+"?index="+a.at()+"&wait=1m", "", "If-None-Match", a.header.Get("ETag"))
		s.do("PUT", "/organizations/acme/applications/web", `{"description": "of no concern for `+c.path+`"}`)
		s.do("POST", "/organizations/", `{"name": "x`+strconv.FormatUint(a.index(t), 10)+`"}`)
		w := s.do("PUT", c.change, `{"value": 2}`)
		news := s.soon(got)
		if news.status != 200 || !strings.Contains(news.body, c.want) || news.index(t) < w.index(t) {
			t.Errorf("%s: %d at %d, written at %d: %s", c.path, news.status, news.index(t), w.index(t), news.body)
		}
	}
}

func TestBlockingReadOfWhatIsNotThere(t *testing.T) {
	s := newSite(t).furnish()
	a := s.raw("GET", settings+"new", "")
	if a.status != 404 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	got := s.later("GET", settings+"new?wait=1m&index="+a.at(), "")
	s.do("POST", settings, `{"key": "other", "value": 1}`)
	s.do("POST", settings, `{"key": "new", "value": 7}`)
	if news := s.soon(got); news.status != 200 || !strings.Contains(news.body, `"value":7`) {
		t.Errorf("once it was there: %d %s", news.status, news.body)
	}
	a = s.do("GET", settings+"new", "")
	got = s.later("GET", settings+"new?wait=1m&index="+a.at(), "")
	s.do("DELETE", settings+"new", "")
	if news := s.soon(got); news.status != 404 {
		t.Errorf("once it was deleted: %d %s", news.status, news.body)
	}
}

func TestBlockingReadOfWhatIsNewerAlready(t *testing.T) {
	s := newSite(t).furnish()
	w := s.do("POST", settings, `{"key": "a", "value": 1}`)
	before := strconv.FormatUint(w.index(t)-1, 10)
	if a := s.do("GET", settings+"a?wait=5m&index="+before, ""); a.index(t) < w.index(t) {
		t.Errorf("at %d, though written at %d", a.index(t), w.index(t))
	}
	// At the end of the wait comes the same content, at the present index.
	a := s.do("GET", settings+"a", "")
	s.do("POST", "/organizations/", `{"name": "x"}`)
	end := s.do("GET", settings+"a?wait=20ms&index="+a.at(), "")
	if end.body != a.body || end.index(t) <= a.index(t) || end.header.Get("ETag") != a.header.Get("ETag") {
		t.Errorf("at %d %s, after %d %s", end.index(t), end.body, a.index(t), a.body)
	}
	none := s.raw("GET", settings+"a?wait=20ms&index="+a.at(), "", "If-None-Match", a.header.Get("ETag"))
	if none.status != http.StatusNotModified || none.body != "" || none.index(t) < end.index(t) {
		t.Errorf("%d %q at %d", none.status, none.body, none.index(t))
	}
}

// A write that shows the reader nothing new does not end its wait, though it changed what was read.
func TestBlockingReadHidesWhatItHides(t *testing.T) {
	s := newSite(t).furnish()
	s.user("eve", "readonly", "acme")
	s.do("POST", settings, `{"key": "secret", "value": "x", "schema": {"type": "string", "secret": true}}`)
	eve := []string{"Authorization", basicAuth("eve", "eve-password")}
	a := s.do("GET", settings, "", eve...)
	got := s.later("GET", settings+"?wait=1m&index="+a.at(), "", append(eve, "If-None-Match", a.header.Get("ETag"))...)
	s.do("PUT", settings+"secret", `{"value": "y"}`)
	w := s.do("POST", settings, `{"key": "plain", "value": 1}`)
	if news := s.soon(got); news.index(t) < w.index(t) || !strings.Contains(news.body, "plain") || strings.Contains(news.body, "secret") {
		t.Errorf("at %d, want %d: %s", news.index(t), w.index(t), news.body)
	}
	// Nor does a wait tell whether there is an organization that the caller does not see.
	for _, org := range []string{"acme", "nope"} {
		s.user("in-"+org, "", "")
		a := s.soon(s.later("GET", "/organizations/"+org+"?wait=5m&index="+a.at(), "", "Authorization", basicAuth("in-"+org, "in-"+org+"-password")))
		if a.status != 404 {
			t.Errorf("%s: %d", org, a.status)
		}
	}
}

// restless writes something that its readers are not shown each time before a reader can wait.
type restless struct {
	api.Store
	write func()
}

func (r *restless) Local() *state.View {
	v := r.Store.Local()
	if r.write != nil {
		r.write()
	}
	return v
}

// TestBlockingReadEndsAmongHiddenWrites changes what is read, and nothing that is shown, faster than the reader looks:
// its wait ends in time all the same, with an answer.
func TestBlockingReadEndsAmongHiddenWrites(t *testing.T) {
	r := &restless{}
	s := newSite(t, func(c *api.Config) { r.Store, c.Store, c.Timeout = c.Store, r, 5*time.Second }).furnish()
	s.user("eve", "readonly", "acme")
	s.do("POST", settings, `{"key": "secret", "value": "x", "schema": {"type": "string", "secret": true}}`)
	eve := []string{"Authorization", basicAuth("eve", "eve-password")}
	a := s.do("GET", settings, "", eve...)
	key := ""
	if err := state.Rows(s.db.Local(), func(row state.RawRow) error {
		if row.Table == (*model.SettingRow)(nil).Table() {
			key = row.Key
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	n := 0
	r.write = func() {
		n++
		err := s.db.Update(context.Background(), func(tx *state.Tx) error {
			row, ok := state.Edit[model.SettingRow](tx, key)
			if !ok {
				return errors.New("the setting is gone")
			}
			row.Value = json.RawMessage(strconv.Itoa(n))
			return state.Put(tx, row)
		})
		if err != nil {
			t.Error(err)
		}
	}
	for tries := 0; n < 3; tries++ { // a busy machine may not come to look again within the wait
		n = 0
		end := s.raw("GET", settings+"?wait=200ms&index="+a.at(), "", append(eve, "If-None-Match", a.header.Get("ETag"))...)
		if end.status != http.StatusNotModified || end.header.Get("ETag") != a.header.Get("ETag") || tries > 20 {
			t.Fatalf("%d %q after %q, among %d writes", end.status, end.body, a.body, n)
		}
	}
}

func TestRevokedCredentialsEndTheWait(t *testing.T) {
	s := newSite(t).furnish()
	org := map[string]string{"org": "acme"}
	for name, end := range map[string]func(){
		"deleted": func() { s.do("DELETE", "/organizations/acme/applicationkeys/deleted", "") },
		"reset":   func() { s.do("PUT", "/organizations/acme/applicationkeys/reset/_reset", "") },
	} {
		var key model.ApplicationKey
		s.call(s.admin, client.Op{Name: "applicationkeys.create", Params: org, Body: map[string]any{"name": name, "method": "TOKEN", "group": "readonly"}}, &key)
		with := []string{"Authorization", "", spec.HeaderAppKey, key.Token}
		a := s.do("GET", settings, "", with...)
		got := s.later("GET", settings+"?wait=5m&index="+a.at(), "", with...)
		end()
		if a := s.soon(got); a.status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	ben := s.user("ben", "users", "acme")
	_ = ben
	with := []string{"Authorization", basicAuth("ben", "ben-password")}
	a := s.do("GET", settings, "", with...)
	got := s.later("GET", settings+"?wait=5m&index="+a.at(), "", with...)
	s.update(func(tx *state.Tx) error { // out of the group: the organization is no longer there for ben
		for _, key := range state.Keys[model.GroupRow](tx, model.GroupsOfUser(userID(tx, "ben"))) {
			g, _ := state.Edit[model.GroupRow](tx, key)
			g.Users = nil
			if err := state.Put(tx, g); err != nil {
				return err
			}
		}
		return nil
	})
	if a := s.soon(got); a.status != http.StatusNotFound {
		t.Errorf("out of the group: %d %s", a.status, a.body)
	}
	// One-time codes that are turned on end what the password alone was let into, and new login keys what sessions were.
	s.user("eve", "users", "acme")
	with = []string{"Authorization", basicAuth("eve", "eve-password")}
	token := s.login("eve")
	s.do("POST", "/account/totp", "", with...)
	a = s.do("GET", settings, "", with...)
	got = s.later("GET", settings+"?wait=5m&index="+a.at(), "", with...)
	s.do("PUT", "/account/totp/_confirm", fmt.Sprintf(`{"code": %q}`, s.code("eve", 0)), with...)
	if a := s.soon(got); a.status != http.StatusUnauthorized || !strings.Contains(a.body, "one-time code") {
		t.Errorf("codes turned on: %d %s", a.status, a.body)
	}
	with = []string{"Authorization", "", spec.HeaderJWT, token}
	a = s.do("GET", settings, "", with...)
	got = s.later("GET", settings+"?wait=5m&index="+a.at(), "", with...)
	s.do("POST", "/loginkeys", "")
	if a := s.soon(got); a.status != http.StatusUnauthorized {
		t.Errorf("new login keys: %d %s", a.status, a.body)
	}
	// A key that runs out in the middle.
	var key model.ApplicationKey
	expires := model.FormatTime(s.db.Local().Now().Add(4 * time.Second))
	s.call(s.admin, client.Op{Name: "applicationkeys.create", Params: org, Body: map[string]any{"name": "short", "method": "TOKEN", "group": "readonly", "expirationDate": expires}}, &key)
	with = []string{"Authorization", "", spec.HeaderAppKey, key.Token}
	a = s.raw("GET", settings, "", with...)
	if a.status == 200 {
		if a := s.soon(s.later("GET", settings+"?wait=5m&index="+a.at(), "", with...)); a.status != http.StatusUnauthorized {
			t.Errorf("a key that ran out: %d %s", a.status, a.body)
		}
	}
}

func userID(r state.Reader, name string) string {
	u, _ := state.Find[model.UserRow](r, model.UserNamed(name))
	return u.ID
}

func TestBadWaits(t *testing.T) {
	s := newSite(t, func(c *api.Config) { c.Timeout = time.Second })
	s.remembered().furnish()
	for query, want := range map[string]struct {
		status int
		text   string
	}{
		"?wait=1s":                   {400, "give index too"},
		"?wait=6m&index=1":           {400, "up to 5m"},
		"?wait=-1s&index=1":          {400, "give a time like 30s"},
		"?wait=soon&index=1":         {400, "give a time like 30s"},
		"?index=x":                   {400, "EPOCH-INDEX"},
		"?index=":                    {400, "EPOCH-INDEX"},
		"?index=-1":                  {400, "EPOCH-INDEX"},
		"?index=0-1":                 {400, "EPOCH-INDEX"},
		"?index=1-2-3":               {400, "EPOCH-INDEX"},
		"?index=2-1":                 {410, "read anew without an index, and go on from 1-"},
		"?index=2-1&wait=1s":         {410, "of epoch 2"},
		"?index=999999999":           {503, "not got to index 999999999"},
		"?index=1-999999999&wait=1m": {503, "not got to index 999999999"},
		"?consistency=eventual":      {400, "not \"eventual\""},
		"?index=99&consistency=x":    {400, "consistency"},
	} {
		if query == "?index=1-999999999&wait=1m" {
			continue // bounded by the wait too
		}
		a := s.raw("GET", settings+query, "")
		if a.status != want.status || !strings.Contains(a.errors(t), want.text) {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
		if want.status == 410 && a.header.Get(spec.HeaderEpoch) != "1" {
			t.Errorf("%s tells epoch %q", query, a.header.Get(spec.HeaderEpoch))
		}
	}
	if a := s.raw("GET", "/cluster?index=1", ""); a.status != 400 && a.status != 501 {
		t.Errorf("what has no rows is waited for: %d %s", a.status, a.body)
	}
}

// The limits of the server against slow clients do not end a wait, and its own end does.
func TestWaitsEndWithTheServer(t *testing.T) {
	stop, cancel := context.WithCancel(t.Context())
	s := newSite(t, func(c *api.Config) { c.Stop = stop }).furnish()
	a := s.do("GET", settings, "")
	got := s.later("GET", settings+"?wait=5m&index="+a.at(), "")
	cancel()
	if end := s.soon(got); end.status != 200 || end.body != a.body {
		t.Errorf("%d %s", end.status, end.body)
	}
}

func TestWaitOutlivesTheLimitsForSlowClients(t *testing.T) {
	s := newSite(t).furnish()
	s.server.Config.WriteTimeout, s.server.Config.ReadTimeout = time.Second, time.Second
	a := s.do("GET", settings, "", "Connection", "close")
	fresh := &http.Client{Transport: &http.Transport{}}
	defer fresh.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), "GET", s.url+settings+"?wait=3s&index="+a.at(), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("admin", adminPassword)
	resp, err := fresh.Do(req)
	if err != nil {
		t.Fatalf("the connection ended within the wait: %v", err)
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	if resp.StatusCode != 200 {
		t.Errorf("%s", resp.Status)
	}
}

func TestStaleReads(t *testing.T) {
	s, f := faultySite(t)
	hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	f.view.Store(&hang)
	a := s.do("GET", "/organizations/?consistency=stale", "")
	if a.header.Get(spec.HeaderAge) != "unknown" {
		t.Errorf("the age is %q", a.header.Get(spec.HeaderAge))
	}
	next := strconv.FormatUint(a.index(t)+1, 10)
	if a := s.raw("GET", "/organizations/?consistency=stale&index="+next, ""); a.status != 503 || a.header.Get("Retry-After") == "" {
		t.Errorf("an index that this node does not have: %d %s", a.status, a.body)
	}
	if a := s.raw("GET", "/organizations/?consistency=stale&index=2-1", ""); a.status != 503 {
		t.Errorf("an epoch that this node has not heard of: %d %s", a.status, a.body)
	}
	w := s.do("POST", "/organizations/", `{"name": "new"}`)
	if a := s.do("GET", "/organizations/?consistency=stale&index="+w.at(), ""); !strings.Contains(a.body, `"new"`) {
		t.Errorf("the write's own index shows %s", a.body)
	}
	aged := newSite(t, func(c *api.Config) {
		c.Age = func() (time.Duration, bool) { return 1500 * time.Millisecond, true }
	})
	if a := aged.do("GET", "/organizations/?consistency=stale", ""); a.header.Get(spec.HeaderAge) != "1501" {
		t.Errorf("the age is %q", a.header.Get(spec.HeaderAge))
	}
	if a := aged.do("GET", "/organizations/", ""); a.header.Get(spec.HeaderAge) != "" {
		t.Error("a linearizable read has an age")
	}
}

// Every answer to somebody known tells epoch and index; a write's is where it took effect.
func TestAnswersTellWhereTheyAre(t *testing.T) {
	s := newSite(t).furnish()
	s.raw("GET", "/organizations/", "") // is recorded, as it shows the secret key of access
	for _, r := range [][3]string{
		{"GET", "/organizations/", ""}, {"GET", "/organizations/nope", ""}, {"POST", settings, "{"}, {"GET", "/account/_verify", ""},
		{"DELETE", settings + "nope", ""}, {"GET", "/flavors/", ""},
	} {
		if a := s.raw(r[0], r[1], r[2]); a.header.Get(spec.HeaderEpoch) != "1" || a.index(t) != s.db.Local().Index() {
			t.Errorf("%s %s: %d at %q", r[0], r[1], a.status, a.at())
		}
	}
	before := s.db.Local().Index()
	if w := s.do("POST", settings, `{"key": "a", "value": 1}`); w.index(t) != before+1 || w.index(t) != s.db.Local().Index() {
		t.Errorf("the write was at %d, and tells %d", s.db.Local().Index(), w.index(t))
	}
}
