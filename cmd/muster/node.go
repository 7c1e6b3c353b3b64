package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/muster-hq/muster/api"
	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/dispatch/bus"
	"github.com/muster-hq/muster/dispatch/bus/rabbitauth"
	"github.com/muster-hq/muster/dispatch/hub"
	"github.com/muster-hq/muster/dispatch/provision"
	"github.com/muster-hq/muster/dispatch/webhook"
	"github.com/muster-hq/muster/fsm/orchestrate"
)

// server is one node in this process: the ports that stay open as long as it runs, and the core behind
// them, which is exchanged when the node joins another cluster.
type server struct {
	cfg serverConfig
	log *slog.Logger

	httpLn  net.Listener
	busLn   net.Listener
	http    *http.Server
	pair    *certPair // nil: plain HTTP
	handler atomic.Pointer[http.Handler]
	backups atomic.Pointer[backups]
	drains  atomic.Bool // it is about to stop, and not ready any more

	mu   sync.Mutex // held while the core is exchanged
	core *core
	run  context.Context // ends when the server begins to stop
	stop context.CancelFunc
	done chan error // how the member ended by itself
}

// core is what belongs to one cluster membership.
type core struct {
	cluster *cluster.Node
	hub     *hub.Hub
	stop    context.CancelFunc
	wg      sync.WaitGroup
}

// openServer opens the ports and the node, and serves. It returns when the node is a member, not yet when it is ready.
func openServer(ctx context.Context, cfg serverConfig, log *slog.Logger) (_ *server, err error) {
	m := &server{cfg: cfg, log: log, done: make(chan error, 1)}
	m.run, m.stop = context.WithCancel(context.WithoutCancel(ctx))
	defer func() {
		if err != nil {
			m.stop()
			m.closePorts()
		}
	}()
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return nil, fmt.Errorf("the data folder cannot be made; choose another with --data: %w", err)
	}
	if err := cfg.usable(); err != nil {
		return nil, err
	}
	if m.httpLn, err = listen(cfg.HTTP, "--http", "the REST API"); err != nil {
		return nil, err
	}
	if m.httpLn, err = cfg.Login.listener(m.httpLn); err != nil {
		return nil, err
	}
	if m.pair, err = cfg.webPair(log); err != nil {
		return nil, err
	}
	if cfg.clearPasswords(m.httpLn.Addr()) {
		log.Warn("passwords cross the network in clear: give the REST API a certificate (--http-cert, --http-key), or put a proxy with TLS in front and tell its address (--public-url https://...)",
			"http", m.httpLn.Addr().String())
	}
	if err := m.listenBus(); err != nil {
		return nil, err
	}
	boot, err := cfg.bootstrap()
	if err != nil {
		return nil, err
	}
	m.handler.Store(notReady())
	m.serveHTTP()
	if m.core, err = m.openCore(ctx, boot); err != nil {
		return nil, errors.Join(err, m.http.Close())
	}
	return m, nil
}

// serveHTTP serves the REST API, or that there is none yet, until shutdown.
func (m *server) serveHTTP() {
	m.http = api.NewHTTPServer(http.HandlerFunc(m.serve), m.log)
	go func() {
		if err := m.serveOn(); !errors.Is(err, http.ErrServerClosed) {
			m.end(fmt.Errorf("the REST API stopped: %w", err))
		}
	}()
}

// serveOn serves plain HTTP, or HTTPS where there is a certificate.
func (m *server) serveOn() error {
	if m.pair == nil {
		return m.http.Serve(m.httpLn)
	}
	m.http.TLSConfig = m.pair.tlsConfig()
	return m.http.ServeTLS(m.httpLn, "", "")
}

// serve answers a request. A connection ends with its answer once the node drains, so that none is cut off later.
func (m *server) serve(w http.ResponseWriter, r *http.Request) {
	if m.drains.Load() {
		w.Header().Set("Connection", "close")
	}
	(*m.handler.Load()).ServeHTTP(w, r)
}

