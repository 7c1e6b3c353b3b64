// Package torture hurts a cluster of real processes, each in a network namespace of its own and on a disk of its
// own, while clients work on it through HAProxy, and checks that nothing acknowledged is lost and that what they saw is
// linearizable. It also runs builds of two versions in one cluster.
package torture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/deploy/e2e/guest"
	"github.com/muster-hq/muster/deploy/site"
	"github.com/muster-hq/muster/fsm/model"
)

// limit is how long one wait may take, on a machine that is busy.
const limit = 60 * time.Second

// lab is three nodes on hosts of their own, and a load balancer on another.
type lab struct {
	t     *testing.T
	net   *guest.Network
	hosts []*guest.Host
	disks []*disk
	site  *site.Site
	http  *http.Client // from the network's own namespace
	front string       // the load balancer's address

	leaders string // where it sends to the node that leads
	routed  int    // writes sent there
}

// disk is a file system of a node's own, whose device can be slowed down and which can be filled.
type disk struct {
	dir    string
	device string // "7:3"
	group  string // control group of the processes that it is slow for
}

// newLab starts all. It skips where that is not possible.
func newLab(t *testing.T, bin string) *lab {
	t.Helper()
	l := &lab{t: t, net: guest.NewNetwork(t)}
	for _, tool := range []string{"haproxy", "nft", "tc", "mkfs.ext4"} {
		if _, err := exec.LookPath(tool); err != nil {
			guest.Skip(t, tool+" is not installed (deploy/scripts/setup-tests installs it)")
		}
	}
	dir := t.TempDir()
	for i := range 3 {
		l.hosts = append(l.hosts, l.net.NewHost(t))
		l.disks = append(l.disks, newDisk(t, filepath.Join(dir, fmt.Sprintf("n%d", i+1), "data"), l.hosts[i].Name))
	}
	dial := func(_ context.Context, _, address string) (net.Conn, error) { return l.net.Dial(address) }
	l.http = &http.Client{Timeout: time.Minute, Transport: &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute}}
	var err error
	l.site, err = site.Start(t.Context(), site.Config{Bin: bin, Dir: dir, Nodes: 3, Dial: dial, Where: func(i int) site.Place {
		return site.Place{Host: l.hosts[i].Address, Prefix: l.disks[i].prefix(l.hosts[i])}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, n := range l.site.Nodes {
				t.Logf("== %s\n%s", n.Name, said(n))
			}
		}
		_ = l.site.Stop()
		l.keep()
	})
	l.balance(dir)
	return l
}

// keep copies the nodes' logs to the folder MUSTER_KEEP, when that is set.
func (l *lab) keep() {
	dir := os.Getenv("MUSTER_KEEP")
	if dir == "" {
		return
	}
	for _, n := range l.site.Nodes {
		text, err := os.ReadFile(n.Log)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, n.Name+".log"), text, 0o600)
		}
		if err != nil {
			l.t.Log(err)
		}
	}
}

// said is what a node has logged in the end, without its requests.
func said(n *site.Node) string {
	text, _ := os.ReadFile(n.Log)
	var lines []string
	for line := range strings.Lines(string(text)) {
		if !strings.Contains(line, `"msg":"request"`) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-60):], "")
}

// newDisk makes a file system in a file and mounts it on dir.
func newDisk(t *testing.T, dir, group string) *disk {
	t.Helper()
	d := &disk{dir: dir, group: filepath.Join("/sys/fs/cgroup/blkio", group)}
	image := filepath.Join(filepath.Dir(dir), "disk.img")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 512<<20); err != nil {
		t.Fatal(err)
	}
	for _, argv := range [][]string{{"mkfs.ext4", "-q", "-m", "0", image}, {"mount", "-o", "loop", image, dir}} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			guest.Skip(t, fmt.Sprintf("a disk of its own cannot be made for a node: %s: %v: %s", strings.Join(argv, " "), err, out))
		}
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	var st unix.Stat_t
	if err := errors.Join(os.Remove(filepath.Join(dir, "lost+found")), os.Chmod(dir, 0o700), unix.Stat(dir, &st)); err != nil {
		t.Fatal(err)
	}
	d.device = fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev))
	if err := os.Mkdir(d.group, 0o755); err != nil {
		guest.Skip(t, fmt.Sprintf("a disk cannot be slowed down here: %v", err))
	}
	t.Cleanup(func() { _ = os.Remove(d.group) })
	if err := d.slow(0); err != nil {
		guest.Skip(t, fmt.Sprintf("a disk cannot be slowed down here: %v", err))
	}
	return d
}

