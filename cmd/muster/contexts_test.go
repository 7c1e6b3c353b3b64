package main

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A login is kept readable by its owner alone, without the password, and is used until it is ended.
func TestLoginIsKeptAndEnded(t *testing.T) {
	sh := newShell(t)
	api := sh.env["MUSTER_API"]
	sh.env = map[string]string{"XDG_CONFIG_HOME": filepath.Join(sh.dir, "config")}
	if _, errs, code := sh.run("user list"); code != exitUsage || !strings.Contains(errs, "muster login") {
		t.Errorf("nobody is logged in: %d %s", code, errs)
	}
	if _, _, code := sh.run("login --api " + api + " --user admin --password-file " + sh.file("bad", "wrong password")); code != exitNotAllowed {
		t.Errorf("a wrong password: %d", code)
	}
	sh.ok("login --api " + api + " --user admin --password-file " + filepath.Join(sh.dir, "pw"))
	path := filepath.Join(sh.dir, "config", "muster", "contexts.yaml")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", info, err)
	}
	if b, err := os.ReadFile(path); err != nil || strings.Contains(string(b), "correct horse") {
		t.Errorf("the file holds the password, or nothing: %v", err)
	}
	if out := sh.ok("user list"); !strings.Contains(out, "admin") {
		t.Errorf("users: %s", out)
	}
	if out := sh.ok("account sessions"); !strings.Contains(out, "muster on") {
		t.Errorf("sessions: %s", out)
	}
	if out := sh.ok("context list"); !strings.Contains(out, "default  true     admin  "+api) {
		t.Errorf("contexts: %s", out)
	}
	// The token goes to its own server only.
	if _, _, code := sh.run("user list --api http://127.0.0.1:1/api"); code != exitUsage {
		t.Errorf("at another server: %d", code)
	}
	if _, _, code := sh.run("context use nowhere"); code != exitUsage {
		t.Errorf("a context that is none: %d", code)
	}
	sh.ok("logout")
	if out := sh.ok("context list -o name"); out != "" {
		t.Errorf("contexts after logging out: %s", out)
	}
	if _, _, code := sh.run("user list"); code != exitUsage {
		t.Errorf("after logging out: %d", code)
	}
}

// The organization and the environment of a login are used where a command names none, at its own server and by its own user only.
func TestContextKeepsAPlace(t *testing.T) {
	sh := newShell(t)
	api := sh.env["MUSTER_API"]
	sh.env = map[string]string{"XDG_CONFIG_HOME": filepath.Join(sh.dir, "config")}
	if _, errs, code := sh.run("context show"); code != exitUsage || !strings.Contains(errs, "muster login") {
		t.Errorf("without a login: %d %s", code, errs)
	}
	login := "login --api " + api + " --user admin --password-file " + filepath.Join(sh.dir, "pw")
	sh.ok(login)
	for _, org := range []string{"acme", "corp"} {
		sh.ok("organization create " + org)
		sh.ok("environment create Prod -O " + org)
		sh.ok("host create " + org + "1 -O " + org + " -E Prod")
	}
	refused := func(line, want string) {
		t.Helper()
		if _, errs, code := sh.run(line); code != exitUsage || !strings.Contains(errs, want) {
			t.Errorf("%s: %d %s", line, code, errs)
		}
	}
	hosts := func(line, want string) {
		t.Helper()
		if out := strings.TrimSpace(sh.ok("host list -o name" + line)); out != want {
			t.Errorf("host list%s: %q, want %q", line, out, want)
		}
	}
	refused("host list", "muster context set")
	refused("context set", "set what?")
	refused("context set -E Prod", "of which organization?")
	refused("context set nowhere -O acme", "there is no context")
	sh.ok("context set -O acme -E Prod")
	hosts("", "acme1")
	if out := sh.ok("context show"); !strings.Contains(out, "acme") || !strings.Contains(out, "Prod") || strings.Contains(out, "token") {
		t.Errorf("shown: %s", out)
	}
	// Flags and variables win, and the environment is not that of another organization.
	hosts(" -O corp -E Prod", "corp1")
	refused("host list -O corp", "which environment?")
	sh.env["MUSTER_ORGANIZATION"] = "corp"
	refused("host list", "which environment?")
	delete(sh.env, "MUSTER_ORGANIZATION")
	// What the completion offers is of there, too.
	if out := sh.ok("__complete host show ac"); !strings.Contains(out, "acme1") {
		t.Errorf("completed: %s", out)
	}
	sh.ok(login) // again, at the same server
	hosts("", "acme1")
	refused("host list --user admin --password-file "+filepath.Join(sh.dir, "pw")+" --api "+api, "which organization?")
	sh.ok("context set -O corp")
	refused("host list", "which environment?")
	sh.ok("context set default -E Prod")
	hosts("", "corp1")
	sh.ok("context set --organization= --environment=")
	refused("host list", "which organization?")
}

func TestInvitationCommands(t *testing.T) {
	sh := newShell(t)
	sh.ok("organization create acme")
	sh.ok("group add users newt")
	id := strings.Fields(sh.ok("invitation list -o name"))
	if len(id) != 1 {
		t.Fatalf("invitations %q", id)
	}
	if _, _, code := sh.run("invitation confirm " + id[0]); code != exitConflict {
		t.Errorf("before there is such a user: %d", code)
	}
	sh.ok("user create newt --new-password-file " + filepath.Join(sh.dir, "pw"))
	sh.ok("invitation confirm " + id[0])
	if out := sh.ok("invitation list -o name"); out != "" {
		t.Errorf("afterwards: %s", out)
	}
}

