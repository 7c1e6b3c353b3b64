// Package peers starts systems of three nodes for benchmarks, Muster and etcd, and drives them by the load generator.
package peers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/deploy/site"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/internal/freeport"
)

// Peer is a system of three nodes, each a process with shipped defaults on this machine, that the load generator
// drives.
type Peer interface {
	// Target are the arguments that make the load generator drive it.
	Target() []string
	// Addrs are the addresses of its clients, by node.
	Addrs() []string
	Process(node int) *site.Process
	// Leader is the node that leads, once there is one and all nodes serve.
	Leader(ctx context.Context) (int, error)
	Stop() error
}

// etcdLimit bounds how long etcd takes until all is well, on a busy machine.
const etcdLimit = 60 * time.Second

// Own is Muster: `muster server` three times.
type Own struct {
	Site    *site.Site
	keyFile string
}

// loadOrg is the organization whose settings are put.
const loadOrg = "load"

// StartOwn starts Muster with an organization and a key that may write its settings.
func StartOwn(ctx context.Context, bin, dir string, args ...string) (*Own, error) {
	s, err := site.Start(ctx, site.Config{Bin: bin, Dir: dir, Nodes: 3, Args: args})
	if err != nil {
		return nil, err
	}
	p := &Own{Site: s, keyFile: filepath.Join(dir, "application-key")}
	if err := p.prepare(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return p, nil
}

// prepare makes the organization, and an application key that may write its settings.
func (p *Own) prepare(ctx context.Context) error {
	c, err := p.Site.Client(0)
	if err != nil {
		return err
	}
	if err := c.Call(ctx, client.Op{Name: "organizations.create", Body: map[string]string{"name": loadOrg}}, nil); err != nil {
		return fmt.Errorf("making the organization: %w", err)
	}
	var key model.ApplicationKey
	op := client.Op{Name: "applicationkeys.create", Params: map[string]string{"org": loadOrg},
		Body: map[string]string{"name": "bench", "method": model.KeyToken, "group": "users"}}
	if err := c.Call(ctx, op, &key); err != nil {
		return fmt.Errorf("making the application key: %w", err)
	}
	return os.WriteFile(p.keyFile, []byte(key.Token+"\n"), 0o600)
}

// Target are the arguments that make the load generator drive it.
func (p *Own) Target() []string {
	return []string{"-target", "rest", "-org", loadOrg, "-key-file", p.keyFile}
}

// Addrs are the addresses of its clients, by node.
func (p *Own) Addrs() (out []string) {
	for _, n := range p.Site.Nodes {
		out = append(out, n.HTTP)
	}
	return out
}

// Process is that of a node.
func (p *Own) Process(node int) *site.Process { return p.Site.Nodes[node].Process }

// Leader is the node that leads, once all nodes serve and vote.
func (p *Own) Leader(ctx context.Context) (int, error) {
	for i := range p.Site.Nodes {
		if err := p.Site.WaitReady(ctx, i); err != nil {
			return 0, err
		}
	}
	if err := p.Site.WaitVoters(ctx, len(p.Site.Nodes)); err != nil {
		return 0, err
	}
	return p.Site.Leader(ctx)
}

// Stop ends its nodes.
func (p *Own) Stop() error { return p.Site.Stop() }

// Etcd is etcd as Debian ships it, with its default settings.
type Etcd struct {
	procs []*site.Process
	urls  []string
}

// StartEtcd starts etcd, and installs it where it is missing.
func StartEtcd(ctx context.Context, dir string) (*Etcd, error) {
	if err := installEtcd(ctx); err != nil {
		return nil, err
	}
	bin, err := exec.LookPath("etcd")
	if err != nil {
		return nil, fmt.Errorf("looking for etcd: %w", err)
	}
	const host = "127.0.0.1"
	ports, err := freeport.Take(host, 6)
	if err != nil {
		return nil, err
	}
	at := func(i int) string { return net.JoinHostPort(host, strconv.Itoa(ports[i])) }
	var members []string
	for i := range 3 {
		members = append(members, fmt.Sprintf("e%d=http://%s", i, at(3+i)))
	}
	p := &Etcd{}
	for i := range 3 {
		name := fmt.Sprintf("e%d", i)
		p.urls = append(p.urls, at(i))
		p.procs = append(p.procs, site.NewProcess(name, filepath.Join(dir, name, "log"), bin, "--name", name, "--data-dir", filepath.Join(dir, name, "data"),
			"--listen-client-urls", "http://"+at(i), "--advertise-client-urls", "http://"+at(i),
			"--listen-peer-urls", "http://"+at(3+i), "--initial-advertise-peer-urls", "http://"+at(3+i),
			"--initial-cluster", strings.Join(members, ","), "--initial-cluster-state", "new"))
	}
	for _, proc := range p.procs {
		if err := proc.Start(); err != nil {
			return nil, errors.Join(err, p.Stop())
		}
	}
	if _, err := p.Leader(ctx); err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return p, nil
}

// Target are the arguments that make the load generator drive it.
func (p *Etcd) Target() []string { return []string{"-target", "etcd"} }

// Addrs are the addresses of its clients, by node.
func (p *Etcd) Addrs() []string { return p.urls }

// Process is that of a node.
func (p *Etcd) Process(node int) *site.Process { return p.procs[node] }

// etcdStatus is the part of an answer of etcd's JSON gateway that is used here. Numbers of 64 bits are texts in it.
type etcdStatus struct {
	Header struct {
		Member string `json:"member_id"`
	} `json:"header"`
	Leader string `json:"leader"`
}

// Leader waits until each node answers a linearizable read and all name the same leader.
func (p *Etcd) Leader(ctx context.Context) (int, error) {
	leader := -1
	err := site.WaitFor(ctx, "etcd to serve on all nodes", etcdLimit, func(ctx context.Context) (bool, error) {
		leader = -1
		named := map[string]bool{}
		for i := range p.urls {
			if err := p.ask(ctx, i, "/v3/kv/range", `{"key":"AA=="}`, &struct{}{}); err != nil {
				return false, err
			}
			var st etcdStatus
			if err := p.ask(ctx, i, "/v3/maintenance/status", `{}`, &st); err != nil {
				return false, err
			}
			named[st.Leader] = true
			if st.Leader == st.Header.Member {
				leader = i
			}
		}
		return leader >= 0 && len(named) == 1, nil
	})
	return leader, err
}

func (p *Etcd) ask(ctx context.Context, node int, path, body string, out any) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.urls[node]+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return fmt.Errorf("asking etcd: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("asking etcd: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("asking etcd: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("asking etcd: status %d: %.200s", resp.StatusCode, b)
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("asking etcd: %w", err)
	}
	return nil
}

// Stop kills it: asked to end, etcd ends by the same signal that it was sent, which looks like a failure.
func (p *Etcd) Stop() error {
	for _, proc := range p.procs {
		proc.Kill()
	}
	return nil
}

// BuildLoad builds the load generator, which is a module of its own: the etcd client is of no use to Muster.
func BuildLoad(ctx context.Context, dir string) (string, error) {
	out := filepath.Join(dir, "load")
	cmd := exec.CommandContext(ctx, "go", "build", "-C", filepath.Join("deploy", "bench", "load"), "-o", out, ".")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the load generator: %w: %s", err, bytes.TrimSpace(text))
	}
	return out, nil
}

