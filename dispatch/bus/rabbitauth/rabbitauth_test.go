package rabbitauth_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/dispatch/bus"
	"github.com/muster-hq/muster/dispatch/bus/rabbitauth"
	"github.com/muster-hq/muster/dispatch/wire"
)

// oneKey knows one agent, "1", and no token.
type oneKey struct{ pub ed25519.PublicKey }

func (k oneKey) AgentKey(_ context.Context, id string) (ed25519.PublicKey, error) {
	if id == "1" {
		return k.pub, nil
	}
	return nil, fmt.Errorf("agent %q: %w", id, bus.ErrNoKey)
}

func (k oneKey) TokenKey(_ context.Context, id string) (ed25519.PublicKey, error) {
	return nil, fmt.Errorf("token %q: %w", id, bus.ErrNoKey)
}

func TestHandler(t *testing.T) {
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	good, err := wire.SignLogin("agent.1", 1, time.Now(), key)
	if err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	h := rabbitauth.Handler(bus.NewPolicy(oneKey{pub}, bus.PolicyOptions{}), slog.New(slog.NewTextHandler(&logged, nil)))
	form := func(pairs ...string) url.Values {
		v := url.Values{}
		for i := 0; i < len(pairs); i += 2 {
			v.Set(pairs[i], pairs[i+1])
		}
		return v
	}
	queue := form("username", "agent.1", "vhost", "/", "resource", "queue", "name", "agent.1", "permission", "read")
	but := func(v url.Values, key, value string) url.Values {
		c := url.Values{}
		for k := range v {
			c.Set(k, v.Get(k))
		}
		c.Set(key, value)
		return c
	}
	topic := form("username", "agent.1", "vhost", "/", "resource", "topic", "name", "muster.agents", "permission", "write", "routing_key", "agent.1.reply")
	for _, c := range []struct {
		name, path string
		form       url.Values
		want       string
	}{
		{"login", "/user", form("username", "agent.1", "password", good), "allow"},
		{"login, asked twice", "/user", form("username", "agent.1", "password", good), "allow"},
		{"login of another", "/user", form("username", "agent.2", "password", good), "deny"},
		{"login without a statement", "/user", form("username", "agent.1", "password", "secret-word"), "deny"},
		{"orchestrator's login", "/user", form("username", "orchestrator", "password", good), "deny"},
		{"nothing", "/user", nil, "deny"},
		{"vhost", "/vhost", form("username", "agent.1", "vhost", "/", "ip", "127.0.0.1"), "allow"},
		{"other vhost", "/vhost", form("username", "agent.1", "vhost", "other"), "deny"},
		{"vhost for nobody", "/vhost", form("username", "guest", "vhost", "/"), "deny"},
		{"its queue", "/resource", queue, "allow"},
		{"another's queue", "/resource", but(queue, "name", "agent.10"), "deny"},
		{"its queue, to configure", "/resource", but(queue, "permission", "configure"), "deny"},
		{"other vhost's queue", "/resource", but(queue, "vhost", "other"), "deny"},
		{"the orchestrator is not asked about", "/resource", but(queue, "username", "orchestrator"), "deny"},
		{"topic", "/topic", topic, "allow"},
		{"another's topic", "/topic", but(topic, "routing_key", "agent.10.reply"), "deny"},
		{"a topic is no other resource", "/topic", but(queue, "resource", "queue"), "deny"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, c.path, strings.NewReader(c.form.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != 200 || w.Body.String() != c.want {
				t.Errorf("%d %q, want %q", w.Code, w.Body, c.want)
			}
		})
	}
	if text := logged.String(); strings.Contains(text, good) || strings.Contains(text, "secret-word") || !strings.Contains(text, "agent.2") {
		t.Errorf("log: %s", text)
	}
}

func TestHandlerRefusesOtherRequests(t *testing.T) {
	h := rabbitauth.Handler(bus.NewPolicy(oneKey{}, bus.PolicyOptions{}), nil)
	for _, c := range []struct {
		method, path, body string
		want               int
	}{
		{http.MethodGet, "/user?username=agent.1&password=x", "", http.StatusMethodNotAllowed}, // the secret would be in the URL
		{http.MethodPost, "/other", "", http.StatusNotFound},
		{http.MethodPost, "/user", "username=" + strings.Repeat("x", 20<<10), http.StatusBadRequest},
		{http.MethodPost, "/user", "username=%zz", http.StatusBadRequest},
	} {
		r := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("%s %.20s: %d, want %d", c.method, c.path, w.Code, c.want)
		}
	}
	// Values in the URL are not read.
	r := httptest.NewRequest(http.MethodPost, "/vhost?username=agent.1&vhost=/", nil)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Body.String() != "deny" {
		t.Errorf("the URL was read: %q", w.Body)
	}
}
