package e2e

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/mail"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/deploy/site"
	"github.com/muster-hq/muster/internal/freeport"
)

const mailPassword = "only-for-this-mail-server"

// mailHost is a real mail server, Debian's Exim: it takes letters only after STARTTLS and a login, and keeps them in a folder.
type mailHost struct {
	t    *testing.T
	dir  string
	port int
	cmd  *exec.Cmd
}

// needExim skips the test where there is no Exim, or it cannot run.
func needExim(t *testing.T) {
	t.Helper()
	_, err := exec.LookPath("/usr/sbin/exim4")
	if err == nil && os.Getuid() == 0 {
		return
	}
	const reason = "this needs root and Exim: apt-get install --no-install-recommends exim4-daemon-light"
	if os.Getenv("CI") == "true" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

// newMailHost writes a mail server's configuration, with a certificate for 127.0.0.1.
func newMailHost(t *testing.T) *mailHost {
	t.Helper()
	ports, err := freeport.Take("127.0.0.1", 1)
	if err != nil {
		t.Fatal(err)
	}
	m := &mailHost{t: t, port: ports[0]}
	if m.dir, err = os.MkdirTemp("/tmp", "muster-mail"); err != nil { // no folder above it is closed to Exim's user
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(m.dir) })
	m.certificate()
	conf := fmt.Sprintf(`
spool_directory = %[1]s/spool
log_file_path = %[1]s/%%slog
pid_file_path = %[1]s/pid
primary_hostname = mail.example.org
local_interfaces = 127.0.0.1
daemon_smtp_ports = %[2]d
tls_advertise_hosts = *
tls_certificate = %[1]s/cert.pem
tls_privatekey = %[1]s/key.pem
auth_advertise_hosts = ${if def:tls_in_cipher{*}}
acl_smtp_rcpt = rcpt
keep_environment =
begin acl
rcpt:
  deny !encrypted = *
       message = STARTTLS first
  deny !authenticated = *
       message = log in first
  deny local_parts = nobody
       message = no such user
  accept
begin routers
all:
  driver = accept
  transport = keep
begin transports
keep:
  driver = appendfile
  directory = %[1]s/letters
  maildir_format
  user = Debian-exim
  envelope_to_add
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${if and{{eq{$auth2}{muster}}{eq{$auth3}{%[3]s}}}}
  server_set_id = $auth2
`, m.dir, m.port, mailPassword)
	m.write("exim.conf", conf)
	m.give()
	t.Cleanup(m.stop)
	return m
}

// give makes the folder that of the user whom Exim becomes.
func (m *mailHost) give() {
	m.t.Helper()
	u, err := user.Lookup("Debian-exim")
	if err != nil {
		m.t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	for _, name := range []string{"", "cert.pem", "key.pem"} {
		if err := os.Chown(filepath.Join(m.dir, name), uid, gid); err != nil {
			m.t.Fatal(err)
		}
	}
	if err := os.Chmod(m.dir, 0o755); err != nil { // the node reads the certificate
		m.t.Fatal(err)
	}
}

func (m *mailHost) write(name, text string) string {
	m.t.Helper()
	f := filepath.Join(m.dir, name)
	if err := os.WriteFile(f, []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
	return f
}

func (m *mailHost) certificate() {
	m.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		m.t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		m.t.Fatal(err)
	}
	priv, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		m.t.Fatal(err)
	}
	m.write("cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	m.write("key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: priv})))
}

// start starts the server and waits until it greets.
func (m *mailHost) start() {
	m.t.Helper()
	var out bytes.Buffer
	m.cmd = exec.Command("/usr/sbin/exim4", "-C", filepath.Join(m.dir, "exim.conf"), "-bdf", "-q1h")
	m.cmd.Stdout, m.cmd.Stderr = &out, &out
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	err := site.WaitFor(m.t.Context(), "the mail server", limit, func(context.Context) (bool, error) {
		c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(m.port)))
		if err != nil {
			return false, err
		}
		defer c.Close()
		var b [4]byte
		_, err = io.ReadFull(c, b[:])
		return string(b[:]) == "220 ", err
	})
	if err != nil {
		m.t.Fatalf("%v\n%s", err, out.String())
	}
}

