package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// wireServer answers /ping, and 404 elsewhere.
func wireServer(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/ping" || r.Method == http.MethodPut && r.ContentLength != 2 {
			http.Error(w, "there is nothing", http.StatusNotFound)
			return
		}
		_, _ = w.Write([]byte("pong"))
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// The light client reads answers whole, one after the other, and tells another status than it waits for.
func TestWire(t *testing.T) {
	address := wireServer(t)
	w, err := dial(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer w.conn.Close() //nolint:errcheck // a test's
	for _, a := range []asked{newAsked("GET", "/ping", "", 200), newAsked("PUT", "/ping", "{}", 200, "Authorization: Basic x"), newAsked("GET", "/ping", "", 200)} {
		if n, err := w.ask(a); n != 4 || err != nil {
			t.Errorf("%s: %d bytes, %v", a.text, n, err)
		}
	}
	if n, err := w.ask(newAsked("GET", "/none", "", 404)); n != len("there is nothing\n") || err != nil {
		t.Errorf("an error: %d bytes, %v", n, err)
	}
	if _, err := w.ask(newAsked("GET", "/none", "", 200)); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("another status: %v", err)
	}
	if got, err := rate(t.Context(), address, newAsked("GET", "/ping", "", 200), 2, time.Millisecond, 50*time.Millisecond); err != nil || got <= 0 {
		t.Errorf("rate: %v, %v", got, err)
	}
	if _, err := rate(t.Context(), address, newAsked("GET", "/none", "", 200), 2, 0, time.Second); err == nil {
		t.Error("a wrong status is counted")
	}
}

// Both of a pair are asked as often, and their medians told; one that is answered otherwise is an error.
func TestInTurns(t *testing.T) {
	w, err := dial(t.Context(), wireServer(t))
	if err != nil {
		t.Fatal(err)
	}
	defer w.conn.Close() //nolint:errcheck // a test's
	one := newAsked("GET", "/none", "", 404)
	if a, b, err := inTurns(t.Context(), w, always(one), always(one), 20); err != nil || a <= 0 || b <= 0 {
		t.Errorf("%v %v %v", a, b, err)
	}
	if _, _, err := inTurns(t.Context(), w, always(one), always(newAsked("GET", "/ping", "", 404)), 5); err == nil {
		t.Error("what exists is not told")
	}
	for _, a := range strangeAsks() {
		if len(a.there) != len(a.absent) || a.there == a.absent {
			t.Errorf("%s: %s and %s must differ in a name of the same length", a.row, a.there, a.absent)
		}
	}
	for _, l := range strangeLogins() {
		one, p := l.one(7)
		other, q := l.other(7)
		if one == other && p == q || len(one) != len(other) {
			t.Errorf("%s: %s and %s must differ in a name of the same length, or in the password", l.row, one, other)
		}
		if again, _ := l.one(8); again == one {
			t.Errorf("%s: the same account each time", l.row)
		}
	}
}

// gin's hello answers as its page says.
func TestHello(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	failed := make(chan error, 1)
	go func() { failed <- hello("256.0.0.1:1") }()
	select {
	case err := <-failed:
		if err == nil {
			t.Error("an address that cannot be is listened at")
		}
	case <-ctx.Done():
		t.Error("hello does not tell that it cannot listen")
	}
}
