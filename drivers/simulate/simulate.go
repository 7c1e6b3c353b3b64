// Package simulate is a driver whose machines are agents in this process: the real agent with the real protocol, each on a
// scratch folder of its own. It is for demonstrations and tests of everything around machines. Packages, services, users and
// groups are written down and not touched on the machine that it runs on, and nothing is executed.
package simulate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/muster-hq/muster/drivers"
	"github.com/muster-hq/muster/fsm/model"
)

// Options are what New needs.
type Options struct {
	Dir     string   // of the machines; made when absent, and held by this process alone
	URLs    []string // of the bus
	Log     *slog.Logger
	Version string // that the agents tell
	// Check is how often the agents look at their resources besides events; 0 is the agent's default.
	Check time.Duration
}

// Driver is the driver. It is safe for concurrent use, and may be shared by all nodes of a process.
type Driver struct {
	o    Options
	ctx  context.Context // of the agents
	stop context.CancelFunc

	mu       sync.Mutex
	machines map[string]*machine // by key
	images   []model.Image
	keys     map[string]*sync.Mutex
}

// record is what of a machine is on disk.
type record struct {
	Key        string            `json:"key"`
	Host       string            `json:"host"`
	Token      string            `json:"token"` // secret
	State      drivers.State     `json:"state"`
	Properties map[string]string `json:"properties"`
}

// machine is a machine; its folder holds record, state (of the agent) and root (what the agent manages).
type machine struct {
	record
	dir  string
	stop func() // ends the agent and waits for it; nil when it does not run
}

const (
	recordFile   = "machine.json"
	imagesFile   = "images.json"
	destroyedDir = "destroyed"
)

// New opens the folder, and starts the agents of the machines that ran.
func New(o Options) (*Driver, error) {
	ctx, stop := context.WithCancel(context.Background())
	d := &Driver{o: o, ctx: ctx, stop: stop, machines: map[string]*machine{}, keys: map[string]*sync.Mutex{}}
	if err := os.MkdirAll(filepath.Join(o.Dir, destroyedDir), 0o700); err != nil {
		stop()
		return nil, fmt.Errorf("the folder of simulated machines: %w", err)
	}
	if err := errors.Join(d.loadImages(), d.loadMachines()); err != nil {
		stop()
		return nil, err
	}
	for _, m := range d.machines {
		if m.State == drivers.Running {
			d.start(m)
		}
	}
	return d, nil
}

func (d *Driver) loadImages() error {
	b, err := os.ReadFile(filepath.Join(d.o.Dir, imagesFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(b, &d.images)
	}
	if err != nil {
		return fmt.Errorf("the images of simulated machines: %w", err)
	}
	return nil
}

func (d *Driver) loadMachines() error {
	entries, err := os.ReadDir(d.o.Dir)
	if err != nil {
		return fmt.Errorf("the folder of simulated machines: %w", err)
	}
	for _, e := range entries {
		m := &machine{dir: filepath.Join(d.o.Dir, e.Name())}
		b, err := os.ReadFile(filepath.Join(m.dir, recordFile))
		if !e.IsDir() || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = json.Unmarshal(b, &m.record)
		}
		if err != nil {
			return fmt.Errorf("simulated machine %s: %w", e.Name(), err)
		}
		d.machines[m.Key] = m
	}
	return nil
}

// Close stops all agents, as when the machines lose their power, and waits for them. Their folders stay.
func (d *Driver) Close() {
	d.stop()
	d.mu.Lock()
	all := slices.Collect(maps.Values(d.machines))
	d.mu.Unlock()
	for _, m := range all {
		unlock := d.lock(m.Key)
		d.halt(m)
		unlock()
	}
}

// lock makes the machine of a key this call's until the answer is called.
func (d *Driver) lock(key string) (unlock func()) {
	d.mu.Lock()
	l := d.keys[key]
	if l == nil {
		l = &sync.Mutex{}
		d.keys[key] = l
	}
	d.mu.Unlock()
	l.Lock()
	return l.Unlock
}

