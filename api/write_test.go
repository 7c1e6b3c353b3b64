package api_test

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

const aKey = "0b7f2c1e-5d0a-4a55-9f3e-1f6f0c3b2a10"

// keyed sends a write under an idempotency key.
func (s *site) keyed(method, path, body, key string, headers ...string) answer {
	s.t.Helper()
	return s.raw(method, path, body, append(headers, spec.HeaderIdempotencyKey, key)...)
}

func TestRepeatUnderAKeyIsAnsweredAndNotDone(t *testing.T) {
	s := newSite(t).furnish()
	s.do("POST", settings, `{"key": "gone", "value": 1}`)
	for i, c := range []struct{ method, path, body string }{
		{"POST", settings, `{"key": "a", "value": 1}`},
		{"PUT", settings + "a", `{"value": 2}`},
		{"DELETE", settings + "gone", ""},
		{"PUT", "/organizations/acme/environments/Dev/hosts/web1/compliance/_rebuild", ""},
		{"POST", "/organizations/acme/applicationkeys/", `{"name": "ci", "method": "TOKEN", "group": "readonly"}`},
		{"POST", "/organizations/acme/access", ""},
		{"POST", "/users/", `{"username": "zoe", "password": "a password"}`},
	} {
		key := aKey + string(rune('a'+i))
		first := s.keyed(c.method, c.path, c.body, key)
		index := s.db.Local().Index()
		again := s.keyed(c.method, c.path+"/", c.body, key)
		if first.status/100 != 2 || again.status != first.status || again.body != first.body || again.header.Get("Content-Type") != first.header.Get("Content-Type") {
			t.Errorf("%s %s: %d %s, again %d %s", c.method, c.path, first.status, first.body, again.status, again.body)
		}
		if now := s.db.Local().Index(); now != index {
			t.Errorf("%s %s: the repeat wrote, at %d after %d", c.method, c.path, now, index)
		}
		if first.header.Get(spec.HeaderReplayed) != "" || again.header.Get(spec.HeaderReplayed) != "true" {
			t.Errorf("%s %s: replayed %q, then %q", c.method, c.path, first.header.Get(spec.HeaderReplayed), again.header.Get(spec.HeaderReplayed))
		}
	}
}

func TestKeyIsForOneRequestOfOneSender(t *testing.T) {
	s := newSite(t).furnish()
	s.user("ben", "users", "acme")
	if a := s.keyed("POST", settings, `{"key": "a", "value": 1}`, aKey); a.status != 201 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for _, c := range [][3]string{
		{"POST", settings, `{"key": "b", "value": 1}`}, {"PUT", settings + "a", `{"key": "a", "value": 1}`},
		{"POST", settings + "?trigger_application_handler=false", `{"key": "a", "value": 1}`}, {"DELETE", settings + "a", ""},
	} {
		if a := s.keyed(c[0], c[1], c[2], aKey); a.status != http.StatusUnprocessableEntity || !strings.Contains(a.errors(t), "make a new key") {
			t.Errorf("%s %s %s: %d %s", c[0], c[1], c[2], a.status, a.body)
		}
	}
	if a := s.keyed("POST", settings, `{"key": "b", "value": 1}`, aKey, "Authorization", basicAuth("ben", "ben-password")); a.status != 201 {
		t.Errorf("the same key of another user: %d %s", a.status, a.body)
	}
	// What failed did nothing, and may be tried again under the same key.
	key := aKey + "2"
	if a := s.keyed("PUT", settings+"later", `{"value": 1}`, key); a.status != 404 {
		t.Errorf("%d %s", a.status, a.body)
	}
	s.do("POST", settings, `{"key": "later", "value": 0}`)
	if a := s.keyed("PUT", settings+"later", `{"value": 1}`, key); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	for _, bad := range []string{"short", strings.Repeat("x", 129), "with a space in the middle", "ümläut-ümläut-ümläut"} {
		if a := s.keyed("DELETE", settings+"later", "", bad); a.status != 400 || !strings.Contains(a.errors(t), "16 to 128") {
			t.Errorf("key %q: %d %s", bad, a.status, a.body)
		}
	}
	if a := s.keyed("POST", "/cluster/leave", "", aKey); a.status != 400 && a.status != 501 {
		t.Errorf("what is no transaction takes a key: %d %s", a.status, a.body)
	}
}

