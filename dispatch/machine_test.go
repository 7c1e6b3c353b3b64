package dispatch_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-hq/muster/agent"
	"github.com/muster-hq/muster/agent/resource"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// machine is a machine with a real agent. Its scripts append to a list, which outlives the agent.
type machine struct {
	r    *rig
	dir  string
	id   string
	host string
	stop func() // nil: the agent does not run

	mu   sync.Mutex
	ran  map[string]int
	hold map[string]chan struct{} // scripts that wait for it
	at   map[string]bool          // scripts that have begun
}

// Name implements resource.Collection.
func (m *machine) Name() string { return "scripts" }

// Read implements resource.Collection.
func (m *machine) Read(context.Context, string) (resource.State, error) { return resource.State{}, nil }

// Check implements resource.Collection.
func (m *machine) Check(context.Context, string, json.RawMessage) (resource.Diff, error) {
	return resource.Diff{}, nil
}

// Apply implements resource.Collection.
func (m *machine) Apply(context.Context, string, json.RawMessage) (resource.Diff, error) {
	return resource.Diff{}, nil
}

// Done implements resource.Actor: a line that was appended does not tell by whom.
func (m *machine) Done(context.Context, string, resource.Action, int64) (bool, error) {
	return false, resource.ErrCannotTell
}

// Act implements resource.Actor: it appends a line. A script called "bad..." fails after that.
func (m *machine) Act(_ context.Context, id string, _ resource.Action) (resource.Output, error) {
	m.mu.Lock()
	m.at[id] = true
	hold := m.hold[id]
	m.mu.Unlock()
	if hold != nil {
		<-hold
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ran[id]++
	if strings.HasPrefix(id, "bad") {
		return resource.Output{ExitCode: 3}, &resource.ExitError{Code: 3, Stderr: "no such luck"}
	}
	return resource.Output{Stdout: "ran " + id}, nil
}

func (m *machine) begun(id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.at[id]
}

// times says how often a script ran.
func (m *machine) times(id string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ran[id]
}

// block makes a script wait until the answer is called.
func (m *machine) block(id string) (goOn func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ch := make(chan struct{})
	m.hold[id] = ch
	goOn = sync.OnceFunc(func() { close(ch) })
	m.r.t.Cleanup(goOn)
	return goOn
}

// newRestoreRig is a rig with a machine whose agent is enrolled and has told which journal it has.
func newRestoreRig(t *testing.T) (*rig, *machine) {
	r := newRig(t)
	r.stopDispatch()
	r.beats = 20 * time.Second // as that of the agents
	r.startDispatch()
	m := &machine{r: r, dir: t.TempDir(), ran: map[string]int{}, hold: map[string]chan struct{}{}, at: map[string]bool{}}
	st, err := agent.OpenState(m.dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(r.ctx, time.Minute)
	defer cancel()
	err = agent.Enrol(ctx, st, agent.EnrolOptions{Log: slog.New(slog.DiscardHandler), URLs: []string{"amqp://" + r.addr}, Token: r.token(0), Name: "web1"})
	if err != nil {
		t.Fatal(err)
	}
	m.id = st.AgentID()
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	a, _ := state.Get[model.Agent](r.db.Local(), m.id)
	m.host = a.HostID
	m.start()
	r.eventually("the agent's journal in the state", func() bool {
		l, ok := state.Get[model.Lanes](r.db.Local(), m.id)
		return ok && l.Journal != ""
	})
	return r, m
}

// start begins a life of the agent.
func (m *machine) start() {
	t := m.r.t
	t.Helper()
	st, err := agent.OpenState(m.dir)
	if err != nil {
		t.Fatal(err)
	}
	a, err := agent.Open(agent.Options{State: m.dir, Identity: *st.Identity, Key: st.Key, Collections: []resource.Collection{m}, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(m.r.ctx)
	var wg sync.WaitGroup
	wg.Go(func() { _ = a.Run(ctx) })
	wg.Go(func() { _ = a.Connect(ctx, m.dir, []string{"amqp://" + m.r.addr}) })
	m.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		_ = a.Close()
		_ = st.Close()
	})
	t.Cleanup(m.stop)
}

// queue queues a change that runs scripts.
func (m *machine) queue(scripts ...string) string {
	m.r.t.Helper()
	var id string
	m.r.update(func(tx *state.Tx) error {
		d := orchestrate.Draft{Description: "run " + strings.Join(scripts, ", ")}
		for i, s := range scripts {
			d.Tasks = append(d.Tasks, model.Task{
				OrderNum: i, Description: s, Status: model.TaskPending, Collection: "scripts", Resource: s, Verb: "act", Action: "run",
			})
		}
		c, err := orchestrate.QueueChange(tx, m.host, d)
		if err == nil {
			id = c.ID
		}
		return err
	})
	return id
}

// ended waits until a change is done, and gives it.
func (m *machine) ended(id string) *model.Change {
	m.r.t.Helper()
	m.r.eventually("change "+id+" to be done", func() bool { c := m.r.get(id); return c != nil && c.Done })
	return m.r.get(id)
}

// restore puts a snapshot in the place of the state, and begins the term of the leader that did it.
func (r *rig) restore(snapshot []byte) {
	r.t.Helper()
	r.stopDispatch()
	r.db.Restore(r.t, snapshot)
	r.term++
	r.startDispatch()
}

// inStep says whether the agent has told its standing.
func (m *machine) inStep() bool { return orchestrate.AgentInStep(m.r.db.Local(), m.id) }

// afterwards looks that the host gets orders again: a new change runs once.
func (m *machine) afterwards() {
	m.r.t.Helper()
	c := m.ended(m.queue("afterwards"))
	if c.Failed() || m.times("afterwards") != 1 {
		m.r.t.Errorf("a change after it all ran %d times: %+v", m.times("afterwards"), c)
	}
}