func (d *Driver) machine(key string) *machine {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.machines[key]
}

// Describe implements drivers.Driver.
func (d *Driver) Describe() drivers.Description {
	return drivers.Description{Name: "Simulation", Text: "machines that are agents in this process", EnrolWithin: 10 * time.Minute, StopWithin: time.Minute}
}

// dirOf is the folder of a machine: keys come from callers, and are no names of files.
func (d *Driver) dirOf(key string) string {
	sum := sha256.Sum256([]byte(key))
	return filepath.Join(d.o.Dir, hex.EncodeToString(sum[:8]))
}

func (d *Driver) tombstone(key string) string {
	return filepath.Join(d.o.Dir, destroyedDir, filepath.Base(d.dirOf(key)))
}

// Create implements drivers.Driver.
func (d *Driver) Create(ctx context.Context, c drivers.Call, s drivers.Spec) (drivers.Machine, error) {
	return d.make(ctx, c, s, nil)
}

// Attach implements drivers.Attacher: the machine that somebody says is there is begun to be simulated.
func (d *Driver) Attach(ctx context.Context, c drivers.Call, s drivers.Spec) (drivers.Machine, error) {
	return d.make(ctx, c, s, c.Properties)
}

func (d *Driver) make(ctx context.Context, c drivers.Call, s drivers.Spec, props map[string]string) (drivers.Machine, error) {
	if c.Key == "" || s.Host == "" || s.Token == "" {
		return drivers.Machine{}, drivers.Final(errors.New("a machine needs a key, a host and a token"))
	}
	defer d.lock(c.Key)()
	if err := ctx.Err(); err != nil {
		return drivers.Machine{}, err
	}
	if m := d.machine(c.Key); m != nil {
		return m.told(), nil
	}
	if _, err := os.Lstat(d.tombstone(c.Key)); err == nil {
		return drivers.Machine{}, drivers.Final(errors.New("the machine was destroyed"))
	}
	m := &machine{dir: d.dirOf(c.Key), record: record{Key: c.Key, Host: s.Host, Token: s.Token, State: drivers.Running, Properties: facts(c.Key, s.Host, props)}}
	if err := os.MkdirAll(filepath.Join(m.dir, "root"), 0o700); err != nil {
		return drivers.Machine{}, fmt.Errorf("make the machine's folder: %w", err)
	}
	if err := m.save(); err != nil {
		return drivers.Machine{}, err
	}
	d.mu.Lock()
	d.machines[c.Key] = m
	d.mu.Unlock()
	d.start(m)
	return m.told(), nil
}

// facts are what the agent of a machine tells, and its properties: an address made of the key.
func facts(key, host string, given map[string]string) map[string]string {
	sum := sha256.Sum256([]byte(key))
	out := map[string]string{
		"hostname": host, "ip.eth0": fmt.Sprintf("10.%d.%d.%d", sum[0], sum[1], 1+sum[2]%254), "architecture": "amd64", "kernelName": "linux",
		"os": "debian", "osVersion": "13", "simulated": "true",
	}
	maps.Copy(out, given)
	return out
}

func (m *machine) save() error {
	b, err := json.Marshal(m.record)
	if err == nil {
		err = writeFile(filepath.Join(m.dir, recordFile), b)
	}
	if err != nil {
		return fmt.Errorf("write the machine down: %w", err)
	}
	return nil
}

