package api_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/muster-hq/muster/api"
	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// faulty is a store that fails on request.
type faulty struct {
	api.Store
	view, update atomic.Pointer[func(ctx context.Context) error]
}

func (f *faulty) View(ctx context.Context) (*state.View, error) {
	if fail := f.view.Load(); fail != nil {
		return nil, (*fail)(ctx)
	}
	return f.Store.View(ctx)
}

func (f *faulty) Update(ctx context.Context, fn func(tx *state.Tx) error) error {
	if fail := f.update.Load(); fail != nil {
		return (*fail)(ctx)
	}
	return f.Store.Update(ctx, fn)
}

func (f *faulty) UpdateIndex(ctx context.Context, fn func(tx *state.Tx) error) (uint64, error) {
	if fail := f.update.Load(); fail != nil {
		return 0, (*fail)(ctx)
	}
	return f.Store.UpdateIndex(ctx, fn)
}

func faultySite(t *testing.T) (*site, *faulty) {
	f := &faulty{}
	s := newSite(t, func(c *api.Config) {
		f.Store = c.Store
		c.Store = f
		c.Timeout = time.Second
	})
	s.remembered()
	return s, f
}

func TestClusterTroubleIsTold(t *testing.T) {
	s, f := faultySite(t)
	hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	panics := func(context.Context) error { panic("a secret in a panic") }
	broken := func(context.Context) error { return errors.New("disk at /secret/path") }
	lost := func(context.Context) error { return model.Errorf(model.Unknown, "the leader was lost") }
	for _, c := range []struct {
		name         string
		view, update func(context.Context) error
		method       string
		status       int
		want         string
	}{
		{"reading without a leader", hang, nil, "GET", 503, "try again"},
		{"writing without an answer", nil, hang, "POST", 504, "look before trying again"},
		{"a lost leader", nil, lost, "POST", 504, "the leader was lost"},
		{"a panic", nil, panics, "POST", 500, "its log says why"},
		{"an error of ours", broken, nil, "GET", 500, "its log says why"},
	} {
		f.view.Store(nil)
		f.update.Store(nil)
		if c.view != nil {
			f.view.Store(&c.view)
		}
		if c.update != nil {
			f.update.Store(&c.update)
		}
		a := s.raw(c.method, "/organizations/", `{"name": "x"}`)
		if a.status != c.status || !strings.Contains(a.errors(t), c.want) || strings.Contains(a.body, "secret") {
			t.Errorf("%s: %d %s", c.name, a.status, a.body)
		}
		if (a.header.Get("Retry-After") != "") != (c.status == 503) {
			t.Errorf("%s: Retry-After %q", c.name, a.header.Get("Retry-After"))
		}
		if id := a.header.Get(spec.HeaderRequestID); c.status == 500 && !strings.Contains(s.log.String(), id) {
			t.Errorf("%s: the log does not name request %s", c.name, id)
		}
	}
	f.view.Store(&hang)
	f.update.Store(nil)
	if a := s.raw("GET", "/organizations/?consistency=stale", ""); a.status != 200 || a.header.Get(spec.HeaderIndex) == "" || a.header.Get(spec.HeaderEpoch) != "1" {
		t.Errorf("a stale read without a leader: %d %v", a.status, a.header)
	}
}

// A write whose sender was removed after its password was checked does not take effect.
func TestRemovedSenderDoesNotWrite(t *testing.T) {
	s := newSite(t).furnish()
	ben := s.user("ben", "users", "acme")
	op := client.Op{Name: "environments.update", Params: map[string]string{"org": "acme", "env": "Dev"}, Body: map[string]any{"description": "by ben"}}
	s.call(ben, op, nil)
	var once atomic.Bool
	s.db.BeforeCommit(func(c *state.Commit) {
		if c.Actor == "ben" && once.CompareAndSwap(false, true) {
			if err := s.admin.Call(context.Background(), client.Op{Name: "users.delete", Params: map[string]string{"name": "ben"}}, nil); err != nil {
				t.Errorf("delete: %v", err)
			}
		}
	})
	op.Body = map[string]any{"description": "too late"}
	if err := ben.Call(t.Context(), op, nil); model.CodeOf(err) != model.Unauthenticated {
		t.Errorf("the removed user wrote: %v", err)
	}
	var e model.Environment
	s.call(s.admin, client.Op{Name: "environments.show", Params: op.Params}, &e)
	if e.Description != "by ben" {
		t.Errorf("the description is %q", e.Description)
	}
}

