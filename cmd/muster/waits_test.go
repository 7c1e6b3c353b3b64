package main

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/muster-hq/muster/api/spec"
)

// A server that stops answers those who wait for news first, and is not held up by them. On a busy machine the request
// may come to the port after the server has left it: that says nothing, and is tried again.
func TestStopAnswersWaits(t *testing.T) {
	t.Parallel()
	var err error
	for range 4 {
		if err = stopAmongWaits(t); err == nil {
			return
		}
		t.Log(err)
	}
	t.Error(err)
}

// stopAmongWaits stops a server while somebody waits, and gives how that one's request failed.
func stopAmongWaits(t *testing.T) error {
	n := startNode(t, "n1")
	pw, err := readSecret(n.passwordFile())
	if err != nil {
		t.Fatal(err)
	}
	get := func(path string) (*http.Response, error) {
		req, err := http.NewRequestWithContext(t.Context(), "GET", n.api()+path, nil)
		if err != nil {
			return nil, err
		}
		req.SetBasicAuth(adminName, pw)
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			resp.Body.Close()
		}
		return resp, err
	}
	resp, err := get("/users/")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	began := time.Now()
	go func() {
		resp, err := get(fmt.Sprintf("/users/?wait=5m&index=%s-%s", resp.Header.Get(spec.HeaderEpoch), resp.Header.Get(spec.HeaderIndex)))
		if err == nil && resp.StatusCode != 200 {
			err = fmt.Errorf("answered %s", resp.Status)
		}
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("the wait ended before the server: %v", err)
	case <-time.After(time.Second): // long enough to be waiting, as a rule
	}
	if code := n.stop(); code != 0 {
		t.Errorf("it stopped with %d", code)
	}
	if err := <-done; err != nil {
		return fmt.Errorf("after %s: %w", time.Since(began), err)
	}
	return nil
}
