// Package site runs the built programs as a whole installation on this machine: nodes as processes, agents on
// scratch roots or elsewhere, and the client. The demonstration, the end-to-end tests and the benchmarks
// stand on it. It drives the programs only as a user would: by their flags, their files and the API.
package site

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/internal/freeport"
)

// Config says what to run.
type Config struct {
	Bin    string   // folder with muster and muster-agent
	Dir    string   // folder of everything that the site writes
	Nodes  int      // default 3
	Host   string   // address of all nodes; default 127.0.0.1
	Prefix []string // put before each node's command line: a network namespace
	// Where says for each node, counted from 0, where it runs if not as the rest of this says; nil for all alike.
	Where func(i int) Place
	Bus   string   // broker in place of the embedded hubs: passed as --bus
	BusPW string   // passed as --bus-password-file
	Args  []string // more arguments for each node
	Debug bool     // nodes log at debug
	// Dial reaches the nodes from this process; nil dials as usual. A site in a network namespace needs it.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Place is where one node runs. What is empty is as the site's configuration says.
type Place struct {
	Bin    string
	Host   string
	Prefix []string
}

// Site is a running installation.
type Site struct {
	cfg    Config
	http   *http.Client // nil is the client's own
	Nodes  []*Node
	Agents []*Agent
	Org    string
	Env    string
}

// Node is one orchestrator process and its addresses.
type Node struct {
	*Process
	Dir     string
	HTTP    string // host:port
	Cluster string
	Gossip  string
	BusAddr string
	join    bool
}

// API is the node's API root.
func (n *Node) API() string { return "http://" + n.HTTP + "/api" }

// BusURL is where agents reach the node's hub.
func (n *Node) BusURL() string { return "amqps://" + n.BusAddr }

// Agent is one agent process.
type Agent struct {
	*Process
	Host  string // its name in the API
	Root  string
	State string
}

// startLimit is how long a node may take until it is ready, on a machine that is busy.
const startLimit = 60 * time.Second

// Start starts the first node, lets the others join, and waits until all are ready.
func Start(ctx context.Context, cfg Config) (*Site, error) {
	if cfg.Nodes == 0 {
		cfg.Nodes = 3
	}
	if cfg.Host == "" {
		cfg.Host = "127.0.0.1"
	}
	s := &Site{cfg: cfg, Org: "demo", Env: "production"}
	if cfg.Dial != nil {
		s.http = &http.Client{Timeout: time.Minute, Transport: &http.Transport{DialContext: cfg.Dial, IdleConnTimeout: time.Minute}}
	}
	host := cfg.Host
	if cfg.Prefix != nil || cfg.Where != nil {
		host = "127.0.0.1" // the address may be of the namespace alone; there, all ports are free
	}
	ports, err := freeport.Take(host, 4*cfg.Nodes)
	if err != nil {
		return nil, err
	}
	for i := range cfg.Nodes {
		n, err := s.newNode(i, ports[4*i:4*i+4])
		if err != nil {
			return nil, err
		}
		s.Nodes = append(s.Nodes, n)
	}
	if err := s.startAll(ctx); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

func (s *Site) newNode(i int, ports []int) (*Node, error) {
	place := Place{Bin: s.cfg.Bin, Host: s.cfg.Host, Prefix: s.cfg.Prefix}
	if s.cfg.Where != nil {
		p := s.cfg.Where(i)
		place.Bin, place.Host = cmp.Or(p.Bin, place.Bin), cmp.Or(p.Host, place.Host)
		if p.Prefix != nil {
			place.Prefix = p.Prefix
		}
	}
	at := func(k int) string { return net.JoinHostPort(place.Host, strconv.Itoa(ports[k])) }
	name := fmt.Sprintf("n%d", i+1)
	n := &Node{Dir: filepath.Join(s.cfg.Dir, name), HTTP: at(0), Cluster: at(1), Gossip: at(2), BusAddr: at(3), join: i > 0}
	argv := append([]string{}, place.Prefix...)
	argv = append(argv, filepath.Join(place.Bin, "muster"), "server", "--name", name, "--data", filepath.Join(n.Dir, "data"),
		"--http", n.HTTP, "--cluster", n.Cluster, "--gossip", n.Gossip, "--bus-listen", n.BusAddr, "--advertise", place.Host)
	if n.join {
		argv = append(argv, "--join", s.Nodes[0].Cluster, "--token-file", s.joinToken())
	}
	if s.cfg.Bus != "" {
		argv = append(argv, "--bus", s.cfg.Bus)
	}
	if s.cfg.BusPW != "" {
		argv = append(argv, "--bus-password-file", s.cfg.BusPW)
	}
	if s.cfg.Debug {
		argv = append(argv, "--log-level", "debug")
	}
	argv = append(argv, s.cfg.Args...)
	n.Process = newProcess(name, filepath.Join(n.Dir, "log"), []string{"MUSTER_DRAIN=0s"}, argv...) // no balancer waits; an argument wins
	return n, os.MkdirAll(n.Dir, 0o755)
}

func (s *Site) joinToken() string { return filepath.Join(s.cfg.Dir, "join-token") }

func (s *Site) startAll(ctx context.Context) error {
	if err := s.Nodes[0].Start(); err != nil {
		return err
	}
	if err := s.WaitReady(ctx, 0); err != nil {
		return err
	}
	if len(s.Nodes) == 1 {
		return nil
	}
	c, err := s.Client(0)
	if err != nil {
		return err
	}
	var tok spec.JoinToken
	if err := c.Call(ctx, client.Op{Name: "cluster.token", Body: spec.JoinTokenRequest{Expires: "1h", Uses: new(int)}}, &tok); err != nil {
		return fmt.Errorf("make a join token: %w", err)
	}
	if err := os.WriteFile(s.joinToken(), []byte(tok.Token+"\n"), 0o600); err != nil {
		return err
	}
	for i, n := range s.Nodes[1:] {
		if err := n.Start(); err != nil {
			return err
		}
		if err := s.WaitReady(ctx, i+1); err != nil {
			return err
		}
	}
	return s.WaitVoters(ctx, len(s.Nodes))
}

// WaitReady waits until node i answers a linearizable read.
func (s *Site) WaitReady(ctx context.Context, i int) error {
	n := s.Nodes[i]
	return WaitFor(ctx, n.Name+" to be ready", startLimit, func(ctx context.Context) (bool, error) {
		select {
		case <-n.Done():
			return false, GiveUp(fmt.Errorf("%s ended:\n%s", n.Name, n.Tail()))
		default:
		}
		c, err := s.Client(i)
		if err != nil {
			return false, err
		}
		_, err = client.List[map[string]any](ctx, c, client.Op{Name: "users.list"})
		return err == nil, err
	})
}

// WaitVoters waits until the cluster has n voters.
func (s *Site) WaitVoters(ctx context.Context, n int) error {
	return WaitFor(ctx, strconv.Itoa(n)+" voters", startLimit, func(ctx context.Context) (bool, error) {
		st, err := s.Status(ctx)
		if err != nil {
			return false, err
		}
		voters := 0
		for _, m := range st.Members {
			if m.Voter {
				voters++
			}
		}
		return voters == n && st.Leader != "", nil
	})
}

// Client is a client of node i as the first administrator.
func (s *Site) Client(i int) (*client.Client, error) {
	pw, err := os.ReadFile(s.AdminPasswordFile())
	if err != nil {
		return nil, err
	}
	return client.New(client.Config{URL: s.Nodes[i].API(), User: "admin", Password: strings.TrimSpace(string(pw)), HTTP: s.http})
}

// AdminPasswordFile holds the first administrator's password.
func (s *Site) AdminPasswordFile() string {
	return filepath.Join(s.Nodes[0].Dir, "data", "admin-password")
}

// Status asks each node in turn until one answers.
func (s *Site) Status(ctx context.Context) (spec.ClusterStatus, error) {
	var errs []error
	for i, n := range s.Nodes {
		var st spec.ClusterStatus
		c, err := s.Client(i)
		if err == nil {
			actx, cancel := context.WithTimeout(ctx, 3*time.Second)
			err = c.Call(actx, client.Op{Name: "cluster.show"}, &st)
			cancel()
		}
		if err == nil && st.Leader != "" {
			return st, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", n.Name, err))
	}
	return spec.ClusterStatus{}, errors.Join(errs...)
}

// Leader is the index of the node that leads.
func (s *Site) Leader(ctx context.Context) (int, error) {
	leader := -1
	err := WaitFor(ctx, "a leader", startLimit, func(ctx context.Context) (bool, error) {
		st, err := s.Status(ctx)
		if err != nil {
			return false, err
		}
		for i, n := range s.Nodes {
			if n.Name == st.Leader && n.Running() {
				leader = i
			}
		}
		return leader >= 0, nil
	})
	return leader, err
}

// EnrolToken makes an enrolment token for the site's environment and gives the file that holds it.
func (s *Site) EnrolToken(ctx context.Context, uses int) (string, error) {
	c, err := s.Client(0)
	if err != nil {
		return "", err
	}
	var tok spec.EnrolToken
	op := client.Op{Name: "enroltokens.create", Params: s.In(), Body: spec.EnrolTokenRequest{Uses: uses, Expires: "24h"}}
	if err := c.Call(ctx, op, &tok); err != nil {
		return "", fmt.Errorf("make an enrolment token: %w", err)
	}
	f := filepath.Join(s.cfg.Dir, "enrol-"+tok.ID)
	return f, os.WriteFile(f, []byte(tok.Token+"\n"), 0o600)
}

// In is the parameters of an operation in the site's organization and environment: more are pairs of name and value.
func (s *Site) In(more ...string) map[string]string {
	p := map[string]string{"org": s.Org, "env": s.Env}
	for i := 0; i+1 < len(more); i += 2 {
		p[more[i]] = more[i+1]
	}
	return p
}

// AgentConfig says which agent to start.
type AgentConfig struct {
	Host      string
	TokenFile string
	Root      string   // "" manages the whole machine
	Buses     []string // default: the hubs of all nodes
	Prefix    []string // put before the command line
	Bin       string   // default: the site's folder of programs
	Args      []string
}

// StartAgent starts an agent; WaitHost says when it is there.
func (s *Site) StartAgent(cfg AgentConfig) (*Agent, error) {
	if cfg.Buses == nil {
		for _, n := range s.Nodes {
			cfg.Buses = append(cfg.Buses, n.BusURL())
		}
	}
	if cfg.Bin == "" {
		cfg.Bin = s.cfg.Bin
	}
	dir := filepath.Join(s.cfg.Dir, cfg.Host)
	a := &Agent{Host: cfg.Host, Root: cfg.Root, State: filepath.Join(dir, "state")}
	argv := append([]string{}, cfg.Prefix...)
	argv = append(argv, filepath.Join(cfg.Bin, "muster-agent"), "run", "--token-file", cfg.TokenFile, "--state", a.State, "--name", cfg.Host)
	if cfg.Root != "" {
		if err := os.MkdirAll(cfg.Root, 0o755); err != nil {
			return nil, err
		}
		argv = append(argv, "--root", cfg.Root)
	}
	for _, b := range cfg.Buses {
		argv = append(argv, "--bus", b)
	}
	argv = append(argv, cfg.Args...)
	a.Process = newProcess(cfg.Host, filepath.Join(dir, "log"), nil, argv...)
	s.Agents = append(s.Agents, a)
	return a, a.Start()
}

// Stop ends all processes, agents first.
func (s *Site) Stop() error {
	var errs []error
	for _, a := range s.Agents {
		errs = append(errs, a.Stop())
	}
	for _, n := range s.Nodes {
		errs = append(errs, n.Stop())
	}
	return errors.Join(errs...)
}
