package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/muster-hq/muster/api/spec"
)

// Settings of many hosts: the command waits with its write, and its status tells how the changes ended.
func TestWaitForWhatASettingCauses(t *testing.T) {
	told, asked := "", ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.Query().Get("wait")
		if told != "" {
			w.Header().Set(spec.HeaderChanges, told)
		}
		_, _ = io.WriteString(w, `{"count":0,"items":[]}`)
	}))
	t.Cleanup(server.Close)
	sh := &shell{t: t, dir: t.TempDir()}
	sh.env = map[string]string{"MUSTER_API": server.URL + "/api", "MUSTER_USER": "u", "MUSTER_PASSWORD_FILE": sh.file("pw", "x"), "XDG_CONFIG_HOME": sh.dir, "MUSTER_ORGANIZATION": "o"}
	for _, c := range []struct {
		flags, told, asked string
		code               int
	}{
		{"", "", "", exitDone},
		{" --wait", "processed=3, failed=0, pending=0", client5m, exitDone},
		{" --wait --timeout 10s", "processed=3, failed=1, pending=0", "10s", exitTasksFailed},
		{" --wait --timeout 10s", "processed=3, failed=1, pending=2", "10s", exitWaitOver},
		{" --wait --timeout 10s", "", "10s", exitDone}, // one that causes nothing, or is older
	} {
		told, asked = c.told, ""
		root := rootCommand(func(k string) string { return sh.env[k] })
		root.SetArgs(strings.Fields("setting set port 81 -E e" + c.flags))
		root.SetOut(io.Discard)
		root.SetErr(io.Discard)
		err := root.ExecuteContext(t.Context())
		if code := exitCode(err); code != c.code || asked != c.asked {
			t.Errorf("%q told %q: status %d (%v), asked to wait for %q; want %d, %q", c.flags, c.told, code, err, asked, c.code, c.asked)
		}
	}
}

const client5m = "5m0s"