// ready is nil while the node may be sent requests.
func (m *server) ready(n *cluster.Node) error {
	if m.drains.Load() {
		return errors.New("this node is about to stop")
	}
	return n.Ready()
}

// listenBus opens the port for agents, or opens it again at the same place: a hub closes it when it stops.
func (m *server) listenBus() (err error) {
	if m.cfg.Bus != "" {
		return nil
	}
	at := m.cfg.BusListen
	if m.busLn != nil {
		m.busLn.Close() // closed already but for the path of an error
		at = m.busLn.Addr().String()
	}
	m.busLn, err = listen(at, "--bus-listen", "the agents")
	return err
}

// listen opens a TCP port, or says which flag to change.
func listen(addr, flag, whom string) (net.Listener, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("the port for %s cannot be opened; choose another with %s: %w", whom, flag, err)
	}
	return ln, nil
}

func (m *server) closePorts() {
	for _, ln := range []net.Listener{m.httpLn, m.busLn} {
		if ln != nil {
			ln.Close()
		}
	}
}

// end tells that the member ended by itself; only the first cause counts.
func (m *server) end(err error) {
	select {
	case m.done <- err:
	default:
	}
}

// bootstrap reads what the node becomes when its folder is empty.
func (c serverConfig) bootstrap() (cluster.Bootstrap, error) {
	var b cluster.Bootstrap
	if c.isMember() {
		return b, nil // the flags of the first start may stay, the token's file need not
	}
	var token []byte
	if c.TokenFile != "" {
		t, err := os.ReadFile(c.TokenFile)
		if err != nil {
			return b, fmt.Errorf("read the token: %w", err)
		}
		if token = []byte(strings.TrimSpace(string(t))); len(token) == 0 {
			return b, fmt.Errorf("the token file %s is empty: it must hold the join token, or with --bootstrap-expect the shared secret", c.TokenFile)
		}
	}
	var peers []string
	if c.Join != "" {
		peers = strings.Split(c.Join, ",")
	}
	if c.BootstrapExpect > 1 {
		return cluster.Bootstrap{Expect: c.BootstrapExpect, Secret: token, Peers: peers}, nil
	}
	if len(peers) > 0 || len(token) > 0 {
		return cluster.Bootstrap{Join: peers, Token: string(token)}, nil
	}
	return b, nil
}

// pin is the digest of the CA that enrolment tokens name: the cluster's own for the embedded hubs,
// none with another broker, whose certificate the machines' own CAs vouch for.
func (c serverConfig) pin(n *cluster.Node) string {
	if c.Bus != "" {
		return ""
	}
	return n.Fingerprint()
}

// clusterDir is the part of the data folder that belongs to the cluster membership.
func (c serverConfig) clusterDir() string { return filepath.Join(c.Data, "cluster") }

func (c serverConfig) passwordFile() string { return filepath.Join(c.Data, "admin-password") }

// isMember says whether the folder holds a member of a cluster; a start then looks at no token.
func (c serverConfig) isMember() bool {
	_, err := os.Stat(filepath.Join(c.clusterDir(), "node.json"))
	return err == nil
}

// leftFile tells that the folder's node left its cluster.
func (c serverConfig) leftFile() string { return filepath.Join(c.Data, "left-cluster") }

// usable refuses the folder of a node that left, and brings one in order whose server was ended in the middle of
// a join: either it is a member of the new cluster, or all is as before.
func (c serverConfig) usable() error {
	if b, err := os.ReadFile(c.leftFile()); err == nil {
		return fmt.Errorf("%s is the folder of a node that left its cluster at %s, or was removed then: empty it to begin anew or to join again, or choose another with --data",
			c.Data, strings.TrimSpace(string(b)))
	}
	if _, err := os.Stat(c.asideDir()); err != nil {
		return nil
	}
	if c.isMember() {
		return c.dropAside()
	}
	if err := errors.Join(os.RemoveAll(c.clusterDir()), os.Rename(c.asideDir(), c.clusterDir())); err != nil {
		return fmt.Errorf("go back to what was before a join that did not end: %w", err)
	}
	return nil
}

