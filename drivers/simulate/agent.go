package simulate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/muster-hq/muster/agent"
	"github.com/muster-hq/muster/agent/resource"
	"github.com/muster-hq/muster/agent/resource/directories"
	"github.com/muster-hq/muster/agent/resource/files"
	"github.com/muster-hq/muster/agent/sys"
	"github.com/muster-hq/muster/dispatch/wire"
)

// startAgain is the pause after which an agent that ended with an error is started again, as an init system would.
const startAgain = 2 * time.Second

// start starts the agent of a machine, unless it runs. The machine is locked.
func (d *Driver) start(m *machine) {
	if m.stop != nil || d.ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancel(d.ctx)
	done := make(chan struct{})
	m.stop = func() { cancel(); <-done }
	log := d.o.Log.With("machine", m.Host)
	at, told, token := m.dir, m.told().Properties, m.Token
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			err := d.work(ctx, at, token, told, log)
			var refused *agent.RefusedError
			if errors.As(err, &refused) {
				log.Warn("the agent of a simulated machine is not let in", "error", err)
				return
			}
			if ctx.Err() != nil {
				return
			}
			log.Warn("the agent of a simulated machine is started again", "error", err)
			select {
			case <-time.After(startAgain):
			case <-ctx.Done():
			}
		}
	}()
}

// halt ends the agent of a machine, if it runs. The machine is locked.
func (d *Driver) halt(m *machine) {
	if m.stop != nil {
		m.stop()
		m.stop = nil
	}
}

// work is the whole life of an agent, as that of the agent's own program.
func (d *Driver) work(ctx context.Context, dir, token string, facts map[string]string, log *slog.Logger) error {
	state, err := agent.OpenState(filepath.Join(dir, "state"))
	if err != nil {
		return err
	}
	defer state.Close()
	if state.Identity == nil {
		t, err := wire.ParseEnrolToken(token)
		if err != nil {
			return err
		}
		if err := agent.Enrol(ctx, state, agent.EnrolOptions{Log: log, URLs: d.o.URLs, Token: t, Name: facts["hostname"], Facts: facts}); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
	all, closeAll, err := collections(dir)
	if err != nil {
		return err
	}
	defer closeAll()
	a, err := agent.Open(agent.Options{
		Log: log, State: state.Dir, Identity: *state.Identity, Key: state.Key, Collections: all, Version: d.o.Version, CheckInterval: d.o.Check,
		Told: sensors(facts),
	})
	if err != nil {
		return err
	}
	defer a.Close()
	return serve(ctx, a, state.Dir, d.o.URLs)
}

// sensors are the values of a simulated machine that are not those of the one that simulates it.
func sensors(facts map[string]string) map[string]any {
	ip, out := map[string]string{}, map[string]any{}
	for key, value := range facts {
		if name, ok := strings.CutPrefix(key, "ip."); ok {
			ip[name] = value
		}
	}
	out["hostname"], out["ip"], out["macaddress"] = facts["hostname"], ip, map[string]string{}
	return out
}

// serve does the work and talks to the bus. When it is told to stop, the work stops first, then the talk.
func serve(ctx context.Context, a *agent.Agent, dir string, urls []string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	talk, silence := context.WithCancel(context.WithoutCancel(ctx))
	defer silence()
	var wg sync.WaitGroup
	var connectErr error
	wg.Go(func() {
		connectErr = a.Connect(talk, dir, urls)
		cancel()
	})
	err := a.Run(ctx)
	silence()
	wg.Wait()
	return errors.Join(err, connectErr)
}

// collections are those of a simulated machine: files and directories in its folder, the rest on paper.
func collections(dir string) (all []resource.Collection, closeAll func(), err error) {
	root := filepath.Join(dir, "root")
	m, err := sys.New(sys.Options{Root: root, Unprivileged: true})
	if err != nil {
		return nil, nil, fmt.Errorf("look at the machine: %w", err)
	}
	all = []resource.Collection{
		files.New(m, files.Options{}), directories.New(m, directories.Options{}), &executables{m},
	}
	for _, name := range []string{"packages", "services", "users", "groups"} {
		s, err := openShelf(name, filepath.Join(dir, name+".json"))
		if err != nil {
			return nil, nil, errors.Join(err, m.Close())
		}
		all = append(all, s)
	}
	return all, func() { _ = m.Close() }, nil
}