func (m *mailHost) stop() {
	if m.cmd != nil {
		_ = m.cmd.Process.Kill()
		_ = m.cmd.Wait()
		m.cmd = nil
	}
}

// letter is a delivered letter.
type letter struct {
	head mail.Header
	text string
}

// letters are those that were delivered, whose text has the words.
func (m *mailHost) letters(words string) (out []letter) {
	m.t.Helper()
	files, _ := filepath.Glob(filepath.Join(m.dir, "letters", "new", "*"))
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			m.t.Fatal(err)
		}
		l, err := mail.ReadMessage(bytes.NewReader(b))
		if err != nil {
			m.t.Fatalf("%v\n%s", err, b)
		}
		body, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, l.Body))
		if err != nil {
			m.t.Fatalf("%v\n%s", err, b)
		}
		if strings.Contains(string(body), words) {
			out = append(out, letter{l.Header, string(body)})
		}
	}
	return out
}

func (m *mailHost) await(words string) letter {
	m.t.Helper()
	var got []letter
	err := site.WaitFor(m.t.Context(), "a letter with "+words, 2*limit, func(context.Context) (bool, error) {
		got = m.letters(words)
		return len(got) > 0, nil
	})
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(m.dir, "mainlog"))
		m.t.Fatalf("%v\n%s", err, log)
	}
	return got[0]
}