// Told is what a load generator tells, and what the nodes spent meanwhile. Times are in milliseconds.
type Told struct {
	Ops     int     `json:"ops"`
	Rate    float64 `json:"rate"`
	P50     float64 `json:"p50"`
	P99     float64 `json:"p99"`
	Missing int     `json:"missing"`
	Read    int     `json:"read"`
	CPU     float64 `json:"cpu"`  // processor time of all nodes for one operation, in microseconds
	Idle    float64 `json:"idle"` // of the machine
}

// Load runs the load generator once against a system.
func Load(ctx context.Context, bin string, sys Peer, more ...string) (Told, error) {
	args := append(sys.Target(), "-nodes", strings.Join(sys.Addrs(), ","))
	var pids []string
	for i := range sys.Addrs() {
		pids = append(pids, strconv.Itoa(sys.Process(i).Pid()))
	}
	cmd := exec.CommandContext(ctx, bin, append(append(args, "-pids", strings.Join(pids, ",")), more...)...)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return Told{}, fmt.Errorf("the load generator: %w: %s", err, bytes.TrimSpace(complaint.Bytes()))
	}
	var l Told
	if err := json.Unmarshal(out.Bytes(), &l); err != nil {
		return Told{}, fmt.Errorf("the load generator said what does not read: %w", err)
	}
	return l, nil
}