func TestLoginConfiguration(t *testing.T) {
	for _, c := range []struct {
		l    loginConfig
		want string
	}{
		{loginConfig{TrustedProxies: "10.0.0.0/8,192.0.2.1", ProxyProtocol: true, SMTP: "smtp://mail:25", SMTPFrom: "m@example.org"}, ""},
		{loginConfig{TrustedProxies: "nowhere"}, "trusted-proxies"},
		{loginConfig{ProxyProtocol: true}, "needs --trusted-proxies"},
		{loginConfig{SMTP: "smtps://mail:465", SMTPFrom: "m@example.org"}, ""},
		{loginConfig{SMTP: "mail:25", SMTPFrom: "m@example.org"}, "smtp"},
		{loginConfig{SMTP: "smtp://a:secret@mail:25", SMTPFrom: "m@example.org"}, "smtp-password-file"},
		{loginConfig{SMTP: "smtp://mail:25"}, "smtp-from"},
	} {
		got := fmt.Sprint(c.l.validate())
		if c.want == "" && got != "[]" || !strings.Contains(got, c.want) || strings.Contains(got, "secret") {
			t.Errorf("%+v: %s", c.l, got)
		}
	}
}

func TestOpenIDConfiguration(t *testing.T) {
	for _, c := range []struct {
		o           oidcConfig
		public, say string
	}{
		{oidcConfig{}, "", ""},
		{oidcConfig{Issuer: "https://login.example.org", ClientID: "muster"}, "https://muster.example.org/api", ""},
		{oidcConfig{Issuer: "https://login.example.org", ClientID: "muster"}, "", "needs --public-url"},
		{oidcConfig{Issuer: "http://login.example.org", ClientID: "muster"}, "https://muster.example.org/api", "over https only"},
		{oidcConfig{Issuer: "https://login.example.org"}, "https://muster.example.org/api", "client id"},
		{oidcConfig{Register: true}, "", "need --oidc-issuer"},
	} {
		got := fmt.Sprint(c.o.validate(c.public))
		if c.say == "" && got != "[]" || !strings.Contains(got, c.say) {
			t.Errorf("%+v: %s", c.o, got)
		}
	}
	for text, want := range map[string]string{
		"oidc-issuer: https://login.example.org\n": "--public-url",
		"trusted-proxies: nowhere\n":               "--trusted-proxies",
	} {
		if _, err := loaded(t, "name: n1\n"+text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// The PROXY protocol counts from the proxies that are named, and from nobody else.
func TestProxyProtocol(t *testing.T) {
	for proxies, want := range map[string]string{"127.0.0.1": "203.0.113.9:77", "192.0.2.1": ""} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ln, err = loginConfig{TrustedProxies: proxies, ProxyProtocol: true}.listener(ln)
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.RemoteAddr) })}
		t.Cleanup(func() { s.Close() })
		go s.Serve(ln)
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		fmt.Fprintf(conn, "PROXY TCP4 203.0.113.9 198.51.100.1 77 8000\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		if err != nil || want != "" && string(b) != want || want == "" && resp.StatusCode != 400 {
			t.Errorf("with %s trusted: %d %s %v", proxies, resp.StatusCode, b, err)
		}
	}
}

// A letter arrives as it was written.
func TestLetter(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	got := make(chan string, 1)
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, "220 test\r\n")
		var all strings.Builder
		data := false
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			line := lines.Text()
			all.WriteString(line + "\n")
			switch {
			case data && line == ".":
				data = false
				fmt.Fprint(conn, "250 ok\r\n")
			case data:
			case line == "DATA":
				data = true
				fmt.Fprint(conn, "354 go on\r\n")
			case line == "QUIT":
				got <- all.String()
				fmt.Fprint(conn, "221 bye\r\n")
				return
			default:
				fmt.Fprint(conn, "250 ok\r\n")
			}
		}
	}()
	m := &mailServer{addr: ln.Addr().String(), from: "Muster <muster@example.org>"}
	text := "muster account confirm TOKEN\n.\nümläut " + strings.Repeat("x", 300)
	if err := m.SendAll(t.Context(), "msg_1", []string{"anna@example.org", "ben@example.org"}, "Your account", text); err != nil {
		t.Fatal(err)
	}
	letter := <-got
	_, body, _ := strings.Cut(letter, "\n\n")
	body, _, _ = strings.Cut(body, "\n.\n")
	b, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(body, "\n", ""))
	if err != nil || string(b) != text || !strings.Contains(letter, "MAIL FROM:<muster@example.org>") || !strings.Contains(letter, "RCPT TO:<anna@example.org>") ||
		!strings.Contains(letter, "RCPT TO:<ben@example.org>") || !strings.Contains(letter, "Message-ID: <msg_1@example.org>") {
		t.Errorf("%v %s", err, letter)
	}
}

// The token of a registration is read, never given as an argument, and only as far as its line goes.
func TestTheTokenOfARegistrationIsRead(t *testing.T) {
	if got, err := askSecret(t.Context(), strings.NewReader("secret token\r\nmore\n"), io.Discard, "Token"); err != nil || got != "secret token" {
		t.Errorf("%q, %v", got, err)
	}
	for _, c := range []struct {
		in, want string
		args     []string
	}{
		{"", "no token on standard input", []string{"account", "confirm"}},
		{"x", "", []string{"account", "confirm", "TOKEN-AS-ARGUMENT"}},
	} {
		cmd := accountCommand(&cli{getenv: func(string) string { return "" }})
		cmd.SetArgs(c.args[1:])
		cmd.SetIn(strings.NewReader(c.in))
		cmd.SetErr(io.Discard)
		cmd.SetOut(io.Discard)
		if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v", c.args, err)
		}
	}
}
