package provision_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-hq/muster/dispatch/provision"
	"github.com/muster-hq/muster/drivers"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/state/statetest"
)

// cloud is a driver that counts what it makes.
type cloud struct {
	mu       sync.Mutex
	machines map[string]drivers.State
	made     map[string]int    // machines by key
	tokens   map[string]string // that machines got
	calls    []string
	err      error         // of the next calls
	boots    drivers.State // what a new machine is; "" is running
	enter    func(call string)
}

func newCloud() *cloud {
	return &cloud{machines: map[string]drivers.State{}, made: map[string]int{}, tokens: map[string]string{}}
}

// begin notes a call, and gives the error that it is to have.
func (c *cloud) begin(call string) error {
	c.mu.Lock()
	c.calls = append(c.calls, call)
	err, enter := c.err, c.enter
	c.mu.Unlock()
	if enter != nil {
		enter(call)
	}
	return err
}

func (c *cloud) set(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

func (c *cloud) count(call string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range c.calls {
		if o == call {
			n++
		}
	}
	return n
}

func (c *cloud) Describe() drivers.Description {
	return drivers.Description{Name: "Cloud", Text: "t", EnrolWithin: 10 * time.Minute, StopWithin: time.Minute}
}

func (c *cloud) Create(_ context.Context, call drivers.Call, s drivers.Spec) (drivers.Machine, error) {
	c.set(func() {
		if _, there := c.machines[call.Key]; !there && c.err == nil {
			c.made[call.Key]++
			c.machines[call.Key] = drivers.Running
			if c.boots != "" {
				c.machines[call.Key] = c.boots
			}
			c.tokens[call.Key] = s.Token
		}
	})
	if err := c.begin("create"); err != nil {
		return drivers.Machine{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tokens[call.Key] != s.Token {
		return drivers.Machine{}, drivers.Final(errors.New("another token"))
	}
	return drivers.Machine{Handle: "vm-" + call.Key, State: c.machines[call.Key], Properties: map[string]string{"ip.eth0": "192.0.2.1", "size": text(call.Settings["size"])}}, nil
}

func text(raw []byte) string { return strings.Trim(string(raw), `"`) }

func (c *cloud) Status(_ context.Context, call drivers.Call) (drivers.Machine, error) {
	if err := c.begin("status"); err != nil {
		return drivers.Machine{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.machines[call.Key]; ok {
		return drivers.Machine{Handle: "vm-" + call.Key, State: s}, nil
	}
	return drivers.Machine{State: drivers.Gone}, nil
}

func (c *cloud) Destroy(_ context.Context, call drivers.Call) error {
	if err := c.begin("destroy"); err != nil {
		return err
	}
	c.set(func() { delete(c.machines, call.Key) })
	return nil
}

func (c *cloud) Power(_ context.Context, call drivers.Call, a drivers.Action) error {
	if err := c.begin(string(a)); err != nil {
		return err
	}
	if a == drivers.Stop {
		return nil // the guest takes its time
	}
	c.set(func() {
		c.machines[call.Key] = map[drivers.Action]drivers.State{drivers.Pause: drivers.Paused, drivers.Off: drivers.Stopped}[a]
		if c.machines[call.Key] == "" {
			c.machines[call.Key] = drivers.Running
		}
	})
	return nil
}

const class = "example.Cloud"

// world is a host on a platform of the cloud.
type world struct {
	t         *testing.T
	db        *statetest.DB
	cloud     *cloud
	org, host string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, db: statetest.New(t, orchestrate.Tables()...), cloud: newCloud()}
	w.do(func(tx *state.Tx) error {
		o, err := orchestrate.CreateOrganization(tx, model.Organization{Name: "O"}, "", true)
		if err != nil {
			return err
		}
		w.org = o.ID
		if _, err := orchestrate.CreatePlatform(tx, o.ID, model.Platform{Name: "P", Driver: model.Driver{ClassName: class}}); err != nil {
			return err
		}
		if _, err := orchestrate.CreateApplication(tx, o.ID, model.Application{Name: "app", Packages: []model.Package{{Name: "p"}}}); err != nil {
			return err
		}
		name := "P"
		h, err := orchestrate.CreateHost(tx, o.ID, orchestrate.Environments(tx, o.ID)[0].ID, model.Host{
			Name: "h 1", Platform: &name, Applications: []string{"app"}, Settings: []model.Setting{{Key: "size", Value: []byte(`"big"`)}},
		})
		w.host = h.ID
		return err
	})
	return w
}

func (w *world) do(fn func(tx *state.Tx) error) {
	w.t.Helper()
	if err := w.db.Update(context.Background(), fn); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) driver(c string) (orchestrate.DriverInfo, bool) {
	return orchestrate.DriverInfo{Name: "Cloud", Power: true}, c == class
}

func (w *world) provision() string {
	w.t.Helper()
	w.do(func(tx *state.Tx) error { return orchestrate.Provision(tx, w.org, w.host, w.driver) })
	i, _ := state.Get[model.InstanceRow](w.db.Local(), w.host)
	return i.ID
}

func (w *world) state() model.HostState { return orchestrate.HostState(w.db.Local(), w.host) }

func (w *world) instance() model.Instance {
	w.t.Helper()
	i, err := orchestrate.GetInstance(w.db.Local(), w.org, w.host)
	if err != nil {
		w.t.Fatal(err)
	}
	return i
}

// enrol is the machine's agent, with the token that the cloud gave it.
func (w *world) enrol(instance string) {
	w.t.Helper()
	w.do(func(tx *state.Tx) error {
		_, err := orchestrate.Enrol(tx, orchestrate.Enrolment{
			TokenID: w.cloud.tokens[instance], AgentID: "agent-" + instance, PublicKey: make([]byte, 32), Exchange: make([]byte, 32), Name: "whatever",
			Facts: map[string]string{"os": "debian"},
		})
		return err
	})
}

// finish ends the open changes of the host.
func (w *world) finish() {
	w.t.Helper()
	w.do(func(tx *state.Tx) error {
		for _, id := range state.Keys[model.Change](tx, model.OpenChangesOf(w.host)) {
			c, _ := state.Edit[model.Change](tx, id)
			for i := range c.Tasks {
				c.Tasks[i].Status = model.TaskOK
			}
			c.Done = true
			if err := state.Put(tx, c); err != nil {
				return err
			}
		}
		return nil
	})
}

// leader is one leader's store: fenced once its term is over.
type leader struct {
	*statetest.DB
	mu   sync.Mutex
	over bool
	// commits is called before each of its commits.
	commits func()
}

func (l *leader) Update(ctx context.Context, fn func(tx *state.Tx) error) error {
	if l.commits != nil {
		l.commits()
	}
	l.mu.Lock()
	over := l.over
	l.mu.Unlock()
	if over {
		return state.ErrFenced
	}
	return l.DB.Update(ctx, fn)
}

// lead starts a leader; kill ends its term as a crash does, stop ends it in order.
func (w *world) lead(l *leader) (kill, stop func()) {
	l.DB = w.db
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	duty := provision.New(provision.Config{
		Epoch: 1, Term: 1, Store: l, Drivers: drivers.Set{ByClass: map[string]drivers.Driver{class: w.cloud}}, Log: slog.New(slog.DiscardHandler),
		Token: func(r state.Reader, i *model.InstanceRow) (string, error) {
			id, _, err := orchestrate.MachineToken(r, i.OrgID, i.ID)
			return id, err
		},
	})
	go func() { done <- duty.Run(ctx) }()
	kill = func() {
		l.mu.Lock()
		l.over = true
		l.mu.Unlock()
		cancel()
	}
	return kill, func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, state.ErrFenced) {
			w.t.Errorf("the duty ended with %v", err)
		}
	}
}

func TestProvision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.lead(&leader{})
		w.cloud.boots = drivers.Starting
		id := w.provision()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if i := w.instance(); w.state() != model.HostProvisioning || i.State != model.InstanceStarting || !strings.Contains(i.Waiting, "looked after") {
			t.Errorf("while it boots: %s, %+v", w.state(), i)
		}
		w.cloud.set(func() { w.cloud.machines[id] = drivers.Running })
		time.Sleep(3 * time.Second)
		synctest.Wait()
		i := w.instance()
		if !strings.Contains(i.Waiting, "is to enrol") || len(i.Properties) != 2 || i.Properties[1].Value != "big" {
			t.Errorf("when it runs: %+v", i)
		}
		w.enrol(id)
		if i := w.instance(); w.state() != model.HostProvisioning || i.State != model.InstanceRunning || i.Hostname != "h 1" || i.Waiting != "" {
			t.Errorf("while the applications are installed: %s, %+v", w.state(), i)
		}
		w.finish()
		if w.state() != model.HostReady {
			t.Errorf("in the end: %s", w.state())
		}
		w.do(func(tx *state.Tx) error { return orchestrate.Power(tx, w.org, w.host, model.DoStop, w.driver) })
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if i := w.instance(); i.State != model.InstanceRunning || i.Waiting == "" {
			t.Errorf("a machine that takes its time to stop: %+v", i)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if i := w.instance(); i.State != model.InstanceRunning || !strings.Contains(i.Error, "is RUNNING after 1m0s, not STOPPED") {
			t.Errorf("a machine that does not stop: %+v", i)
		}
		w.do(func(tx *state.Tx) error { return orchestrate.Power(tx, w.org, w.host, model.DoOff, w.driver) })
		synctest.Wait()
		if i := w.instance(); i.State != model.InstanceStopped || i.Error != "" || w.cloud.count("off") != 1 {
			t.Errorf("turned off: %+v", i)
		}
		w.do(func(tx *state.Tx) error { return orchestrate.Destroy(tx, w.org, w.host) })
		synctest.Wait()
		if len(w.cloud.machines) != 0 || len(orchestrate.Machines(w.db.Local(), w.org)) != 0 || w.state() != model.HostDefined {
			t.Errorf("destroyed: %v, %v, %s", w.cloud.machines, orchestrate.Machines(w.db.Local(), w.org), w.state())
		}
		stop()
	})
}

