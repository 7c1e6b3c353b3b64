package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/internal/freeport"
)

// patience bounds what the tests wait for, on a machine that is busy.
const patience = 60 * time.Second

// output is what a program in this process writes.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// program is the command, running in this process.
type program struct {
	t         *testing.T
	stdout    output
	stderr    output
	interrupt context.CancelFunc // what Ctrl-C and SIGTERM do
	ended     chan struct{}
	code      int
}

// begin runs a command line until it is interrupted, at the latest at the end of the test.
func begin(t *testing.T, args ...string) *program {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &program{t: t, interrupt: cancel, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		p.code = execute(ctx, args, strings.NewReader(""), &p.stdout, &p.stderr)
	}()
	t.Cleanup(func() {
		p.stop()
		if t.Failed() && (args[0] == "server" || args[0] == "dev") {
			t.Logf("muster %s said:\n%s%s", strings.Join(args, " "), p.stdout.String(), p.stderr.String())
		}
	})
	return p
}

// stop interrupts the program, and gives its status.
func (p *program) stop() int {
	p.interrupt()
	return p.wait()
}

// wait waits for the program's end, and gives its status.
func (p *program) wait() int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatalf("the program did not end:\n%s", p.stderr.String())
	}
	return p.code
}

// muster runs a command line to its end, which must come soon.
func muster(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	p := begin(t, args...)
	code = p.wait()
	return p.stdout.String(), p.stderr.String(), code
}

// eventually asks cond until it holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	limit := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("waited %s for %s", patience, what)
		}
	}
}

// testPorts are free ports of this machine.
func testPorts(t *testing.T, n int) []string {
	t.Helper()
	ports, err := freeport.Take(loopback, n)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, p := range ports {
		out = append(out, net.JoinHostPort(loopback, strconv.Itoa(p)))
	}
	return out
}

// node is `muster server` in this process.
type node struct {
	*program
	t                  *testing.T
	name, data         string
	http, cluster, bus string
	args               []string
}

func newNode(t *testing.T, name string, more ...string) *node {
	t.Helper()
	return nodeOn(t, testPorts(t, 4), name, more...)
}

// nodeOn is newNode on four ports: those of nodes that start together are looked for together, else the kernel
// may give one of them twice.
func nodeOn(t *testing.T, p []string, name string, more ...string) *node {
	t.Helper()
	n := &node{t: t, name: name, data: filepath.Join(t.TempDir(), name), http: p[0], cluster: p[1], bus: p[3]}
	n.args = append([]string{"server", "--name", name, "--data", n.data, "--http", p[0], "--cluster", p[1], "--gossip", p[2],
		"--bus-listen", p[3], "--advertise", loopback, "--log-level", "info", "--drain", "0s"}, more...)
	return n
}

func (n *node) start() *node {
	n.t.Helper()
	n.program = begin(n.t, n.args...)
	return n
}

// startNode starts a node that begins a cluster, and waits until one can log in.
func startNode(t *testing.T, name string, more ...string) *node {
	t.Helper()
	n := newNode(t, name, more...).start()
	n.waitLogin(n.passwordFile())
	return n
}

func (n *node) passwordFile() string { return filepath.Join(n.data, "admin-password") }

func (n *node) api() string { return "http://" + n.http + "/api" }

// client is a client of the node with the password in a file.
func (n *node) client(passwordFile string) (*client.Client, error) {
	pw, err := readSecret(passwordFile)
	if err != nil {
		return nil, err
	}
	return client.New(client.Config{URL: n.api(), User: adminName, Password: pw})
}

// login reads what needs the administrator, from the state and not from memory alone.
func (n *node) login(passwordFile string) error {
	c, err := n.client(passwordFile)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err = client.List[map[string]any](ctx, c, client.Op{Name: "users.list"})
	return err
}

func (n *node) waitLogin(passwordFile string) {
	n.t.Helper()
	eventually(n.t, n.name+" to let the administrator in", func() bool {
		select {
		case <-n.ended:
			n.t.Fatalf("%s ended with %d:\n%s", n.name, n.code, n.stderr.String())
		default:
		}
		return n.login(passwordFile) == nil
	})
}

// as gives a client command the node and the administrator to ask.
func (n *node) as(passwordFile string, args ...string) []string {
	return append(args, "--api", n.api(), "--user", adminName, "--password-file", passwordFile)
}

// do runs a client command as the administrator of the node; it must succeed.
func (n *node) do(passwordFile string, args ...string) string {
	n.t.Helper()
	out, errs, code := muster(n.t, n.as(passwordFile, args...)...)
	if code != exitDone {
		n.t.Fatalf("muster %s: status %d: %s", strings.Join(args, " "), code, errs)
	}
	return out
}

// status is what `muster cluster status -o json` prints once there is a leader: a machine that is busy elects now and then.
func (n *node) status(passwordFile string) spec.ClusterStatus {
	n.t.Helper()
	var st spec.ClusterStatus
	var out string
	eventually(n.t, n.name+" to tell of a leader", func() bool {
		var errs string
		var code int
		out, errs, code = muster(n.t, n.as(passwordFile, "cluster", "status", "-o", "json")...)
		switch code {
		case exitDone, exitTasksFailed: // it may be asked while a node is away
			return true
		case exitFailed, exitUnreachable:
			return false
		}
		n.t.Fatalf("muster cluster status: status %d: %s", code, errs)
		return false
	})
	if err := json.Unmarshal([]byte(out), &st); err != nil {
		n.t.Fatalf("the status is no JSON: %v", err)
	}
	return st
}

// waitVoters waits until the cluster that the node belongs to has n voters.
func (n *node) waitVoters(passwordFile string, want int) {
	n.t.Helper()
	eventually(n.t, strconv.Itoa(want)+" voters", func() bool {
		c, err := n.client(passwordFile)
		if err != nil {
			return false
		}
		var st spec.ClusterStatus
		if c.Call(n.t.Context(), client.Op{Name: "cluster.show"}, &st) != nil {
			return false
		}
		voters := 0
		for _, m := range st.Members {
			if m.Voter {
				voters++
			}
		}
		return voters == want && st.Leader != ""
	})
}

// joinToken makes a join token on a node and gives the file that holds it.
func (n *node) joinToken(passwordFile string) string {
	n.t.Helper()
	return textFile(n.t, "join-token", n.do(passwordFile, "cluster", "token", "--uses", "0"))
}

func textFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// answers says whether something listens at an address.
func answers(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	c.Close()
	return true
}
