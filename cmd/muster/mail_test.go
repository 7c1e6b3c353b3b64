package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"net/http/httptest"
	"net/smtp"
	"strings"
	"testing"
	"time"
)

// post is a mail server that takes one letter, and what it was told.
type post struct {
	t      *testing.T
	tls    *tls.Config
	direct bool   // it speaks TLS from the beginning
	auth   string // the mechanisms that it offers, once there is TLS
	login  string // the user and password that it wants, with a slash between
	ends   string // what it does behind the letter: "" takes it and says good-bye, "dies", "refuses", "mute"
	ln     net.Listener
	heard  chan string
}

// newPost starts one that can be spoken with as 127.0.0.1.
func newPost(t *testing.T, p post) (*post, *tls.Config) {
	t.Helper()
	web := httptest.NewUnstartedServer(nil)
	web.StartTLS()
	defer web.Close()
	roots := x509.NewCertPool()
	roots.AddCert(web.Certificate())
	p.t, p.heard = t, make(chan string, 1)
	p.tls = &tls.Config{Certificates: web.TLS.Certificates}
	var err error
	if p.ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.ln.Close() })
	go p.serve()
	return &p, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
}

func (p *post) serve() {
	conn, err := p.ln.Accept()
	if err != nil {
		return
	}
	defer func() { conn.Close() }()
	if p.direct {
		conn = tls.Server(conn, p.tls)
	}
	lines := bufio.NewScanner(conn)
	say := func(line string) { fmt.Fprint(conn, line+"\r\n") }
	var all strings.Builder
	defer func() { p.heard <- all.String() }()
	hear := func() (string, bool) {
		if !lines.Scan() {
			return "", false
		}
		all.WriteString(lines.Text() + "\n")
		return lines.Text(), true
	}
	hidden := p.direct
	say("220 post")
	for {
		line, ok := hear()
		if !ok {
			return
		}
		switch word, _, _ := strings.Cut(line, " "); word {
		case "EHLO":
			if !hidden {
				say("250-post")
				say("250 STARTTLS")
				continue
			}
			say("250-post")
			say("250 AUTH " + p.auth)
		case "STARTTLS":
			say("220 go on")
			conn, hidden = tls.Server(conn, p.tls), true
			lines = bufio.NewScanner(conn)
		case "AUTH":
			if !p.takes(line, say, hear) {
				return
			}
		case "DATA":
			say("354 go on")
			for line != "." {
				if line, ok = hear(); !ok {
					return
				}
			}
			switch p.ends {
			case "refuses":
				say("554 no")
			case "dies":
				say("250 taken")
				return
			default:
				say("250 taken")
			}
		case "QUIT":
			if p.ends == "mute" {
				say("421 too busy to say good-bye")
			} else {
				say("221 bye")
			}
			return
		default:
			say("250 ok")
		}
	}
}

// takes does what the server does of a login; false when it ends there.
func (p *post) takes(line string, say func(string), hear func() (string, bool)) bool {
	var got string
	switch words := strings.Fields(line); words[1] {
	case "PLAIN":
		b, _ := base64.StdEncoding.DecodeString(words[2])
		got = strings.ReplaceAll(strings.TrimPrefix(string(b), "\x00"), "\x00", "/")
	case "LOGIN":
		for i, question := range []string{"User Name\x00", "Password:"} {
			say("334 " + base64.StdEncoding.EncodeToString([]byte(question)))
			answer, ok := hear()
			if !ok {
				return false
			}
			b, _ := base64.StdEncoding.DecodeString(answer)
			got += strings.Repeat("/", i) + string(b)
		}
	}
	if got != p.login {
		say("535 no")
		return true
	}
	say("235 welcome")
	return true
}

