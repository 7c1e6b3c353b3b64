package torture

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/deploy/e2e/guest"
	"github.com/muster-hq/muster/deploy/site"
	"github.com/muster-hq/muster/fsm/state"
)

// era is an earlier commit, whose build runs beside this one, and the schema that it raised.
type era struct {
	commit string
	schema int
}

// The last commit that knew the first schema only, and the last before anything was sealed: with audit in logs.
var (
	eraFirst = era{"3fad623", 1}
	eraClear = era{"955809f", 3}
)

// build compiles muster from a folder of sources.
func build(t *testing.T, sources, version string) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-ldflags", "-X main.version="+version, "-o", dir, "./cmd/muster")
	cmd.Dir, cmd.Env = sources, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", version, err, out)
	}
	return filepath.Join(dir, "muster")
}

// sourcesOf are the sources of a commit, from the repository's history.
func sourcesOf(t *testing.T, commit string) string {
	t.Helper()
	dir := t.TempDir()
	script := `git -C ../.. archive "$1" > "$2/sources.tar" && tar -x -C "$2" -f "$2/sources.tar"`
	if out, err := exec.Command("sh", "-c", script, "sh", commit, dir).CombinedOutput(); err != nil {
		guest.Skip(t, fmt.Sprintf("commit %s cannot be had (the history is needed, a shallow clone has none): %v: %s", commit, err, out))
	}
	return dir
}

// upgrade is a site whose nodes may run different builds.
type upgrade struct {
	*lab
	bins     [3]string // folder of each, with a link to the build that it runs
	old, new string    // programs
	from     era
}

// use makes a node run a build from its next start on.
func (u *upgrade) use(i int, program string) {
	u.t.Helper()
	link := filepath.Join(u.bins[i], "muster")
	if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) {
		u.t.Fatal(err)
	}
	u.must(os.Symlink(program, link))
}

// newUpgrade starts three nodes of the old build. Clients reach any that answers, as through a load balancer.
func newUpgrade(t *testing.T, from era) *upgrade {
	t.Helper()
	u := &upgrade{lab: &lab{t: t, front: "any:1"}, from: from}
	u.old, u.new = build(t, sourcesOf(t, from.commit), "old"), build(t, filepath.Join("..", ".."), "new")
	for i := range u.bins {
		u.bins[i] = t.TempDir()
		u.use(i, u.old)
	}
	var turn atomic.Int64
	dial := func(ctx context.Context, network, addr string) (c net.Conn, err error) {
		var d net.Dialer
		if addr != u.front {
			return d.DialContext(ctx, network, addr)
		}
		for range 3 {
			if c, err = d.DialContext(ctx, network, u.site.Nodes[turn.Add(1)%3].HTTP); err == nil {
				return c, nil
			}
		}
		return nil, err
	}
	u.http = &http.Client{Timeout: time.Minute, Transport: &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute}}
	var err error
	u.site, err = site.Start(t.Context(), site.Config{Dir: t.TempDir(), Nodes: 3, Dial: dial, Where: func(i int) site.Place {
		return site.Place{Bin: u.bins[i]}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, n := range u.site.Nodes {
				t.Logf("== %s\n%s", n.Name, said(n))
			}
		}
		_ = u.site.Stop()
		u.keep()
	})
	return u
}

// plantedSecret is stored by the old build, which seals nothing.
const plantedSecret = "corr3ct-horse-staple"

// plant stores secrets, in the first node's log for certain.
func (u *upgrade) plant(c *crowd) {
	u.t.Helper()
	secret := map[string]any{"key": "planted", "value": plantedSecret, "schema": json.RawMessage(`{"type": "string", "secret": true}`)}
	u.write(c.c, c.op("settings.create", "", secret), nil)
	app := map[string]any{"name": "planted", "parameters": []any{map[string]any{"name": "p", "key": "p", "value": plantedSecret, "schema": secret["schema"]}},
		"files": []any{map[string]any{"name": "f", "path": "/f"}}}
	u.write(c.c, client.Op{Name: "applications.create", Params: map[string]string{"org": c.org}, Body: app}, nil)
	op := client.Op{Name: "files.content.set", Level: "application", Params: map[string]string{"org": c.org, "app": "planted", "file": "f"}}
	u.await("a file's content", func(ctx context.Context) (bool, error) {
		err := c.c.Upload(ctx, op, "f", []byte("the password is "+plantedSecret))
		return err == nil, err
	})
	if u.from == eraClear && len(u.shows()) == 0 {
		u.t.Error("the old build keeps no secret in clear, or the look does not find it: the test proves nothing")
	}
}

