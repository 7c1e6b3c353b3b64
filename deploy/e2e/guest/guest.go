// Package guest boots Debian machines with systemd for tests: containers of systemd-nspawn on an
// overlay of one root directory, which is made once a day and shared by all packages' tests.
package guest

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Options of Boot. The zero value is a machine without a network beyond its loopback.
type Options struct {
	// Hostname of the guest; "" is the name of the container.
	Hostname string
	// Network attaches the guest to a bridge as its eth0.
	Network *Network
	// OutwardOnly drops what others open towards the guest over eth0.
	OutwardOnly bool
}

// Guest is a running machine. Its methods may be called at the same time.
type Guest struct {
	// Name is unique on this host.
	Name string
	// Root is the guest's file system, as the host sees it; what the host writes there the guest reads.
	Root string
	// Address is its IPv4 address on the network, without a prefix length; "" without a network.
	Address string

	argv   []string // of nspawn
	nspawn *exec.Cmd
	exited chan struct{}
	pid    int // of the guest's init, on the host
	log    *os.File
	undo   []func()
}

const bootLimit = 60 * time.Second

// Boot starts a guest and waits until systemd has started everything. It skips the test, with the
// reason, where that is not possible, and fails it if the environment says CI=true. The guest ends with
// the test, or by Close.
func Boot(t testing.TB, o Options) *Guest {
	t.Helper()
	Need(t)
	base, err := base()
	if err != nil {
		t.Fatalf("make the guests' root: %v", err)
	}
	g := &Guest{Name: uniqueName("g"), exited: make(chan struct{})}
	dir := t.TempDir() // before the clean-up is registered, so that it is removed after it
	t.Cleanup(g.Close)
	if err := g.boot(dir, base, o); err != nil {
		t.Fatalf("boot a guest: %v\n%s", err, g.console())
	}
	return g
}

// uniqueName names a container, its control group and its network namespace on this host.
func uniqueName(prefix string) string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("%s%d-%x", prefix, os.Getpid(), b)
}

func (g *Guest) boot(dir, base string, o Options) error {
	g.Root = filepath.Join(dir, "root")
	upper, work := filepath.Join(dir, "upper"), filepath.Join(dir, "work")
	for _, d := range []string{g.Root, upper, work} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return err
		}
	}
	options := "lowerdir=" + base + ",upperdir=" + upper + ",workdir=" + work
	if err := unix.Mount("overlay", g.Root, "overlay", 0, options); err != nil {
		return fmt.Errorf("mount the overlay: %w", err)
	}
	g.undo = append(g.undo, func() { _ = unix.Unmount(g.Root, unix.MNT_DETACH) })
	hostname := o.Hostname
	if hostname == "" {
		hostname = g.Name
	}
	if err := os.WriteFile(filepath.Join(g.Root, "etc/hostname"), []byte(hostname+"\n"), 0o644); err != nil {
		return err
	}
	argv := []string{"systemd-nspawn", "-D", g.Root, "--boot", "--register=no", "--keep-unit", "--console=pipe",
		"--machine=" + g.Name}
	if o.Network == nil {
		argv = append(argv, "--private-network")
	} else {
		path, err := o.Network.attach(g, o.OutwardOnly)
		if err != nil {
			return err
		}
		argv = append(argv, "--network-namespace-path="+path)
	}
	if err := g.start(dir, argv); err != nil {
		return err
	}
	return g.await()
}

// start runs nspawn in a control group of its own; without one all guests share a subgroup.
func (g *Guest) start(dir string, argv []string) error {
	script := ""
	for _, h := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"} {
		if _, err := os.Stat(filepath.Join(h, "cgroup.procs")); err != nil {
			continue
		}
		group := filepath.Join(h, g.Name)
		if err := os.Mkdir(group, 0o755); err != nil {
			return err
		}
		g.undo = append(g.undo, func() { removeGroups(group) })
		script += "echo $$ > " + group + "/cgroup.procs; "
	}
	var err error
	if g.log, err = os.Create(filepath.Join(dir, "console")); err != nil {
		return err
	}
	g.undo = append(g.undo, func() { g.log.Close() })
	g.argv = append([]string{"sh", "-c", script + `exec "$@"`, "sh"}, argv...)
	return g.launch()
}

// launch starts what start has prepared.
func (g *Guest) launch() error {
	g.nspawn = exec.Command(g.argv[0], g.argv[1:]...)
	g.nspawn.Stdout, g.nspawn.Stderr = g.log, g.log
	g.nspawn.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	started, exited := make(chan error), g.exited
	go func() {
		runtime.LockOSThread() // the signal comes when the thread ends that started it
		defer runtime.UnlockOSThread()
		err := g.nspawn.Start()
		started <- err
		if err == nil {
			_ = g.nspawn.Wait() // how it ended is on the console
		}
		close(exited)
	}()
	return <-started
}

func removeGroups(group string) {
	_ = filepath.WalkDir(group, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && path != group {
			removeGroups(path)
			return filepath.SkipDir
		}
		return nil
	})
	_ = os.Remove(group)
}