// An answer that was kept is told again to nobody whose rights were taken away, or became others.
func TestKeptAnswersAreForWhoMayStillHearThem(t *testing.T) {
	s := newSite(t).furnish()
	const inDev = "/organizations/acme/environments/Dev"
	secret := func(key string) string {
		return `{"key": "` + key + `", "value": "s3cret", "schema": {"secret": true}}`
	}
	for i, c := range []struct {
		name, group, where, method, path, body string
		then                                   func(who string) // what happens to the sender
		status                                 int              // of the repeat
	}{
		{"left as it was", "users", "acme", "POST", inDev + "/settings/", secret("k0"), func(string) {}, 201},
		{"removed", "users", "acme", "POST", inDev + "/settings/", secret("k1"), func(string) { s.group("acme", "users") }, 404},
		{"now an auditor", "users", "acme", "POST", inDev + "/settings/", secret("k2"), func(who string) { s.group("acme", "users"); s.join(who, "auditors", "acme") }, 409},
		{"now a reader", "users", "acme/Dev", "POST", inDev + "/settings/", secret("k3"), func(who string) {
			s.group("acme/Dev", "users")
			s.join(who, "readonly", "acme/Dev")
		}, 403},
		{"shut out of the environment", "users", "acme", "POST", inDev + "/settings/", secret("k4"), func(who string) { s.join(who, "no access", "acme/Dev") }, 404},
		{"no administrator any more", "admin", "acme", "POST", "/organizations/acme/access", "", func(who string) { s.group("acme", "admin", "admin"); s.join(who, "users", "acme") }, 403},
		{"removed, of what had no answer", "users", "acme", "DELETE", inDev + "/settings/k0", "", func(string) { s.group("acme", "users") }, 204},
	} {
		who, key := "sender"+string(rune('a'+i)), aKey+string(rune('a'+i))
		s.user(who, c.group, c.where)
		auth := basicAuth(who, who+"-password")
		first := s.keyed(c.method, c.path, c.body, key, "Authorization", auth)
		if first.status/100 != 2 {
			t.Fatalf("%s: %d %s", c.name, first.status, first.body)
		}
		c.then(who)
		again := s.keyed(c.method, c.path, c.body, key, "Authorization", auth)
		if again.status != c.status || c.status < 300 && again.body != first.body || c.status >= 300 && len(again.errors(t)) < 10 {
			t.Errorf("%s: %d %s, again %d %s, want %d", c.name, first.status, first.body, again.status, again.body, c.status)
		}
		if c.status >= 300 && (strings.Contains(again.body, "s3cret") || strings.Contains(again.body, "secretKey") || again.header.Get(spec.HeaderReplayed) != "") {
			t.Errorf("%s tells: %s", c.name, again.body)
		}
	}
	// A rename and a deletion take the thing from its path, not the rights from its sender.
	s.play([]exchange{{"POST", "/organizations/acme/environments/", `{"name": "Old"}`, 201, ""}})
	first := s.keyed("PUT", "/organizations/acme/environments/Old", `{"name": "New"}`, aKey+"-r")
	again := s.keyed("PUT", "/organizations/acme/environments/Old", `{"name": "New"}`, aKey+"-r")
	if first.status != 200 || again.status != 200 || again.body != first.body {
		t.Errorf("a rename: %d %s, again %d %s", first.status, first.body, again.status, again.body)
	}
	if a := s.keyed("PUT", "/organizations/acme", `{"name": "acme2"}`, aKey+"-o"); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := s.keyed("PUT", "/organizations/acme", `{"name": "acme2"}`, aKey+"-o"); a.status != 200 || !strings.Contains(a.body, "acme2") {
		t.Errorf("a rename of the organization, again: %d %s", a.status, a.body)
	}
}

// group sets who is in a group of an organization or environment.
func (s *site) group(where, group string, members ...string) {
	s.t.Helper()
	path := "/organizations/" + strings.Replace(where, "/", "/environments/", 1) + "/groups/" + group
	users := []string{}
	for _, m := range members {
		users = append(users, `{"username": "`+m+`"}`)
	}
	s.do("PUT", path, `{"users": [`+strings.Join(users, ", ")+`]}`)
}

