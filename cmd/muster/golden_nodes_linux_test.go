package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/rpc"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-hq/muster/drivers"
	"github.com/muster-hq/muster/drivers/simulate"
	"github.com/muster-hq/muster/fsm/model"
)

// farmVariable names, for a process of this test's program, where machines are made: it then is a `muster server`.
const farmVariable = "MUSTER_TEST_FARM"

// TestMain runs the tests, or a node for them in a process of its own.
func TestMain(m *testing.M) {
	if at := os.Getenv(farmVariable); at != "" {
		os.Exit(serveWithFarm(at, os.Args[1:]))
	}
	os.Exit(m.Run())
}

// serveWithFarm is `muster server` with a driver for every class, whose machines outlive this process.
func serveWithFarm(at string, args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var cfg serverConfig
	cmd := &cobra.Command{Use: "server", RunE: func(cmd *cobra.Command, _ []string) error {
		if err := cfg.load(cmd, ""); err != nil {
			return err
		}
		cfg.drivers = &drivers.Set{Any: farmhand{at}}
		log, _, flush, err := newLogger(os.Stderr, cfg.LogLevel)
		if err != nil {
			return err
		}
		defer flush()
		return runServer(cmd.Context(), cfg, log)
	}}
	cfg.flags(cmd.Flags())
	cmd.SetArgs(args[1:])
	if err := cmd.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitFailed
	}
	return exitDone
}

// farm makes simulated machines for nodes in other processes.
type farm struct{ d *simulate.Driver }

// FarmCall is what a node asks of the farm.
type FarmCall struct {
	Do     string
	Call   drivers.Call
	Spec   drivers.Spec
	Action drivers.Action
	Image  model.Image
}

// FarmAnswer is what the farm answers.
type FarmAnswer struct {
	Machine    drivers.Machine
	Console    drivers.Console
	Images     []model.Image
	Parameters []model.Parameter
	About      drivers.Description
	Error      string
	Final      bool
}

// Ask does what a driver does.
func (f *farm) Ask(q FarmCall, a *FarmAnswer) error {
	ctx := context.Background()
	var err error
	switch q.Do {
	case "describe":
		a.About = f.d.Describe()
	case "create":
		a.Machine, err = f.d.Create(ctx, q.Call, q.Spec)
	case "attach":
		a.Machine, err = f.d.Attach(ctx, q.Call, q.Spec)
	case "status":
		a.Machine, err = f.d.Status(ctx, q.Call)
	case "destroy":
		err = f.d.Destroy(ctx, q.Call)
	case "power":
		err = f.d.Power(ctx, q.Call, q.Action)
	case "console":
		a.Console, err = f.d.Console(ctx, q.Call)
	case "images":
		a.Images, err = f.d.Images(ctx, q.Call)
	case "parameters":
		a.Parameters = f.d.ImageParameters()
	case "image":
		err = f.d.CreateImage(ctx, q.Call, q.Image)
	default:
		return fmt.Errorf("the farm does not %s", q.Do)
	}
	if err != nil {
		a.Error, a.Final = err.Error(), drivers.IsFinal(err)
	}
	return nil
}

// newFarm opens a farm whose agents reach the hubs at urls, and gives its address.
func newFarm(t *testing.T, dir string, urls []string) string {
	t.Helper()
	d, err := simulate.New(simulate.Options{Dir: dir, URLs: urls, Log: discard(), Version: version})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	s := rpc.NewServer()
	if err := s.RegisterName("Farm", &farm{d}); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", loopback+":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go s.ServeConn(conn)
		}
	}()
	return l.Addr().String()
}

// farmhand is the driver of a node, which asks the farm.
type farmhand struct{ at string }

func (h farmhand) ask(ctx context.Context, q FarmCall) (a FarmAnswer, err error) {
	q.Spec.Render = nil // the farm renders nothing
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", h.at)
	if err != nil {
		return a, err
	}
	c := rpc.NewClient(conn)
	err = c.Call("Farm.Ask", q, &a)
	err = errors.Join(err, c.Close())
	if err == nil && a.Error != "" {
		if err = errors.New(a.Error); a.Final {
			err = drivers.Final(err)
		}
	}
	return a, err
}

func (h farmhand) Describe() drivers.Description {
	a, _ := h.ask(context.Background(), FarmCall{Do: "describe"})
	return a.About
}

func (h farmhand) Create(ctx context.Context, c drivers.Call, s drivers.Spec) (drivers.Machine, error) {
	a, err := h.ask(ctx, FarmCall{Do: "create", Call: c, Spec: s})
	return a.Machine, err
}

