package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/muster-hq/muster/api"
	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/cluster/clustertest"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// rig is a cluster whose nodes can be killed, each with the REST API in front.
type rig struct {
	t     *testing.T
	nodes *clustertest.Cluster
	urls  []string // of the nodes' APIs
	at    []atomic.Pointer[http.Handler]
}

const rigPassword = "correct horse"

func newRig(t *testing.T, n int, more ...clustertest.Option) *rig {
	t.Helper()
	r := &rig{t: t, at: make([]atomic.Pointer[http.Handler], n)}
	tables := clustertest.WithConfig(func(_ int, c *cluster.Config) { c.Tables = orchestrate.Tables() })
	r.nodes = clustertest.New(t, n, append([]clustertest.Option{tables}, more...)...)
	for i := range n {
		server := httptest.NewUnstartedServer(nil)
		server.Config = api.NewHTTPServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if h := r.at[i].Load(); h != nil {
				(*h).ServeHTTP(w, q)
				return
			}
			panic(http.ErrAbortHandler) // the process is gone
		}), discard())
		server.Start()
		t.Cleanup(server.CloseClientConnections)
		r.urls = append(r.urls, server.URL)
		r.serve(i)
	}
	hash := auth.HashPassword(rigPassword)
	err := r.nodes.Leader().Update(t.Context(), func(tx *state.Tx) error {
		if err := state.RaiseSchema(tx, state.Schema); err != nil {
			return err
		}
		_, err := orchestrate.FirstStart(tx, "admin", hash)
		return err
	})
	if err != nil {
		t.Fatalf("first start: %v", err)
	}
	return r
}

// serve puts the API in front of a node that runs.
func (r *rig) serve(i int) {
	r.t.Helper()
	n := r.nodes.Node(i)
	a, err := api.New(api.Config{Store: n, Log: discard(), Age: n.Age})
	if err != nil {
		r.t.Fatal(err)
	}
	h := a.Handler()
	r.at[i].Store(&h)
}

// kill ends a node: its connections break, and nothing answers any more.
func (r *rig) kill(i int) {
	r.at[i].Store(nil)
	r.nodes.Kill(i)
}

// revive starts it again.
func (r *rig) revive(i int) {
	r.nodes.Restart(i)
	r.serve(i)
}

// client calls one node's API, or any node's through a balancer when i is -1.
func (r *rig) client(i int, change ...func(*client.Config)) *client.Client {
	r.t.Helper()
	at := ""
	if i >= 0 {
		at = r.urls[i]
	} else {
		at = r.balancer()
	}
	cfg := client.Config{URL: at + "/api", User: "admin", Password: rigPassword, Patience: patience}
	for _, f := range change {
		f(&cfg)
	}
	c, err := client.New(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// balancer passes each request on to the next node, and what it gets from none with 502.
func (r *rig) balancer() string {
	var turn atomic.Int64
	b := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			to, err := url.Parse(r.urls[int(turn.Add(1))%len(r.urls)])
			if err != nil {
				panic(err)
			}
			p.SetURL(to)
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	})
	r.t.Cleanup(b.Close)
	return b.URL
}

func rigSetting(i int, value int) client.Op {
	return client.Op{Name: "settings.update", Level: "organization", Params: map[string]string{"org": "acme", "key": fmt.Sprint("k", i)}, Body: map[string]any{"value": value}}
}

