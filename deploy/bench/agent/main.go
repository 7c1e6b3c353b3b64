// Command agent measures what an agent costs the machine that it manages: the size of the built program, and
// memory and processor of one that watches 200 files and has nothing to do. It is the real program, enrolled
// at a real node and given its files by a change.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/deploy/bench/report"
	"github.com/muster-hq/muster/deploy/site"
	"github.com/muster-hq/muster/fsm/model"
)

// The budgets of docs/design.md, section 7.
const (
	binaryBudget = 15.0 // MB
	memoryBudget = 25.0 // MB, resident
)

const (
	megabyte = 1e6
	files    = 200
	hostName = "idle"
	appName  = "many"
	limit    = 60 * time.Second
	looks    = 5 // at the memory, spread over the idle time; the median counts
)

func main() {
	bin := flag.String("bin", "bin", "folder with the built programs muster and muster-agent")
	out := flag.String("out", "bench/agent.json", "file for the results, one JSON object a line")
	settle := flag.Duration("settle", 15*time.Second, "how long the agent is left alone before it is measured")
	idle := flag.Duration("idle", 15*time.Second, "how long it is measured")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *bin, *out, *settle, *idle); err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, bin, out string, settle, idle time.Duration) (err error) {
	if idle < time.Second {
		return errors.New("measure at least a second: the processor's time is counted in ticks of 10 ms")
	}
	if bin, err = filepath.Abs(bin); err != nil {
		return err
	}
	info, err := os.Stat(filepath.Join(bin, "muster-agent"))
	if err != nil {
		return fmt.Errorf("the built agent: %w", err)
	}
	dir, err := os.MkdirTemp("", "muster-agentbench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s, err := site.Start(ctx, site.Config{Bin: bin, Dir: dir, Nodes: 1})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	a, err := watch(ctx, s, dir)
	if err != nil {
		return err
	}
	if err := rest(ctx, settle); err != nil {
		return err
	}
	memory, processor, err := measure(ctx, a.Pid(), idle)
	if err != nil {
		return err
	}
	if err := watched(ctx, s, a); err != nil {
		return err
	}
	rows := []report.Row{
		report.Against("agent program, MB", float64(info.Size())/megabyte, report.AtMost(binaryBudget)),
		report.Against(fmt.Sprintf("agent resident, idle, %d files watched, MB", files), memory, report.AtMost(memoryBudget)),
		report.Against("agent idle, % of a core", processor, report.None()),
	}
	if err := report.Print(os.Stdout, "baseline", rows); err != nil {
		return err
	}
	return report.Write(out, rows)
}

// watch starts an agent, has it write the files, and looks that each is there.
func watch(ctx context.Context, s *site.Site, dir string) (*site.Agent, error) {
	c, err := s.Client(0)
	if err != nil {
		return nil, err
	}
	for _, op := range []client.Op{
		{Name: "organizations.create", Body: map[string]string{"name": s.Org}},
		{Name: "environments.create", Params: s.In(), Body: map[string]string{"name": s.Env}},
		{Name: "applications.create", Params: s.In(), Body: application()},
	} {
		if err := c.Call(ctx, op, nil); err != nil {
			return nil, fmt.Errorf("%s: %w", op.Name, err)
		}
	}
	for i := range files {
		op := client.Op{Name: "files.content.set", Level: "application", Params: s.In("app", appName, "file", fileName(i))}
		if err := c.Upload(ctx, op, fileName(i), []byte(content(i))); err != nil {
			return nil, fmt.Errorf("upload: %w", err)
		}
	}
	token, err := s.EnrolToken(ctx, 1)
	if err != nil {
		return nil, err
	}
	a, err := s.StartAgent(site.AgentConfig{Host: hostName, TokenFile: token, Root: filepath.Join(dir, hostName, "root")})
	if err != nil {
		return nil, err
	}
	err = site.WaitFor(ctx, "the agent to be READY", limit, func(ctx context.Context) (bool, error) {
		var h model.Host
		err := c.Call(ctx, client.Op{Name: "hosts.show", Params: s.In("host", hostName)}, &h)
		return h.State == model.HostReady, err
	})
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, a.Tail())
	}
	install := client.Op{Name: "host.applications.create", Params: s.In("host", hostName), Body: map[string]string{"application": appName}}
	if err := c.Call(ctx, install, nil); err != nil {
		return nil, err
	}
	wctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	changes, err := c.WaitChanges(wctx, s.In("host", hostName), -1, 100*time.Millisecond, nil)
	if err != nil {
		return nil, fmt.Errorf("waiting for the files: %w\n%s", err, a.Tail())
	}
	for _, ch := range changes {
		if ch.Failed() {
			return nil, fmt.Errorf("change %d failed\n%s", ch.OrderNum, a.Tail())
		}
	}
	for i := range files {
		got, err := os.ReadFile(filepath.Join(a.Root, "srv", fileName(i)))
		if err != nil {
			return nil, err
		}
		if string(got) != content(i) {
			return nil, fmt.Errorf("%s is not as described: %q", fileName(i), got)
		}
	}
	return a, nil
}

// watched proves that the agent watches: a file changed by hand is told.
func watched(ctx context.Context, s *site.Site, a *site.Agent) error {
	if err := os.WriteFile(filepath.Join(a.Root, "srv", fileName(files-1)), []byte("by hand\n"), 0o600); err != nil {
		return err
	}
	c, err := s.Client(0)
	if err != nil {
		return err
	}
	return site.WaitFor(ctx, "the compliance error of a changed file", limit, func(ctx context.Context) (bool, error) {
		es, err := client.List[model.ComplianceError](ctx, c, client.Op{Name: "host.compliance.list", Params: s.In("host", hostName)})
		return len(es) == 1 && es[0].Name == fileName(files-1), err
	})
}

func fileName(i int) string { return fmt.Sprintf("f%03d", i) }

// content is two kilobytes, different for each file.
func content(i int) string { return strings.Repeat(fmt.Sprintf("line of %d\n", i), 150) }

func application() map[string]any {
	list := make([]map[string]any, files)
	for i := range list {
		list[i] = map[string]any{"name": fileName(i), "path": "/srv/" + fileName(i), "mode": "644",
			"template": map[string]any{"name": fileName(i), "delimiter": map[string]string{"start": "${", "end": "}"}}}
	}
	return map[string]any{"name": appName, "files": list, "directories": json.RawMessage(`[{"name": "srv", "path": "/srv", "mode": "755"}]`)}
}

// rest lets the agent be idle.
func rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// measure looks at an idle process for a time: resident memory in MB, and the share of a core in percent.
func measure(ctx context.Context, pid int, idle time.Duration) (memory, processor float64, err error) {
	before, err := used(pid)
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	var seen []float64
	for range looks {
		if err := rest(ctx, idle/looks); err != nil {
			return 0, 0, err
		}
		m, err := resident(pid)
		if err != nil {
			return 0, 0, err
		}
		seen = append(seen, m)
	}
	after, err := used(pid)
	if err != nil {
		return 0, 0, err
	}
	return report.Median(seen), 100 * (after - before).Seconds() / time.Since(began).Seconds(), nil
}
