// Package rabbittest starts a private RabbitMQ for tests that want the real thing.
package rabbittest

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/muster-hq/muster/internal/freeport"
)

// binDir is where Debian keeps the programs; those on the PATH change user.
const binDir = "/usr/lib/rabbitmq/bin"

const password = "only-for-this-test"

// Broker is a running RabbitMQ.
type Broker struct {
	URL      string // amqp URL with the orchestrator's user and password
	AgentURL string // amqp URL without any
	env      []string
	options  Options
}

// Options of StartAt.
type Options struct {
	Host   string   // address to listen on; "" is 127.0.0.1
	Port   int      // 0 is a free one of the loopback
	Prefix []string // put before each command line: a network namespace
	Auth   string   // URL of the endpoints user, vhost, resource and topic, without a final slash
}

// PasswordFile writes the orchestrator's password to a file of the test's, and gives its path.
func PasswordFile(t testing.TB) string {
	t.Helper()
	f := filepath.Join(t.TempDir(), "broker-password")
	if err := os.WriteFile(f, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return f
}

// Need skips the test, with the reason, where RabbitMQ is not installed; with CI=true it fails it.
func Need(t testing.TB) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(binDir, "rabbitmq-server")); err != nil {
		const reason = "RabbitMQ is not installed: apt-get install --no-install-recommends rabbitmq-server"
		if os.Getenv("CI") == "true" {
			t.Fatal(reason)
		}
		t.Skip(reason)
	}
}

// Start starts a broker on private ports of the loopback, which asks auth (rabbitauth.Handler) about
// everybody but the orchestrator, and stops it at the end of the test. Without RabbitMQ on the machine
// the test is skipped, or fails where CI=true.
func Start(t testing.TB, auth http.Handler) *Broker {
	t.Helper()
	Need(t)
	web := httptest.NewServer(auth)
	t.Cleanup(web.Close)
	return StartAt(t, Options{Auth: web.URL})
}

// StartAt starts a broker as Start does, where and asking whom the options say.
func StartAt(t testing.TB, o Options) *Broker {
	t.Helper()
	Need(t)
	// The Erlang node's files must not outlive the test, nor hold its end up: no t.TempDir, whose removal
	// fails while the last of them is still being written.
	dir, err := os.MkdirTemp("", "rabbittest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p, err := freeport.Take("127.0.0.1", 3)
	if err != nil {
		t.Fatal(err)
	}
	if o.Port == 0 {
		o.Port = p[0]
	}
	if o.Host == "" {
		o.Host = "127.0.0.1"
	}
	dist, epmd := p[1], p[2]
	b := &Broker{
		URL:      fmt.Sprintf("amqp://orchestrator:%s@%s:%d", password, o.Host, o.Port),
		AgentURL: fmt.Sprintf("amqp://%s:%d", o.Host, o.Port),
		options:  o,
	}
	b.env = environment(dir, o.Host, o.Port, dist, epmd)
	write(t, dir, "rabbitmq.conf", configuration(o.Auth))
	write(t, dir, "enabled_plugins", "[rabbitmq_auth_backend_http,rabbitmq_auth_backend_cache].\n")
	b.run(t, dir, epmd)
	return b
}

func environment(dir, host string, port, dist, epmd int) []string {
	home := filepath.Join(dir, "home")
	return append(os.Environ(), "HOME="+home, "LANG=C.UTF-8", "PATH="+binDir+":"+os.Getenv("PATH"),
		fmt.Sprint("ERL_EPMD_PORT=", epmd), "ERL_EPMD_ADDRESS=127.0.0.1",
		fmt.Sprintf("RABBITMQ_NODENAME=muster%d@localhost", port),
		"RABBITMQ_NODE_IP_ADDRESS="+host, fmt.Sprint("RABBITMQ_NODE_PORT=", port), fmt.Sprint("RABBITMQ_DIST_PORT=", dist),
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

// command prepares one of the broker's programs.
func (b *Broker) command(program string, args ...string) *exec.Cmd {
	argv := append(append([]string{}, b.options.Prefix...), filepath.Join(binDir, program))
	argv = append(argv, args...)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = b.env
	return cmd
}

// run starts the server and waits until it takes logins.
func (b *Broker) run(t testing.TB, dir string, epmd int) {
	t.Helper()
	var out bytes.Buffer
	cmd := b.command("rabbitmq-server")
	cmd.Stdout, cmd.Stderr = &out, &out
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
	pid := filepath.Join(dir, "pid") // written early, by the script
	await(t, "RabbitMQ is up", exited, func() bool {
		return b.command("rabbitmqctl", "-q", "wait", "--timeout", "60", pid).Run() == nil
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
	argv := append(append([]string{}, b.options.Prefix...), "epmd", "-port", fmt.Sprint(epmd), "-kill")
	kill := exec.Command(argv[0], argv[1:]...)
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
	out, err := b.command("rabbitmqctl", append([]string{"-q"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("rabbitmqctl %s: %v: %s", args[0], err, out)
	}
	return string(out)
}
