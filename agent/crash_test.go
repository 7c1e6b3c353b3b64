package agent

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/muster-hq/muster/agent/journal"
	"github.com/muster-hq/muster/agent/resource"
	"github.com/muster-hq/muster/dispatch/wire"
)

// FakeDisk is the real disk until its last call; from then on every call fails, as for a process that
// was killed there. The last write leaves half of its bytes when torn is set.
type FakeDisk struct {
	journal.OS
	mu   sync.Mutex
	left int
	torn bool
	full bool // fails for now, and takes nothing
}

var errDead = errors.New("fake: killed")

// spend pays for one call.
func (d *FakeDisk) spend() (last bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.full {
		return false, fmt.Errorf("fake: %w", syscall.ENOSPC)
	}
	d.left--
	if d.left < 0 {
		return d.left == -1, errDead
	}
	return false, nil
}

func (d *FakeDisk) setFull(full bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full = full
}

func (d *FakeDisk) OpenAppend(name string) (journal.File, error) {
	f, err := d.OS.OpenAppend(name)
	return &fakeFile{File: f, d: d}, err
}

type fakeFile struct {
	journal.File
	d *FakeDisk
}

func (f *fakeFile) Write(p []byte) (int, error) {
	last, err := f.d.spend()
	if err == nil {
		return f.File.Write(p)
	}
	if last && f.d.torn {
		n, _ := f.File.Write(p[:len(p)/2])
		return n, err
	}
	return 0, err
}

func (f *fakeFile) Sync() error {
	f.d.mu.Lock()
	full := f.d.full // nothing is left to be synced: the write failed and was taken back
	f.d.mu.Unlock()
	if full {
		return nil
	}
	if _, err := f.d.spend(); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *fakeFile) Truncate(size int64) error {
	f.d.mu.Lock()
	dead := f.d.left < 0
	f.d.mu.Unlock()
	if dead {
		return errDead
	}
	return f.File.Truncate(size)
}

// twenty is a change of twenty steps, half of them scripts that append a line.
func twenty() []wire.Step {
	var steps []wire.Step
	for i := range 10 {
		steps = append(steps, watched(apply("files", fmt.Sprintf("/etc/%d", i), "1")), act("files", fmt.Sprintf("/line/%d", i), "run"))
	}
	steps[18] = wire.Step{Collection: "services", Resource: "nginx", Verb: wire.VerbApply, Want: []byte(`{"running":true}`), Restart: []int{0, 2, 16}}
	return steps
}

// The agent is killed at every single write and sync of its journal: before the byte is there, with half
// of them there, and with all of them there but nobody told. Whatever the moment, no line is written
// twice, every step is told, and only an action that had begun is told as interrupted.
func TestKilledAtEveryWrite(t *testing.T) {
	probe := newSite(t)
	disk := &FakeDisk{left: 1 << 30}
	probe.disk = disk
	probe.services.running["nginx"] = true
	probe.start()
	probe.send(probe.order(1, twenty()...))
	probe.outcome("order-1")
	probe.stop()
	calls := 1<<30 - disk.left
	if calls < 80 {
		t.Fatalf("only %d calls to the disk: 20 steps begin and end", calls)
	}
	for at := 2; at < calls; at++ {
		killAt(t, at, at%2 == 0)
	}
}

