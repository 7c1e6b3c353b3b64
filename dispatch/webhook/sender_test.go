package webhook

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
)

const testSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// hookAt is a webhook at the address of a test's server.
func hookAt(t *testing.T, address string) model.Webhook {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	return model.Webhook{Name: "h", Method: "POST", Protocol: strings.ToUpper(u.Scheme), ServerName: u.Hostname(), Port: &port, Path: "/in",
		AuthenticationMethod: "NO_AUTH", Events: []string{"*"}, SigningSecret: testSecret}
}

func local() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }

// TestSignature: the example of the specification of Standard Webhooks.
func TestSignature(t *testing.T) {
	w := model.Webhook{SigningSecret: testSecret}
	key, err := w.SigningKey()
	if err != nil {
		t.Fatal(err)
	}
	got := Sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`))
	if got != "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" {
		t.Errorf("signature %s", got)
	}
}

func TestAddresses(t *testing.T) {
	s := NewSender([]netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00:1::/32")})
	for text, want := range map[string]bool{
		"93.184.216.34": true, "2606:2800:220:1::1": true, "10.1.2.3": true, "::ffff:10.1.2.3": true, "fd00:1::5": true, "64:ff9b::5db8:d822": true,
		"10.2.0.1": false, "127.0.0.1": false, "::1": false, "::ffff:127.0.0.1": false, "::ffff:169.254.169.254": false, "169.254.169.254": false,
		"192.168.1.1": false, "172.16.0.1": false, "100.64.0.1": false, "0.0.0.0": false, "0.1.2.3": false, "::": false, "::7f00:1": false,
		"64:ff9b::7f00:1": false, "64:ff9b::a9fe:a9fe": false, "64:ff9b:1::1": false, "2002:7f00:1::": false, "2002:a00:1::": false, "2001::1": false,
		"fe80::1": false, "fe80::1%eth0": false, "2606:2800:220:1::1%1": false, "fd00:2::1": false, "fec0::1": false, "224.0.0.1": false, "ff02::1": false,
		"255.255.255.255": false, "240.0.0.1": false, "198.18.0.1": false, "192.0.2.1": false, "2001:db8::1": false, "192.0.0.170": false,
	} {
		if got := s.allowed(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s is allowed: %t, want %t", text, got, want)
		}
	}
}

// TestConnectionGoesToWhatWasChecked: a name with one forbidden address is refused as a whole, and a name that another
// question would answer otherwise is asked once.
func TestConnectionGoesToWhatWasChecked(t *testing.T) {
	s := NewSender(nil)
	asked, dialled := 0, ""
	var answer []netip.Addr
	s.resolve = func(context.Context, string) ([]netip.Addr, error) { asked++; return answer, nil }
	s.dial = func(_ context.Context, _, address string) (net.Conn, error) {
		dialled = address
		return nil, errors.New("no")
	}
	for _, c := range []struct {
		addrs   []string
		dialled string
		refused bool
	}{
		{[]string{"93.184.216.34"}, "93.184.216.34:443", false},
		{[]string{"93.184.216.34", "127.0.0.1"}, "", true},
		{[]string{"::ffff:10.0.0.1"}, "", true},
		{nil, "", false},
	} {
		answer, asked, dialled = nil, 0, ""
		for _, a := range c.addrs {
			answer = append(answer, netip.MustParseAddr(a))
		}
		_, err := s.connect(t.Context(), "tcp", "hook.example.org:443")
		var forbidden *ForbiddenError
		if err == nil || asked != 1 || dialled != c.dialled || errors.As(err, &forbidden) != c.refused {
			t.Errorf("%v: asked %d times, dialled %q, %v", c.addrs, asked, dialled, err)
		}
	}
	for _, host := range []string{"127.0.0.1:80", "[::1]:80", "[::ffff:127.0.0.1]:80", "[fe80::1%25lo]:80"} {
		if _, err := s.connect(t.Context(), "tcp", host); err == nil || dialled != "" {
			t.Errorf("%s was dialled: %q, %v", host, dialled, err)
		}
	}
}

// TestAttempts looks at what arrives, and at what is told of answers.
func TestAttempts(t *testing.T) {
	inner := 0
	var got *http.Request
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Clone(context.Background())
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/inner", http.StatusFound)
		case "/inner":
			inner++
		case "/long":
			_, _ = w.Write(make([]byte, 4<<20))
		case "/bad":
			w.WriteHeader(http.StatusInternalServerError)
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	defer server.Close()
	s := NewSender(local())
	defer s.Close()
	d := orchestrate.DueDelivery{Delivery: model.Delivery{ID: "msg_1", Kind: "host.created", Object: "X", Time: time.Unix(1, 0)}, Organization: "acme", Hook: hookAt(t, server.URL)}
	d.Hook.Parameters = []model.Pair{{Name: "k", Value: "s3cret", Secret: true}}
	d.Hook.Headers = []model.Pair{{Name: "X-Mine", Value: "yes"}, {Name: "webhook-id", Value: "forged"}}
	d.Hook.AuthenticationMethod, d.Hook.Username, d.Hook.Token = "BASIC_AUTH", "u", "t0ken"
	for path, want := range map[string]struct {
		status int
		says   string
	}{"/in": {204, ""}, "/moved": {302, "redirects"}, "/long": {200, ""}, "/bad": {500, "500"}} {
		d.Hook.Path = path
		rec := s.Send(t.Context(), &d, time.Unix(1_700_000_000, 0))
		if rec.Status != want.status || (rec.Error == "") != (want.says == "") || !strings.Contains(rec.Error, want.says) || strings.Contains(rec.URL+rec.Error, "s3cret") {
			t.Errorf("%s: %+v", path, rec)
		}
		user, token, _ := got.BasicAuth()
		if got.Header.Get("webhook-id") != "msg_1" || got.Header.Get("webhook-timestamp") != "1700000000" || !strings.HasPrefix(got.Header.Get("webhook-signature"), "v1,") ||
			got.Header.Get("X-Mine") != "yes" || user != "u" || token != "t0ken" || got.URL.Query().Get("k") != "s3cret" {
			t.Errorf("%s: %v %s", path, got.Header, got.URL)
		}
	}
	if inner > 0 {
		t.Error("a redirect was followed")
	}
	server.Close()
	if rec := s.Send(t.Context(), &d, time.Now()); rec.Error == "" || strings.Contains(rec.Error, "s3cret") {
		t.Errorf("a server that is gone: %+v", rec)
	}
	if rec := NewSender(nil).Send(t.Context(), &d, time.Now()); !strings.Contains(rec.Error, "webhook-allow") {
		t.Errorf("a private address: %+v", rec)
	}
}