func (h farmhand) Attach(ctx context.Context, c drivers.Call, s drivers.Spec) (drivers.Machine, error) {
	a, err := h.ask(ctx, FarmCall{Do: "attach", Call: c, Spec: s})
	return a.Machine, err
}

func (h farmhand) Status(ctx context.Context, c drivers.Call) (drivers.Machine, error) {
	a, err := h.ask(ctx, FarmCall{Do: "status", Call: c})
	return a.Machine, err
}

func (h farmhand) Destroy(ctx context.Context, c drivers.Call) error {
	_, err := h.ask(ctx, FarmCall{Do: "destroy", Call: c})
	return err
}

func (h farmhand) Power(ctx context.Context, c drivers.Call, action drivers.Action) error {
	_, err := h.ask(ctx, FarmCall{Do: "power", Call: c, Action: action})
	return err
}

func (h farmhand) Console(ctx context.Context, c drivers.Call) (drivers.Console, error) {
	a, err := h.ask(ctx, FarmCall{Do: "console", Call: c})
	return a.Console, err
}

func (h farmhand) Images(ctx context.Context, c drivers.Call) ([]model.Image, error) {
	a, err := h.ask(ctx, FarmCall{Do: "images", Call: c})
	return a.Images, err
}

func (h farmhand) ImageParameters() []model.Parameter {
	a, _ := h.ask(context.Background(), FarmCall{Do: "parameters"})
	return a.Parameters
}

func (h farmhand) CreateImage(ctx context.Context, c drivers.Call, image model.Image) error {
	_, err := h.ask(ctx, FarmCall{Do: "image", Call: c, Image: image})
	return err
}

// farmNodes starts three nodes in processes of their own, whose machines are simulated in this one.
func farmNodes(t *testing.T, machines string, more ...string) []*process {
	t.Helper()
	ports := testPorts(t, 12)
	var urls []string
	for i := range 3 {
		urls = append(urls, "amqps://"+ports[4*i+3])
	}
	t.Setenv(farmVariable, newFarm(t, machines, urls))
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return startProcesses(t, self, ports, more...)
}

// TestPublishedClientBehindHAProxy runs every command of the published client against HAProxy in front of three nodes, while
// one after the other is stopped and started. The client tries each request once: none may fail. Nor when the nodes are killed,
// where HAProxy repeats what got no answer under a key; what acts outside of the cluster is then left out, as it knows no keys.
func TestPublishedClientBehindHAProxy(t *testing.T) {
	dir, wanted := publishedClient(t)
	if !wanted {
		return
	}
	for _, how := range []struct {
		name    string
		signal  syscall.Signal
		repeats bool
	}{
		{"stopped", syscall.SIGTERM, false}, {"killed", syscall.SIGKILL, true},
	} {
		t.Run(how.name, func(t *testing.T) {
			machines := filepath.Join(t.TempDir(), "machines")
			all := farmNodes(t, machines, "--drain", "3s")
			c := newComodit(t, dir, "http://"+haproxy(t, all, how.repeats)+"/api", all[0].passwordFile())
			c.machines = machines
			done := make(chan struct{})
			go func() {
				defer close(done)
				for _, s := range goldenSections() {
					at := time.Now()
					if how.repeats {
						s.commands = slices.DeleteFunc(s.commands, func(g golden) bool { return g.outside })
					}
					c.play(s.commands)
					t.Logf("%-14s %3d commands, %5.1f s", s.name, len(s.commands), time.Since(at).Seconds())
				}
			}()
			restarts, led := restartInTurn(t, all, how.signal, c, done)
			if restarts < 3 || led == 0 {
				t.Errorf("only %d restarts, %d of them of the leader", restarts, led)
			}
			t.Logf("%d commands through %d restarts, %d of them of the leader", c.played, restarts, led)
		})
	}
}

// restartInTurn ends and starts one node after the other until done, and counts them, and those that led. While a command
// waits for long it pauses: a good-bye of an agent that is lost between two leaders is made up for by one that leads for a while.
func restartInTurn(t *testing.T, all []*process, sig syscall.Signal, c *comodit, done chan struct{}) (restarts, led int) {
	t.Helper()
	pause := time.NewTicker(time.Second)
	defer pause.Stop()
	for {
		select {
		case <-done:
			return restarts, led
		case <-pause.C:
		}
		if c.calm.Load() {
			continue
		}
		p := all[restarts%len(all)]
		if p.probe("/leaderz") == 200 {
			led++
		}
		if err := p.end(sig); err != nil && sig == syscall.SIGTERM {
			t.Errorf("%s ended with %v", p.name, err)
		}
		p.run()
		eventually(t, "all to be healthy again", func() bool {
			_, _, code := clusterHealth(t, all)
			return code == exitDone && p.probe("/readyz") == 200
		})
		restarts++
	}
}