// A write that is repeated under its key over the kill of the leader is done once: each write makes one version.
func TestRepeatedWritesOverLeaderKills(t *testing.T) {
	r := newRig(t, 3)
	ctx := t.Context()
	setup := r.client(0)
	if err := setup.Call(ctx, client.Op{Name: "organizations.create", Body: map[string]any{"name": "acme"}}, nil); err != nil {
		t.Fatal(err)
	}
	const writers, kills = 4, 3
	wrote, done := make([]atomic.Int64, writers), make(chan error, writers)
	stop := make(chan struct{})
	for w := range writers {
		op := client.Op{Name: "settings.create", Level: "organization", Params: map[string]string{"org": "acme"}, Body: map[string]any{"key": fmt.Sprint("k", w), "value": 0}}
		if err := setup.Call(ctx, op, nil); err != nil {
			t.Fatal(err)
		}
		c := r.client(-1)
		go func() {
			for n := 1; ; n++ {
				select {
				case <-stop:
					done <- nil
					return
				default:
				}
				if err := c.Call(ctx, rigSetting(w, n), nil); err != nil {
					done <- fmt.Errorf("writer %d, write %d: %w", w, n, err)
					return
				}
				wrote[w].Store(int64(n))
			}
		}()
	}
	for range kills {
		before := wrote[0].Load()
		clustertest.WaitFor(t, "writes before a kill", func() bool { return wrote[0].Load() > before+20 })
		i := r.nodes.LeaderIndex()
		r.kill(i)
		at := wrote[0].Load()
		clustertest.WaitFor(t, "writes without the old leader", func() bool { return wrote[0].Load() > at+20 })
		r.revive(i)
	}
	close(stop)
	for range writers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	view, err := r.nodes.Leader().View(ctx)
	if err != nil {
		t.Fatal(err)
	}
	org, err := orchestrate.OrganizationByName(view, "acme")
	if err != nil {
		t.Fatal(err)
	}
	for w := range writers {
		s, err := orchestrate.GetSetting(view, orchestrate.OwnerOfOrganization(org), fmt.Sprint("k", w), orchestrate.Show{})
		n := int(wrote[w].Load())
		if err != nil || s.Version != n+1 || string(s.Value) != strconv.Itoa(n) {
			t.Errorf("writer %d was told of %d writes; the setting has version %d and value %s, %v", w, n, s.Version, s.Value, err)
		}
	}
}

// Events go on over the kill of the node that told them, without a gap and without a double.
func TestEventsResumeOnAnotherNode(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3)
	ctx := t.Context()
	clustertest.WaitFor(t, "a cluster that tells events", func() bool {
		_, err := r.client(0).Events(ctx, "", "now", 0)
		return err == nil
	})
	w := r.client(0)
	list, err := r.client(1).Events(ctx, "", "now", 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Call(ctx, client.Op{Name: "organizations.create", Body: map[string]any{"name": "acme"}}, nil); err != nil {
		t.Fatal(err)
	}
	var got []spec.Event
	cursor := list.Cursor
	for i := range 12 {
		if err := w.Call(ctx, client.Op{Name: "environments.create", Params: map[string]string{"org": "acme"}, Body: map[string]any{"name": fmt.Sprint("e", i)}}, nil); err != nil {
			t.Fatal(err)
		}
		if i == 6 {
			r.kill(2)
		}
		from := 1 + i%2
		if i >= 6 {
			from = 1
		}
		l, err := r.client(from).Events(ctx, "", cursor, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		got, cursor = append(got, l.Items...), l.Cursor
	}
	envs, seen := 0, map[string]bool{}
	for _, e := range got {
		if e.Kind == "environment.created" {
			envs++
		}
		if seen[e.Cursor] {
			t.Errorf("twice: %+v", e)
		}
		seen[e.Cursor] = true
	}
	if envs != 12 {
		b, _ := json.Marshal(got)
		t.Errorf("%d environments were told: %s", envs, b)
	}
}

// Without a leader writes and linearizable reads wait for their deadline and say when to come again; stale reads go on.
func TestWithoutALeader(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3)
	ctx := t.Context()
	lone := r.nodes.FollowerIndex()
	n := r.nodes.Node(lone)
	a, err := api.New(api.Config{Store: n, Log: discard(), Age: n.Age, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	h := a.Handler()
	r.at[lone].Store(&h)
	once := func(c *client.Config) { c.Patience = 0 }
	clustertest.WaitFor(t, "the administrator on the node", func() bool {
		return r.client(lone, once).Call(ctx, client.Op{Name: "organizations.list"}, nil) == nil
	})
	r.nodes.Isolate(lone)
	op := client.Op{Name: "organizations.create", Body: map[string]any{"name": "acme"}}
	for name, op := range map[string]client.Op{"write": op, "read": {Name: "organizations.list"}} {
		began := time.Now()
		err := r.client(lone, once).Call(ctx, op, nil)
		if code := model.CodeOf(err); code != model.Unavailable || time.Since(began) < 900*time.Millisecond {
			t.Errorf("a %s without a leader: %v after %s", name, err, time.Since(began))
		}
	}
	stale := client.Op{Name: "organizations.list", Query: url.Values{"consistency": {"stale"}}}
	if err := r.client(lone, once).Call(ctx, stale, nil); err != nil {
		t.Errorf("a stale read: %v", err)
	}
	if r.nodes.Lost() == 0 {
		t.Error("nothing was cut")
	}
}
