package cluster_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/cluster/clustertest"
	"github.com/muster-hq/muster/cluster/pki"
	"github.com/muster-hq/muster/internal/freeport"
)

func open(t *testing.T, cfg cluster.Config) (*cluster.Node, error) {
	t.Helper()
	if cfg.ClusterAddr == "" {
		cfg.ClusterAddr = "127.0.0.1:0"
	}
	cfg.Tables = clustertest.Tables()
	ctx, cancel := context.WithTimeout(t.Context(), clustertest.Patience)
	defer cancel()
	n, err := cluster.Open(ctx, cfg)
	if err == nil {
		t.Cleanup(func() { _ = n.Abort() })
	}
	return n, err
}

func TestWrongTokensAreRefused(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 1)
	other := clustertest.New(t, 1)
	token := func(c *clustertest.Cluster, ttl time.Duration) string {
		s, err := c.Node(0).CreateJoinToken(t.Context(), ttl)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	good := token(c, time.Hour)
	short := token(c, time.Nanosecond)
	unknown := token(other, time.Hour) // its id and secret are not known here
	forged := forge(t, good)
	for name, tc := range map[string]struct{ token, addr, text string }{
		"wrong secret":   {forged, "", "does not know"},
		"no token":       {"hunter2", "", "muster cluster token"},
		"cut off":        {good[:len(good)-20], "", "muster cluster token"},
		"expired":        {short, "", "expired"},
		"foreign":        {good, other.Node(0).ClusterAddr(), "another cluster"},
		"foreign, other": {unknown, c.Node(0).ClusterAddr(), "another cluster"},
	} {
		dir := filepath.Join(t.TempDir(), "data")
		cfg := cluster.Config{Name: "joiner", DataDir: dir, Bootstrap: cluster.Bootstrap{Token: tc.token}}
		if tc.addr != "" {
			cfg.Bootstrap.Join = []string{tc.addr}
		}
		_, err := open(t, cfg)
		if err == nil || !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%s: %v, want %q", name, err, tc.text)
		}
		if strings.Contains(err.Error(), tc.token) {
			t.Errorf("%s: the error shows the token", name)
		}
		for _, f := range []string{"node.json", "pki", "raft"} {
			if _, err := os.Stat(filepath.Join(dir, f)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: left %s behind: %v", name, f, err)
			}
		}
	}
	if m := c.Node(0).Members(); len(m) != 1 {
		t.Errorf("members %+v", m)
	}
	// A name that votes is taken; the same folder may then try again under another.
	dir := t.TempDir()
	_, err := open(t, cluster.Config{Name: "node-0", DataDir: dir, Bootstrap: cluster.Bootstrap{Token: good}})
	if err == nil || !strings.Contains(err.Error(), "choose another name") {
		t.Errorf("a name that is taken: %v", err)
	}
	if _, err := open(t, cluster.Config{Name: "joiner", DataDir: dir, Bootstrap: cluster.Bootstrap{Token: good}}); err != nil {
		t.Errorf("a good token: %v", err)
	}
	c.WaitVoters(2)
}

// forge gives a token another secret.
func forge(t *testing.T, token string) string {
	t.Helper()
	const prefix = "muster-join-1."
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token, prefix))
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(b, &fields); err != nil {
		t.Fatal(err)
	}
	fields["secret"] = bytes.Repeat([]byte{1}, 32)
	if b, err = json.Marshal(fields); err != nil {
		t.Fatal(err)
	}
	return prefix + base64.RawURLEncoding.EncodeToString(b)
}

func TestJoinOverGossipAndRestartElsewhere(t *testing.T) {
	t.Parallel()
	restartElsewhere(t, "127.0.0.1:0")
}

func TestRestartElsewhereWithoutGossip(t *testing.T) {
	t.Parallel()
	restartElsewhere(t, "")
}

