package client_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
)

// serve answers as told and makes a client of it.
func serve(t *testing.T, h http.HandlerFunc, change ...func(*client.Config)) *client.Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	cfg := client.Config{URL: s.URL + "/api/", User: "anna", Password: "pw"}
	for _, f := range change {
		f(&cfg)
	}
	c, err := client.New(cfg)
	if err != nil {
		t.Fatalf("make a client: %v", err)
	}
	return c
}

func show(org string) client.Op {
	return client.Op{Name: "organizations.show", Params: map[string]string{"org": org}}
}

func TestRequestIsAsTheContractSays(t *testing.T) {
	var got *http.Request
	c := serve(t, func(w http.ResponseWriter, r *http.Request) { got = r; _, _ = w.Write([]byte(`{"name":"a b"}`)) })
	var o model.Organization
	if err := c.Call(t.Context(), show("a b/ü"), &o); err != nil || o.Name != "a b" {
		t.Fatalf("%+v, %v", o, err)
	}
	user, password, _ := got.BasicAuth()
	if got.URL.EscapedPath() != "/api/organizations/a%20b%2F%C3%BC" || user != "anna" || password != "pw" || got.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s %v", got.URL.EscapedPath(), got.Header)
	}
	c = serve(t, func(_ http.ResponseWriter, r *http.Request) { got = r }, func(c *client.Config) { c.AppKey = "tok" })
	if err := c.Call(t.Context(), show("x"), nil); err != nil || got.Header.Get("X-ComodIT-AppKey") != "tok" || got.Header.Get("Authorization") != "" {
		t.Errorf("with a key: %v, %v", got.Header, err)
	}
}

func TestErrorsComeBackAsTheyWereTold(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		code   model.Code
		text   string
	}{
		{409, `{"error":["a","b"],"code":"conflict"}`, model.Conflict, "a; b"},
		{404, `{"error":["gone"]}`, model.NotFound, "gone"},
		{504, `{"error":["who knows"],"code":"unknown"}`, model.Unknown, "who knows"},
		{502, `<html>Bad Gateway`, model.Unavailable, "502 Bad Gateway: is it the root of a Muster API? It ends in /api"},
		{302, ``, model.Internal, "302 Found"},
		{400, `{}`, model.Invalid, "400"},
	} {
		cl := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(c.status)
			_, _ = w.Write([]byte(c.body))
		})
		err := cl.Call(t.Context(), show("x"), nil)
		var e *model.Error
		if !errors.As(err, &e) || e.Code != c.code || !strings.Contains(e.Error(), c.text) {
			t.Errorf("%d %s: %v, want code %s", c.status, c.body, err, c.code)
		}
		if strings.Contains(err.Error(), "pw") {
			t.Errorf("the error tells the password: %v", err)
		}
	}
}

