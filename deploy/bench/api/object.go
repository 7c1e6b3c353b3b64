package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/deploy/bench/report"
	"github.com/muster-hq/muster/deploy/site"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/internal/freeport"
)

const (
	rowObject = "authenticated GET of one object on one node, a second"
	rowList   = "authenticated list of 100 on one node, a second"
)

// objectSection measures reads against gin's hello, which answers a fixed text to everybody.
func objectSection() section {
	return section{name: "object", baseline: "gin's hello", run: runObject, rows: []want{
		{rowObject, report.AtLeast(0.6)}, {rowList, report.AtLeast(0.1)},
	}}
}

const (
	readers   = 16 // connections at once
	benchOrg  = "bench"
	benchEnv  = "Dev"
	listed    = 100
	helloWord = "-hello" // what makes this program be gin's hello
)

// hello is gin as its page shows it first, without its log.
func hello(address string) error {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.GET("/ping", func(c *gin.Context) { c.JSON(http.StatusOK, gin.H{"message": "pong"}) })
	server := &http.Server{Addr: address, Handler: e, ReadHeaderTimeout: 10 * time.Second}
	return server.ListenAndServe()
}

// startHello runs gin's hello as a process of its own, as Muster is.
func startHello(ctx context.Context) (address string, stop func(), err error) {
	ports, err := freeport.Take("127.0.0.1", 1)
	if err != nil {
		return "", nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return "", nil, fmt.Errorf("finding this program: %w", err)
	}
	address = net.JoinHostPort("127.0.0.1", fmt.Sprint(ports[0]))
	cmd := exec.CommandContext(ctx, self, helloWord, address)
	if err := cmd.Start(); err != nil {
		return "", nil, fmt.Errorf("starting gin's hello: %w", err)
	}
	stop = func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
	err = site.WaitFor(ctx, "gin's hello", 30*time.Second, func(ctx context.Context) (bool, error) {
		w, err := dial(ctx, address)
		if err != nil {
			return false, err
		}
		return true, w.conn.Close()
	})
	if err != nil {
		stop()
	}
	return address, stop, err
}

// benchSite is one node with an organization, an application key and hosts.
type benchSite struct {
	*site.Site
	admin *client.Client
	key   string
}

// startBenchSite starts nodes, and makes an organization.
func startBenchSite(ctx context.Context, bin, dir string, nodes int, args ...string) (*benchSite, error) {
	s, err := site.Start(ctx, site.Config{Bin: bin, Dir: filepath.Join(dir, "site"), Nodes: nodes, Args: args})
	if err != nil {
		return nil, err
	}
	b := &benchSite{Site: s}
	if b.admin, err = s.Client(0); err == nil {
		b.key, err = b.organization(ctx, benchOrg)
	}
	if err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return b, nil
}

// organization makes one with an environment, and gives a key of its administrators.
func (b *benchSite) organization(ctx context.Context, name string) (string, error) {
	var key model.ApplicationKey
	org := map[string]string{"org": name}
	for _, op := range []struct {
		op  client.Op
		out any
	}{
		{client.Op{Name: "organizations.create", Body: map[string]string{"name": name}}, nil},
		{client.Op{Name: "environments.create", Params: org, Body: map[string]string{"name": benchEnv}}, nil},
		{client.Op{Name: "applicationkeys.create", Params: org, Body: map[string]string{"name": "bench", "method": model.KeyToken, "group": "admin"}}, &key},
	} {
		if err := b.admin.Call(ctx, op.op, op.out); err != nil {
			return "", fmt.Errorf("making organization %s: %w", name, err)
		}
	}
	return key.Token, nil
}

// hosts makes hosts with two settings each.
func (b *benchSite) hosts(ctx context.Context, org string, n int) error {
	for i := range n {
		body := map[string]any{"name": fmt.Sprintf("host%03d", i), "description": "a host", "settings": []any{
			map[string]any{"key": "port", "value": 8000 + i}, map[string]any{"key": "role", "value": "web"}}}
		if err := b.admin.Call(ctx, client.Op{Name: "hosts.create", Params: map[string]string{"org": org, "env": benchEnv}, Body: body}, nil); err != nil {
			return fmt.Errorf("making a host: %w", err)
		}
	}
	return nil
}

func appKey(key string) string { return spec.HeaderAppKey + ": " + key }

func basic(user, password string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func runObject(ctx context.Context, r *run) (err error) {
	rounds, warm, during := 5, 500*time.Millisecond, 3*time.Second
	if r.quick {
		rounds, warm, during = 1, 10*time.Millisecond, 100*time.Millisecond
	}
	dir, err := os.MkdirTemp("", "bench-object-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	address, stop, err := startHello(ctx)
	if err != nil {
		return err
	}
	defer stop()
	b, err := startBenchSite(ctx, r.bin, dir, 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Stop()) }()
	if err := b.hosts(ctx, benchOrg, listed); err != nil {
		return err
	}
	hosts := "/api/organizations/" + benchOrg + "/environments/" + benchEnv + "/hosts/"
	pw, err := os.ReadFile(b.AdminPasswordFile())
	if err != nil {
		return err
	}
	who := basic("admin", strings.TrimSpace(string(pw)))
	var hellos, objects, lists []float64
	for i := range rounds {
		var got [3]float64
		for n, turn := range []struct {
			at string
			a  asked
		}{
			{address, newAsked("GET", "/ping", "", 200)},
			{b.Nodes[0].HTTP, newAsked("GET", hosts+"host042", "", 200, who)},
			{b.Nodes[0].HTTP, newAsked("GET", hosts, "", 200, who)},
		} {
			if got[n], err = rate(ctx, turn.at, turn.a, readers, warm, during); err != nil {
				return err
			}
		}
		r.say("round %d: hello %.0f/s, an object %.0f/s, a list of %d %.0f/s", i, got[0], got[1], listed, got[2])
		hellos, objects, lists = append(hellos, got[0]), append(objects, got[1]), append(lists, got[2])
	}
	r.add(report.Compare(rowObject, objects, hellos, report.AtLeast(0.6)))
	r.add(report.Compare(rowList, lists, hellos, report.AtLeast(0.1)))
	return nil
}
