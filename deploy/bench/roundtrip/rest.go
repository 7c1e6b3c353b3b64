package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/deploy/site"
	"github.com/muster-hq/muster/fsm/model"
)

const (
	hostName = "web1"
	appName  = "page"
	fileName = "page"
	filePath = "/srv/page"
	key      = "word"
	pollEach = time.Millisecond // between two looks at the change
)

// text is a template of about a kilobyte with one placeholder.
func text() string { return strings.Repeat("It is the same in each line.\n", 32) + "${" + key + "}\n" }

// content is what the template gives.
func content(word string) string { return strings.Replace(text(), "${"+key+"}", word, 1) }

// rest is a site of three nodes and one agent, and a client of its leader.
type rest struct {
	site   *site.Site
	agent  *site.Agent
	client *client.Client
	last   int // number of the newest change
	count  int
}

func newRest(ctx context.Context, bin, dir string) (*rest, error) {
	s, err := site.Start(ctx, site.Config{Bin: bin, Dir: dir, Nodes: 3})
	if err != nil {
		return nil, err
	}
	r := &rest{site: s}
	if err := r.prepare(ctx, filepath.Join(dir, hostName, "root")); err != nil {
		_ = r.close() // err says more
		return nil, err
	}
	return r, nil
}

// prepare describes an application of one file, enrols the agent and installs it there.
func (r *rest) prepare(ctx context.Context, root string) error {
	leader, err := r.site.Leader(ctx)
	if err != nil {
		return err
	}
	if r.client, err = r.site.Client(leader); err != nil {
		return err
	}
	for _, op := range []client.Op{
		{Name: "organizations.create", Body: map[string]string{"name": r.site.Org}},
		{Name: "environments.create", Params: r.site.In(), Body: map[string]string{"name": r.site.Env}},
		{Name: "applications.create", Params: r.site.In(), Body: application()},
	} {
		if err := r.client.Call(ctx, op, nil); err != nil {
			return fmt.Errorf("%s: %w", op.Name, err)
		}
	}
	upload := client.Op{Name: "files.content.set", Level: "application", Params: r.site.In("app", appName, "file", fileName)}
	if err := r.client.Upload(ctx, upload, fileName, []byte(text())); err != nil {
		return err
	}
	token, err := r.site.EnrolToken(ctx, 1)
	if err != nil {
		return err
	}
	if r.agent, err = r.site.StartAgent(site.AgentConfig{Host: hostName, TokenFile: token, Root: root}); err != nil {
		return err
	}
	err = site.WaitFor(ctx, hostName+" to be READY", opLimit, func(ctx context.Context) (bool, error) {
		var h model.Host
		err := r.client.Call(ctx, client.Op{Name: "hosts.show", Params: r.site.In("host", hostName)}, &h)
		return h.State == model.HostReady, err
	})
	if err != nil {
		return fmt.Errorf("%w\n%s", err, r.agent.Tail())
	}
	install := client.Op{Name: "host.applications.create", Params: r.site.In("host", hostName), Body: map[string]string{"application": appName}}
	if err := r.client.Call(ctx, install, nil); err != nil {
		return err
	}
	ictx, cancel := context.WithTimeout(ctx, opLimit)
	defer cancel()
	changes, err := r.client.WaitChanges(ictx, r.site.In("host", hostName), -1, 20*time.Millisecond, nil)
	if err != nil {
		return err
	}
	for _, c := range changes {
		r.last = max(r.last, c.OrderNum)
	}
	if err := r.onDisk("start"); err != nil {
		return err
	}
	set := client.Op{Name: "settings.create", Level: "host", Params: r.site.In("host", hostName, "key", key), Body: setting("first")}
	if err := r.client.Call(ctx, set, nil); err != nil {
		return err
	}
	r.last++
	return r.done(ctx)
}

func application() json.RawMessage {
	return json.RawMessage(`{"name": "` + appName + `",
  "parameters": [{"name": "Word", "key": "` + key + `", "schema": {"type": "string"}, "value": "start"}],
  "files": [{"name": "` + fileName + `", "path": "` + filePath + `", "mode": "644",
    "template": {"name": "` + fileName + `", "delimiter": {"start": "${", "end": "}"}}}],
  "handlers": [{"name": "change", "on": ["` + key + `"], "do": [{"action": "update", "resource": "file://` + fileName + `"}]}]}`)
}

func setting(word string) map[string]string { return map[string]string{"key": key, "value": word} }

// roundTrip puts a new value and waits until its change is done. Then the file on disk must have it.
func (r *rest) roundTrip(ctx context.Context) (measured, error) {
	ctx, cancel := context.WithTimeout(ctx, opLimit)
	defer cancel()
	r.count++
	word := fmt.Sprintf("value-%06d", r.count)
	put := client.Op{Name: "settings.update", Level: "host", Params: r.site.In("host", hostName, "key", key), Body: setting(word)}
	var m measured
	began := time.Now()
	if err := r.client.Call(ctx, put, nil); err != nil {
		return m, err
	}
	m.put = time.Since(began)
	r.last++
	if err := r.done(ctx); err != nil {
		return m, fmt.Errorf("%w\n%s", err, r.agent.Tail())
	}
	m.done = time.Since(began)
	return m, r.onDisk(word)
}

// done reads the newest change again and again until none of its tasks is pending.
func (r *rest) done(ctx context.Context) error {
	tick := time.NewTicker(pollEach)
	defer tick.Stop()
	show := client.Op{Name: "host.changes.show", Params: r.site.In("host", hostName, "num", strconv.Itoa(r.last))}
	for {
		var c client.Change
		if err := r.client.Call(ctx, show, &c); err != nil {
			return fmt.Errorf("change %d: %w", r.last, err)
		}
		switch {
		case len(c.Tasks) != 1:
			return fmt.Errorf("change %d has %d tasks, expected the one file", r.last, len(c.Tasks))
		case c.Failed():
			return fmt.Errorf("change %d failed: %s", r.last, c.Tasks[0].Error)
		case !c.Pending():
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("change %d is not done: %w", r.last, ctx.Err())
		}
	}
}

func (r *rest) onDisk(word string) error {
	got, err := os.ReadFile(filepath.Join(r.agent.Root, filePath))
	if err != nil {
		return err
	}
	if string(got) != content(word) {
		return fmt.Errorf("the change is done, but %s does not have %q: %q", filePath, word, got)
	}
	return nil
}

func (r *rest) close() error { return r.site.Stop() }