// A letter goes by TLS from the beginning and by STARTTLS, with the login that the server offers, and once it is taken it is sent.
func TestMail(t *testing.T) {
	for name, c := range map[string]struct {
		post      post
		password  string
		want      string // in the error; "" for none
		mechanism string
	}{
		"STARTTLS, PLAIN":        {post{auth: "PLAIN LOGIN"}, "word", "", "AUTH PLAIN"},
		"STARTTLS, only LOGIN":   {post{auth: "login cram-md5"}, "word", "", "AUTH LOGIN"},
		"smtps, PLAIN":           {post{auth: "LOGIN PLAIN", direct: true}, "word", "", "AUTH PLAIN"},
		"smtps, only LOGIN":      {post{auth: "LOGIN", direct: true}, "word", "", "AUTH LOGIN"},
		"LOGIN, a wrong word":    {post{auth: "LOGIN", direct: true}, "other", "log in as muster: 535", "AUTH LOGIN"},
		"PLAIN, a wrong word":    {post{auth: "PLAIN"}, "other", "log in as muster: 535", "AUTH PLAIN"},
		"no good-bye":            {post{auth: "PLAIN", ends: "dies"}, "word", "", "AUTH PLAIN"},
		"an error as a good-bye": {post{auth: "PLAIN", ends: "mute", direct: true}, "word", "", "AUTH PLAIN"},
		"a letter refused":       {post{auth: "PLAIN", ends: "refuses"}, "word", "554", "AUTH PLAIN"},
	} {
		t.Run(name, func(t *testing.T) {
			c.post.login = "muster/word"
			p, trust := newPost(t, c.post)
			m := &mailServer{addr: p.ln.Addr().String(), user: "muster", password: c.password, from: "m@example.org", secure: c.post.direct, tls: trust}
			err := m.Send(t.Context(), "anna@example.org", "Hello", "text")
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if err != nil && (strings.Contains(err.Error(), "word") || strings.Contains(err.Error(), c.password)) {
				t.Errorf("the error tells the password: %v", err)
			}
			heard := <-p.heard
			if !strings.Contains(heard, c.mechanism) || strings.Contains(heard, "STARTTLS") == c.post.direct {
				t.Errorf("the server heard %s", heard)
			}
			if c.want == "" && !strings.Contains(heard, "\n.\n") {
				t.Errorf("the server got no letter: %s", heard)
			}
		})
	}
}

// A password is not sent in clear, by LOGIN no more than by PLAIN, nor to a server that shows another's certificate.
func TestMailKeepsThePassword(t *testing.T) {
	p, _ := newPost(t, post{auth: "LOGIN", direct: true, login: "muster/word"})
	m := &mailServer{addr: p.ln.Addr().String(), user: "muster", password: "word", from: "m@example.org", secure: true}
	if err := m.Send(t.Context(), "anna@example.org", "Hello", "text"); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate that nobody vouches for: %v", err)
	}
	if heard := <-p.heard; heard != "" {
		t.Errorf("the server heard %s", heard)
	}
	for _, c := range []struct {
		name string
		tls  bool
		want string
	}{{"mail.example.org", false, "not encrypted"}, {"other.example.org", true, "another server"}, {"mail.example.org", true, ""}} {
		a := &loginAuth{host: "mail.example.org", answers: []string{"muster", "word"}}
		_, first, err := a.Start(&smtp.ServerInfo{Name: c.name, TLS: c.tls})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) || len(first) > 0 {
			t.Errorf("%+v: %q, %v", c, first, err)
		}
	}
	a := &loginAuth{}
	if _, err := a.Next(nil, true); err == nil {
		t.Error("it answers more than is there")
	}
}

// A server that says nothing while TLS begins does not hold a letter beyond its time.
func TestMailToAServerThatSaysNothing(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	m := &mailServer{addr: ln.Addr().String(), from: "m@example.org", secure: true}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := m.Send(ctx, "anna@example.org", "Hello", "text"); err == nil || !strings.Contains(err.Error(), "TLS with the mail server") {
		t.Errorf("%v", err)
	}
}