func (g *Guest) await() error {
	deadline := time.NewTimer(bootLimit)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	last := "no process yet"
	for {
		select {
		case <-g.exited:
			return errors.New("the container ended")
		case <-deadline.C:
			return fmt.Errorf("not up after %v: %s", bootLimit, last)
		case <-tick.C:
		}
		if g.pid = child(g.nspawn.Process.Pid); g.pid == 0 {
			continue
		}
		if _, err := os.Stat(fmt.Sprintf("/proc/%d/root/run/dbus/system_bus_socket", g.pid)); err != nil {
			continue
		}
		out, _ := g.Run("systemctl", "is-system-running")
		if last = strings.TrimSpace(out); last == "running" {
			return nil
		}
		if last == "degraded" {
			failed, _ := g.Run("systemctl", "--failed", "--no-legend")
			return fmt.Errorf("units failed in the guest: %s", failed)
		}
	}
}

// child is the only child of a process, 0 for none.
func child(pid int) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(text))
	if len(f) != 1 {
		return 0
	}
	n, _ := strconv.Atoi(f[0])
	return n
}

// Bus is the D-Bus address of the guest's system bus, for a process on the host.
func (g *Guest) Bus() string {
	return fmt.Sprintf("unix:path=/proc/%d/root/run/dbus/system_bus_socket", g.pid)
}

// Command prepares a program to run inside the guest as root; Start and Wait are the caller's. To kill
// the program kill it inside the guest: the process here is nsenter, its parent.
func (g *Guest) Command(argv ...string) *exec.Cmd {
	cmd := exec.Command("nsenter", append([]string{"-t", strconv.Itoa(g.pid), "-a", "--"}, argv...)...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "TERM=dumb"}
	return cmd
}

// Run runs a program inside the guest and gives what it printed on both outputs. The error holds the
// output too.
func (g *Guest) Run(argv ...string) (string, error) {
	out, err := g.Command(argv...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s in the guest: %w\n%s", argv[0], err, out)
	}
	return string(out), nil
}

// Must is Run; a failure ends the test.
func (g *Guest) Must(t testing.TB, argv ...string) string {
	t.Helper()
	out, err := g.Run(argv...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Put copies a file of the host into the guest.
func (g *Guest) Put(t testing.TB, host, name string, mode os.FileMode) {
	t.Helper()
	if err := copyFile(host, filepath.Join(g.Root, name), mode); err != nil {
		t.Fatalf("copy %s into the guest: %v", host, err)
	}
}

func copyFile(from, to string, mode os.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return errors.Join(err, out.Close())
	}
	return out.Close()
}

// insideVariable tells a test binary that it runs inside a guest.
const insideVariable = "MUSTER_INSIDE_GUEST"

// Inside says that this process was started by Again.
func Inside() bool { return os.Getenv(insideVariable) == "1" }

// Again runs the calling test once more, in the same test binary, inside the guest. The test asks
// Inside which of the two it is.
func (g *Guest) Again(t *testing.T) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const name = "/usr/local/bin/inside.test"
	g.Put(t, self, name, 0o755)
	cmd := g.Command(name, "-test.v", "-test.run", "^"+t.Name()+"$", "-test.timeout", "5m")
	cmd.Env = append(cmd.Env, insideVariable+"=1", "CI="+os.Getenv("CI"))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	t.Logf("inside the guest:\n%s", out.String())
	if err != nil || !strings.Contains(out.String(), "--- PASS: "+t.Name()) {
		t.Fatalf("the test inside the guest failed: %v", err)
	}
}

func (g *Guest) console() string {
	if g.log == nil {
		return ""
	}
	text, _ := os.ReadFile(g.log.Name())
	return string(text[max(0, len(text)-4096):])
}

// powerOff is SIGRTMIN+4 of glibc, systemd's signal for it.
const powerOff = syscall.Signal(34 + 4)

// Reboot powers the guest off cleanly and boots it again. Its files, its network and what is closed there
// stay.
func (g *Guest) Reboot(t testing.TB) {
	t.Helper()
	if err := syscall.Kill(g.pid, powerOff); err != nil {
		t.Fatalf("power the guest off: %v", err)
	}
	select {
	case <-g.exited:
	case <-time.After(bootLimit):
		t.Fatalf("the guest did not go down within %v\n%s", bootLimit, g.console())
	}
	g.pid, g.exited = 0, make(chan struct{})
	if err := errors.Join(g.launch(), g.await()); err != nil {
		t.Fatalf("boot the guest again: %v\n%s", err, g.console())
	}
}

// Kill ends the guest at once, as a power cut would.
func (g *Guest) Kill() {
	if g.nspawn == nil || g.nspawn.Process == nil {
		return
	}
	if g.pid != 0 && child(g.nspawn.Process.Pid) == g.pid {
		_ = syscall.Kill(g.pid, syscall.SIGKILL)
	}
	_ = g.nspawn.Process.Kill()
	<-g.exited
}

// Close powers the guest off and takes away everything it used. It may be called again.
func (g *Guest) Close() {
	if g.nspawn != nil && g.nspawn.Process != nil {
		if g.pid != 0 && child(g.nspawn.Process.Pid) == g.pid {
			_ = syscall.Kill(g.pid, powerOff)
		}
		select {
		case <-g.exited:
		case <-time.After(10 * time.Second):
			g.Kill()
		}
	}
	for i := len(g.undo) - 1; i >= 0; i-- {
		g.undo[i]()
	}
	g.undo = nil
}