func killAt(t *testing.T, at int, torn bool) {
	s := newSite(t)
	s.services.running["nginx"] = true
	s.disk = &FakeDisk{left: at, torn: torn}
	o := s.order(1, twenty()...)
	s.start()
	first := s.agent.Deliver(s.sign(wire.KindOrder, s.org, o))
	if first == nil {
		waitFor(t, "the end of the first life", func() bool {
			return brokenNow(s.agent)
		})
	}
	s.stop()
	early := len(s.files.acts)
	s.disk = nil
	s.start()
	s.send(o) // the orchestrator repeats what has no reply
	out := s.outcome("order-1")
	s.stop()
	if len(out) != 20 {
		t.Fatalf("killed at %d: %d of 20 steps were told", at, len(out))
	}
	cut := -1
	for i := range 20 {
		switch r := out[i]; {
		case cut < 0 && r.Status == wire.StatusOK, cut >= 0 && r.Status == wire.StatusSkipped:
		case cut < 0 && r.Status == wire.StatusInterrupted && o.Steps[i].Verb == wire.VerbAct && first == nil:
			cut = i
		default:
			t.Fatalf("killed at %d: step %d: %+v", at, i, r)
		}
	}
	for i, st := range o.Steps {
		if st.Verb != wire.VerbAct {
			continue
		}
		n := s.files.actCount("run " + st.Resource)
		if n > 1 || n == 0 && out[i].Status == wire.StatusOK || n == 1 && out[i].Status == wire.StatusSkipped {
			t.Errorf("killed at %d after %d actions: %s was done %d times and told as %s", at, early, st.Resource, n, out[i].Status)
		}
	}
	if n := s.services.actCount("restart nginx"); cut < 0 && (n < 1 || n > 2) {
		t.Errorf("killed at %d: %d restarts of the service, want one, or a second after a crash in the middle", at, n)
	}
	if s.files.twice {
		t.Error("two calls at once for one resource")
	}
}

// brokenNow says whether the journal of a fake disk that is dead knows it.
func brokenNow(a *Agent) bool {
	_, err := a.journal.NextLogin(0)
	return err != nil
}

func TestKilledDuringAnAction(t *testing.T) {
	for name, c := range map[string]struct {
		done func(string, resource.Action, int64) (bool, error)
		want wire.Status
		runs int
	}{
		"nobody can tell":    {nil, wire.StatusInterrupted, 1},
		"it took effect":     {func(string, resource.Action, int64) (bool, error) { return true, nil }, wire.StatusOK, 1},
		"it took no effect":  {func(string, resource.Action, int64) (bool, error) { return false, nil }, wire.StatusOK, 2},
		"looking fails":      {func(string, resource.Action, int64) (bool, error) { return false, errFake }, wire.StatusInterrupted, 1},
		"looking panics":     {func(string, resource.Action, int64) (bool, error) { panic("boom") }, wire.StatusInterrupted, 1},
		"begun has its time": {func(_ string, _ resource.Action, at int64) (bool, error) { return at > 0, nil }, wire.StatusOK, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.files.done = c.done
			s.disk = &FakeDisk{left: 1 << 30}
			s.start()
			s.files.hook = func(call, id string) error {
				if call == "acted" { // the process dies with its child
					s.disk.(*FakeDisk).mu.Lock()
					s.disk.(*FakeDisk).left = 0
					s.disk.(*FakeDisk).mu.Unlock()
				}
				return nil
			}
			o := s.order(1, act("files", "/x", "run"), apply("files", "/after", "1"))
			s.send(o)
			waitFor(t, "the kill", func() bool { return brokenNow(s.agent) })
			s.stop()
			s.files.hook, s.disk = nil, nil
			s.start()
			out := s.outcome("order-1")
			next := wire.StatusOK
			if c.want == wire.StatusInterrupted {
				next = wire.StatusSkipped
			}
			if out[0].Status != c.want || out[1].Status != next {
				t.Errorf("%+v, then %+v", out[0], out[1])
			}
			if n := s.files.actCount("run /x"); n != c.runs {
				t.Errorf("%d runs, want %d", n, c.runs)
			}
		})
	}
}