// shows are the files of the nodes' logs and snapshots that hold the planted secret in clear.
func (u *upgrade) shows() (files []string) {
	u.t.Helper()
	for _, n := range u.site.Nodes {
		found, err := showing(filepath.Join(n.Dir, "data", "cluster"), plantedSecret)
		u.must(err)
		files = append(files, found...)
	}
	return files
}

// showing gives the files below a folder that hold a text, snapshots unpacked.
func showing(dir, text string) (files []string, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && d.IsDir() {
			return nil // a server runs on it
		}
		if err != nil {
			return err
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		found := bytes.Contains(b, []byte(text))
		if err == nil && d.Name() == "state.bin" && !strings.Contains(path, ".tmp") {
			_, err = state.Inspect(bytes.NewReader(b), func(r state.RawRow) error {
				found = found || bytes.Contains(r.Value, []byte(text))
				return nil
			})
		}
		if found {
			files = append(files, path)
		}
		return err
	})
	return files, err
}

// forgotten waits until all is sealed and the nodes have cut off what was in clear, and looks into all files after the
// next start. The secrets are read as they were.
func (u *upgrade) forgotten(c *crowd) {
	t := u.t
	t.Helper()
	u.await("all to be sealed", func(ctx context.Context) (bool, error) {
		var text json.RawMessage
		if err := u.client(u.site.Nodes[0].HTTP).Call(ctx, client.Op{Name: "cluster.show"}, &text); err != nil {
			return false, err
		}
		var st struct{ Key struct{ Sealed bool } }
		return json.Unmarshal(text, &st) == nil && st.Key.Sealed, nil
	})
	for i, n := range u.site.Nodes {
		look := time.Now().Add(limit / 4)
		again := func() {
			u.must(u.node(i).Stop(), u.node(i).Start())
			u.ready()
			look = time.Now().Add(limit / 4)
		}
		u.await(n.Name+" to cut off its log", func(context.Context) (bool, error) {
			if err := c.put(t.Context(), "probe", fmt.Sprint(time.Now())); err != nil { // raft takes a snapshot of something new only
				return false, err
			}
			text, err := os.ReadFile(n.Log)
			if strings.Contains(string(text), "cut off the log of before") || time.Now().Before(look) {
				return strings.Contains(string(text), "cut off the log of before"), err
			}
			again() // it was stopped after it had done so, before it could say it
			return !slices.ContainsFunc(u.shows(), func(file string) bool { return strings.HasPrefix(file, n.Dir) }), err
		})
		again()
	}
	if files := u.shows(); len(files) > 0 {
		t.Errorf("what the old build stored in clear is still in %v", files)
	}
	for i := range u.site.Nodes {
		if have, _ := c.settings(i); have["planted"] != plantedSecret {
			t.Errorf("the secret is %q on node %d", have["planted"], i)
		}
		var content []byte
		op := client.Op{Name: "files.content.show", Level: "application", Params: map[string]string{"org": c.org, "app": "planted", "file": "f"}}
		if err := u.client(u.site.Nodes[i].HTTP).Call(t.Context(), op, &content); err != nil || !strings.HasSuffix(string(content), plantedSecret) {
			t.Errorf("the file is %q on node %d, %v", content, i, err)
		}
	}
}

// schema is the schema that the cluster has raised, as a node of the new build tells; 0 when none answers that knows.
func (u *upgrade) schema(i int) int {
	var text json.RawMessage
	if u.client(u.site.Nodes[i].HTTP).Call(u.t.Context(), client.Op{Name: "cluster.show"}, &text) != nil {
		return 0
	}
	var st struct{ Schema int }
	u.must(json.Unmarshal(text, &st))
	return st.Schema
}

