package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/muster-hq/muster/api"
	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/dispatch"
	"github.com/muster-hq/muster/dispatch/bus"
	"github.com/muster-hq/muster/dispatch/provision"
	"github.com/muster-hq/muster/dispatch/schedule"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// duties are what the leader does. They may start before Open has returned, so they wait for the node.
type duties struct {
	cfg    serverConfig
	log    *slog.Logger
	opened <-chan *cluster.Node // closed once node is set
	node   atomic.Pointer[cluster.Node]
	asks   *askDesk
}

func newDuties(cfg serverConfig, log *slog.Logger, opened <-chan *cluster.Node) *duties {
	return &duties{cfg: cfg, log: log, opened: opened, asks: newAskDesk()}
}

// list is the written order in which they start.
func (d *duties) list() []cluster.NamedDuty {
	return []cluster.NamedDuty{
		{Name: "first administrator", Run: d.firstAdministrator},
		{Name: "dispatch", Run: d.dispatch},
		{Name: "provision", Run: d.provision},
		{Name: "jobs", Run: d.runJobs},
		{Name: "old requests", Run: d.forgetRequests},
		{Name: "lost imports", Run: d.dropImports},
		{Name: "plans", Run: d.expandIntents},
		{Name: "deletions", Run: d.deleteGoing},
		{Name: "logs", Run: d.tidyLogs},
		{Name: "changes", Run: d.upkeep},
		{Name: "webhooks", Run: d.webhooks},
	}
}

// forgetRequests deletes what was kept of requests under idempotency keys, each hour those of a day ago.
func (d *duties) forgetRequests(ctx context.Context, lead *cluster.Lead) error {
	for {
		deleted, next, err := orchestrate.ForgetRequests(ctx, lead)
		if err != nil {
			return err
		}
		if deleted > 0 {
			d.log.Info("forgot requests of a day ago", "number", deleted)
		}
		select {
		case <-time.After(next):
		case <-ctx.Done():
			return nil
		}
	}
}

// expandIntents gives hosts the changes that large writes mean for them, as soon as there are such writes.
func (d *duties) expandIntents(ctx context.Context, lead *cluster.Lead) error {
	n, err := d.open(ctx)
	if n == nil {
		return err
	}
	return orchestrate.NewExpander(lead).Work(ctx, untilThere(n, orchestrate.IntentsPending))
}

// deleteGoing deletes organizations and environments that are too large for one commit, as soon as one is marked.
func (d *duties) deleteGoing(ctx context.Context, lead *cluster.Lead) error {
	n, err := d.open(ctx)
	if n == nil {
		return err
	}
	return orchestrate.NewDeleter(lead).Work(ctx, untilThere(n, orchestrate.GoingPending))
}

// untilThere waits until there is something to do.
func untilThere(n *cluster.Node, pending func(state.Reader) bool) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		ws := state.NewWatchSet()
		if pending(n.Local().Watched(ws)) {
			return ctx.Err()
		}
		return ws.Wait(ctx)
	}
}

// dropImports deletes what is left of imports of organizations whose node died.
func (d *duties) dropImports(ctx context.Context, lead *cluster.Lead) error {
	for {
		dropped, next, err := orchestrate.DropImports(ctx, lead)
		if err != nil {
			return err
		}
		if dropped > 0 {
			d.log.Warn("deleted what was left of imports that stopped", "number", dropped)
		}
		select {
		case <-time.After(next):
		case <-ctx.Done():
			return nil
		}
	}
}

// adminName is the login of the first administrator.
const adminName = "admin"

// firstAdministrator makes the administrator of a cluster that has no user. The password is on disk before
// it is in the state, so that it cannot be lost in between.
func (d *duties) firstAdministrator(ctx context.Context, lead *cluster.Lead) error {
	view, err := lead.View(ctx)
	if err != nil {
		return err
	}
	if len(orchestrate.Users(view)) == 0 {
		password, err := firstPassword(d.cfg.passwordFile())
		if err != nil {
			return err
		}
		hash := auth.HashPassword(password)
		err = lead.Update(ctx, func(tx *state.Tx) error {
			tx.SetActor("system")
			_, err := orchestrate.FirstStart(tx, adminName, hash)
			return err
		})
		if err != nil {
			return fmt.Errorf("make the first administrator: %w", err)
		}
		d.log.Info("made the first administrator", "user", adminName, "password_file", d.cfg.passwordFile())
	}
	<-ctx.Done()
	return nil
}

// firstPassword reads the password file, or writes it with a new password; owner only.
func firstPassword(path string) (string, error) {
	b, err := os.ReadFile(path)
	if pw := strings.TrimSpace(string(b)); err == nil && pw != "" {
		return pw, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the administrator's password: %w", err)
	}
	pw := rand.Text()
	if err := writeSecret(path, pw+"\n"); err != nil {
		return "", fmt.Errorf("write the administrator's password: %w", err)
	}
	return pw, nil
}

// dropStalePassword waits for the first administrator, and removes a password file that is not its: that of a node
// which lost its leadership between writing the file and making the administrator. It is for nodes that have just
// become members: later the password may have changed.
func (c serverConfig) dropStalePassword(ctx context.Context, local func() *state.View, log *slog.Logger) {
	for {
		ws := state.NewWatchSet()
		u, err := orchestrate.UserByName(local().Watched(ws), adminName)
		if err == nil {
			b, err := os.ReadFile(c.passwordFile())
			if err != nil || auth.VerifyPassword(u.PasswordHash, strings.TrimSpace(string(b))) {
				return
			}
			log.Warn("another node made the first administrator: the password written here is of no use", "removed", c.passwordFile(), "error", os.Remove(c.passwordFile()))
			return
		}
		if ws.Wait(ctx) != nil {
			return
		}
	}
}