// The file was written, the outcome was not: the second life finds the file as wanted, and has to restart
// the service nevertheless.
func TestKilledBetweenFileAndRestart(t *testing.T) {
	s := newSite(t)
	s.services.running["nginx"] = true
	disk := &FakeDisk{left: 1 << 30}
	s.disk = disk
	s.start()
	s.files.hook = func(call, id string) error {
		if call == "apply" {
			s.files.values[id] = "1"
			disk.mu.Lock()
			disk.left = 0
			disk.mu.Unlock()
		}
		return nil
	}
	service := wire.Step{Collection: "services", Resource: "nginx", Verb: wire.VerbApply, Want: []byte(`{"running":true}`), Restart: []int{0}}
	s.send(s.order(1, apply("files", "/a", "1"), service))
	waitFor(t, "the kill", func() bool { return brokenNow(s.agent) })
	s.stop()
	s.files.hook, s.disk = nil, nil
	s.start()
	out := s.outcome("order-1")
	if !out[0].Changed || s.services.actCount("restart nginx") != 1 {
		t.Errorf("%+v, %d restarts", out[0], s.services.actCount("restart nginx"))
	}
}

func TestAFullDiskHoldsTheOrderBack(t *testing.T) {
	s := newSite(t)
	disk := &FakeDisk{left: 1 << 30}
	s.disk = disk
	s.start()
	o := s.order(1, act("files", "/x", "run"), act("files", "/y", "run"))
	disk.setFull(true)
	if err := s.agent.Deliver(s.sign(wire.KindOrder, s.org, o)); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the order must not be acknowledged, and why not must be told: %v", err)
	}
	disk.setFull(false)
	acted := make(chan struct{})
	s.files.hook = func(call, id string) error {
		if call == "acted" && id == "/x" {
			disk.setFull(true) // its outcome cannot be kept
			close(acted)
		}
		return nil
	}
	s.send(o)
	<-acted
	if n := s.files.actCount("run /y"); n != 0 || len(s.link.replies()) != 0 {
		t.Errorf("it went on while the outcome was not on the disk: %d runs", n)
	}
	disk.setFull(false)
	out := s.outcome("order-1")
	if out[0].Status != wire.StatusOK || out[1].Status != wire.StatusOK || !slices.Equal(s.files.acts, []string{"run /x", "run /y"}) {
		t.Errorf("%+v %v", out, s.files.acts)
	}
}

func TestStoppingFinishesTheStep(t *testing.T) {
	s := newSite(t)
	s.start()
	begun, release := make(chan struct{}), make(chan struct{})
	s.files.hook = func(call, id string) error {
		if call == "act" && id == "/x" {
			close(begun)
			<-release
		}
		return nil
	}
	o := s.order(1, act("files", "/x", "run"), act("files", "/y", "run"))
	s.send(o)
	<-begun
	stopped := make(chan struct{})
	go func() { s.stop(); close(stopped) }()
	select {
	case <-stopped:
		t.Fatal("it stopped in the middle of a step")
	default:
	}
	close(release)
	<-stopped
	if s.files.actCount("run /x") != 1 || s.files.actCount("run /y") != 0 {
		t.Errorf("%v", s.files.acts)
	}
	s.files.hook = nil
	s.start()
	out := s.outcome("order-1")
	if out[0].Status != wire.StatusOK || out[1].Status != wire.StatusOK || s.files.actCount("run /x") != 1 {
		t.Errorf("%+v %v", out, s.files.acts)
	}
}

// A journal that broke while the lanes were idle ends the process too: nothing else would.
func TestABrokenJournalEndsRun(t *testing.T) {
	for name, provoke := range map[string]func(s *site) error{
		"an order": func(s *site) error {
			return s.agent.Deliver(s.sign(wire.KindOrder, s.org, s.order(1, act("files", "/x", "run"))))
		},
		"a login": func(s *site) error {
			_, err := s.agent.NextLogin()
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			disk := &FakeDisk{left: 1 << 30}
			s.disk = disk
			s.start()
			disk.mu.Lock()
			disk.left = 0
			disk.mu.Unlock()
			if err := provoke(s); !errors.Is(err, journal.ErrBroken) {
				t.Errorf("%v", err)
			}
			if err := <-s.ended; !errors.Is(err, journal.ErrBroken) {
				t.Errorf("Run ended with %v", err)
			}
		})
	}
}