func restartElsewhere(t *testing.T, gossipAddr string) {
	t.Helper()
	cfgs := []cluster.Config{{Name: "alfa"}, {Name: "bravo"}, {Name: "carol"}}
	nodes := make([]*cluster.Node, 3)
	for i := range cfgs {
		cfgs[i].DataDir, cfgs[i].GossipAddr, cfgs[i].APIAddr = t.TempDir(), gossipAddr, "api."+cfgs[i].Name+":8000"
		cfgs[i].Timing.Reconcile = 200 * time.Millisecond
		if i > 0 {
			token, err := nodes[0].CreateJoinToken(t.Context(), time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			cfgs[i].Bootstrap.Token = token
		}
		var err error
		if nodes[i], err = open(t, cfgs[i]); err != nil {
			t.Fatal(err)
		}
		voters(t, nodes[0], i+1)
	}
	if err := nodes[1].Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if ln, err := net.Listen("tcp", nodes[1].ClusterAddr()); err == nil { // else somebody has it already
		defer func() { _ = ln.Close() }()
	}
	moved, err := open(t, cfgs[1]) // on another port
	if err != nil {
		t.Fatal(err)
	}
	if moved.ClusterAddr() == nodes[1].ClusterAddr() {
		t.Fatal("it is on the same port again: this proves nothing")
	}
	clustertest.WaitFor(t, "the new address", func() bool {
		s, err := nodes[2].Status(t.Context())
		return err == nil && len(s.Members) == 3 && s.Members[1].ClusterAddr == moved.ClusterAddr() && s.Members[1].Alive
	})
	if err := moved.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	if m := moved.Members(); m[2].APIAddr != "api.carol:8000" {
		t.Errorf("members %+v", m)
	}
}

func TestBeginTogether(t *testing.T) {
	t.Parallel()
	secret := []byte("a secret of the installation")
	first := freeAddr(t)
	nodes := make([]*cluster.Node, 3)
	for i, name := range []string{"alfa", "bravo", "carol"} {
		cfg := cluster.Config{Name: name, DataDir: t.TempDir(), Bootstrap: cluster.Bootstrap{Expect: 3, Secret: secret, Peers: []string{first}}}
		if i == 0 {
			cfg.ClusterAddr = first
		}
		var err error
		if nodes[i], err = open(t, cfg); err != nil {
			t.Fatal(err)
		}
		if i < 2 && nodes[i].HasLeader() {
			t.Errorf("%d of 3 nodes have a leader", i+1)
		}
	}
	for _, n := range nodes {
		if err := n.WaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	voters(t, nodes[2], 3)
	clustertest.WaitFor(t, "the secrets in the state", func() bool {
		_, err := nodes[1].CreateJoinToken(t.Context(), time.Hour)
		return err == nil
	})
}

func TestHubConnections(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 2)
	conn, err := c.Node(0).DialHub(t.Context(), "node-1")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	s, err := c.Node(1).HubListener().Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "AMQP"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4)
	if _, err := io.ReadFull(s, buf); err != nil || string(buf) != "AMQP" {
		t.Errorf("%q, %v", buf, err)
	}
	if _, err := c.Node(0).DialHub(t.Context(), "nobody"); err == nil {
		t.Error("dialed nobody")
	}
}

func TestBusCertificateIsPinned(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 1)
	ln, err := tls.Listen("tcp", "127.0.0.1:0", c.Node(0).BusTLS())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	go func() {
		if s, err := ln.Accept(); err == nil {
			_ = s.(*tls.Conn).Handshake()
		}
	}()
	conn, err := tls.Dial("tcp", ln.Addr().String(), pki.PinnedTLS(c.Node(0).Fingerprint(), pki.BusName))
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}

func TestOneServerAFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n, err := open(t, cluster.Config{Name: "alfa", DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	_, err = open(t, cluster.Config{Name: "alfa", DataDir: dir})
	if err == nil || !strings.Contains(err.Error(), "process "+strconv.Itoa(os.Getpid())) {
		t.Errorf("a second server: %v", err)
	}
	_, err = open(t, cluster.Config{Name: "bravo", DataDir: t.TempDir(), ClusterAddr: n.ClusterAddr()})
	if err == nil || !strings.Contains(err.Error(), n.ClusterAddr()) || !strings.Contains(err.Error(), "another server") {
		t.Errorf("a port in use: %v", err)
	}
	if err := n.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := n.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, cluster.Config{Name: "bravo", DataDir: dir}); err == nil || !strings.Contains(err.Error(), `"alfa"`) {
		t.Errorf("another name on the folder: %v", err)
	}
	if _, err := open(t, cluster.Config{Name: "alfa", DataDir: dir}); err != nil {
		t.Errorf("the same again: %v", err)
	}
}

