package api_test

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-hq/muster/api"
	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/state/statetest"
)

// pipes is a listener of connections within the process, whose deadlines keep to the time of a test.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

func (p *pipes) dial() net.Conn {
	client, server := net.Pipe()
	p.conns <- server
	return client
}

// servePipes serves an API within a bubble.
func servePipes(t *testing.T) *pipes {
	t.Helper()
	db := statetest.New(t, orchestrate.Tables()...)
	a, err := api.New(api.Config{Store: db, Log: newLog()})
	if err != nil {
		t.Fatal(err)
	}
	hash := auth.HashPassword(adminPassword)
	if err := db.Update(t.Context(), func(tx *state.Tx) error {
		_, err := orchestrate.FirstStart(tx, "admin", hash)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	srv, ln := api.NewHTTPServer(a.Handler(), newLog()), newPipes()
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close(); <-ended })
	return ln
}

// drip sends a text in pieces until it is through or nobody takes it any more, and tells how long that took.
func drip(c net.Conn, text string, piece int, every time.Duration) time.Duration {
	start := time.Now()
	for len(text) > 0 {
		n := min(piece, len(text))
		if _, err := io.WriteString(c, text[:n]); err != nil {
			break
		}
		if text = text[n:]; len(text) > 0 {
			<-time.After(every)
		}
	}
	return time.Since(start)
}

func headOf(length int) string {
	return fmt.Sprintf("POST /api/organizations/ HTTP/1.1\r\nHost: x\r\nAuthorization: Basic %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n",
		base64.StdEncoding.EncodeToString([]byte("admin:"+adminPassword)), length)
}

// A header that comes byte by byte is waited for as long as any header, ten seconds.
func TestSlowHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := servePipes(t).dial()
		defer c.Close()                               //nolint:errcheck // a test's
		go func() { _, _ = io.Copy(io.Discard, c) }() // what it is told is not read by who is slow on purpose, but a pipe holds nothing
		if took := drip(c, "GET /api/organizations/ HTTP/1.1\r\nX-A: "+strings.Repeat("a", 1000), 1, time.Second); took > 15*time.Second {
			t.Errorf("the server listened for %s", took)
		}
	})
}

// A body that comes byte by byte is given up soon; its sender is told why, and the connection ends.
func TestSlowBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := servePipes(t).dial()
		defer c.Close() //nolint:errcheck // a test's
		start, sent := time.Now(), make(chan time.Duration, 1)
		go func() {
			drip(c, headOf(1000), 1000, 0)
			sent <- drip(c, `{"name": "`+strings.Repeat("a", 990), 1, time.Second)
		}()
		in := bufio.NewReader(c)
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusRequestTimeout || !strings.Contains(string(b), "the body comes too slowly: ") || !strings.Contains(string(b), "bytes in 10s, and at least 8192 a second are") {
			t.Errorf("%d %s %v", resp.StatusCode, b, err)
		}
		if _, err := in.ReadByte(); err == nil || time.Since(start) > 20*time.Second {
			t.Errorf("the connection lives on after %s", time.Since(start))
		}
		if took := <-sent; took > 20*time.Second {
			t.Errorf("the server listened for %s", took)
		}
	})
}

// A body that keeps the least pace is taken, also when it takes longer than a request may.
func TestSlowButSteadyBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := servePipes(t).dial()
		defer c.Close() //nolint:errcheck // a test's
		body := `{"name": "slow", "nobody knows this": "` + strings.Repeat("a", 900<<10) + `"}`
		took := make(chan time.Duration, 1)
		go func() { took <- drip(c, headOf(len(body))+body, 9<<10, time.Second) }()
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusCreated {
			t.Errorf("%d %s %v", resp.StatusCode, b, err)
		}
		if took := <-took; took < time.Minute {
			t.Errorf("it took %s: the test is too fast to tell anything", took)
		}
	})
}

// A connection without a request ends after a while.
func TestIdleConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := servePipes(t).dial()
		defer c.Close() //nolint:errcheck // a test's
		go drip(c, headOf(2)+"{}", 1000, 0)
		in := bufio.NewReader(c)
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%d %v", resp.StatusCode, err)
		}
		start := time.Now()
		if _, err := in.ReadByte(); err == nil || time.Since(start) > 3*time.Minute {
			t.Errorf("the connection is open after %s", time.Since(start))
		}
	})
}
