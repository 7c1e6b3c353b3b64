package api

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/state/statetest"
)

// keptSite is a server whose kept answers a test can look at.
type keptSite struct {
	t   *testing.T
	db  *statetest.DB
	srv *Server
	org *model.OrganizationRow
	now time.Time
}

const keptPassword = "correct horse"

func newKeptSite(t *testing.T) *keptSite {
	s := &keptSite{t: t, db: statetest.New(t, orchestrate.Tables()...), now: time.Now()}
	var err error
	if s.srv, err = New(Config{Store: s.db, Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	s.srv.passwords = auth.NewPasswords(func() time.Time { return s.now })
	hash := auth.HashPassword(keptPassword)
	s.update(func(tx *state.Tx) error {
		u, err := orchestrate.CreateUser(tx, model.User{Username: "ann"}, hash)
		if err != nil {
			return err
		}
		if s.org, err = orchestrate.CreateOrganization(tx, model.Organization{Name: "acme"}, u.ID, false); err != nil {
			return err
		}
		e, err := orchestrate.CreateEnvironment(tx, s.org.ID, model.Environment{Name: "Dev"})
		if err != nil {
			return err
		}
		_, err = orchestrate.CreateHost(tx, s.org.ID, e.ID, model.Host{Name: "web1", Settings: []model.Setting{{Key: "port", Value: []byte("80")}}})
		return err
	})
	return s
}

func (s *keptSite) update(f func(tx *state.Tx) error) {
	s.t.Helper()
	if err := s.db.Update(s.t.Context(), f); err != nil {
		s.t.Fatal(err)
	}
}

// ask is a GET below the organization, by ann's password unless there is a key.
func (s *keptSite) ask(path, key string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", "/api/organizations/acme/"+path, nil)
	if r.SetBasicAuth("ann", keptPassword); key != "" {
		r.Header.Set(spec.HeaderAppKey, key)
	}
	w := httptest.NewRecorder()
	s.srv.Handler().ServeHTTP(w, r)
	return w
}

// mark writes a mark into all answers that are kept, so that a test sees which of them are given, and tells how many there
// are.
func (s *keptSite) mark() (n int) {
	a := s.srv.kept.answers
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, some := range []map[answerKey]sized[*keptAnswer]{a.young, a.old} {
		for _, e := range some {
			e.value.answer.body = append(bytes.TrimSpace(e.value.answer.body), "KEPT\n"...)
			n++
		}
	}
	return n
}

// known is the one caller that is kept.
func (s *keptSite) known() *keptCaller {
	k := s.srv.kept.callers
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.young) != 1 {
		s.t.Fatalf("%d callers are kept", len(k.young))
	}
	for _, e := range k.young {
		return e.value
	}
	return nil
}

const keptHost = "environments/Dev/hosts/web1"

// An answer is given again, to the same caller, for the same question, as long as nothing changes that it shows.
func TestAnswersAreKept(t *testing.T) {
	s := newKeptSite(t)
	first := s.ask(keptHost, "")
	if first.Code != http.StatusOK || s.mark() != 1 {
		t.Fatalf("%d %s: %d answers are kept", first.Code, first.Body, s.mark())
	}
	again := s.ask(keptHost, "")
	if !strings.Contains(again.Body.String(), "KEPT") {
		t.Error("the second answer was made anew")
	}
	for name := range first.Header() {
		if name != spec.HeaderRequestID && name != "Content-Length" && first.Header().Get(name) != again.Header().Get(name) {
			t.Errorf("%s is %q, and was %q", name, again.Header().Get(name), first.Header().Get(name))
		}
	}
	for _, other := range []string{keptHost + "?no_secret=true", keptHost + "/settings", "environments/Dev/hosts"} {
		if got := s.ask(other, ""); got.Code != http.StatusOK || strings.Contains(got.Body.String(), "KEPT") {
			t.Errorf("%s: %d %s", other, got.Code, got.Body)
		}
	}
	s.update(func(tx *state.Tx) error {
		_, err := orchestrate.CreateOrganization(tx, model.Organization{Name: "other"}, "", false)
		return err
	})
	if got := s.ask(keptHost, ""); !strings.Contains(got.Body.String(), "KEPT") || got.Header().Get(spec.HeaderIndex) == first.Header().Get(spec.HeaderIndex) {
		t.Errorf("after a write elsewhere: %s at %s", got.Body, got.Header().Get(spec.HeaderIndex))
	}
	s.update(func(tx *state.Tx) error {
		_, err := orchestrate.UpdateOrganization(tx, s.org.ID, []byte(`{"description": "another"}`))
		return err
	})
	if got := s.ask(keptHost, ""); strings.Contains(got.Body.String(), "KEPT") {
		t.Error("an answer is given that was made before its organization changed")
	}
}

// Refusals and answers that show secrets are never kept; quotas count kept answers, too.
func TestWhatIsNotKept(t *testing.T) {
	s := newKeptSite(t)
	if got := s.ask("environments/Dev/hosts/none", ""); got.Code != http.StatusNotFound || s.mark() != 0 {
		t.Errorf("%d: a refusal is kept", got.Code)
	}
	s.update(func(tx *state.Tx) error {
		_, err := orchestrate.CreateSetting(tx, orchestrate.OwnerOfOrganization(s.org),
			model.Setting{Key: "pw", Value: []byte(`"hunter2"`), Schema: []byte(`{"type": "string", "secret": true}`)}, orchestrate.Trigger{})
		return err
	})
	if got := s.ask("settings", ""); got.Code != http.StatusOK || !strings.Contains(got.Body.String(), "hunter2") || s.mark() != 0 {
		t.Errorf("%d %s: what shows a secret is kept", got.Code, got.Body)
	}
	if got := s.ask("settings?obfuscate=true", ""); got.Code != http.StatusOK || strings.Contains(got.Body.String(), "hunter2") || s.mark() != 1 {
		t.Errorf("%d %s: what shows no secret is not kept", got.Code, got.Body)
	}
	s.ask(keptHost, "")
	s.update(func(tx *state.Tx) error {
		return orchestrate.SetQuota(tx, s.org.ID, []byte(`{"requestsPerSecond": 1}`))
	})
	for n := 0; ; n++ {
		if s.ask(keptHost, "").Code == http.StatusTooManyRequests {
			break
		}
		if n > 1000 {
			t.Fatal("the quota does not count answers that are kept")
		}
	}
}

// A caller is known by its credentials until something changes of it, a minute after its password was computed, and until a
// key runs out.
func TestCallersAreKept(t *testing.T) {
	s := newKeptSite(t)
	other := auth.HashPassword("another")
	key := func(tx *state.Tx, expires string) model.ApplicationKey {
		k, err := orchestrate.CreateApplicationKey(tx, s.org.ID, model.ApplicationKey{Name: fmt.Sprint("k", tx.Index()), Method: model.KeyToken, Group: "users", ExpirationDate: expires}, "ann")
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	var k model.ApplicationKey
	expires := s.now.Add(time.Hour)
	if got := s.ask(keptHost, ""); got.Code != 200 {
		t.Fatalf("%d %s", got.Code, got.Body)
	}
	known := s.known()
	known.caller.name = "KEPT"
	if s.ask(keptHost, ""); s.known().caller.name != "KEPT" {
		t.Error("a caller that is known was found anew")
	}
	known.until = time.Now()
	if s.ask(keptHost, ""); s.known().caller.name != "ann" {
		t.Error("a caller is known for longer than its password is")
	}
	s.update(func(tx *state.Tx) error {
		u, err := orchestrate.UserByName(tx, "ann")
		if err != nil {
			return err
		}
		return orchestrate.SetPassword(tx, u.ID, other)
	})
	if got := s.ask(keptHost, ""); got.Code != 401 {
		t.Errorf("by a password that was changed: %d %s", got.Code, got.Body)
	}
	s.update(func(tx *state.Tx) error { k = key(tx, model.FormatTime(expires)); return nil })
	for range 2 {
		if got := s.ask(keptHost, k.Token); got.Code != 200 {
			t.Fatalf("by a key: %d %s", got.Code, got.Body)
		}
	}
	s.db.SetClock(func() time.Time { return expires.Add(time.Second) })
	if got := s.ask(keptHost, k.Token); got.Code != 401 {
		t.Errorf("by a key that ran out: %d", got.Code)
	}
	s.update(func(tx *state.Tx) error { k = key(tx, ""); return nil })
	if got := s.ask(keptHost, k.Token); got.Code != 200 {
		t.Fatalf("by a key: %d %s", got.Code, got.Body)
	}
	s.update(func(tx *state.Tx) error { return orchestrate.DeleteApplicationKey(tx, s.org.ID, k.Name) })
	if got := s.ask(keptHost, k.Token); got.Code != 401 {
		t.Errorf("by a key that was deleted: %d", got.Code)
	}
}

// What is kept is bounded, and what is in use stays.
// The names are constants so that a request does not make them; net/http's rule decides what they are.
func TestNamesOfCredentials(t *testing.T) {
	for name, of := range map[string]string{appKeyName: spec.HeaderAppKey, jwtName: spec.HeaderJWT, spec.HeaderRequestID: spec.HeaderRequestID} {
		if http.CanonicalHeaderKey(of) != name {
			t.Error(name, "for", of)
		}
	}
}

func TestGenerations(t *testing.T) {
	g := newGenerations[int, int](1000)
	g.put(-1, 7, 300)
	if _, ok := g.get(-1); ok {
		t.Error("something larger than an eighth is kept")
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 2000 {
				g.put(w*10_000+i, i, 10)
				g.get(-2)
				if n := g.held(); n > 1000 {
					t.Errorf("%d are held", n)
				}
			}
		})
	}
	wg.Wait()
	g.put(-2, 5, 10)
	for i := range 1000 {
		g.put(i, i, 10)
		if v, ok := g.get(-2); !ok || v != 5 {
			t.Fatalf("what is always asked for is gone: %d %v", v, ok)
		}
	}
	if _, ok := g.get(0); ok {
		t.Error("what nobody asks for is there")
	}
	if g.drop(-2); g.held() == 0 {
		t.Error("all is gone")
	}
	if _, ok := g.get(-2); ok {
		t.Error("what was dropped is there")
	}
}
