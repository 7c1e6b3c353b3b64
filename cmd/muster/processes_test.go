package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/internal/freeport"
)

// process is `muster server` in a process of its own.
type process struct {
	*node
	bin   string
	log   *output
	cmd   *exec.Cmd
	ended chan error
}

// threeProcesses starts a cluster of three built servers.
func threeProcesses(t *testing.T, more ...string) []*process {
	t.Helper()
	return startProcesses(t, buildMuster(t), testPorts(t, 12), more...)
}

// startProcesses starts a cluster of three servers of a program, on twelve ports.
func startProcesses(t *testing.T, bin string, at []string, more ...string) []*process {
	t.Helper()
	var all []*process
	for i := range 3 {
		p := &process{node: nodeOn(t, at[4*i:4*i+4], fmt.Sprintf("n%d", i+1), more...), bin: bin, log: &output{}}
		p.program = &program{ended: make(chan struct{})}
		if i > 0 {
			p.args = append(p.args, "--join", all[0].cluster, "--token-file", all[0].joinToken(all[0].passwordFile()))
		}
		t.Cleanup(func() {
			_ = p.cmd.Process.Kill()
			if t.Failed() {
				t.Logf("%s said:\n%s", p.name, p.log)
			}
		})
		p.run()
		p.waitLogin(all0(all, p).passwordFile())
		all = append(all, p)
	}
	all[0].waitVoters(all[0].passwordFile(), 3)
	return all
}

func all0(all []*process, p *process) *process {
	if len(all) > 0 {
		return all[0]
	}
	return p
}

func (p *process) run() {
	p.t.Helper()
	p.cmd = exec.Command(p.bin, p.args...)
	p.cmd.Stderr = p.log
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	ended := make(chan error, 1)
	p.ended = ended
	go func() { ended <- p.cmd.Wait() }()
}

// end sends a signal and waits.
func (p *process) end(sig syscall.Signal) error {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
	select {
	case err := <-p.ended:
		return err
	case <-time.After(patience):
		p.t.Fatalf("%s did not end", p.name)
		return nil
	}
}

// probe is the status of a health endpoint, 0 when there is no answer.
func (p *process) probe(path string) int {
	c := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get("http://" + p.http + path)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode
}

// clusterHealth runs `muster cluster status` over all the nodes.
func clusterHealth(t *testing.T, all []*process, more ...string) (stdout, stderr string, code int) {
	t.Helper()
	var servers []string
	for _, p := range all {
		servers = append(servers, p.http)
	}
	return muster(t, append([]string{"cluster", "status", "--server", strings.Join(servers, ","), "--user", adminName,
		"--password-file", all[0].passwordFile()}, more...)...)
}

// TestStatusTellsHealthByItsExitCode kills the nodes one by one.
func TestStatusTellsHealthByItsExitCode(t *testing.T) {
	t.Parallel()
	all := threeProcesses(t)
	until := func(want int, what string) string {
		t.Helper()
		var out, errs string
		eventually(t, fmt.Sprintf("status %d: %s", want, what), func() bool {
			var code int
			out, errs, code = clusterHealth(t, all)
			return code == want
		})
		return out + errs
	}
	out := until(exitDone, "all are healthy")
	for _, want := range []string{"n1", "n2", "n3", "leader", "boltdb", "hub: "} {
		if !strings.Contains(out, want) {
			t.Errorf("the table lacks %q:\n%s", want, out)
		}
	}
	for _, form := range []string{"json", "yaml"} {
		var st spec.ClusterStatus
		var out string
		eventually(t, "a healthy cluster as "+form, func() bool { // a machine that is busy elects now and then
			var code int
			out, _, code = clusterHealth(t, all, "-o", form)
			return code == exitDone
		})
		if form == "json" && json.Unmarshal([]byte(out), &st) != nil || !strings.Contains(out, "certificateExpires") {
			t.Errorf("-o %s:\n%s", form, out)
		}
		if form == "json" && (!st.Healthy || st.Voters != 3 || st.Tolerance != 1 || st.Members[0].DiskFree == 0 || st.Schema < 1) {
			t.Errorf("the status is %+v", st)
		}
	}
	eventually(t, "all to be alive and ready, and one of them to lead", func() bool {
		leaders := 0
		for _, p := range all {
			if p.probe("/livez") != 200 || p.probe("/readyz") != 200 {
				return false
			}
			if p.probe("/leaderz") == 200 {
				leaders++
			}
		}
		return leaders == 1
	})
	_ = all[0].end(syscall.SIGKILL)
	if out := until(exitTasksFailed, "one of three is dead"); !strings.Contains(out, "not healthy: n1 (does not answer") {
		t.Errorf("it does not say who:\n%s", out)
	}
	_ = all[1].end(syscall.SIGKILL)
	if out := until(exitFailed, "no leader"); !strings.Contains(out, "the cluster has no leader") {
		t.Errorf("it does not say what is wrong:\n%s", out)
	}
	eventually(t, "the last one to be no longer ready", func() bool { return all[2].probe("/readyz") == 503 })
	if all[2].probe("/livez") != 200 || all[2].probe("/leaderz") != 503 {
		t.Errorf("without a leader: livez %d, leaderz %d", all[2].probe("/livez"), all[2].probe("/leaderz"))
	}
	_ = all[2].end(syscall.SIGKILL)
	if _, errs, code := clusterHealth(t, all); code != exitUnreachable || !strings.Contains(errs, "no node answers") {
		t.Errorf("with all dead: status %d, %s", code, errs)
	}
}

