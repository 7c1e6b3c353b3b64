package client_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
)

// keys gathers the idempotency keys of requests, in order.
type keys struct {
	mu  sync.Mutex
	all []string
}

func (k *keys) add(r *http.Request) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.all = append(k.all, r.Header.Get(spec.HeaderIdempotencyKey))
	return len(k.all)
}

func patient(c *client.Config) { c.Patience = time.Minute }

func create() client.Op {
	return client.Op{Name: "organizations.create", Body: map[string]any{"name": "x"}}
}

// A write is sent again, with the same key and body, while the cluster has no leader, the outcome is unknown, or the
// connection breaks.
func TestWriteIsSentAgainUnderItsKey(t *testing.T) {
	var seen keys
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body := make([]byte, 64)
		n, _ := r.Body.Read(body)
		if string(body[:n]) != `{"name":"x"}` {
			t.Errorf("the body is %q", body[:n])
		}
		switch seen.add(r) {
		case 1:
			w.WriteHeader(503)
		case 2:
			w.WriteHeader(504)
		case 3:
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		case 4:
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte(`{`)) // breaks off
		default:
			_, _ = w.Write([]byte(`{"name":"x"}`))
		}
	}, patient)
	var o model.Organization
	if err := c.Call(t.Context(), create(), &o); err != nil || o.Name != "x" {
		t.Fatalf("%+v, %v", o, err)
	}
	if len(seen.all) < 5 || len(seen.all[0]) < 16 || len(slices.Compact(slices.Clone(seen.all))) != 1 {
		t.Errorf("the keys are %q", seen.all)
	}
	if err := c.Call(t.Context(), create(), &o); err != nil || seen.all[len(seen.all)-1] == seen.all[0] {
		t.Errorf("the next write has the key of the one before: %v", err)
	}
}

func TestWhatIsSentOnce(t *testing.T) {
	for name, c := range map[string]struct {
		op     client.Op
		status int
		edit   func(*client.Config)
		key    bool
	}{
		"a read":                      {show("x"), 503, patient, false},
		"a write without patience":    {create(), 503, func(*client.Config) {}, false},
		"a request about the cluster": {client.Op{Name: "cluster.leave"}, 503, patient, false},
		"a write that is refused":     {create(), 409, patient, true},
		"a write that is not allowed": {create(), 403, patient, true},
		"a fault":                     {create(), 500, patient, true},
	} {
		var seen keys
		cl := serve(t, func(w http.ResponseWriter, r *http.Request) { seen.add(r); w.WriteHeader(c.status) }, c.edit)
		if err := cl.Call(t.Context(), c.op, nil); err == nil || len(seen.all) != 1 || (seen.all[0] != "") != c.key {
			t.Errorf("%s: %v, keys %q", name, err, seen.all)
		}
	}
}

// Where nothing listens there is nothing to wait for, and a patience has an end.
func TestPatienceEnds(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	c, err := client.New(client.Config{URL: s.URL + "/api", Patience: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Call(t.Context(), create(), nil); !client.IsUnreachable(err) {
		t.Errorf("nothing listens: %v", err)
	}
	var seen keys
	c = serve(t, func(w http.ResponseWriter, r *http.Request) {
		seen.add(r)
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(503)
	}, patient)
	if err := c.Call(t.Context(), create(), nil); model.CodeOf(err) != model.Unavailable || len(seen.all) != 1 {
		t.Errorf("a server that wants an hour: %v after %d tries", err, len(seen.all))
	}
	for patience := 350 * time.Millisecond; ; patience *= 4 { // room for three tries, if the machine is not busy
		seen.all = nil
		c = serve(t, func(w http.ResponseWriter, r *http.Request) { seen.add(r); w.WriteHeader(503) },
			func(c *client.Config) { c.Patience = patience })
		err := c.Call(t.Context(), create(), nil)
		if model.CodeOf(err) != model.Unavailable || patience > 20*time.Second {
			t.Fatalf("%v after %d tries in %s", err, len(seen.all), patience)
		}
		if len(seen.all) >= 3 {
			return
		}
	}
}
