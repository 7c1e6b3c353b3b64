package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/drivers"
	"github.com/muster-hq/muster/drivers/free"
	"github.com/muster-hq/muster/fsm/model"
)

// serverConfig is what `muster server` can be told. Flags win over the environment (MUSTER_ and the flag's
// name in capitals, dashes as underscores), that over the file, that over the defaults. The YAML keys are the flags' names.
type serverConfig struct {
	Name            string `yaml:"name"`
	Data            string `yaml:"data"`
	HTTP            string `yaml:"http"`
	Cluster         string `yaml:"cluster"`
	Gossip          string `yaml:"gossip"`
	BusListen       string `yaml:"bus-listen"`
	Bus             string `yaml:"bus"`
	BusPasswordFile string `yaml:"bus-password-file"`
	Advertise       string `yaml:"advertise"`
	BootstrapExpect int    `yaml:"bootstrap-expect"`
	Join            string `yaml:"join"`
	TokenFile       string `yaml:"token-file"`
	LogLevel        string `yaml:"log-level"`

	Snapshot   snapshotConfig `yaml:",inline"`
	Pprof      string         `yaml:"pprof"`
	raftConfig `yaml:",inline"`
	webConfig  `yaml:",inline"`
	Autopilot  autopilotConfig `yaml:"autopilot"`
	Login      loginConfig     `yaml:",inline"`
	Lives      livesConfig     `yaml:",inline"`
	Audit      auditConfig     `yaml:",inline"`
	Changes    changesConfig   `yaml:",inline"`

	drivers *drivers.Set // of machines; nil: those of every server
}

// machines are the drivers that a server has.
func (c serverConfig) machines() drivers.Set {
	if c.drivers != nil {
		return *c.drivers
	}
	return drivers.Set{ByClass: map[string]drivers.Driver{model.FreeDriver: free.Driver{}}}
}

// raftConfig is what is told of raft, in each way that it may be written.
type raftConfig struct {
	RaftStore      string `yaml:"raft-store"`
	RaftMultiplier int    `yaml:"raft-multiplier"`
	Raft           struct {
		Store      string `yaml:"store"`
		Multiplier int    `yaml:"multiplier"`
	} `yaml:"raft"` // another way to write them
	RaftDotStore      string `yaml:"raft.store"` // and another
	RaftDotMultiplier int    `yaml:"raft.multiplier"`
}

// snapshotConfig is what is written of the whole state by schedule, and for how long it is kept.
type snapshotConfig struct {
	Every time.Duration `yaml:"snapshot-every"`
	Keep  int           `yaml:"snapshot-keep"`
	Age   time.Duration `yaml:"snapshot-age"`
	Dir   string        `yaml:"snapshot-dir"`
}

// livesConfig is how long what proves membership holds. The leader's word counts, so all nodes should have the same.
type livesConfig struct {
	Certificate time.Duration `yaml:"certificate-life"`
	GossipKey   time.Duration `yaml:"gossip-key-life"`
}

// The bounds: a node must be able to be away for a while, and come back before its certificate has ended.
const (
	day                = 24 * time.Hour
	leastCertificate   = day
	mostCertificate    = 5 * 365 * day
	leastGossipKeyLife = time.Hour
	mostGossipKeyLife  = 365 * day
)

func (l *livesConfig) flags(fs *pflag.FlagSet) {
	fs.DurationVar(&l.Certificate, "certificate-life", 365*day, "how long a node's certificate holds; it is renewed when a third is left, and who was away until its end must join again (24h to 43800h)")
	fs.DurationVar(&l.GossipKey, "gossip-key-life", 30*day, "how long a key of the gossip is used before the next one (1h to 8760h)")
}

func (l livesConfig) validate() (errs []error) {
	if l.Certificate < leastCertificate || l.Certificate > mostCertificate {
		errs = append(errs, fmt.Errorf("--certificate-life %s: give 24h to 43800h, which is five years", l.Certificate))
	}
	if l.GossipKey < leastGossipKeyLife || l.GossipKey > mostGossipKeyLife {
		errs = append(errs, fmt.Errorf("--gossip-key-life %s: give 1h to 8760h, which is a year", l.GossipKey))
	}
	return errs
}

// webConfig is how clients reach the nodes.
type webConfig struct {
	Drain     time.Duration `yaml:"drain"`
	PublicURL string        `yaml:"public-url"`
	HTTPCert  string        `yaml:"http-cert"`
	HTTPKey   string        `yaml:"http-key"`
	Origins   string        `yaml:"cors-origins"`
}