// openCore joins or opens the cluster and starts what hangs on it.
func (m *server) openCore(ctx context.Context, boot cluster.Bootstrap) (*core, error) {
	m.handler.Store(notReady())
	opened := make(chan *cluster.Node, 1)
	fresh := !m.cfg.isMember()
	duties := newDuties(m.cfg, m.log, opened)
	var hubs atomic.Pointer[hub.Hub]
	n, err := cluster.Open(ctx, cluster.Config{
		Name: m.cfg.Name, DataDir: m.cfg.clusterDir(), ClusterAddr: m.cfg.Cluster, ClusterAdvertise: m.cfg.advertised(m.cfg.Cluster),
		GossipAddr: m.cfg.Gossip, GossipAdvertise: m.cfg.advertised(m.cfg.Gossip), APIAddr: m.cfg.advertised(m.httpLn.Addr().String()),
		Version: version, Tables: orchestrate.Tables(), Bootstrap: boot, Duties: duties.list(), Answer: duties.asks.answer, Log: m.log.With("part", "cluster"), RaftStore: m.cfg.RaftStore,
		Autopilot: m.cfg.Autopilot.cluster(), Timing: cluster.Timing{Multiplier: m.cfg.RaftMultiplier}, CertLife: m.cfg.Lives.Certificate, GossipKeyLife: m.cfg.Lives.GossipKey, Detail: func() string { return busState(hubs.Load(), m.cfg.Bus) },
	})
	if err != nil {
		return nil, err
	}
	duties.node.Store(n)
	close(opened)
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	c := &core{cluster: n, stop: stop}
	policy := bus.NewPolicy(agentKeys{n}, bus.PolicyOptions{})
	if m.cfg.Bus == "" {
		c.hub = hub.New(hub.Config{Auth: policy, Log: m.log.With("part", "hub")})
		hubs.Store(c.hub)
		c.serve(run, m, "the hub for agents", func() error { return c.hub.Serve(run, m.busLn, n.BusTLS()) })
		c.serve(run, m, "the hub for dispatch", func() error { return c.hub.ServeTrusted(run, n.HubListener()) })
	}
	login, err := m.cfg.Login.api(m.cfg.PublicURL)
	if err != nil {
		return nil, errors.Join(err, c.shutdown(ctx))
	}
	login.TLS = m.pair != nil
	allow, err := m.cfg.Audit.networks()
	if err != nil {
		return nil, errors.Join(err, c.shutdown(ctx))
	}
	rest, err := api.New(api.Config{
		Login: login, Origins: m.cfg.origins(), Store: n, Log: m.log.With("part", "api"), Cluster: clusterAPI{m, n}, Snapshots: snapshotAPI{n}, EnrolToken: enrolTokens{m.cfg.pin(n)}.CreateEnrolToken,
		Hooks: webhook.NewSender(allow), Agents: agentAPI{n},
		Machines: provision.Desk{Drivers: m.cfg.machines(), MachineToken: enrolTokens{m.cfg.pin(n)}.MachineToken},
		Ready:    func(context.Context) error { return m.ready(n) }, Leads: n.IsLeader, Age: n.Age, Stop: m.stopping(run), PublicURL: m.cfg.PublicURL,
	})
	if err != nil {
		return nil, errors.Join(err, c.shutdown(ctx))
	}
	h := besideAPI(rest.Handler(), http.StripPrefix("/bus/auth", rabbitauth.Handler(policy, m.log.With("part", "bus"))))
	m.handler.Store(&h)
	kept := newBackups(m.cfg, n, m.log.With("part", "snapshots"))
	m.backups.Store(kept)
	c.wg.Go(func() { kept.run(run) })
	if fresh {
		c.wg.Go(func() { m.cfg.dropStalePassword(run, n.Local, m.log) })
	}
	c.wg.Go(func() {
		select {
		case <-n.Done():
			if err := n.Err(); err != nil {
				if errors.Is(err, cluster.ErrRemoved) {
					m.cfg.markLeft(m.log)
				}
				m.end(fmt.Errorf("the node stopped: %w", err))
			}
		case <-run.Done():
		}
	})
	return c, nil
}