// lead makes one of the nodes lead, by killing whoever else does, who is started again.
func (u *upgrade) lead(nodes ...int) {
	u.t.Helper()
	for range 30 {
		l, _, _ := u.leader()
		for _, i := range nodes {
			if i == l {
				return
			}
		}
		u.node(l).Kill()
		u.await("another leader", func(ctx context.Context) (bool, error) {
			for i, n := range u.site.Nodes {
				if i == l {
					continue
				}
				ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
				var st struct{ Leader string }
				err := u.client(n.HTTP).Call(ctx, client.Op{Name: "cluster.show"}, &st)
				cancel()
				if err == nil && st.Leader != "" && st.Leader != u.node(l).Name {
					return true, nil
				}
			}
			return false, nil
		})
		u.must(u.node(l).Start())
		u.ready()
	}
	u.t.Fatalf("none of the nodes %v came to lead", nodes)
}

// TestMixedVersions runs three nodes of an earlier build and replaces one after the other by this one, while clients
// write and read. Both lead in between. The schema is raised only after the last, and the earlier build refuses to come
// back then. Of the build that sealed nothing, secrets were stored in clear: soon after they are in no file any more.
func TestMixedVersions(t *testing.T) {
	if testing.Short() {
		t.Skip("not in the short run")
	}
	eras := []era{eraClear}
	if os.Getenv("MUSTER_TORTURE") != "" {
		eras = append(eras, eraFirst)
	}
	for _, from := range eras {
		t.Run(from.commit, func(t *testing.T) { newUpgrade(t, from).roll() })
	}
}

func (u *upgrade) roll() {
	t := u.t
	c := newCrowd(u.lab, "upgrade")
	u.plant(c)
	stop := c.run(rand.New(rand.NewPCG(1, 2)))
	defer func() { stop() }()
	well := func(what string) {
		t.Helper()
		u.ready()
		u.alive(c, time.Now())
		lost, acked := c.missing()
		for _, n := range u.site.Nodes {
			if !n.Running() {
				t.Errorf("%s has ended:\n%s", n.Name, said(n))
			}
		}
		t.Logf("%s: %d acknowledged, %d lost", what, acked, lost)
		if t.Failed() {
			t.FailNow()
		}
	}
	well("three old")
	for i := range 3 {
		u.must(u.node(i).Stop())
		u.use(i, u.new)
		u.must(u.node(i).Start())
		well(fmt.Sprintf("%d new", i+1))
		if i == 2 {
			break
		}
		if i == 0 {
			u.lead(0)
		} else {
			u.lead(0, 1)
		}
		well("a new one leads")
		if s := u.schema(0); s > u.from.schema {
			t.Errorf("the cluster's schema is %d while an old node is a member", s)
		}
		u.lead([]int{1, 2}[i:]...)
		well("an old one leads")
	}
	u.await("the schema to be raised", func(context.Context) (bool, error) { return u.schema(0) > u.from.schema, nil })
	well("raised")
	u.downgrade(c)
	well("new again")
	stop()
	stop = func() {}
	c.judge()
	u.forgotten(c)
}

// downgrade starts a node of the old build where the schema is a newer one: it says so and ends. Where the log was cut off
// meanwhile, so that it gets a snapshot, the first build refuses that each time and goes on without. Then the new one is put
// back.
func (u *upgrade) downgrade(c *crowd) {
	t := u.t
	t.Helper()
	u.alive(c, time.Now()) // commits of the new schema are in the log
	u.must(u.node(2).Stop())
	u.use(2, u.old)
	from, err := os.ReadFile(u.node(2).Log)
	u.must(err, u.node(2).Start())
	const refused = "one of a form that this node does not know"
	var told string
	u.await("the old build to refuse the newer schema", func(context.Context) (bool, error) {
		text, err := os.ReadFile(u.node(2).Log)
		if told = string(text[min(len(from), len(text)):]); u.from == eraFirst && strings.Contains(told, refused) {
			return true, err
		}
		return !u.node(2).Running(), err
	})
	switch {
	case u.node(2).Running():
		u.node(2).Kill()
		t.Logf("the old build refused the snapshot")
	case !strings.Contains(told, "rror") && !strings.Contains(told, "start version new or later"):
		t.Errorf("the old build ended without a word:\n%s", told)
	default:
		lines := strings.Split(strings.TrimSpace(told), "\n")
		t.Logf("the old build said: %s", lines[len(lines)-1])
	}
	u.use(2, u.new)
	u.must(u.node(2).Start())
}