// TestMail has a node send its letters by a real mail server with STARTTLS and a login: registrations and notices come
// there, names and addresses add nothing to their heads, nothing is lost while the mail server is away, and the log tells
// no secret.
func TestMail(t *testing.T) {
	needExim(t)
	m := newMailHost(t)
	m.start()
	pw := filepath.Join(t.TempDir(), "smtp-password")
	if err := os.WriteFile(pw, []byte(mailPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := startSite(t, site.Config{Nodes: 1, Debug: true, Prefix: []string{"env", "SSL_CERT_FILE=" + filepath.Join(m.dir, "cert.pem")}, Args: []string{
		"--open-registration", "--smtp", fmt.Sprintf("smtp://muster@127.0.0.1:%d", m.port), "--smtp-from", "Muster <muster@example.org>", "--smtp-password-file", pw}})
	for _, bad := range [][2]string{
		{"anna", "anna@example.org\r\nBcc: eve@example.org"}, {"anna", "anna@example.org, eve@example.org"}, {"anna", "Anna <anna@example.org>"},
		{"anna", "anna@example.org>\r\nRCPT TO:<eve@example.org"}, {"anna\r\nBcc: eve@example.org", "anna@example.org"}, {"anna", "anna\u0000@example.org"},
	} {
		if status, text := r.register(bad[0], bad[1]); status != http.StatusBadRequest {
			t.Errorf("registering %q with %q: %d %s", bad[0], bad[1], status, text)
		}
	}
	if status, text := r.register("Zoë <x>, \"eve@example.org\"", "zoe@example.org"); status != http.StatusOK {
		t.Fatalf("register: %d %s", status, text)
	}
	got := m.await("Zoë <x>")
	r.checkHead(got, "zoe@example.org")
	r.confirm(got, "Zoë <x>, \"eve@example.org\"")

	channel := map[string]any{"name": "ops", "channel": "mail", "value": `{"to": "ops@example.org"}`,
		"notifiableViews": []any{map[string]any{"actionType": "compError", "active": true}}}
	r.call(client.Op{Name: "notifications.create", Params: r.p(), Body: channel}, nil)
	m.stop()
	r.call(client.Op{Name: "notifications.run", Params: r.p("chan", "ops")}, nil)
	if status, text := r.register("ben", "ben@example.org"); status != http.StatusServiceUnavailable || !strings.Contains(text, "try again") {
		t.Errorf("register without the mail server: %d %s", status, text)
	}
	r.triedInVain("ops")
	m.start()
	r.checkHead(m.await("id msg_"), "ops@example.org")
	if status, text := r.register("ben", "ben@example.org"); status != http.StatusOK {
		t.Fatalf("register again: %d %s", status, text)
	}
	last := m.await("\"ben\"")
	r.confirm(last, "ben")
	if n := len(m.letters("")); n != 3 {
		t.Errorf("%d letters, expected one for each registration and one for the notice", n)
	}
	if status, _ := r.register("carl", "nobody@example.org"); status != http.StatusServiceUnavailable {
		t.Errorf("an address that the mail server refuses: %d", status)
	}
	r.site.Nodes[0].Dump()
	log, err := os.ReadFile(r.site.Nodes[0].Log)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{mailPassword, base64.StdEncoding.EncodeToString([]byte("\x00muster\x00" + mailPassword)), tokenOf(got), tokenOf(last), registrant} {
		if secret == "" || bytes.Contains(log, []byte(secret)) {
			t.Errorf("the log tells the secret %q", secret)
		}
	}
}

// registrant is the password of whoever registers.
const registrant = "a-password-of-their-own"

func (r *rig) register(name, address string) (status int, text string) {
	r.t.Helper()
	body, err := json.Marshal(map[string]string{"username": name, "email": address, "password": registrant})
	if err != nil {
		r.t.Fatal(err)
	}
	err = site.WaitFor(r.ctx, "to be let register", limit, func(ctx context.Context) (bool, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.site.Nodes[0].API()+"/account/_register", bytes.NewReader(body))
		if err != nil {
			return false, err
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return false, err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		status, text = resp.StatusCode, string(b)
		return status != http.StatusTooManyRequests, err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return status, text
}

var tokenLine = regexp.MustCompile(`(?m)^  ([A-Z2-7]+)$`)

func tokenOf(l letter) string {
	if found := tokenLine.FindStringSubmatch(l.text); found != nil {
		return found[1]
	}
	return ""
}

// confirm makes the account that a letter is about.
func (r *rig) confirm(l letter, name string) {
	r.t.Helper()
	var made struct{ Username string }
	r.call(client.Op{Name: "account.confirm", Body: map[string]string{"token": tokenOf(l)}}, &made)
	if made.Username != name {
		r.t.Errorf("the account is %q, expected %q", made.Username, name)
	}
}

// checkHead looks that the head of a letter has what it should and no more.
func (r *rig) checkHead(l letter, to string) {
	r.t.Helper()
	known := []string{"From", "To", "Subject", "Date", "Mime-Version", "Content-Type", "Content-Transfer-Encoding", "Auto-Submitted", "Message-Id",
		"Return-Path", "Envelope-To", "Received"}
	for name := range l.head {
		if !slices.Contains(known, name) {
			r.t.Errorf("the letter has the line %s: %q", name, l.head[name])
		}
	}
	if l.head.Get("To") != to || l.head.Get("Envelope-To") != to || !strings.Contains(l.head.Get("Received"), "TLS") || !strings.Contains(l.head.Get("Received"), "esmtpsa") {
		r.t.Errorf("the letter to %s has the head %q", to, l.head)
	}
}

// triedInVain waits until a channel could not be told something.
func (r *rig) triedInVain(channel string) {
	r.t.Helper()
	err := site.WaitFor(r.ctx, "a delivery that fails", limit, func(context.Context) (bool, error) {
		var l struct{ Items []struct{ Error string } }
		r.call(client.Op{Name: "notifications.deliveries.list", Params: r.p("chan", channel)}, &l)
		return slices.ContainsFunc(l.Items, func(d struct{ Error string }) bool { return d.Error != "" }), nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
}