func (w *webConfig) webFlags(fs *pflag.FlagSet) {
	fs.DurationVar(&w.Drain, "drain", 3*time.Second, "how long a node that stops serves on while load balancers take it out; not waited for by a cluster of one")
	fs.StringVar(&w.PublicURL, "public-url", "", "root of the API as clients reach it, like https://muster.example.org/api, for one-time addresses of files (default: as the request says)")
	fs.StringVar(&w.HTTPCert, "http-cert", "", "`file` with the certificate chain (PEM) of the REST API, which then speaks HTTPS; read anew when it changes")
	fs.StringVar(&w.Origins, "cors-origins", "", "pages of other hosts that may use the REST API in a browser, like https://console.example.org, with commas between; none by default")
	fs.StringVar(&w.HTTPKey, "http-key", "", "`file` with the key of --http-cert (PEM)")
}

func (w *webConfig) webFaults() (errs []error) {
	if w.Drain < 0 || w.Drain > time.Minute {
		errs = append(errs, fmt.Errorf("--drain %s: give 0 to 1m", w.Drain))
	}
	for _, o := range w.origins() {
		u, err := url.Parse(o)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || o != u.Scheme+"://"+u.Host || strings.Contains(u.Host, "*") {
			errs = append(errs, fmt.Errorf("--cors-origins %q: give a scheme and a host each, like https://console.example.org", o))
		}
	}
	if (w.HTTPCert == "") != (w.HTTPKey == "") {
		errs = append(errs, errors.New("--http-cert and --http-key go together: give both, or none for plain HTTP"))
	}
	if w.PublicURL == "" {
		return errs
	}
	if u, err := url.Parse(w.PublicURL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		errs = append(errs, fmt.Errorf("--public-url %q: give the root of the API as clients reach it, like https://muster.example.org/api", w.PublicURL))
	}
	return errs
}

// origins are the pages of other hosts that may use the API.
func (w *webConfig) origins() (all []string) {
	for o := range strings.SplitSeq(w.Origins, ",") {
		if o = strings.TrimSpace(o); o != "" {
			all = append(all, o)
		}
	}
	return all
}

// autopilotConfig is when the leader gives a vote, and takes one.
type autopilotConfig struct {
	Cleanup       bool          `yaml:"cleanup"`
	DeadAfter     time.Duration `yaml:"dead-after"`
	LastContact   time.Duration `yaml:"last-contact"`
	Stabilisation time.Duration `yaml:"stabilisation"`
	MinQuorum     int           `yaml:"min-quorum"`
}

func (a *autopilotConfig) flags(fs *pflag.FlagSet) {
	fs.BoolVar(&a.Cleanup, "autopilot-cleanup", true, "remove members that are dead, while enough others vote (autopilot: cleanup: in the file, the others likewise)")
	fs.DurationVar(&a.DeadAfter, "autopilot-dead-after", 10*time.Minute, "a member that nobody has seen for so long is dead")
	fs.DurationVar(&a.LastContact, "autopilot-last-contact", time.Second, "a member that has not heard the leader for so long is not healthy")
	fs.DurationVar(&a.Stabilisation, "autopilot-stabilisation", 3*time.Second, "a new member votes when it was healthy for so long")
	fs.IntVar(&a.MinQuorum, "autopilot-min-quorum", 3, "the dead are not removed where fewer voters than this would be left")
}

func (a autopilotConfig) validate() (errs []error) {
	for name, d := range map[string]time.Duration{"dead-after": a.DeadAfter, "last-contact": a.LastContact, "stabilisation": a.Stabilisation} {
		if d <= 0 {
			errs = append(errs, fmt.Errorf("--autopilot-%s %s: give more than nothing, like 3s", name, d))
		}
	}
	if a.MinQuorum < 1 {
		errs = append(errs, fmt.Errorf("--autopilot-min-quorum %d: give 1 or more", a.MinQuorum))
	}
	return errs
}

func (a autopilotConfig) cluster() cluster.Autopilot {
	return cluster.Autopilot{
		KeepDead: !a.Cleanup, DeadAfter: a.DeadAfter, LastContact: a.LastContact, Stabilisation: a.Stabilisation, MinQuorum: a.MinQuorum,
	}
}

