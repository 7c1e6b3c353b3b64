package main

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/mail"
	"net/smtp"
	"slices"
	"strings"
	"time"
)

// mailServer sends letters by SMTP, with TLS from the beginning, or where the server offers it. It is safe for concurrent use.
type mailServer struct {
	addr, user, password, from string
	secure                     bool        // TLS from the beginning (RFC 8314)
	tls                        *tls.Config // nil: the machine's authorities
}

// mailTimeout bounds the sending of one letter.
const mailTimeout = 20 * time.Second

// Send sends a letter. A password is never sent without TLS, but to this machine itself.
func (m *mailServer) Send(ctx context.Context, to, subject, text string) error {
	return m.SendAll(ctx, "", []string{to}, subject, text)
}

// SendAll sends one letter to several addresses, to all or to none. id is the same for what is sent again, "" for none.
func (m *mailServer) SendAll(ctx context.Context, id string, to []string, subject, text string) error {
	host, _, err := net.SplitHostPort(m.addr)
	if err != nil {
		return fmt.Errorf("mail server %s: %w", m.addr, err)
	}
	ctx, cancel := context.WithTimeout(ctx, mailTimeout)
	defer cancel()
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", m.addr)
	if err != nil {
		return fmt.Errorf("connect to the mail server: %w", err)
	}
	defer context.AfterFunc(ctx, func() { raw.Close() })()
	conn := raw
	if m.secure {
		within := tls.Client(raw, m.tlsFor(host))
		if err := within.HandshakeContext(ctx); err != nil {
			raw.Close()
			return fmt.Errorf("TLS with the mail server %s: %w", m.addr, err)
		}
		conn = within
	}
	c, err := smtp.NewClient(conn, host)
	if err != nil {
		conn.Close()
		return fmt.Errorf("greet the mail server: %w", err)
	}
	defer c.Close()
	if err := m.deliver(c, host, to, m.letter(id, to, subject, text)); err != nil {
		return fmt.Errorf("send a letter by %s: %w", m.addr, err)
	}
	return nil
}

// tlsFor is how the server of a name is spoken with.
func (m *mailServer) tlsFor(host string) *tls.Config {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if m.tls != nil {
		cfg = m.tls.Clone()
	}
	cfg.ServerName = host
	return cfg
}

// deliver hands a letter over. Once the server has taken it, it is sent: what fails then is no reason to send it again.
func (m *mailServer) deliver(c *smtp.Client, host string, to []string, letter string) error {
	if ok, _ := c.Extension("STARTTLS"); ok && !m.secure {
		if err := c.StartTLS(m.tlsFor(host)); err != nil {
			return err
		}
	}
	if m.user != "" {
		if err := c.Auth(m.auth(c, host)); err != nil {
			return fmt.Errorf("log in as %s: %w", m.user, err)
		}
	}
	if err := c.Mail(m.sender()); err != nil {
		return err
	}
	for _, one := range to {
		if err := c.Rcpt(one); err != nil {
			return err
		}
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write([]byte(letter)); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	_ = c.Quit() // it is politeness only
	return nil
}

// auth is how to log in: PLAIN, or LOGIN with a server that offers only that of the two.
func (m *mailServer) auth(c *smtp.Client, host string) smtp.Auth {
	_, offered := c.Extension("AUTH")
	words := strings.Fields(strings.ToUpper(offered))
	if slices.Contains(words, "LOGIN") && !slices.Contains(words, "PLAIN") {
		return &loginAuth{host: host, answers: []string{m.user, m.password}}
	}
	return smtp.PlainAuth("", m.user, m.password, host)
}

// loginAuth is the mechanism LOGIN: the server asks for the user and then for the password, in words of its own.
type loginAuth struct {
	host    string
	answers []string // that are still to be given
}

// Start begins only where smtp.PlainAuth would: with TLS, or on this machine, and with the server that was meant.
func (a *loginAuth) Start(server *smtp.ServerInfo) (proto string, toServer []byte, err error) {
	if !server.TLS && server.Name != "localhost" && server.Name != "127.0.0.1" && server.Name != "::1" {
		return "", nil, errors.New("the connection is not encrypted: the password is not sent")
	}
	if server.Name != a.host {
		return "", nil, errors.New("it is another server")
	}
	return "LOGIN", nil, nil
}

// Next answers the next question.
func (a *loginAuth) Next(_ []byte, more bool) ([]byte, error) {
	if !more {
		return nil, nil
	}
	if len(a.answers) == 0 {
		return nil, errors.New("the server asks for more than user and password")
	}
	answer := a.answers[0]
	a.answers = a.answers[1:]
	return []byte(answer), nil
}

// sender is the address of who sends.
func (m *mailServer) sender() string {
	if a, err := mail.ParseAddress(m.from); err == nil {
		return a.Address
	}
	return m.from
}

// letter is what is sent: text in Base64, so that no line of it means anything to a mail server.
func (m *mailServer) letter(id string, to []string, subject, text string) string {
	head := []string{
		"From: " + m.from, "To: " + strings.Join(to, ", "), "Subject: " + mime.QEncoding.Encode("utf-8", subject), "Date: " + time.Now().Format(time.RFC1123Z),
		"MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: base64", "Auto-Submitted: auto-generated",
	}
	if id != "" {
		_, host, _ := strings.Cut(m.sender(), "@")
		head = append(head, "Message-ID: <"+id+"@"+host+">")
	}
	body := base64.StdEncoding.EncodeToString([]byte(text))
	var b strings.Builder
	b.WriteString(strings.Join(head, "\r\n") + "\r\n\r\n")
	for len(body) > 76 {
		b.WriteString(body[:76] + "\r\n")
		body = body[76:]
	}
	b.WriteString(body + "\r\n")
	return b.String()
}