// writeFile replaces a file as a whole; only its owner reads it.
func writeFile(path string, b []byte) error {
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func (m *machine) told() drivers.Machine {
	return drivers.Machine{Handle: filepath.Base(m.dir), State: m.State, Properties: maps.Clone(m.Properties)}
}

// Status implements drivers.Driver.
func (d *Driver) Status(_ context.Context, c drivers.Call) (drivers.Machine, error) {
	defer d.lock(c.Key)()
	if m := d.machine(c.Key); m != nil {
		return m.told(), nil
	}
	return drivers.Machine{State: drivers.Gone}, nil
}

// Destroy implements drivers.Driver.
func (d *Driver) Destroy(_ context.Context, c drivers.Call) error {
	if c.Key == "" {
		return drivers.Final(errors.New("which machine is to be destroyed is not told"))
	}
	defer d.lock(c.Key)()
	if err := os.WriteFile(d.tombstone(c.Key), nil, 0o600); err != nil {
		return fmt.Errorf("note that the machine is destroyed: %w", err)
	}
	m := d.machine(c.Key)
	if m == nil {
		return nil
	}
	d.halt(m)
	if err := os.RemoveAll(m.dir); err != nil {
		return fmt.Errorf("remove the machine's folder: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.machines, c.Key)
	return nil
}

// Power implements drivers.Power. A pause stops the agent as a power off does; its journal tells it where it was.
func (d *Driver) Power(_ context.Context, c drivers.Call, a drivers.Action) error {
	defer d.lock(c.Key)()
	m := d.machine(c.Key)
	if m == nil {
		return drivers.Final(errors.New("there is no such machine"))
	}
	to := map[drivers.Action]drivers.State{
		drivers.Start: drivers.Running, drivers.Resume: drivers.Running, drivers.Pause: drivers.Paused, drivers.Stop: drivers.Stopped, drivers.Off: drivers.Stopped,
	}[a]
	if to == "" {
		return drivers.Final(fmt.Errorf("there is no power action %q", a))
	}
	m.State = to
	if err := m.save(); err != nil {
		return err
	}
	if to == drivers.Running {
		d.start(m)
	} else {
		d.halt(m)
	}
	return nil
}

// Console implements drivers.Consoler: an address as a hypervisor would give it. Nothing listens there.
func (d *Driver) Console(_ context.Context, c drivers.Call) (drivers.Console, error) {
	defer d.lock(c.Key)()
	m := d.machine(c.Key)
	if m == nil || m.State != drivers.Running {
		return drivers.Console{}, nil
	}
	return drivers.Console{Host: m.Properties["ip.eth0"], Port: "5900"}, nil
}

// Images implements drivers.Imager.
func (d *Driver) Images(context.Context, drivers.Call) ([]model.Image, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.images), nil
}

// ImageParameters implements drivers.Imager.
func (d *Driver) ImageParameters() []model.Parameter {
	return []model.Parameter{{
		Name: "Comment", Key: "comment", Description: "what the image is for", Value: json.RawMessage(`""`), Schema: json.RawMessage(`{"type":"string"}`),
	}}
}

// CreateImage implements drivers.Imager: it is noted, there is nothing in it.
func (d *Driver) CreateImage(_ context.Context, c drivers.Call, image model.Image) error {
	if d.machine(c.Key) == nil {
		return drivers.Final(errors.New("there is no such machine"))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	sum := sha256.Sum256([]byte(c.Key + "/" + image.Name))
	image.ID = hex.EncodeToString(sum[:8])
	if slices.ContainsFunc(d.images, func(o model.Image) bool { return o.ID == image.ID }) {
		return nil
	}
	all := append(slices.Clone(d.images), image)
	b, err := json.Marshal(all)
	if err == nil {
		err = writeFile(filepath.Join(d.o.Dir, imagesFile), b)
	}
	if err != nil {
		return fmt.Errorf("note the image: %w", err)
	}
	d.images = all
	return nil
}

// Discover implements drivers.Discoverer.
func (d *Driver) Discover(context.Context, drivers.Call) ([]drivers.Found, error) {
	d.mu.Lock()
	all := slices.Sorted(maps.Keys(d.machines))
	d.mu.Unlock()
	var out []drivers.Found
	for _, key := range all {
		unlock := d.lock(key)
		if m := d.machine(key); m != nil {
			t := m.told()
			out = append(out, drivers.Found{Handle: t.Handle, Name: m.Host, State: t.State, Properties: t.Properties})
		}
		unlock()
	}
	return out, nil
}