// Whoever sends the same request many times at once has it done once.
func TestRepeatsAtTheSameTime(t *testing.T) {
	s := newSite(t).furnish()
	h := "/organizations/acme/environments/Dev/hosts/web1"
	s.do("POST", h+"/applications/", `{"application": "web"}`)
	before, err := s.admin.Changes(t.Context(), host(), true)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	answers := make([]answer, 20)
	for i := range answers {
		wg.Go(func() { answers[i] = s.keyed("PUT", h+"/applications/web/handler/reload/_run", "", aKey) })
	}
	wg.Wait()
	for _, a := range answers {
		if a.status != 200 || a.body != answers[0].body {
			t.Errorf("%d %s, and %s", a.status, a.body, answers[0].body)
		}
	}
	after, err := s.admin.Changes(t.Context(), host(), true)
	if err != nil || len(after) != len(before)+1 {
		t.Errorf("%d changes after %d, %v", len(after), len(before), err)
	}
}

// What is kept of a request tells neither what was answered nor what was sent.
func TestKeptRequestsHoldNoSecret(t *testing.T) {
	s := newSite(t).furnish()
	a := s.keyed("POST", "/organizations/acme/applicationkeys/", `{"name": "ci", "method": "TOKEN", "group": "readonly"}`, aKey)
	key, err := model.Decode[model.ApplicationKey]([]byte(a.body))
	if err != nil || key.Token == "" {
		t.Fatalf("%s: %v", a.body, err)
	}
	s.keyed("POST", "/users/", `{"username": "zoe", "password": "hunter2hunter2"}`, aKey+"x")
	var dump bytes.Buffer
	found := 0
	for _, id := range state.Keys[model.RequestRow](s.db.Local(), model.RequestsOf(model.HourOf(s.db.Local().Now()))) {
		row, _ := state.Get[model.RequestRow](s.db.Local(), id)
		dump.WriteString(row.ID + row.Digest)
		dump.Write(row.Answer)
		found++
	}
	for _, secret := range []string{key.Token, "hunter2", aKey, "zoe"} {
		if strings.Contains(dump.String(), secret) || strings.Contains(s.log.String(), secret) && secret != "zoe" {
			t.Errorf("%q is kept or logged", secret)
		}
	}
	if found == 0 {
		t.Error("nothing is kept")
	}
	// A large answer is not kept, and its repeat says so.
	many := `{"newOrUpdatedSettings": [{"key": "big", "value": "` + strings.Repeat("x", 40<<10) + `"}]}`
	if a := s.keyed("PUT", settings+"?no_delete=true", many, aKey+"y"); a.status != 200 {
		t.Fatalf("%d", a.status)
	}
	if a := s.keyed("PUT", settings+"?no_delete=true", many, aKey+"y"); a.status != 409 || !strings.Contains(a.errors(t), "was done") {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// An upload is the same though the form around it is not.
func TestUploadUnderAKey(t *testing.T) {
	s := newSite(t).furnish()
	form := func(boundary, content string) (string, string) {
		return "--" + boundary + "\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n\r\n" + content + "\r\n--" + boundary + "--\r\n",
			"multipart/form-data; boundary=" + boundary
	}
	path := "/organizations/acme/applications/web/files/site.conf/content"
	for i, c := range []struct {
		content string
		status  int
	}{{"new", 200}, {"new", 200}, {"other", 422}} {
		body, kind := form("boundary"+string(rune('a'+i)), c.content)
		if a := s.keyed("POST", path, body, aKey, "Content-Type", kind); a.status != c.status {
			t.Errorf("upload %d: %d %s", i, a.status, a.body)
		}
	}
}

func TestRequestsAreForgottenAfterADay(t *testing.T) {
	s := newSite(t).furnish()
	now := s.clock()
	if n, _, err := orchestrate.ForgetRequests(t.Context(), s.db); n != 0 || err != nil {
		t.Fatalf("the first run forgot %d, %v", n, err)
	}
	s.do("POST", settings, `{"key": "n", "value": 0}`)
	const many = 450 // more than one commit deletes
	s.update(func(tx *state.Tx) error {
		for i := range many {
			if err := orchestrate.KeepRequest(tx, model.RequestRow{ID: string(rune('A'+i%26)) + strings.Repeat("x", i)}); err != nil {
				return err
			}
		}
		return nil
	})
	put := func() answer { return s.keyed("PUT", settings+"n", `{"value": 1}`, aKey) }
	put()
	now.add(23 * time.Hour)
	if a := put(); a.header.Get(spec.HeaderReplayed) == "" {
		t.Error("a repeat after 23 hours was done again")
	}
	if n, next, err := orchestrate.ForgetRequests(t.Context(), s.db); n != 0 || err != nil || next <= 0 || next > time.Hour {
		t.Errorf("after 23 hours %d were forgotten, the next run is after %s, %v", n, next, err)
	}
	now.add(90 * time.Minute)
	if a := put(); a.header.Get(spec.HeaderReplayed) != "" || a.status != 200 {
		t.Errorf("a day and a half hour later: %d %s", a.status, a.body)
	}
	now.add(time.Hour)
	n, _, err := orchestrate.ForgetRequests(t.Context(), s.db)
	if n != many || err != nil {
		t.Errorf("%d were forgotten, want %d, %v", n, many, err)
	}
	if a := put(); a.header.Get(spec.HeaderReplayed) == "" {
		t.Error("the newer one was forgotten, too")
	}
	now.add(10000 * 24 * time.Hour) // a long rest
	if n, _, err := orchestrate.ForgetRequests(t.Context(), s.db); n != 1 || err != nil {
		t.Errorf("%d were forgotten, %v", n, err)
	}
}

func TestIfMatch(t *testing.T) {
	s := newSite(t).furnish()
	s.do("POST", settings, `{"key": "a", "value": 1}`)
	for _, path := range []string{settings + "a", "/organizations/acme/environments/Dev", "/organizations/acme/applications/web"} {
		tag := s.do("GET", path, "").header.Get("ETag")
		if !strings.HasPrefix(tag, `"1-`) {
			t.Fatalf("%s has the tag %s", path, tag)
		}
		if a := s.raw("PUT", path, `{"description": "x", "value": 2}`, "If-Match", tag); a.status != 200 {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
		for _, old := range []string{tag, `"x"`, "W/" + s.do("GET", path, "").header.Get("ETag")} {
			if a := s.raw("PUT", path, `{"description": "y", "value": 3}`, "If-Match", old); a.status != 412 || !strings.Contains(a.errors(t), "has changed") {
				t.Errorf("%s with an old tag %s: %d %s", path, old, a.status, a.body)
			}
		}
		other := strings.Replace(s.do("GET", path, "").header.Get("ETag"), `"1-`, `"2-`, 1)
		if a := s.raw("PUT", path, `{}`, "If-Match", other); a.status != 412 || !strings.Contains(a.errors(t), "another epoch") {
			t.Errorf("%s with a tag of another epoch: %d %s", path, a.status, a.body)
		}
		both := `"x", ` + s.do("GET", path, "").header.Get("ETag")
		if a := s.raw("PUT", path, `{"description": "z"}`, "If-Match", both); a.status != 200 {
			t.Errorf("%s with one of two: %d %s", path, a.status, a.body)
		}
		if a := s.raw("PUT", path, `{"description": "zz"}`, "If-Match", "*"); a.status != 200 {
			t.Errorf("%s if there is one: %d %s", path, a.status, a.body)
		}
	}
	if a := s.raw("PUT", settings+"none", `{}`, "If-Match", "*"); a.status != 404 {
		t.Errorf("of what is not there: %d %s", a.status, a.body)
	}
	if a := s.raw("POST", "/organizations/acme/access", "", "If-Match", "*"); a.status != 400 {
		t.Errorf("where nothing can be read: %d %s", a.status, a.body)
	}
	// Of two that saw the same, one writes.
	tag := s.do("GET", settings+"a", "").header.Get("ETag")
	var once atomic.Bool
	s.db.BeforeCommit(func(*state.Commit) {
		if once.CompareAndSwap(false, true) {
			s.do("PUT", settings+"a", `{"value": "first"}`)
		}
	})
	if a := s.raw("PUT", settings+"a", `{"value": "second"}`, "If-Match", tag); a.status != 412 {
		t.Errorf("the second of two: %d %s", a.status, a.body)
	}
}

func TestRetryAfterIsTheErrors(t *testing.T) {
	s, f := faultySite(t)
	for want, after := range map[string]time.Duration{"1": 0, "2": 1500 * time.Millisecond, "30": 30 * time.Second} {
		fail := func(context.Context) error { return &model.Error{Code: model.Unavailable, RetryAfter: after} }
		f.update.Store(&fail)
		if a := s.raw("POST", "/organizations/", `{"name": "x"}`); a.status != 503 || a.header.Get("Retry-After") != want {
			t.Errorf("after %s: %d, %q", after, a.status, a.header.Get("Retry-After"))
		}
	}
}