func (c *serverConfig) flags(fs *pflag.FlagSet) {
	host, _ := os.Hostname()
	host = strings.ToLower(host)
	fs.StringVar(&c.Name, "name", host, "name of this node, unique in the cluster and kept for good")
	fs.StringVar(&c.Data, "data", "/var/lib/muster", "folder of this node's state, keys and snapshots")
	fs.StringVar(&c.HTTP, "http", ":8000", "address of the REST API")
	fs.StringVar(&c.Cluster, "cluster", ":8001", "address of the port between nodes (mutual TLS)")
	fs.StringVar(&c.Gossip, "gossip", ":8002", "address of the gossip between nodes (TCP and UDP, encrypted)")
	fs.StringVar(&c.BusListen, "bus-listen", ":5671", "address at which agents reach this node's embedded hub (AMQP over TLS)")
	fs.StringVar(&c.Bus, "bus", "", "use this broker in place of the embedded hubs: amqp://user@host:5672/vhost or amqps://...")
	fs.StringVar(&c.BusPasswordFile, "bus-password-file", "", "`file` with the password for --bus")
	fs.StringVar(&c.Advertise, "advertise", "", "host name or address under which other nodes reach this one (default: found by looking at the interfaces)")
	fs.IntVar(&c.BootstrapExpect, "bootstrap-expect", 0, "wait until this many nodes see one another, then form a new cluster (with --join and --token-file)")
	fs.StringVar(&c.Join, "join", "", "become a member of the cluster that answers at this cluster address (more than one with commas between)")
	fs.StringVar(&c.TokenFile, "token-file", "", "`file` with the join token that muster cluster token printed on a member; with --bootstrap-expect, the secret")
	fs.StringVar(&c.RaftStore, "raft-store", cluster.StoreBolt, "what keeps the raft log: boltdb or wal (raft.store in the file); a data folder keeps the one that it was made with")
	fs.IntVar(&c.RaftMultiplier, "raft-multiplier", 1, "makes the nodes wait so many times as long for one another, for wide networks and machines that stall: 1 notices a dead leader within about half a second; the same on all nodes (raft.multiplier in the file)")
	fs.DurationVar(&c.Snapshot.Every, "snapshot-every", time.Hour, "write a snapshot of the cluster to this node's disk at this interval; 0 writes none")
	fs.IntVar(&c.Snapshot.Keep, "snapshot-keep", 24, "how many of them to keep")
	fs.DurationVar(&c.Snapshot.Age, "snapshot-age", 0, "remove those that are older, but for the newest; 0 goes by --snapshot-keep alone")
	fs.StringVar(&c.Snapshot.Dir, "snapshot-dir", "", "folder for them; they hold secrets (default: snapshots in the data folder)")
	c.webFlags(fs)
	c.Autopilot.flags(fs)
	c.Login.flags(fs)
	c.Lives.flags(fs)
	c.Audit.flags(fs)
	c.Changes.flags(fs)
	fs.StringVar(&c.LogLevel, "log-level", "info", "debug, info, warn or error")
	fs.StringVar(&c.Pprof, "pprof", "", "serve profiles of this process at this address of the loopback, such as 127.0.0.1:6060, without a login")
}

// keepAsShipped sets how long things are kept to the defaults of the flags, for a configuration that no flags made: there,
// none would mean not at all.
func (c *serverConfig) keepAsShipped() {
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	c.Audit.flags(fs)
	c.Changes.flags(fs)
}

// load puts file and environment under the flags that were given.
func (c *serverConfig) load(cmd *cobra.Command, file string) error {
	given := map[string]string{}
	cmd.Flags().Visit(func(f *pflag.Flag) { given[f.Name] = f.Value.String() })
	if file != "" {
		if err := c.loadFile(file); err != nil {
			return err
		}
	}
	var errs []error
	set := func(f *pflag.Flag, value, from string) {
		if err := f.Value.Set(value); err != nil {
			errs = append(errs, fmt.Errorf("%s: %q is no value for --%s: %w", from, value, f.Name, err))
		}
	}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		env := "MUSTER_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if v, ok := given[f.Name]; ok {
			set(f, v, "--"+f.Name)
		} else if v, ok := os.LookupEnv(env); ok && f.Name != "config" && f.Name != "help" {
			set(f, v, env)
		}
	})
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return c.validate()
}

func (c *serverConfig) loadFile(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	return c.decode(path, b)
}

// decode reads the text of a configuration file.
func (c *serverConfig) decode(path string, b []byte) error {
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(c); err != nil && !errors.Is(err, io.EOF) {
		text := unknownKey().ReplaceAllString(err.Error(), `there is no setting "$1"; the keys are the names of the flags in muster server --help`)
		return fmt.Errorf("configuration %s: %s", path, text)
	}
	for _, store := range []string{c.Raft.Store, c.RaftDotStore} {
		if store != "" {
			c.RaftStore = store
		}
	}
	for _, n := range []int{c.Raft.Multiplier, c.RaftDotMultiplier} {
		if n != 0 {
			c.RaftMultiplier = n
		}
	}
	return nil
}

