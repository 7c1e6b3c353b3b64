// Package rabbittest starts a private RabbitMQ for tests that want the real thing.
package rabbittest

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// binDir is where Debian keeps the programs; those on the PATH change user.
const binDir = "/usr/lib/rabbitmq/bin"

const password = "only-for-this-test"

// Broker is a running RabbitMQ.
type Broker struct {
	URL      string // amqp URL with the orchestrator's user and password
	AgentURL string // amqp URL without any
	env      []string
}

// Start starts a broker on private ports of the loopback, which asks auth (rabbitauth.Handler) about
// everybody but the orchestrator, and stops it at the end of the test. Without RabbitMQ on the machine
// the test is skipped, or fails where CI=true.
func Start(t testing.TB, auth http.Handler) *Broker {
	t.Helper()
	if _, err := os.Stat(filepath.Join(binDir, "rabbitmq-server")); err != nil {
		const reason = "RabbitMQ is not installed: apt-get install --no-install-recommends rabbitmq-server"
		if os.Getenv("CI") == "true" {
			t.Fatal(reason)
		}
		t.Skip(reason)
	}
	web := httptest.NewServer(auth)
	t.Cleanup(web.Close)
	// The Erlang node's files must not outlive the test, nor hold its end up: no t.TempDir, whose removal
	// fails while the last of them is still being written.
	dir, err := os.MkdirTemp("", "rabbittest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := freePorts(t, 3)
	port, dist, epmd := p[0], p[1], p[2]
	b := &Broker{
		URL:      fmt.Sprintf("amqp://orchestrator:%s@127.0.0.1:%d", password, port),
		AgentURL: fmt.Sprintf("amqp://127.0.0.1:%d", port),
	}
	b.env = environment(dir, port, dist, epmd)
	write(t, dir, "rabbitmq.conf", configuration(web.URL))
	write(t, dir, "enabled_plugins", "[rabbitmq_auth_backend_http,rabbitmq_auth_backend_cache].\n")
	b.run(t, dir, port, epmd)
	return b
}

func environment(dir string, port, dist, epmd int) []string {
	home := filepath.Join(dir, "home")
	return append(os.Environ(), "HOME="+home, "LANG=C.UTF-8", "PATH="+binDir+":"+os.Getenv("PATH"),
		fmt.Sprint("ERL_EPMD_PORT=", epmd), "ERL_EPMD_ADDRESS=127.0.0.1",
		fmt.Sprintf("RABBITMQ_NODENAME=muster%d@localhost", port),
		"RABBITMQ_NODE_IP_ADDRESS=127.0.0.1", fmt.Sprint("RABBITMQ_NODE_PORT=", port), fmt.Sprint("RABBITMQ_DIST_PORT=", dist),
		"RABBITMQ_MNESIA_BASE="+filepath.Join(dir, "mnesia"), "RABBITMQ_LOG_BASE="+filepath.Join(dir, "log"),
		"RABBITMQ_PID_FILE="+filepath.Join(dir, "pid"), "RABBITMQ_CONFIG_FILE="+filepath.Join(dir, "rabbitmq.conf"),
		"RABBITMQ_ENABLED_PLUGINS_FILE="+filepath.Join(dir, "enabled_plugins"), "RABBITMQ_CONF_ENV_FILE=/dev/null",
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1}")
}

func configuration(web string) string {
	return strings.Join([]string{
		"default_user = orchestrator", "default_pass = " + password,
		"auth_backends.1 = internal", "auth_backends.2 = cache",
		"auth_cache.cached_backend = http", "auth_cache.cache_ttl = 15000",
		"auth_http.http_method = post",
		"auth_http.user_path = " + web + "/user", "auth_http.vhost_path = " + web + "/vhost",
		"auth_http.resource_path = " + web + "/resource", "auth_http.topic_path = " + web + "/topic",
		"log.console = false", "",
	}, "\n")
}

func write(t testing.TB, dir, name, text string) {
	t.Helper()
	for _, d := range []string{"home", "mnesia", "log"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// run starts the server and waits until it takes logins.
func (b *Broker) run(t testing.TB, dir string, port, epmd int) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command(filepath.Join(binDir, "rabbitmq-server"))
	cmd.Env, cmd.Stdout, cmd.Stderr = b.env, &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 5 * time.Second // epmd inherits the output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // what matters is what it answered before
		close(exited)
	}()
	t.Cleanup(func() { b.stop(t, cmd, exited, epmd) })
	await(t, "RabbitMQ takes connections", exited, func() bool {
		c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
		if err == nil {
			_ = c.Close() // only a probe
		}
		return err == nil
	})
	b.Ctl(t, "await_startup", "--timeout", "60")
}

func (b *Broker) stop(t testing.TB, cmd *exec.Cmd, exited <-chan struct{}, epmd int) {
	_ = cmd.Process.Signal(syscall.SIGTERM) // it may be gone
	select {
	case <-exited:
	case <-time.After(20 * time.Second):
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-exited
	}
	kill := exec.Command("epmd", "-port", fmt.Sprint(epmd), "-kill")
	kill.Env = b.env
	if out, err := kill.CombinedOutput(); err != nil {
		t.Logf("epmd: %v: %s", err, out)
	}
}

// await polls until cond holds; it fails the test after a minute or when the server is gone.
func await(t testing.TB, what string, gone <-chan struct{}, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for !cond() {
		select {
		case <-tick.C:
		case <-gone:
			t.Fatalf("RabbitMQ ended before: %s", what)
		case <-deadline:
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// Ctl runs rabbitmqctl and returns what it printed.
func (b *Broker) Ctl(t testing.TB, args ...string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(binDir, "rabbitmqctl"), append([]string{"-q"}, args...)...)
	cmd.Env = b.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("rabbitmqctl %s: %v: %s", args[0], err, out)
	}
	return string(out)
}

// freePorts finds ports that nobody listens on.
func freePorts(t testing.TB, n int) []int {
	t.Helper()
	ports := make([]int, n)
	for i := range ports {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = ln.Close() }()
		ports[i] = ln.Addr().(*net.TCPAddr).Port
	}
	return ports
}