// prefix begins the command line of a node: in the namespace, and in the group that the disk may be slow for.
func (d *disk) prefix(h *guest.Host) []string {
	script := "echo $$ > " + d.group + `/cgroup.procs && exec "$@"`
	return []string{"sh", "-c", script, "sh", "ip", "netns", "exec", h.Name} // in the namespace /sys is another
}

// slow allows so many writes a second to the disk's device; 0 is no limit.
func (d *disk) slow(writes int) error {
	return os.WriteFile(filepath.Join(d.group, "blkio.throttle.write_iops_device"), fmt.Appendf(nil, "%s %d\n", d.device, writes), 0o200)
}

// fill takes all room on the disk.
func (d *disk) fill() error {
	f, err := os.Create(filepath.Join(d.dir, "ballast"))
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // it holds nothing
	var st unix.Statfs_t
	if err := unix.Statfs(d.dir, &st); err != nil {
		return err
	}
	size := int64(st.Bavail) * st.Bsize
	for _, chunk := range []int64{64 << 20, 1 << 20, 4096} {
		for at := int64(0); err == nil && at < size; at += chunk {
			info, serr := f.Stat()
			if serr != nil {
				return serr
			}
			err = unix.Fallocate(int(f.Fd()), 0, info.Size(), chunk)
		}
		if err != nil && !errors.Is(err, syscall.ENOSPC) {
			return err
		}
		err = nil
	}
	return nil
}

// empty gives the room back.
func (d *disk) empty() error { return os.Remove(filepath.Join(d.dir, "ballast")) }

const (
	frontPort  = "8000"
	leaderPort = "8009" // goes to the node that says that it leads
)

// balance starts HAProxy before the nodes.
func (l *lab) balance(dir string) {
	h := l.net.NewHost(l.t)
	l.front, l.leaders = net.JoinHostPort(h.Address, frontPort), net.JoinHostPort(h.Address, leaderPort)
	var cfg strings.Builder
	fmt.Fprintf(&cfg, `global
	maxconn 1000
defaults
	mode http
	timeout connect 500ms
	timeout client 20s
	timeout server 10s
	timeout check 500ms
	option redispatch
	retries 2
frontend api
	bind %s
	default_backend nodes
backend nodes
	balance roundrobin
	option httpchk GET /readyz
`, l.front)
	servers := func() {
		for _, n := range l.site.Nodes {
			fmt.Fprintf(&cfg, "\tserver %s %s check inter 200 fall 2 rise 2\n", n.Name, n.HTTP)
		}
	}
	servers()
	fmt.Fprintf(&cfg, `frontend writes
	bind %s
	default_backend leader
backend leader
	option httpchk GET /leaderz
`, l.leaders)
	servers()
	file := filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(file, []byte(cfg.String()), 0o600); err != nil {
		l.t.Fatal(err)
	}
	cmd := h.Command("haproxy", "-db", "-f", file)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	l.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if l.t.Failed() {
			l.t.Logf("== haproxy\n%s", said.String())
		}
	})
	c := l.client(l.front)
	l.await("HAProxy to serve", func(ctx context.Context) (bool, error) {
		_, err := client.List[map[string]any](ctx, c, client.Op{Name: "users.list"})
		return err == nil, err
	})
}

// client is the first administrator's at an address.
func (l *lab) client(addr string) *client.Client {
	pw, err := os.ReadFile(l.site.AdminPasswordFile())
	if err != nil {
		l.t.Fatal(err)
	}
	return l.clientOf(client.Config{URL: "http://" + addr + "/api", User: "admin", Password: strings.TrimSpace(string(pw)), HTTP: l.http})
}

func (l *lab) clientOf(cfg client.Config) *client.Client {
	c, err := client.New(cfg)
	if err != nil {
		l.t.Fatal(err)
	}
	return c
}

// await waits for what is named, and fails the test when it does not come.
func (l *lab) await(what string, cond func(ctx context.Context) (bool, error)) {
	l.t.Helper()
	if err := site.WaitFor(l.t.Context(), what, limit, cond); err != nil {
		l.t.Fatal(err)
	}
}

