package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/deploy/site"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/internal/freeport"
)

// badHost is the host of the test's agent.
const badHost = "web1"

// TestBadInput gives the programs what they must refuse: each time there is a text that says what to change
// where the user sees it, and nothing else has changed.
func TestBadInput(t *testing.T) {
	r := startSite(t, site.Config{Nodes: 1})
	token := r.enrolToken(1)
	root := filepath.Join(r.dir, "root")
	if _, err := r.site.StartAgent(site.AgentConfig{Host: badHost, TokenFile: token, Root: root}); err != nil {
		t.Fatal(err)
	}
	r.waitState(badHost, model.HostReady)
	in := func(f func(*rig)) func(*testing.T) {
		return func(t *testing.T) {
			c := *r
			c.t, c.ctx = t, t.Context()
			before := c.snapshot()
			f(&c)
			if after := c.snapshot(); after != before {
				t.Errorf("it changed what the API tells, from\n%s\nto\n%s", before, after)
			}
		}
	}
	t.Run("body that is not JSON", in((*rig).bodyNotJSON))
	t.Run("handler of an absent file", in((*rig).absentFile))
	t.Run("template with a missing value", in(func(r *rig) { r.missingValue(root) }))
	t.Run("token used twice", in(func(r *rig) { r.tokenTwice(token) }))
	t.Run("agent without a good token", in((*rig).agentTokens))
	t.Run("node with a wrong token", in((*rig).wrongJoinTokens))
	t.Run("second server on a folder", in((*rig).secondServer))
	t.Run("port in use", in((*rig).portInUse))
	t.Run("folder that cannot be written", in((*rig).unwritable))
}

// snapshot is what the API tells of the organization and the cluster, as text.
func (r *rig) snapshot() string {
	r.t.Helper()
	var b bytes.Buffer
	for _, op := range []string{"organizations.list", "environments.list", "applications.list", "hosts.list", "users.list"} {
		var items []map[string]any
		var l struct{ Items []map[string]any }
		r.call(client.Op{Name: op, Params: r.p()}, &l)
		for _, i := range l.Items {
			items = append(items, map[string]any{"name": i["name"], "username": i["username"], "state": i["state"], "applications": i["applications"]})
		}
		text, _ := json.Marshal(items)
		fmt.Fprintf(&b, "%s %s\n", op, text)
	}
	var st spec.ClusterStatus
	r.call(client.Op{Name: "cluster.show"}, &st)
	fmt.Fprintf(&b, "%d members in term %d\n", len(st.Members), st.Term)
	return b.String()
}

// refuses runs a program that must end by itself with a status that is not 0, and whose last words hold all
// wants. It gives them.
func (r *rig) refuses(wants []string, program string, args ...string) string {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.ctx, limit)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(programs(r.t), program), args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	last := lines[len(lines)-1]
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		r.t.Errorf("%s %v goes on in place of ending:\n%s", program, args, out.String())
	case !errors.As(err, &exit):
		r.t.Errorf("%s %v ended with %v:\n%s", program, args, err, out.String())
	}
	for _, w := range wants {
		if !strings.Contains(last, w) {
			r.t.Errorf("%s ends with the words %q, expected %q in them", program, last, w)
		}
	}
	r.t.Logf("%s", last)
	return out.String()
}

// server gives the arguments of a server on a folder, with ports of its own.
func (r *rig) server(data string, more ...string) []string {
	r.t.Helper()
	ports, err := freeport.Take("127.0.0.1", 4)
	if err != nil {
		r.t.Fatal(err)
	}
	at := func(k int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[k])) }
	return append([]string{"server", "--name", "other", "--data", data, "--http", at(0), "--cluster", at(1), "--gossip", at(2),
		"--bus-listen", at(3), "--advertise", "127.0.0.1", "--log-level", "error"}, more...)
}