// stopping ends when the server begins to stop, or the core does: clients that wait for news are answered then.
func (m *server) stopping(core context.Context) context.Context {
	ctx, cancel := context.WithCancel(core)
	context.AfterFunc(m.run, cancel)
	return ctx
}

// besideAPI puts what a broker asks beside the API. It is no http.ServeMux, because that cleans paths by
// redirecting, and the published client fails on a redirect (contract section 1.1).
func besideAPI(rest, bus http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/bus/auth/") {
			bus.ServeHTTP(w, r)
			return
		}
		rest.ServeHTTP(w, r)
	})
}

// serve runs a server of the core until ctx ends, when the core stops; one that ends before ends the member.
func (c *core) serve(ctx context.Context, m *server, what string, run func() error) {
	c.wg.Go(func() {
		if err := run(); err != nil && ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
			m.end(fmt.Errorf("%s stopped: %w", what, err))
		}
	})
}

// shutdown hands leadership over and stops what hangs on the cluster.
func (c *core) shutdown(ctx context.Context) error {
	err := c.cluster.Shutdown(ctx)
	c.stop()
	if c.hub != nil {
		err = errors.Join(err, c.hub.Close())
	}
	c.wg.Wait()
	return err
}

// notReady answers while the node has no core.
func notReady() *http.Handler {
	var h http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/livez" {
			fmt.Fprintln(w, "ok")
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, `{"error":["this node is starting: try again in a moment"]}`)
	})
	return &h
}

// advertised is the address that others use for one that this node listens on: --advertise with its port, when given.
func (c serverConfig) advertised(listen string) string {
	if c.Advertise == "" {
		return ""
	}
	_, port, err := net.SplitHostPort(listen)
	if err != nil || port == "0" {
		return ""
	}
	return net.JoinHostPort(c.Advertise, port)
}

// stopTimeout bounds a clean stop.
const stopTimeout = 10 * time.Second

// busState is what a node tells of its own part of the bus.
func busState(h *hub.Hub, broker string) string {
	switch {
	case broker != "":
		return "broker"
	case h == nil:
		return ""
	}
	s := h.Stats()
	return fmt.Sprintf("hub: %d connections, %d queues", s.Connections, s.Queues)
}

// drain makes load balancers send nothing more, serves on for a while, and hands leadership over. A node that is
// alone, or has failed, has nobody to leave its work to.
func (m *server) drain() {
	m.drains.Store(true)
	m.mu.Lock()
	c := m.core
	m.mu.Unlock()
	if c == nil || c.cluster.Err() != nil || len(c.cluster.Members()) < 2 {
		return
	}
	select {
	case <-time.After(m.cfg.Drain):
	case <-c.cluster.Done():
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout/2)
	defer cancel()
	if err := c.cluster.HandOver(ctx); err != nil {
		m.log.Warn("leadership was not handed over before stopping", "error", err)
	}
}

// shutdown stops the member: it drains, so that leadership goes first and nobody waits for an election, then the
// ports close, then the duties end.
func (m *server) shutdown() error {
	m.drain()
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	m.stop() // a join that is under way gives the lock back
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	if m.http != nil {
		sctx, stop := context.WithTimeout(ctx, stopTimeout/2)
		defer stop()
		if err := m.http.Shutdown(sctx); err != nil {
			m.http.Close()
		}
	}
	if m.core != nil {
		errs = append(errs, m.core.shutdown(ctx))
	}
	m.closePorts()
	return errors.Join(errs...)
}
