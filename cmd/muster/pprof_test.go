package main

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"testing"
)

func TestProfilesAreServedOnTheLoopbackOnly(t *testing.T) {
	for addr, ok := range map[string]bool{"127.0.0.1:6060": true, "[::1]:0": true, "localhost:6060": true, ":6060": false, "10.0.0.1:6060": false, "0.0.0.0:6060": false} {
		if isLoopback(addr) != ok {
			t.Errorf("isLoopback(%q) is %v", addr, !ok)
		}
	}
}

func TestServeProfiles(t *testing.T) {
	var said bytes.Buffer
	stop, err := serveProfiles("127.0.0.1:0", slog.New(slog.NewJSONHandler(&said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	at := regexp.MustCompile(`http://[^"]+/debug/pprof/`).FindString(said.String())
	resp, err := http.Get(at + "goroutine?debug=1")
	if err != nil {
		t.Fatalf("%v; it said %s", err, said.String())
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || !bytes.Contains(body, []byte("goroutine profile")) {
		t.Errorf("status %d, %v: %.100s", resp.StatusCode, err, body)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	stop()
	if _, err := http.Get(at); err == nil {
		t.Error("profiles are served after the stop")
	}
}
