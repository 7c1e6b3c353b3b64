package api_test

import (
	"bytes"
	"flag"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// auditWatch looks at every request that the tests of this package make of a site: a write that was done has exactly one
// record, with the one who did it; what was refused, tried or repeated has none.
type auditWatch struct {
	mu      sync.Mutex
	matcher *spec.Matcher
	written map[string]bool // routes that a write was done on
}

var watch = auditWatch{matcher: spec.NewMatcher(spec.Routes()), written: map[string]bool{}}

// TestMain runs the tests; of a whole run it says which writing routes no test has written on.
func TestMain(m *testing.M) {
	code := m.Run()
	if run := flag.Lookup("test.run"); code == 0 && run.Value.String() == "" && flag.Lookup("test.skip").Value.String() == "" && flag.Lookup("test.list").Value.String() == "" && flag.Lookup("test.fuzz").Value.String() == "" {
		if missing := watch.missing(); len(missing) > 0 {
			fmt.Printf("no test does what these routes write, so nothing says that it is audited:\n  %s\n", strings.Join(missing, "\n  "))
			code = 1
		}
	}
	os.Exit(code)
}

// writes tells the routes that write when they succeed.
func writes(r spec.Route) bool {
	switch r.Name {
	case "host.preview", "account.identities.link": // renders, and signs what comes back later
		return false
	case "host.applications.files.link.show", "host.platform.files.link.show", "host.distribution.files.link.show", "links.show":
		return true
	}
	return r.Method != spec.GET
}

// missing lists the built routes that write and that no test has written on. Those of the cluster need one: its own tests
// do them. A rename counts as an update.
func (a *auditWatch) missing() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []string
	for _, r := range spec.Routes() {
		if r.State == spec.Built && writes(r) && !a.written[r.Name+"@"+r.Level] && !strings.HasPrefix(r.Name, "cluster.") && !strings.HasSuffix(r.Name, ".rename") {
			out = append(out, fmt.Sprintf("%s %s (%s)", r.Method, r.Pattern, r.Name))
		}
	}
	return out
}

// around watches a handler whose rows are in db.
func (a *auditWatch) around(t testing.TB, db interface{ Local() *state.View }, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		h.ServeHTTP(seen, r)
		id := w.Header().Get(spec.HeaderRequestID)
		rest, ok := strings.CutPrefix(r.URL.EscapedPath(), "/api")
		segs, err := spec.SplitPath(rest)
		if !ok || err != nil || id == "" {
			return
		}
		route, _, _, ok := a.matcher.Match(r.Method, segs)
		if !ok {
			return
		}
		user, _, _ := r.BasicAuth()
		a.check(t, db.Local(), route, id, user, seen, r)
	})
}

func (a *auditWatch) check(t testing.TB, v *state.View, route spec.Route, id, user string, w *statusWriter, r *http.Request) {
	recs := recordsOf(t, v, id)
	done := w.status < 300 && w.Header().Get(spec.HeaderReplayed) == "" && !strings.Contains(strings.ToLower(r.URL.RawQuery), "dry_run=true")
	switch {
	case route.Name == "account.verify", route.Name == "login.oidc.callback", state.SchemaOf(v) < state.SchemaLogs:
	case !writes(route):
		// Who lists organizations is told in the log of each.
		if len(recs) > 1 && route.Name != "organizations.list" || slices.ContainsFunc(recs, func(rec model.AuditRecord) bool { return !rec.Read }) {
			t.Errorf("audit: %s %s: %d records: %+v", r.Method, r.URL.Path, len(recs), recs)
		}
	case !done || r.Method == http.MethodHead:
		// A registration is kept, and its letter not sent; whoever joins another cluster can only be recorded before, and so
		// can who calls a webhook.
		if before := []string{"account.register", "cluster.join", "webhooks.run"}; len(recs) > 0 && !slices.Contains(before, route.Name) {
			t.Errorf("audit: %s %s was answered %d, and is recorded: %+v", r.Method, r.URL.Path, w.status, recs)
		}
	case len(recs) != 1:
		t.Errorf("audit: %s %s (%s) was answered %d and has %d records", r.Method, r.URL.Path, route.Name, w.status, len(recs))
	default:
		rec := recs[0]
		if rec.Action != route.Name || rec.Address == "" || rec.Message == "" || rec.Object == "" || user != "" && rec.Actor != user && rec.Kind == model.ActorUser {
			t.Errorf("audit: %s %s by %s: %+v", r.Method, r.URL.Path, user, rec)
		}
		a.mu.Lock()
		a.written[route.Name+"@"+route.Level] = true
		a.mu.Unlock()
	}
}

// recordsOf are the audit records of a request, in whatever log.
func recordsOf(t testing.TB, v *state.View, id string) (out []model.AuditRecord) {
	t.Helper()
	for _, log := range state.Logs(v) {
		if kind, _, _ := model.LogOwner(log); kind != "audit" {
			continue
		}
		looked := 0
		state.ReadLogBack(v, log, state.LogRange{}, func(l state.LogRecord) bool {
			looked++
			if bytes.Contains(l.Data, []byte(id)) {
				rec, err := model.DecodeAudit(l.Data)
				if err != nil {
					t.Error(err)
				}
				out = append(out, rec)
			}
			return looked < 300
		})
	}
	return out
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader is http.ResponseWriter's.
func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Flush is http.Flusher's.
func (w *statusWriter) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }

// Unwrap is http.ResponseController's.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// logOf is the audit log of an organization, "" of the site, the oldest first.
func (s *site) logOf(org string) (out []model.AuditRecord) {
	s.t.Helper()
	log := model.AuditSite
	if org != "" {
		o, ok := state.Find[model.OrganizationRow](s.db.Local(), model.OrganizationNamed(org))
		if !ok {
			s.t.Fatalf("there is no organization %s", org)
		}
		log = model.AuditLogOf(o.ID)
	}
	state.ReadLog(s.db.Local(), log, state.LogRange{}, func(l state.LogRecord) bool {
		rec, err := model.DecodeAudit(l.Data)
		if err != nil {
			s.t.Fatal(err)
		}
		out = append(out, rec)
		return true
	})
	return out
}

// lastOf is the newest record of a log that says that something was done, not read.
func (s *site) lastOf(org string) model.AuditRecord {
	s.t.Helper()
	for _, rec := range slices.Backward(s.logOf(org)) {
		if !strings.HasPrefix(rec.Message, "read ") {
			return rec
		}
	}
	s.t.Fatalf("nothing was done to %q", org)
	return model.AuditRecord{}
}