// leader is the number of the node that leads, and the others'.
func (l *lab) leader() (leader, a, b int) {
	l.t.Helper()
	i, err := l.site.Leader(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	return i, (i + 1) % 3, (i + 2) % 3
}

// ready waits until each node answers a linearizable read.
func (l *lab) ready() {
	l.t.Helper()
	var wg sync.WaitGroup
	for i := range l.site.Nodes {
		wg.Go(func() {
			if err := l.site.WaitReady(l.t.Context(), i); err != nil {
				l.t.Error(err)
			}
		})
	}
	wg.Wait()
	if l.t.Failed() {
		l.t.FailNow()
	}
}

// leads waits until exactly one node says that it leads, and a write through the load balancer by that has gone to it.
func (l *lab) leads() {
	l.t.Helper()
	l.await("one node to say at /leaderz that it leads", func(ctx context.Context) (bool, error) {
		said := 0
		for _, n := range l.site.Nodes {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.HTTP+"/leaderz", nil)
			if err != nil {
				return false, err
			}
			resp, err := l.http.Do(req)
			if err != nil {
				return false, err
			}
			if err := resp.Body.Close(); err != nil {
				return false, err
			}
			if resp.StatusCode == http.StatusOK {
				said++
			}
		}
		if said != 1 {
			return false, fmt.Errorf("%d nodes do", said)
		}
		return true, nil
	})
	l.routed++
	l.write(l.client(l.leaders), client.Op{Name: "organizations.create", Body: map[string]string{"name": fmt.Sprint("routed", l.routed)}}, nil)
}

// write does an operation of the administrator through the load balancer until it is done; one that was done is no
// error when it is repeated.
func (l *lab) write(c *client.Client, op client.Op, out any) {
	l.t.Helper()
	l.await(op.Name, func(ctx context.Context) (bool, error) {
		err := c.Call(ctx, op, out)
		code := model.CodeOf(err)
		if code == model.Invalid {
			return false, site.GiveUp(err)
		}
		if out == nil && code == model.Conflict {
			return true, nil
		}
		return err == nil, err
	})
}

func run(cmd *exec.Cmd, input string) error {
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, out)
	}
	return nil
}

// must does something to the lab that has to work.
func (l *lab) must(errs ...error) {
	l.t.Helper()
	if err := errors.Join(errs...); err != nil {
		l.t.Fatal(err)
	}
}

// drop loses what a node sends to another, for each pair, at the bridge. It gives what ends it, which tells how many
// packets were lost.
func (l *lab) drop(pairs ...[2]int) (heal func() int) {
	l.t.Helper()
	rules := "table bridge cut {\n chain f {\n type filter hook forward priority 0; policy accept;\n"
	for _, p := range pairs {
		rules += fmt.Sprintf(" ip saddr %s ip daddr %s counter drop\n", l.hosts[p[0]].Address, l.hosts[p[1]].Address)
	}
	l.must(run(l.net.Command("nft", "-f", "-"), rules+" }\n}\n"))
	return func() int {
		out, err := l.net.Command("nft", "list", "table", "bridge", "cut").Output()
		l.must(err, run(l.net.Command("nft", "delete", "table", "bridge", "cut"), ""))
		return packets(string(out))
	}
}

// lose loses a share of what a host receives, in percent.
func (l *lab) lose(percent int, nodes ...int) (heal func() int) {
	l.t.Helper()
	for _, i := range nodes {
		rules := fmt.Sprintf("table inet loss {\n chain i {\n type filter hook input priority 0; policy accept;\n iif eth0 numgen random mod 100 < %d counter drop\n }\n}\n", percent)
		l.must(run(l.hosts[i].Command("nft", "-f", "-"), rules))
	}
	return func() (lost int) {
		for _, i := range nodes {
			out, err := l.hosts[i].Command("nft", "list", "table", "inet", "loss").Output()
			l.must(err, run(l.hosts[i].Command("nft", "delete", "table", "inet", "loss"), ""))
			lost += packets(string(out))
		}
		return lost
	}
}

// packets adds up the counters of a table.
func packets(text string) (sum int) {
	for _, m := range regexp.MustCompile(`packets (\d+)`).FindAllStringSubmatch(text, -1) {
		n, _ := strconv.Atoi(m[1])
		sum += n
	}
	return sum
}
