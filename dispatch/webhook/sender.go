// Package webhook is a leader duty: it sends events to the webhooks that organizations have, signed by Standard
// Webhooks, and tries again until they were taken. What waits is rows, so another leader goes on with it. See DESIGN.md.
package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
)

// The limits of one attempt.
const (
	sendWithin  = 15 * time.Second
	dialWithin  = 5 * time.Second
	readAtMost  = 64 << 10 // of an answer, so that its connection can be used again
	headersMost = 16 << 10
)

// Sender sends requests to addresses that tenants give. It connects to no address within the site: names are resolved
// here, every address of a name is looked at, and the connection goes to one of those that were looked at. It follows no
// redirects and uses no proxy. It is safe for concurrent use.
type Sender struct {
	client  *http.Client
	allow   []netip.Prefix
	resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
}

// NewSender makes a sender that also connects to private addresses within allow.
func NewSender(allow []netip.Prefix) *Sender {
	s := &Sender{allow: allow, dial: (&net.Dialer{Timeout: dialWithin}).DialContext}
	s.resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	}
	s.client = &http.Client{
		Timeout:       sendWithin,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: s.connect, TLSHandshakeTimeout: dialWithin, ResponseHeaderTimeout: sendWithin, MaxResponseHeaderBytes: headersMost,
			MaxIdleConns: 64, MaxIdleConnsPerHost: 2, IdleConnTimeout: 30 * time.Second, DisableCompression: true,
		},
	}
	return s
}

// Close lets go of idle connections.
func (s *Sender) Close() { s.client.CloseIdleConnections() }

var errNoAddress = errors.New("the name has no address")

// ForbiddenError says that an address is within the site.
type ForbiddenError struct{ Addr netip.Addr }

// Error names the address.
func (e *ForbiddenError) Error() string {
	return fmt.Sprintf("the address %s is not a public one: the site's configuration must allow it (webhook-allow)", e.Addr)
}

// connect resolves, checks, and connects.
func (s *Sender) connect(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("split the address: %w", err)
	}
	addrs, err := s.lookUp(ctx, host)
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		if !s.allowed(a) {
			return nil, &ForbiddenError{a}
		}
	}
	err = errNoAddress
	for _, a := range addrs {
		var conn net.Conn
		if conn, err = s.dial(ctx, network, net.JoinHostPort(a.String(), port)); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

func (s *Sender) lookUp(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	addrs, err := s.resolve(ctx, host)
	if err == nil && len(addrs) == 0 {
		err = errNoAddress
	}
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", host, err)
	}
	return addrs, nil
}

// allowed tells whether an address may be connected to: public ones, and those that the configuration names.
func (s *Sender) allowed(a netip.Addr) bool {
	if a.Zone() != "" {
		return false
	}
	a = a.Unmap()
	for _, p := range s.allow {
		if p.Contains(a) {
			return true
		}
	}
	if inner, ok := embedded(a); ok {
		return s.allowed(inner)
	}
	return public(a)
}

// embedded is the IPv4 address that an IPv6 address leads to: of NAT64 (RFC 6052) and 6to4 (RFC 3056).
func embedded(a netip.Addr) (netip.Addr, bool) {
	b := a.As16()
	switch {
	case !a.Is6():
	case netip.MustParsePrefix("64:ff9b::/96").Contains(a):
		return netip.AddrFrom4([4]byte(b[12:16])), true
	case netip.MustParsePrefix("2002::/16").Contains(a):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	}
	return netip.Addr{}, false
}

// reserved are the blocks that are not for hosts of the Internet (RFC 6890 and its registry), beside those that netip
// knows.
func reserved() []string {
	return []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
		"::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16", "fec0::/10",
	}
}

func public(a netip.Addr) bool {
	if !a.IsGlobalUnicast() || a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() {
		return false
	}
	for _, p := range reserved() {
		if netip.MustParsePrefix(p).Contains(a) {
			return false
		}
	}
	return true
}

// message is the body of a request (Standard Webhooks).
type message struct {
	Type      string      `json:"type"`
	Timestamp string      `json:"timestamp"`
	Data      messageData `json:"data"`
}

type messageData struct {
	Cursor       string `json:"cursor"`
	Organization string `json:"organization"`
	Object       string `json:"object"`
	Actor        string `json:"actor"`
}

// request makes the request of a delivery.
func request(ctx context.Context, d *orchestrate.DueDelivery, now time.Time) (*http.Request, error) {
	w := &d.Hook
	body, err := json.Marshal(message{Type: d.Kind, Timestamp: d.Time.UTC().Format(time.RFC3339Nano),
		Data: messageData{Cursor: d.Cursor, Organization: d.Organization, Object: d.Object, Actor: d.Actor}})
	if err != nil {
		return nil, fmt.Errorf("write the message: %w", err)
	}
	req, err := signed(ctx, w, d.ID, body, now)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "muster-webhook/1")
	return req, nil
}

// Sign makes the value of the header webhook-signature.
func Sign(key []byte, id, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, key)
	_, _ = io.WriteString(mac, id+"."+timestamp+".") // a hash never fails
	_, _ = mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// target is the address of a webhook; its parameters may be secret.
func target(w *model.Webhook, parameters bool) string {
	u := url.URL{Scheme: strings.ToLower(w.Protocol), Host: w.ServerName, Path: w.Path}
	if path, query, ok := strings.Cut(w.Path, "?"); ok {
		u.Path, u.RawQuery = path, query
	}
	if strings.Contains(w.ServerName, ":") && !strings.HasPrefix(w.ServerName, "[") {
		if _, err := netip.ParseAddr(w.ServerName); err == nil {
			u.Host = "[" + w.ServerName + "]"
		}
	}
	if w.Port != nil {
		u.Host = net.JoinHostPort(strings.Trim(u.Host, "[]"), strconv.Itoa(*w.Port))
	}
	if !parameters {
		u.RawQuery = ""
		return u.String()
	}
	if len(w.Parameters) > 0 {
		q := u.Query()
		for _, p := range w.Parameters {
			q.Add(p.Name, p.Value)
		}
		u.RawQuery = q.Encode()
	}
	return u.String()
}

// Send makes one attempt at a delivery and tells what came of it. Any answer of 200 to 299 takes it.
func (s *Sender) Send(ctx context.Context, d *orchestrate.DueDelivery, now time.Time) model.DeliveryRecord {
	rec := model.DeliveryRecord{URL: target(&d.Hook, false)}
	began := time.Now()
	req, err := request(ctx, d, now)
	if err == nil {
		rec.Status, err = s.do(req)
	}
	rec.Took = time.Since(began).Milliseconds()
	switch {
	case err != nil:
		rec.Error = plain(err)
	case rec.Status >= 300 && rec.Status < 400:
		rec.Error = fmt.Sprintf("it answered %d: redirects are not followed", rec.Status)
	case rec.Status > 299:
		rec.Error = fmt.Sprintf("it answered %d", rec.Status)
	}
	return rec
}

func (s *Sender) do(req *http.Request) (status int, err error) {
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()                                           //nolint:errcheck // read only
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, readAtMost)) // the status counts
	return resp.StatusCode, nil
}

// plain is an error without the address of the request, which may hold secrets.
func plain(err error) string {
	var e *url.Error
	if errors.As(err, &e) {
		err = e.Err
	}
	text := err.Error()
	if errors.Is(err, context.DeadlineExceeded) {
		text = "it did not answer in time"
	}
	if len(text) > 300 {
		text = strings.ToValidUTF8(text[:300], "")
	}
	return text
}