func TestUnreachable(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	c, err := client.New(client.Config{URL: s.URL + "/api"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Call(t.Context(), show("x"), nil); !client.IsUnreachable(err) {
		t.Errorf("nothing listens: %v", err)
	}
	secure, plain := httptest.NewTLSServer(http.NotFoundHandler()), httptest.NewServer(http.NotFoundHandler())
	defer secure.Close()
	defer plain.Close()
	late := secure.Client() // knows the authority, and has a clock that went wrong
	late.Transport.(*http.Transport).TLSClientConfig.Time = func() time.Time { return time.Now().AddDate(200, 0, 0) }
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	for hint, cfg := range map[string]client.Config{
		"nothing listens there":           {URL: s.URL},
		"SSL_CERT_FILE=":                  {URL: secure.URL},
		"begin the address with https://": {URL: strings.Replace(secure.URL, "https:", "http:", 1)},
		"begin the address with http://":  {URL: strings.Replace(plain.URL, "http:", "https:", 1)},
		"look at this machine's clock":    {URL: secure.URL, HTTP: late},
	} {
		c, err := client.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Call(t.Context(), show("x"), nil); !client.IsUnreachable(err) || !strings.Contains(err.Error(), hint) {
			t.Errorf("want %q: %v", hint, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Call(ctx, show("x"), nil); client.IsUnreachable(err) || !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
}

func TestWrongUseIsRefusedBeforeSending(t *testing.T) {
	c := serve(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("sent %s %s", r.Method, r.URL) })
	for _, op := range []client.Op{
		{Name: "organizations.shw"}, {Name: "organizations.show"}, show(""), {Name: "settings.list", Params: map[string]string{"org": "x"}},
		{Name: "hosts.show", Params: map[string]string{"org": "o", "env": "", "host": "h"}},
	} {
		if err := c.Call(t.Context(), op, nil); model.CodeOf(err) != model.Invalid {
			t.Errorf("%+v: %v", op, err)
		}
	}
	for _, url := range []string{"", "localhost:8000", "ftp://x/api", "http://", "http://u:p@x/api", ":"} {
		if _, err := client.New(client.Config{URL: url}); model.CodeOf(err) != model.Invalid {
			t.Errorf("address %q: %v", url, err)
		}
	}
	if _, err := client.New(client.Config{URL: "http://x/api", User: "a:b"}); model.CodeOf(err) != model.Invalid {
		t.Errorf("a colon in the user: %v", err)
	}
}

// Waiting outlives trouble on the way, and judges only the changes after the number given.
func TestWaitChanges(t *testing.T) {
	var n atomic.Int32
	answers := []string{
		`{"count":1,"items":[{"orderNum":1,"tasks":[{"status":"ERROR"}]},{"orderNum":2,"tasks":[{"status":"PENDING"}]}]}`,
		"unavailable",
		`{"count":1,"items":[{"orderNum":1,"tasks":[{"status":"ERROR"}]},{"orderNum":2,"tasks":[{"status":"OK"},{"orderNum":1,"status":"ERROR","error":"x"}]}]}`,
	}
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		a := answers[min(int(n.Add(1)), len(answers))-1]
		if a == "unavailable" {
			w.WriteHeader(503)
		}
		_, _ = w.Write([]byte(a))
	})
	told := 0
	host := map[string]string{"org": "o", "env": "e", "host": "h"}
	got, err := c.WaitChanges(t.Context(), host, 1, time.Millisecond, func([]client.Change) { told++ })
	if err != nil || len(got) != 1 || got[0].OrderNum != 2 || !got[0].Failed() || got[0].Pending() || told != 2 {
		t.Errorf("%+v, told %d, %v", got, told, err)
	}
	answers = answers[:1]
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	tell := func([]client.Change) { cancel(errors.New("enough")) }
	if got, err := c.WaitChanges(ctx, host, 1, time.Millisecond, tell); err == nil || err.Error() != "enough" || len(got) != 1 {
		t.Errorf("a wait that runs out: %+v, %v", got, err)
	}
}

// TestWaitChangesBlocks: the server is asked once for what there is, then to answer when there is something newer, and
// anew when its epoch is over.
func TestWaitChangesBlocks(t *testing.T) {
	const pending = `{"count":1,"items":[{"orderNum":2,"tasks":[{"status":"PENDING"}]}]}`
	answers := []struct{ index, wait, epoch, body string }{
		{"", "", "7", pending},
		{"7-1", "30s", "7", pending},
		{"7-2", "30s", "", `{"error":["another epoch"],"code":"gone"}`},
		{"", "", "8", pending},
		{"8-4", "30s", "8", strings.Replace(pending, "PENDING", "OK", 1)},
	}
	n := 0
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if n >= len(answers) {
			t.Errorf("asked again: %s", r.URL)
			return
		}
		a, q := answers[n], r.URL.Query()
		n++
		if q.Get("index") != a.index || q.Get("wait") != a.wait {
			t.Errorf("question %d asks for index %q and wait %q", n, q.Get("index"), q.Get("wait"))
		}
		if a.epoch == "" {
			w.WriteHeader(http.StatusGone)
		} else {
			w.Header().Set(spec.HeaderEpoch, a.epoch)
			w.Header().Set(spec.HeaderIndex, strconv.Itoa(n))
		}
		_, _ = w.Write([]byte(a.body))
	})
	got, err := c.WaitChanges(t.Context(), map[string]string{"org": "o", "env": "e", "host": "h"}, 1, time.Millisecond, nil)
	if err != nil || len(got) != 1 || n != len(answers) {
		t.Errorf("%+v after %d questions, %v", got, n, err)
	}
}