// unknownKey is how the YAML decoder tells a key that is no field.
func unknownKey() *regexp.Regexp {
	return regexp.MustCompile(`field (\S+) not found in type \S+`)
}

// maxMultiplier makes raft notice a dead leader after some 5 s; beyond, clients give up first.
const maxMultiplier = 10

func (c *serverConfig) validate() error {
	var errs []error
	for _, a := range []struct{ flag, addr string }{{"http", c.HTTP}, {"cluster", c.Cluster}, {"gossip", c.Gossip}, {"bus-listen", c.BusListen}} {
		if !isAddress(a.addr) {
			errs = append(errs, fmt.Errorf("--%s %q is not an address like :8000 or 10.0.0.1:8000", a.flag, a.addr))
		}
	}
	if c.Pprof != "" && (!isAddress(c.Pprof) || !isLoopback(c.Pprof)) {
		errs = append(errs, fmt.Errorf("--pprof %q: give an address of the loopback, like 127.0.0.1:6060, as profiles are served without a login", c.Pprof))
	}
	if !nodeName().MatchString(c.Name) {
		errs = append(errs, fmt.Errorf("--name %q: give 1 to 63 lower-case letters, digits, dots and dashes, with a letter or digit at both ends", c.Name))
	}
	if c.RaftStore != cluster.StoreBolt && c.RaftStore != cluster.StoreWAL {
		errs = append(errs, fmt.Errorf("--raft-store %q: give %s or %s", c.RaftStore, cluster.StoreBolt, cluster.StoreWAL))
	}
	if c.RaftMultiplier < 1 || c.RaftMultiplier > maxMultiplier {
		errs = append(errs, fmt.Errorf("--raft-multiplier %d: give 1 to %d, the same on all nodes", c.RaftMultiplier, maxMultiplier))
	}
	errs = append(append(errs, c.Autopilot.validate()...), c.Lives.validate()...)
	errs = append(errs, c.Audit.validate()...)
	errs = append(errs, c.Changes.validate()...)
	errs = append(append(errs, c.webFaults()...), c.Login.validate()...)
	errs = append(errs, c.Login.OIDC.validate(c.PublicURL)...)
	if c.Data == "" {
		errs = append(errs, errors.New("--data is empty: name the folder of this node's state"))
	}
	if n := c.BootstrapExpect; n != 0 && (n < 0 || n > 7 || n%2 == 0) {
		errs = append(errs, fmt.Errorf("--bootstrap-expect %d: give 1, 3, 5 or 7 (an even number survives the loss of no more nodes than one less)", n))
	}
	if c.Join != "" {
		for _, addr := range strings.Split(c.Join, ",") {
			if !isAddress(addr) || strings.HasPrefix(addr, ":") {
				errs = append(errs, fmt.Errorf("--join %q is not the cluster address of a node, like n1:8001 (more than one with commas between)", addr))
			}
		}
	}
	switch {
	case c.BootstrapExpect > 1 && (c.Join == "" || c.TokenFile == ""):
		errs = append(errs, errors.New("--bootstrap-expect needs --join with the cluster addresses of the nodes, and --token-file with a secret that is the same on all of them"))
	case c.Join != "" && c.TokenFile == "":
		errs = append(errs, errors.New("--join needs --token-file with the token that `muster cluster token` prints on a member"))
	}
	if c.Bus != "" {
		if u, err := url.Parse(c.Bus); err != nil || (u.Scheme != "amqp" && u.Scheme != "amqps") || u.Host == "" {
			errs = append(errs, errors.New("--bus is not a broker's address like amqp://user@host:5672/ or amqps://host:5671/"))
		}
	}
	if c.Snapshot.Every < 0 || c.Snapshot.Age < 0 || c.Snapshot.Keep < 1 {
		errs = append(errs, errors.New("--snapshot-every and --snapshot-age are not below 0, --snapshot-keep is 1 or more; 0s as --snapshot-every writes no snapshots"))
	}
	return errors.Join(errs...)
}

// nodeName is the form of a node's name; the cluster has the same rule.
func nodeName() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$`) }

// isAddress says whether s is host:port with a port that exists; the host may be empty.
func isAddress(s string) bool {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	n, err := strconv.Atoi(port)
	return err == nil && n >= 0 && n <= 65535
}
