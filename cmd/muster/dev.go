package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/drivers"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/internal/freeport"
)

// devInfo is what `muster dev` tells, on the terminal and in DIR/dev.json.
type devInfo struct {
	API          string    `json:"api"`
	Nodes        []devNode `json:"nodes"`
	Bus          string    `json:"bus"`
	Organization string    `json:"organization"`
	Environment  string    `json:"environment"`
	Admin        devAdmin  `json:"admin"`
	EnrolToken   string    `json:"enrol_token_file"`
}

type devNode struct {
	Name string `json:"name"`
	API  string `json:"api"`
}

type devAdmin struct {
	Username     string `json:"username"`
	PasswordFile string `json:"password_file"`
}

func devCommand() *cobra.Command {
	var nodes int
	var data, httpAddr, level string
	var simulate bool
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "run a whole installation in this process, to try things out",
		Long: `Run one node, or three, in this process, with embedded hubs, an organization "Dev" with an environment
"Default", and a token with which any number of agents may enrol. It prints how to use it from another
terminal, and writes the same to DIR/dev.json once it is ready. State survives a restart with the same --data;
Ctrl-C stops it.

With --simulate, hosts can be provisioned on a platform of any class of driver. Their machines are agents in this
process with the real protocol, each on a folder below DIR/machines. Files are written there; packages, services,
users and groups are only written down, and no program is run. Packages whose name begins with no-such- fail.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if nodes != 1 && nodes != 3 {
				return usagef("--nodes %d: give 1 or 3", nodes)
			}
			log, logLevel, flush, err := newLogger(cmd.ErrOrStderr(), level)
			if err != nil {
				return &usageError{err}
			}
			defer flush()
			dir, err := filepath.Abs(data)
			if err != nil {
				return err
			}
			d := &dev{dir: dir, log: log, level: logLevel, out: cmd.OutOrStdout(), simulate: simulate}
			return d.run(cmd.Context(), nodes, httpAddr)
		},
	}
	cmd.Flags().BoolVar(&simulate, "simulate", false, "make machines for every class of driver: agents in this process, each on a scratch folder below --data")
	cmd.Flags().IntVar(&nodes, "nodes", 1, "1 or 3")
	cmd.Flags().StringVar(&data, "data", "muster-dev", "folder of its state")
	cmd.Flags().StringVar(&httpAddr, "http", "127.0.0.1:8000", "address of the first node's REST API")
	cmd.Flags().StringVar(&level, "log-level", "warn", "debug, info, warn or error")
	return cmd
}

// dev is one run of `muster dev`.
type dev struct {
	dir     string
	log     *slog.Logger
	level   *slog.LevelVar
	out     io.Writer
	members []*server

	simulate bool          // machines
	machines machineDriver // likewise; nil without
}

// machineDriver makes the machines of one run.
type machineDriver interface {
	drivers.Driver
	Close()
}

func (d *dev) run(ctx context.Context, nodes int, httpAddr string) (err error) {
	lock, err := cluster.LockFolder(d.dir)
	if err != nil {
		return fmt.Errorf("--data: %w", err)
	}
	defer lock.Close()
	infoFile := filepath.Join(d.dir, "dev.json")
	if err := os.Remove(infoFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	defer func() {
		os.Remove(infoFile)
		if ctx.Err() != nil {
			err = nil // asked to stop, be it before all was up
		}
		d.level.Set(max(d.level.Level(), slog.LevelError)) // that the others leave is no news to those that are left
		if d.machines != nil {
			d.machines.Close()
		}
		for _, m := range d.members {
			err = errors.Join(err, m.shutdown())
		}
	}()
	cfgs, err := d.configs(nodes, httpAddr)
	if err != nil {
		return err
	}
	if err := d.openMachines(cfgs); err != nil {
		return err
	}
	if err := d.open(ctx, cfgs); err != nil {
		return err
	}
	info, err := d.content(ctx)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(info, "", "  ")
	if err != nil {
		return err
	}
	if err := writeSecret(infoFile, string(text)+"\n"); err != nil {
		return err
	}
	d.tell(info)
	ended := make(chan error, 1)
	for _, m := range d.members {
		go func() {
			select {
			case err := <-m.done:
				ended <- fmt.Errorf("%s: %w", m.cfg.Name, err)
			case <-ctx.Done():
			}
		}()
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-ended:
		return err
	}
}

// openMachines makes the driver of simulated machines, and gives it to all nodes.
func (d *dev) openMachines(cfgs []serverConfig) error {
	if !d.simulate {
		return nil
	}
	var urls []string
	for _, c := range cfgs {
		urls = append(urls, "amqps://"+c.BusListen)
	}
	machines, err := newMachines(filepath.Join(d.dir, "machines"), urls, d.log.With("part", "simulation"))
	if err != nil {
		return err
	}
	d.machines = machines
	for i := range cfgs {
		cfgs[i].drivers = &drivers.Set{Any: d.machines}
	}
	return nil
}

// configs gives each node its folder and its ports: the same ones at each start.
func (d *dev) configs(nodes int, httpAddr string) ([]serverConfig, error) {
	if !isAddress(httpAddr) {
		return nil, usagef("--http %q is not an address like 127.0.0.1:8000", httpAddr)
	}
	host, _, err := net.SplitHostPort(httpAddr)
	if err != nil {
		return nil, err
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = loopback
	}
	file := filepath.Join(d.dir, "ports.json")
	var ports []int
	if b, err := os.ReadFile(file); err == nil {
		if err := json.Unmarshal(b, &ports); err != nil {
			return nil, fmt.Errorf("%s is damaged; remove the folder to start anew: %w", file, err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if len(ports) > 0 && len(ports) != 4*nodes {
		return nil, fmt.Errorf("%s was made with --nodes %d: give the same again, or another --data", d.dir, len(ports)/4)
	}
	if len(ports) == 0 {
		if ports, err = freeport.Take(host, 4*nodes); err != nil {
			return nil, err
		}
		b, err := json.Marshal(ports)
		if err != nil {
			return nil, err
		}
		if err := writeSecret(file, string(b)); err != nil {
			return nil, err
		}
	}
	var cfgs []serverConfig
	at := func(p int) string { return net.JoinHostPort(host, strconv.Itoa(p)) }
	for i := range nodes {
		p := ports[4*i : 4*i+4]
		name := "n" + strconv.Itoa(i+1)
		c := serverConfig{Name: name, Data: filepath.Join(d.dir, name), HTTP: at(p[0]), Cluster: at(p[1]), Gossip: at(p[2]), BusListen: at(p[3]), Advertise: host}
		c.keepAsShipped()
		if i == 0 {
			c.HTTP = httpAddr
		}
		cfgs = append(cfgs, c)
	}
	return cfgs, nil
}

// devStart bounds how long the nodes may take until they answer.
const devStart = 60 * time.Second

// open opens the nodes: those that are members come back together, then the others join, or the first begins.
func (d *dev) open(ctx context.Context, cfgs []serverConfig) error {
	ready, cancel := context.WithTimeoutCause(ctx, devStart, fmt.Errorf("the nodes did not become ready within %s", devStart))
	defer cancel()
	var newcomers []serverConfig
	for i, cfg := range cfgs {
		if i > 0 && !cfg.isMember() {
			newcomers = append(newcomers, cfg)
		} else if err := d.openOne(ctx, cfg); err != nil {
			return err
		}
	}
	if err := d.waitReady(ready); err != nil {
		return err
	}
	for _, cfg := range newcomers {
		token, err := d.members[0].core.cluster.CreateJoinToken(ready, time.Hour)
		if err != nil {
			return err
		}
		cfg.Join, cfg.TokenFile = cfgs[0].Cluster, filepath.Join(d.dir, "join-token")
		if err := writeSecret(cfg.TokenFile, token+"\n"); err != nil {
			return err
		}
		if err := errors.Join(d.openOne(ctx, cfg), os.Remove(cfg.TokenFile)); err != nil {
			return err
		}
		if err := d.waitReady(ready); err != nil {
			return err
		}
	}
	slices.SortFunc(d.members, func(a, b *server) int { return strings.Compare(a.cfg.Name, b.cfg.Name) })
	return nil
}

func (d *dev) openOne(ctx context.Context, cfg serverConfig) error {
	m, err := openServer(ctx, cfg, d.log.With("node", cfg.Name))
	if err != nil {
		return fmt.Errorf("%s: %w", cfg.Name, err)
	}
	d.members = append(d.members, m)
	return nil
}

// waitReady waits until every node that is open answers.
func (d *dev) waitReady(ctx context.Context) error {
	for _, m := range d.members {
		if err := m.core.cluster.WaitReady(ctx); err != nil {
			return errors.Join(context.Cause(ctx), err)
		}
	}
	return nil
}

// content makes the organization, the environment and the token, once.
func (d *dev) content(ctx context.Context) (devInfo, error) {
	n := d.members[0].core.cluster
	info := devInfo{
		API: apiURL(d.members[0]), Bus: "amqps://" + local(d.members[0].busLn.Addr()), Organization: "Dev", Environment: "Default",
		EnrolToken: filepath.Join(d.dir, "enrol-token"),
	}
	for _, m := range d.members {
		info.Nodes = append(info.Nodes, devNode{Name: m.cfg.Name, API: apiURL(m)})
	}
	admin, file, err := d.administrator(ctx)
	if err != nil {
		return info, err
	}
	info.Admin = devAdmin{Username: adminName, PasswordFile: file}
	if _, err := os.Stat(info.EnrolToken); err == nil {
		return info, nil
	}
	var text string
	err = n.Update(ctx, func(tx *state.Tx) error {
		tx.SetActor(adminName)
		org, err := orchestrate.OrganizationByName(tx, info.Organization)
		if model.CodeOf(err) == model.NotFound {
			org, err = orchestrate.CreateOrganization(tx, model.Organization{Name: info.Organization}, admin, false)
		}
		if err != nil {
			return err
		}
		env, err := orchestrate.EnvironmentByName(tx, org.ID, info.Environment)
		if model.CodeOf(err) == model.NotFound {
			env, err = orchestrate.CreateEnvironment(tx, org.ID, model.Environment{Name: info.Environment})
		}
		if err != nil {
			return err
		}
		_, text, err = enrolTokens{n.Fingerprint()}.CreateEnrolToken(tx, org.ID, env.ID, 0, time.Time{})
		return err
	})
	if err != nil {
		return info, fmt.Errorf("make the first content: %w", err)
	}
	return info, writeSecret(info.EnrolToken, text+"\n")
}

// administrator waits for the first administrator and gives its id and the file with its password.
func (d *dev) administrator(ctx context.Context) (id, file string, err error) {
	ctx, cancel := context.WithTimeout(ctx, devStart)
	defer cancel()
	n := d.members[0].core.cluster
	for {
		ws := state.NewWatchSet()
		u, err := orchestrate.UserByName(n.Local().Watched(ws), adminName)
		if err == nil {
			for _, m := range d.members {
				if _, err := os.Stat(m.cfg.passwordFile()); err == nil {
					return u.ID, m.cfg.passwordFile(), nil
				}
			}
			return u.ID, d.members[0].cfg.passwordFile(), nil
		}
		if err := ws.Wait(ctx); err != nil {
			return "", "", fmt.Errorf("wait for the first administrator: %w", err)
		}
	}
}

// loopback is where a port that listens on all addresses is reached from this machine.
const loopback = "127.0.0.1"

func apiURL(m *server) string { return "http://" + local(m.httpLn.Addr()) + "/api" }

// local is an address of this machine that reaches a port.
func local(a net.Addr) string {
	if t, ok := a.(*net.TCPAddr); ok && t.IP.IsUnspecified() {
		return net.JoinHostPort(loopback, strconv.Itoa(t.Port))
	}
	return a.String()
}

// tell prints what to type next.
func (d *dev) tell(i devInfo) {
	fmt.Fprintf(d.out, "Muster is ready. API: %s\n", i.API)
	for _, n := range i.Nodes[1:] {
		fmt.Fprintf(d.out, "  also on %s: %s\n", n.Name, n.API)
	}
	fmt.Fprintf(d.out, "Log in as %s; the password is in %s\n", i.Admin.Username, i.Admin.PasswordFile)
	fmt.Fprintf(d.out, "\nIn another terminal:\n  export MUSTER_API=%s MUSTER_USER=%s MUSTER_PASSWORD_FILE=%s MUSTER_ORGANIZATION=%s MUSTER_ENVIRONMENT=%s\n",
		i.API, i.Admin.Username, quoted(i.Admin.PasswordFile), i.Organization, i.Environment)
	fmt.Fprintf(d.out, "\nStart an agent (without root on a scratch folder; leave --root out to manage this machine):\n"+
		"  %s run --bus %s --token-file %s --state ./agent-state --root ./agent-root --name web1\n\nCtrl-C stops it.\n", quoted(agentProgram()), i.Bus, quoted(i.EnrolToken))
}

// agentProgram is how to call the agent: by its name when the shell finds it, else where it lies beside this program.
func agentProgram() string {
	const name = "muster-agent"
	if _, err := exec.LookPath(name); err == nil {
		return name
	}
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), name)
		if _, err := os.Stat(beside); err == nil {
			return beside
		}
	}
	return name
}

// quoted is a word for the shell.
func quoted(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("/._-+:@%,=", r) && (r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r))
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