// haproxy puts HAProxy in front of the nodes, as docs/operations.md has it, and gives its address. With repeats it
// repeats what got no answer, under a key that it gives each write.
func haproxy(t *testing.T, all []*process, repeats bool) string {
	t.Helper()
	bin, err := exec.LookPath("haproxy")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("haproxy: %v", err)
		}
		t.Skipf("haproxy is not installed: %v", err)
	}
	port, err := freeport.Take(loopback, 1)
	if err != nil {
		t.Fatal(err)
	}
	addr := loopback + ":" + strconv.Itoa(port[0])
	conf := "global\n  maxconn 500\ndefaults\n  mode http\n  timeout connect 2s\n  timeout client 60s\n  timeout server 60s\n  option redispatch\n  retries 3\n" +
		"frontend api\n  bind " + addr + "\n  default_backend nodes\n"
	if repeats {
		conf += "  option http-buffer-request\n  acl write method POST PUT DELETE\n  acl keyed req.hdr(Idempotency-Key) -m found\n" +
			"  acl unkeyed path_beg /api/cluster /api/account\n  acl unkeyed path_reg /(webhooks|notifications)/[^/]+/_run$\n" +
			"  http-request set-header Idempotency-Key %[uuid()] if write !keyed !unkeyed\n  http-request disable-l7-retry if write unkeyed !keyed\n"
	}
	conf += "backend nodes\n  balance roundrobin\n  option httpchk GET /readyz\n  http-check expect status 200\n  default-server check inter 200ms fall 2 rise 2\n"
	if repeats {
		conf += "  retries 10\n  retry-on conn-failure empty-response junk-response 0rtt-rejected 503\n"
	}
	for _, p := range all {
		conf += "  server " + p.name + " " + p.http + "\n"
	}
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	log := &output{}
	cmd := exec.Command(bin, "-db", "-f", file)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("haproxy said:\n%s", log)
		}
	})
	eventually(t, "haproxy", func() bool {
		resp, err := http.Get("http://" + addr + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return addr
}

// TestRollingRestartBehindHAProxy stops and starts each of three nodes, under writes and reads that never pause: none
// of them may fail, nor may a write be missing. Nor when the leader is killed, where HAProxy repeats under keys.
func TestRollingRestartBehindHAProxy(t *testing.T) {
	all := threeProcesses(t, "--drain", "3s")
	password, err := readSecret(all[0].passwordFile())
	if err != nil {
		t.Fatal(err)
	}
	var wrote atomic.Int64
	again := func(p *process) {
		before := wrote.Load()
		p.run()
		eventually(t, "all to be healthy again", func() bool {
			_, _, code := clusterHealth(t, all)
			return code == exitDone && p.probe("/readyz") == 200 && wrote.Load() > before+20
		})
	}
	under := func(name, addr string, do func()) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var wg sync.WaitGroup
		for i := range 4 {
			c, err := client.New(client.Config{URL: "http://" + addr + "/api", User: adminName, Password: password})
			if err != nil {
				t.Fatal(err)
			}
			wg.Go(func() {
				for k := 0; ctx.Err() == nil; k++ {
					name := fmt.Sprintf("%s-%d-%d", name, i, k)
					if err := c.Call(t.Context(), client.Op{Name: "organizations.create", Body: map[string]string{"name": name}}, nil); err != nil {
						t.Errorf("writing %s: %v", name, err)
					} else {
						wrote.Add(1)
					}
					if err := c.Call(t.Context(), client.Op{Name: "organizations.show", Params: map[string]string{"org": name}}, nil); err != nil {
						t.Errorf("reading %s: %v", name, err)
					}
					select { // the machine is shared
					case <-time.After(20 * time.Millisecond):
					case <-ctx.Done():
					}
				}
			})
		}
		do()
		cancel()
		wg.Wait()
	}
	under("stopped", haproxy(t, all, false), func() {
		for _, p := range all {
			led := p.probe("/leaderz") == 200
			if err := p.end(syscall.SIGTERM); err != nil {
				t.Errorf("%s ended with %v", p.name, err)
			}
			if led && strings.Contains(p.log.String(), "not handed over") {
				t.Errorf("%s kept its leadership", p.name)
			}
			again(p)
		}
	})
	under("killed", haproxy(t, all, true), func() {
		before := wrote.Load()
		eventually(t, "writes through the other", func() bool { return wrote.Load() > before+20 })
		i := slices.IndexFunc(all, func(p *process) bool { return p.probe("/leaderz") == 200 })
		if i < 0 {
			i = 0 // one that is busy elects now and then
		}
		_ = all[i].end(syscall.SIGKILL)
		again(all[i])
	})
	c, err := all[1].client(all[0].passwordFile())
	if err != nil {
		t.Fatal(err)
	}
	there, err := client.List[map[string]any](t.Context(), c, client.Op{Name: "organizations.list"})
	if err != nil || int64(len(there)) != wrote.Load() {
		t.Errorf("%d organizations are there, %d were acknowledged: %v", len(there), wrote.Load(), err)
	}
	t.Logf("%d writes, each read again", wrote.Load())
}