// A write that loses a race answers what it did in the end, not in its first try.
func TestAnswerIsOfTheTryThatHeld(t *testing.T) {
	s := newSite(t).furnish()
	var once atomic.Bool
	env := map[string]string{"org": "acme", "env": "Dev"}
	s.db.BeforeCommit(func(c *state.Commit) {
		if once.CompareAndSwap(false, true) {
			if a := s.raw("PUT", "/organizations/acme/environments/Dev", `{"description": "first"}`); a.status != 200 {
				t.Errorf("the other write: %d %s", a.status, a.body)
			}
		}
	})
	var answered, kept model.Environment
	s.call(s.admin, client.Op{Name: "environments.update", Params: env, Body: map[string]any{"description": "second"}}, &answered)
	s.call(s.admin, client.Op{Name: "environments.show", Params: env}, &kept)
	if answered.Version != kept.Version || kept.Description != "second" || kept.Version != 3 {
		t.Errorf("answered version %d, kept %d %q", answered.Version, kept.Version, kept.Description)
	}
}

func TestPagesOfOtherSitesAreRefused(t *testing.T) {
	s := newSite(t)
	if a := s.raw("POST", "/organizations/", `{"name": "x"}`, "Sec-Fetch-Site", "cross-site"); a.status != 403 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestHealth(t *testing.T) {
	var ready atomic.Bool
	s := newSite(t, func(c *api.Config) {
		c.Ready = func(context.Context) error {
			if !ready.Load() {
				return errors.New("no leader for 5s")
			}
			return nil
		}
	})
	root := strings.TrimSuffix(s.url, "/api")
	get := func(path string) int {
		resp, err := http.Get(root + path)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode
	}
	if got := get("/livez"); got != 200 {
		t.Errorf("livez: %d", got)
	}
	if got := get("/readyz"); got != 503 {
		t.Errorf("readyz without a leader: %d", got)
	}
	ready.Store(true)
	if got := get("/readyz"); got != 200 {
		t.Errorf("readyz: %d", got)
	}
	if got := get("/leaderz"); got != 503 {
		t.Errorf("leaderz where nothing leads: %d", got)
	}
}

// cluster is a cluster that remembers what it was asked.
type cluster struct{ asked []string }

func (c *cluster) Status(context.Context) (spec.ClusterStatus, error) {
	return spec.ClusterStatus{Node: "n1", Leader: "n1", Members: []spec.ClusterMember{{Name: "n1", State: "leader", Voter: true}}}, nil
}

func (c *cluster) Token(_ context.Context, d time.Duration, uses int) (spec.JoinToken, error) {
	c.asked = append(c.asked, fmt.Sprint("token ", d, " ", uses))
	return spec.JoinToken{Token: "muster-join-1.x"}, nil
}

func (c *cluster) Tokens(context.Context) ([]spec.JoinToken, error) {
	return []spec.JoinToken{{ID: "abc", Uses: 1}}, nil
}

func (c *cluster) RevokeToken(_ context.Context, id string) error {
	c.asked = append(c.asked, "revoke "+id)
	return nil
}

func (c *cluster) Transfer(_ context.Context, to string) error {
	c.asked = append(c.asked, "transfer "+to)
	return nil
}

func (c *cluster) RotateClusterKey(context.Context) error {
	c.asked = append(c.asked, "rotate key")
	return nil
}

func (c *cluster) RotateGossipKey(context.Context) error {
	c.asked = append(c.asked, "rotate")
	return nil
}

func (c *cluster) Leave(context.Context) error {
	c.asked = append(c.asked, "leave")
	return nil
}

func (c *cluster) Remove(_ context.Context, name string) error {
	c.asked = append(c.asked, "remove "+name)
	return nil
}

func (c *cluster) Join(_ context.Context, address, token string) error {
	c.asked = append(c.asked, "join "+address+" "+token)
	return model.Errorf(model.Conflict, "this server holds organizations")
}

func TestClusterIsForAdministrators(t *testing.T) {
	c := &cluster{}
	s := newSite(t, func(cfg *api.Config) { cfg.Cluster = c }).furnish()
	eve := s.user("eve", "admin", "acme")
	for _, op := range []client.Op{{Name: "cluster.show"}, {Name: "cluster.token", Body: map[string]any{}}, {Name: "cluster.leave"}, {Name: "cluster.remove", Params: map[string]string{"name": "n2"}},
		{Name: "cluster.tokens.list"}, {Name: "cluster.tokens.delete", Params: map[string]string{"id": "abc"}}, {Name: "cluster.transfer", Body: map[string]any{}}, {Name: "cluster.rotate"}, {Name: "cluster.key.rotate"},
		{Name: "cluster.join", Body: map[string]any{"address": "a", "token": "t"}}} {
		if err := eve.Call(t.Context(), op, nil); model.CodeOf(err) != model.Forbidden {
			t.Errorf("%s by an organization's administrator: %v", op.Name, err)
		}
	}
	var status spec.ClusterStatus
	s.call(s.admin, client.Op{Name: "cluster.show"}, &status)
	s.call(s.admin, client.Op{Name: "cluster.token", Body: map[string]any{"expires": "5m"}}, nil)
	s.call(s.admin, client.Op{Name: "cluster.token", Body: map[string]any{"uses": 0}}, nil)
	if err := s.admin.Call(t.Context(), client.Op{Name: "cluster.token", Body: map[string]any{"uses": -1}}, nil); model.CodeOf(err) != model.Invalid {
		t.Errorf("a token with -1 uses: %v", err)
	}
	s.call(s.admin, client.Op{Name: "cluster.tokens.list"}, nil)
	s.call(s.admin, client.Op{Name: "cluster.tokens.delete", Params: map[string]string{"id": "abc"}}, nil)
	s.call(s.admin, client.Op{Name: "cluster.transfer", Body: map[string]any{"to": "n2"}}, nil)
	s.call(s.admin, client.Op{Name: "cluster.rotate"}, nil)
	s.call(s.admin, client.Op{Name: "cluster.key.rotate"}, nil)
	s.call(s.admin, client.Op{Name: "cluster.leave"}, nil)
	s.call(s.admin, client.Op{Name: "cluster.remove", Params: map[string]string{"name": "n2"}}, nil)
	err := s.admin.Call(t.Context(), client.Op{Name: "cluster.join", Body: map[string]any{"address": "a:1", "token": "t"}}, nil)
	if model.CodeOf(err) != model.Conflict || status.Leader != "n1" || strings.Join(c.asked, "; ") != "token 5m0s 1; token 1h0m0s 0; revoke abc; transfer n2; rotate; rotate key; leave; remove n2; join a:1 t" {
		t.Errorf("status %+v, asked %q, join: %v", status, c.asked, err)
	}
}

// A client that sends its request a byte at a time is cut off, and holds nothing up.
func TestSlowClientIsLimited(t *testing.T) {
	h := api.NewHTTPServer(http.NotFoundHandler(), newLog())
	if h.ReadHeaderTimeout == 0 || h.ReadTimeout == 0 || h.WriteTimeout == 0 || h.MaxHeaderBytes == 0 {
		t.Fatalf("a limit is missing: %+v", h)
	}
	h.ReadHeaderTimeout = 50 * time.Millisecond
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = h.Serve(l) }()
	t.Cleanup(func() { _ = h.Close() })
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // a test's
	if _, err := conn.Write([]byte("GET / HTTP/1.1\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(60 * time.Second)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4096)
	for {
		if _, err := conn.Read(b); err != nil {
			var late net.Error
			if errors.As(err, &late) && late.Timeout() {
				t.Error("the connection is still open")
			}
			return
		}
	}
}

func TestHeadersAreLimited(t *testing.T) {
	s := newSite(t)
	if a := s.raw("GET", "/organizations/", "", "X-Filler", strings.Repeat("x", 100<<10)); a.status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a header of 100 KiB: %d", a.status)
	}
}