func TestAFailedFirstStartLeavesNoMember(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 1)
	dir := t.TempDir()
	taken := freeAddr(t)
	ln, err := net.Listen("tcp", taken)
	if err != nil {
		t.Fatal(err)
	}
	_, err = open(t, cluster.Config{Name: "bravo", DataDir: dir, GossipAddr: taken})
	if err == nil || !strings.Contains(err.Error(), taken) {
		t.Fatalf("a gossip port in use: %v", err)
	}
	_ = ln.Close()
	token, err := c.Node(0).CreateJoinToken(t.Context(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	n, err := open(t, cluster.Config{Name: "bravo", DataDir: dir, Bootstrap: cluster.Bootstrap{Token: token}})
	if err != nil {
		t.Fatal(err)
	}
	if n.ClusterID() != c.Node(0).ClusterID() {
		t.Error("it began a cluster of its own")
	}
}

func TestForgetThenJoin(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 1)
	dir := t.TempDir()
	n, err := open(t, cluster.Config{Name: "bravo", DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Update(t.Context(), put("x", 1)); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Forget(dir); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("forgot a running node: %v", err)
	}
	if err := n.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "admin-password"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Forget(dir); err != nil {
		t.Fatal(err)
	}
	token, err := c.Node(0).CreateJoinToken(t.Context(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if n, err = open(t, cluster.Config{Name: "bravo", DataDir: dir, Bootstrap: cluster.Bootstrap{Token: token}}); err != nil {
		t.Fatal(err)
	}
	c.WaitVoters(2)
	if v, err := n.View(t.Context()); err != nil || count(v, "x") != 0 {
		t.Errorf("rows of the former cluster: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "admin-password")); err != nil {
		t.Error(err)
	}
	if err := n.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "node.json")); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, cluster.Config{Name: "bravo", DataDir: dir}); err == nil || !strings.Contains(err.Error(), "node.json") {
		t.Errorf("a log that nobody knows: %v", err)
	}
}

func TestFolderThatCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := open(t, cluster.Config{Name: "alfa", DataDir: filepath.Join(file, "data")})
	if err == nil || !strings.Contains(err.Error(), "data folder") {
		t.Errorf("got %v", err)
	}
	for _, name := range []string{"", "Alfa", "a b", "-a", strings.Repeat("a", 64), "a/b"} {
		if _, err := open(t, cluster.Config{Name: name, DataDir: t.TempDir()}); err == nil {
			t.Errorf("took the name %q", name)
		}
	}
}

func TestGarbageOnTheClusterPort(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 2)
	for _, n := range c.Nodes() {
		for _, text := range []string{"GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x00\x05hello", "R"} {
			conn, err := net.Dial("tcp", n.ClusterAddr())
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(conn, text)
			_ = conn.Close()
		}
		// Past the handshake, as a joiner that sends nonsense.
		conn, err := tls.Dial("tcp", n.ClusterAddr(), pki.PinnedTLS(n.Fingerprint(), pki.NodeName))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, "J\xff\xff\xff\xffnonsense")
		_ = conn.SetReadDeadline(time.Now().Add(clustertest.Patience))
		if b, _ := io.ReadAll(conn); len(b) > 0 {
			t.Errorf("answered %q", b)
		}
		_ = conn.Close()
	}
	for i, n := range c.Nodes() {
		if err := n.Update(t.Context(), put("x", i)); err != nil {
			t.Errorf("%s: %v", n.Name(), err)
		}
	}
}

func voters(t *testing.T, n *cluster.Node, want int) {
	t.Helper()
	clustertest.WaitFor(t, strconv.Itoa(want)+" voters", func() bool {
		s, err := n.Status(t.Context())
		return err == nil && s.Voters == want && len(s.Members) == want
	})
}

func freeAddr(t *testing.T) string {
	t.Helper()
	ports, err := freeport.Take("127.0.0.1", 1)
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0]))
}