// writeSecret writes a file that only its owner reads, whole or not at all.
func writeSecret(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".secret-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// leadStore is the dispatcher's store: updates fenced by the term, reads from this node's memory.
type leadStore struct {
	*cluster.Lead
	node *cluster.Node
}

func (s leadStore) Local() *state.View { return s.node.Local() }

func (d *duties) dispatch(ctx context.Context, lead *cluster.Lead) error {
	n, err := d.open(ctx)
	if n == nil {
		return err
	}
	hubs, err := d.hubs(n)
	if err != nil {
		return err
	}
	work := dispatch.New(dispatch.Config{
		Term: lead.Term, Store: leadStore{lead, n}, Hubs: hubs, Log: d.log.With("part", "dispatch", "term", lead.Term),
		OrderTTL: d.cfg.Changes.Expiry,
	})
	d.asks.open(work)
	defer d.asks.close(work)
	return work.Run(ctx)
}

// provision drives the work on machines.
func (d *duties) provision(ctx context.Context, lead *cluster.Lead) error {
	n, err := d.open(ctx)
	if n == nil {
		return err
	}
	return provision.New(provision.Config{
		Epoch: lead.Epoch, Term: lead.Term, Store: leadStore{lead, n}, Drivers: d.cfg.machines(),
		Token: enrolTokens{d.cfg.pin(n)}.MachineToken, Log: d.log.With("part", "provision", "term", lead.Term),
	}).Run(ctx)
}

// runJobs runs jobs when they are due.
func (d *duties) runJobs(ctx context.Context, lead *cluster.Lead) error {
	n, err := d.open(ctx)
	if n == nil {
		return err
	}
	return schedule.Run(ctx, schedule.Config{
		Store: leadStore{lead, n}, Log: d.log.With("part", "jobs", "term", lead.Term),
		World: orchestrate.JobWorld{Driver: provision.Desk{Drivers: d.cfg.machines()}.Driver, May: api.MayOperate},
	})
}

// open waits for the node; nil without an error when ctx ends before.
func (d *duties) open(ctx context.Context) (*cluster.Node, error) {
	select {
	case <-d.opened:
	case <-ctx.Done():
		return nil, nil
	}
	if n := d.node.Load(); n != nil {
		return n, nil
	}
	return nil, errors.New("the node did not open")
}

// Pauses of dispatch between attempts at a hub or broker: shorter than those of agents, since there is one
// such client in a cluster, and all agents of the hub wait for it.
const (
	hubRetryFirst = 200 * time.Millisecond
	hubRetryMost  = 5 * time.Second
)

// hubs are the brokers that dispatch is a client of: each member's embedded hub over the cluster port, or the
// one broker of the site.
func (d *duties) hubs(n *cluster.Node) (func() []dispatch.Hub, error) {
	if d.cfg.Bus != "" {
		broker, err := d.cfg.brokerURL()
		if err != nil {
			return nil, err
		}
		h := []dispatch.Hub{{Name: "broker", Config: bus.Config{URLs: []string{broker}, MinBackoff: hubRetryFirst, MaxBackoff: hubRetryMost}}}
		return func() []dispatch.Hub { return h }, nil
	}
	return func() []dispatch.Hub {
		var hs []dispatch.Hub
		for _, m := range n.Members() {
			hs = append(hs, dispatch.Hub{Name: m.Name, Config: bus.Config{
				URLs: []string{"amqp://" + m.Name}, MinBackoff: hubRetryFirst, MaxBackoff: hubRetryMost,
				Login:   func(context.Context) (string, string, error) { return bus.UserOrchestrator, "", nil },
				NetDial: func(ctx context.Context, _, _ string) (net.Conn, error) { return n.DialHub(ctx, m.Name) },
			}})
		}
		return hs
	}, nil
}

// brokerURL is --bus with the password of --bus-password-file.
func (c serverConfig) brokerURL() (string, error) {
	u, err := url.Parse(c.Bus)
	if err != nil {
		return "", errors.New("--bus is not an address") // the error would print a password in it
	}
	if c.BusPasswordFile == "" {
		return c.Bus, nil
	}
	pw, err := os.ReadFile(c.BusPasswordFile)
	if err != nil {
		return "", fmt.Errorf("read the broker's password: %w", err)
	}
	u.User = url.UserPassword(u.User.Username(), strings.TrimSpace(string(pw)))
	return u.String(), nil
}

// agentKeys gives the bus policy the keys of agents and tokens from this node's state; one that this node
// does not have yet is looked for once more on the leader's word.
type agentKeys struct{ n *cluster.Node }

// AgentKey is the key of an agent that may log in.
func (k agentKeys) AgentKey(ctx context.Context, id string) (ed25519.PublicKey, error) {
	return k.find(ctx, id, orchestrate.AgentKey)
}

// TokenKey is the key of an enrolment token whose holders may log in.
func (k agentKeys) TokenKey(ctx context.Context, id string) (ed25519.PublicKey, error) {
	return k.find(ctx, id, orchestrate.TokenKey)
}

func (k agentKeys) find(ctx context.Context, id string, get func(state.Reader, string) (ed25519.PublicKey, error)) (ed25519.PublicKey, error) {
	key, err := get(k.n.Local(), id)
	if model.CodeOf(err) == model.NotFound {
		view, verr := k.n.View(ctx)
		if verr != nil {
			return nil, verr
		}
		key, err = get(view, id)
	}
	if model.CodeOf(err) == model.NotFound {
		return nil, fmt.Errorf("%w: %w", bus.ErrNoKey, err)
	}
	return key, err
}