// The leader dies at each point of a creation; the next one goes on, and there is one machine.
func TestLeaderDiesInTheMiddle(t *testing.T) {
	for _, when := range []string{"before the call is answered", "before the answer is committed", "before the second answer is committed"} {
		t.Run(when, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				first := &leader{}
				kill, stop := w.lead(first)
				once := sync.Once{}
				commits := 0
				switch when {
				case "before the call is answered":
					w.cloud.enter = func(string) { once.Do(kill) }
				default:
					nth := map[string]int{"before the answer is committed": 1, "before the second answer is committed": 2}[when]
					w.cloud.boots = drivers.Starting
					first.commits = func() {
						if commits++; commits == nth {
							once.Do(kill)
						}
					}
				}
				id := w.provision()
				time.Sleep(5 * time.Second)
				synctest.Wait()
				stop()
				w.cloud.set(func() { w.cloud.machines[id] = drivers.Running })
				if w.state() != model.HostProvisioning {
					t.Errorf("between two leaders: %s", w.state())
				}
				_, stop = w.lead(&leader{})
				time.Sleep(5 * time.Second)
				synctest.Wait()
				if w.cloud.made[id] != 1 || len(w.cloud.machines) != 1 {
					t.Errorf("%d machines were made, and %v are there", w.cloud.made[id], w.cloud.machines)
				}
				if i := w.instance(); !strings.Contains(i.Waiting, "is to enrol") {
					t.Errorf("the next leader came to %+v", i)
				}
				w.enrol(id)
				w.finish()
				if w.state() != model.HostReady {
					t.Errorf("in the end: %s", w.state())
				}
				stop()
			})
		})
	}
}

func TestFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.lead(&leader{})
		w.cloud.err = errors.New("the cloud is\nfull")
		id := w.provision()
		time.Sleep(time.Second)
		synctest.Wait()
		if i := w.instance(); w.state() != model.HostProvisioning || i.Error != "the cloud is full" || !strings.Contains(i.Waiting, "tried again at") {
			t.Errorf("a failure that may pass: %s, %+v", w.state(), i)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := w.cloud.count("create"); n < 55 || n > 75 {
			t.Errorf("%d attempts in an hour", n)
		}
		w.cloud.set(func() { w.cloud.err = drivers.Final(errors.New("no such size")) })
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		n := w.cloud.count("create")
		if i := w.instance(); w.state() != model.HostError || i.State != model.InstanceError || i.Error != "no such size" {
			t.Errorf("a failure for good: %s, %+v", w.state(), i)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if w.cloud.count("create") != n {
			t.Error("what failed for good was tried again by itself")
		}
		w.cloud.set(func() { w.cloud.err = nil })
		if again := w.provision(); again != id {
			t.Errorf("tried again it is another instance: %s, %s", again, id)
		}
		synctest.Wait()
		if w.state() != model.HostProvisioning || w.instance().Error != "" {
			t.Errorf("tried again: %s, %+v", w.state(), w.instance())
		}
		// Its agent stays away for too long, and comes in the end: the host is ready by itself.
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		if i := w.instance(); w.state() != model.HostError || !strings.Contains(i.Error, "has not enrolled within 10m0s") {
			t.Errorf("without its agent: %s, %+v", w.state(), i)
		}
		w.enrol(id)
		w.finish()
		if i := w.instance(); w.state() != model.HostReady || i.Error != "" || i.State != model.InstanceRunning {
			t.Errorf("with its agent: %s, %+v", w.state(), i)
		}
		stop()
	})
}

// An instance that is deleted while its machine is being made is destroyed after that.
func TestDeletedWhileItIsMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.lead(&leader{})
		hold := make(chan struct{})
		w.cloud.enter = func(call string) {
			if call == "create" {
				<-hold
			}
		}
		id := w.provision()
		synctest.Wait()
		w.do(func(tx *state.Tx) error { return orchestrate.Destroy(tx, w.org, w.host) })
		synctest.Wait()
		if w.state() != model.HostDefined || w.cloud.count("destroy") != 0 {
			t.Errorf("while it is being made: %s, %v", w.state(), w.cloud.calls)
		}
		close(hold)
		synctest.Wait()
		if len(w.cloud.machines) != 0 || w.cloud.made[id] != 1 || len(orchestrate.Machines(w.db.Local(), w.org)) != 0 {
			t.Errorf("afterwards: %v, %v", w.cloud.machines, w.cloud.calls)
		}
		// The old machine's token is of no use any more, and a new one can be made at once.
		w.do(func(tx *state.Tx) error {
			_, err := orchestrate.Enrol(tx, orchestrate.Enrolment{TokenID: w.cloud.tokens[id], AgentID: "late", PublicKey: make([]byte, 32), Name: "x"})
			if model.CodeOf(err) != model.NotFound {
				t.Errorf("the agent of a machine that was given up: %v", err)
			}
			return nil
		})
		if w.provision() == id {
			t.Error("the next machine has the id of the one before")
		}
		stop()
	})
}
