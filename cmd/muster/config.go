package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
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
}

func (c *serverConfig) flags(fs *pflag.FlagSet) {
	host, _ := os.Hostname()
	fs.StringVar(&c.Name, "name", host, "name of this node, unique in the cluster and kept for good")
	fs.StringVar(&c.Data, "data", "/var/lib/muster", "folder of this node's state, keys and snapshots")
	fs.StringVar(&c.HTTP, "http", ":8000", "address of the REST API")
	fs.StringVar(&c.Cluster, "cluster", ":8001", "address of the port between nodes (mutual TLS)")
	fs.StringVar(&c.Gossip, "gossip", ":8002", "address of the gossip between nodes (TCP and UDP, encrypted)")
	fs.StringVar(&c.BusListen, "bus-listen", ":5671", "address at which agents reach this node's embedded hub (AMQP over TLS)")
	fs.StringVar(&c.Bus, "bus", "", "use this broker in place of the embedded hubs: amqp://user@host:5672/vhost or amqps://...")
	fs.StringVar(&c.BusPasswordFile, "bus-password-file", "", "file with the password for --bus")
	fs.StringVar(&c.Advertise, "advertise", "", "host name or address under which other nodes reach this one (default: found by looking at the interfaces)")
	fs.IntVar(&c.BootstrapExpect, "bootstrap-expect", 0, "wait until this many nodes see one another, then form a new cluster (with --join and --token-file)")
	fs.StringVar(&c.Join, "join", "", "become a member of the cluster that answers at this cluster address")
	fs.StringVar(&c.TokenFile, "token-file", "", "file with the join token, from `muster cluster token` on a member")
	fs.StringVar(&c.LogLevel, "log-level", "info", "debug, info, warn or error")
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
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(c); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("configuration %s: %w", path, err)
	}
	return nil
}

func (c *serverConfig) validate() error {
	var errs []error
	for flag, addr := range map[string]string{"http": c.HTTP, "cluster": c.Cluster, "gossip": c.Gossip, "bus-listen": c.BusListen} {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			errs = append(errs, fmt.Errorf("--%s %q is not an address like :8000 or 10.0.0.1:8000", flag, addr))
		}
	}
	if c.Name == "" || strings.ContainsAny(c.Name, " /\\:") {
		errs = append(errs, fmt.Errorf("--name %q: give a name without blanks, slashes or colons", c.Name))
	}
	if c.BootstrapExpect < 0 || c.BootstrapExpect == 2 {
		errs = append(errs, fmt.Errorf("--bootstrap-expect %d: give 1, 3, 5 or 7 (two nodes survive the loss of none)", c.BootstrapExpect))
	}
	if c.Join != "" && c.TokenFile == "" {
		errs = append(errs, errors.New("--join needs --token-file with the token that `muster cluster token` prints on a member"))
	}
	if c.Bus != "" {
		if u, err := url.Parse(c.Bus); err != nil || (u.Scheme != "amqp" && u.Scheme != "amqps") || u.Host == "" {
			errs = append(errs, errors.New("--bus is not a broker's address like amqp://user@host:5672/ or amqps://host:5671/"))
		}
	}
	return errors.Join(errs...)
}