func (r *rig) file(name, text string) string {
	r.t.Helper()
	f := filepath.Join(r.t.TempDir(), name)
	if err := os.WriteFile(f, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return f
}

func (r *rig) bodyNotJSON() {
	pw, err := os.ReadFile(r.site.AdminPasswordFile())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, body := range []string{"this is no JSON", `{"name": "cut`, `["a list"]`, `{"name": 7}`, ""} {
		req, err := http.NewRequestWithContext(r.ctx, http.MethodPost, r.site.Nodes[0].API()+"/organizations/", strings.NewReader(body))
		if err != nil {
			r.t.Fatal(err)
		}
		req.SetBasicAuth("admin", strings.TrimSpace(string(pw)))
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			r.t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		var p spec.Problem
		if err := errors.Join(err, json.Unmarshal(text, &p)); err != nil || resp.StatusCode != http.StatusBadRequest || len(p.Error) == 0 || p.Error[0] == "" {
			r.t.Errorf("%q is answered %d %s (%v), expected 400 with a text", body, resp.StatusCode, text, err)
		}
		r.t.Logf("%q: %s", body, p.Error)
	}
}

func (r *rig) absentFile() {
	c, err := r.site.Client(0)
	if err != nil {
		r.t.Fatal(err)
	}
	doc := json.RawMessage(`{"name": "broken", "handlers": [{"name": "h", "on": ["k"], "do": [{"action": "update", "resource": "file://nowhere.conf"}]}]}`)
	err = c.Call(r.ctx, client.Op{Name: "applications.create", Params: r.p(), Body: doc}, nil)
	if model.CodeOf(err) != model.Invalid || !strings.Contains(err.Error(), "nowhere.conf") {
		r.t.Errorf("got %v, expected an error that names the file", err)
	}
	r.t.Log(err)
}

func (r *rig) missingValue(root string) {
	r.application(json.RawMessage(`{"name": "missing", "files": [
		{"name": "a", "path": "/etc/a", "mode": "644", "template": {"name": "a", "delimiter": {"start": "${", "end": "}"}}},
		{"name": "b", "path": "/etc/b", "mode": "644", "template": {"name": "b", "delimiter": {"start": "${", "end": "}"}}}]}`),
		map[string]string{"a": "first line\nhost ${no_such_value}\n", "b": "plain\n"})
	r.call(client.Op{Name: "host.applications.create", Params: r.p("host", badHost), Body: map[string]string{"application": "missing"}}, nil)
	changes := r.settle(badHost)
	last := changes[len(changes)-1]
	for _, want := range []string{"line 2", "no_such_value"} {
		if !last.Failed() || !strings.Contains(last.Tasks[0].Error, want) {
			r.t.Errorf("the change should fail with %q: %s", want, describe(last))
		}
	}
	r.t.Log(last.Tasks[0].Error)
	for _, name := range []string{"a", "b"} { // b is fine, and skipped
		if _, err := os.Stat(filepath.Join(root, "etc", name)); !errors.Is(err, fs.ErrNotExist) {
			r.t.Errorf("/etc/%s is there: %v", name, err)
		}
	}
	r.waitState(badHost, model.HostError)
	r.call(client.Op{Name: "host.applications.delete", Params: r.p("host", badHost, "app", "missing")}, nil)
	r.settle(badHost)
	r.call(client.Op{Name: "applications.delete", Params: r.p("app", "missing")}, nil)
	r.waitState(badHost, model.HostReady)
}

// newcomer gives the arguments of an agent of this site that is no member yet.
func (r *rig) newcomer(tokenFile string) []string {
	return []string{"run", "--bus", r.site.Nodes[0].BusURL(), "--token-file", tokenFile, "--state", filepath.Join(r.t.TempDir(), "state"),
		"--root", r.t.TempDir(), "--name", "second"}
}

func (r *rig) tokenTwice(token string) {
	r.refuses([]string{"used"}, "muster-agent", r.newcomer(token)...)
}

func (r *rig) agentTokens() {
	r.refuses([]string{"token"}, "muster-agent", r.newcomer(r.file("token", "this is no token\n"))...)
	r.refuses([]string{"token", "no such file"}, "muster-agent", r.newcomer(filepath.Join(r.t.TempDir(), "absent"))...)
	state := r.file("state", "a file in place of a folder")
	r.refuses([]string{"state"}, "muster-agent", "run", "--bus", r.site.Nodes[0].BusURL(), "--token-file", r.enrolToken(1), "--state", state, "--root", r.t.TempDir())
}

// wrongJoinTokens starts nodes with a text that is no token, and with a good token of another cluster.
func (r *rig) wrongJoinTokens() {
	other := startSite(r.t, site.Config{Nodes: 1})
	var good spec.JoinToken
	other.call(client.Op{Name: "cluster.token", Body: spec.JoinTokenRequest{Expires: "1h"}}, &good)
	for _, text := range []string{"this is no token", good.Token} {
		data := filepath.Join(r.t.TempDir(), "data")
		said := r.refuses([]string{"token"}, "muster", r.server(data, "--join", r.site.Nodes[0].Cluster, "--token-file", r.file("token", text))...)
		if text == good.Token && strings.Contains(said, text) {
			r.t.Error("the token is in the output")
		}
		if _, err := os.Stat(filepath.Join(data, "admin-password")); err == nil {
			r.t.Error("the refused node made a cluster of its own")
		}
	}
}

func (r *rig) secondServer() {
	data := filepath.Join(r.site.Nodes[0].Dir, "data")
	r.refuses([]string{data}, "muster", r.server(data)...)
}

// portInUse takes each port of the running node for a second one, and looks that nothing was put into the
// folder of the second.
func (r *rig) portInUse() {
	n := r.site.Nodes[0]
	for flag, addr := range map[string]string{"--http": n.HTTP, "--cluster": n.Cluster, "--gossip": n.Gossip, "--bus-listen": n.BusAddr} {
		data := filepath.Join(r.t.TempDir(), "data")
		r.refuses([]string{flag, "in use"}, "muster", r.server(data, flag, addr)...)
		left, _ := filepath.Glob(filepath.Join(data, "cluster", "*"))
		if len(left) > 1 || len(left) == 1 && filepath.Base(left[0]) != "lock" {
			r.t.Errorf("%s in use: the new folder holds %v", flag, left)
		}
	}
}

func (r *rig) unwritable() {
	blocked := filepath.Join(r.file("file", "not a folder"), "data")
	r.refuses([]string{"--data", filepath.Dir(blocked)}, "muster", r.server(blocked)...)
	r.refuses([]string{"--state"}, "muster-agent", "run", "--bus", r.site.Nodes[0].BusURL(), "--token-file", r.enrolToken(1),
		"--state", blocked, "--root", r.t.TempDir(), "--name", "second")
}
