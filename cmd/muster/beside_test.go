package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// What is beside the API must not clean its paths: a redirect breaks the published client.
func TestPathsReachTheAPIAsTheyCame(t *testing.T) {
	var got string
	tell := func(who string) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = who + " " + r.URL.EscapedPath() })
	}
	h := besideAPI(tell("api"), tell("bus"))
	for path, want := range map[string]string{
		"/api/organizations/o/jobs/j//_run": "api /api/organizations/o/jobs/j//_run",
		"/api/organizations/../x":           "api /api/organizations/../x",
		"/bus/auth/user":                    "bus /bus/auth/user",
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPut, path, nil))
		if got != want || w.Code != http.StatusOK {
			t.Errorf("%s: %q, status %d; want %q", path, got, w.Code, want)
		}
	}
}
