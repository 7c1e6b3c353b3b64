package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/muster-hq/muster/api/spec"
)

// A command whose write concerns many hosts follows what it caused, whichever node answers, and its status tells how that ended.
func TestWaitForWhatAWriteCauses(t *testing.T) {
	const (
		pending = `{"processed": 1, "failed": 0, "pending": 2, "failures": []}`
		well    = `{"processed": 3, "failed": 0, "pending": 0, "failures": []}`
		badly   = `{"processed": 3, "failed": 1, "pending": 0, "failures": [{"environment": "Dev", "host": "web1", "orderNum": 4, "description": "Apply", "error": "task 0, x: no"}]}`
		none    = "" // no leader
		signal  = "the user interrupts"
	)
	var interrupt func()
	var told string       // what the write causes
	var progress []string // answers to who follows it, the last one again and again
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.URL.Path, "/plans/") {
			if told != "" && r.Method != http.MethodGet {
				w.Header().Set(spec.HeaderPlan, told)
			}
			_, _ = io.WriteString(w, `{"name": "x", "count": 0, "items": []}`)
			return
		}
		if !strings.HasSuffix(r.URL.Path, "/organizations/o/plans/"+told) {
			t.Errorf("asked for %s", r.URL.Path)
		}
		answer := progress[min(asked, len(progress)-1)]
		asked++
		if answer == signal {
			interrupt()
			answer = pending
		}
		if answer == none {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusServiceUnavailable)
			answer = `{"status": 503, "error": ["no leader"]}`
		}
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(server.Close)
	sh := &shell{t: t, dir: t.TempDir()}
	sh.env = map[string]string{"MUSTER_API": server.URL + "/api", "MUSTER_USER": "u", "MUSTER_PASSWORD_FILE": sh.file("pw", "x"), "XDG_CONFIG_HOME": sh.dir, "MUSTER_ORGANIZATION": "o"}
	doc := sh.file("doc.json", `{"description": "d"}`)
	for _, c := range []struct {
		line, told string
		progress   []string
		code       int
		says       string
	}{
		{"setting set port 81 -E e", "c1", []string{well}, exitDone, ""},
		{"setting set port 81 -E e --wait", "c1.i2", []string{pending, none, well}, exitDone, ""},
		{"setting delete port --wait", "i2", []string{badly}, exitTasksFailed, "Dev/web1, change 4, Apply: task 0, x: no"},
		{"application update web -f " + doc + " --wait", "c1.c2", []string{none, badly}, exitTasksFailed, "a change failed"},
		{"application update web -f " + doc + " --wait --timeout 1ms", "c1.c2", []string{pending}, exitWaitOver, "still not done after 1ms"},
		{"application update web -f " + doc + " --wait", "c1.c2", []string{pending, signal}, exitFailed, "interrupted while waiting; the work goes on"},
		{"hostgroup update g -f " + doc + " --wait", "i1", []string{well}, exitDone, ""},
		{"environment update e -f " + doc + " --wait", "i1", []string{badly}, exitTasksFailed, ""},
		{"application update web -f " + doc + " --wait", "", nil, exitDone, ""}, // one that causes nothing
	} {
		told, progress, asked = c.told, c.progress, 0
		root := rootCommand(func(k string) string { return sh.env[k] })
		root.SetArgs(strings.Fields(c.line))
		var said bytes.Buffer
		root.SetOut(io.Discard)
		root.SetErr(&said)
		ctx, cancel := context.WithCancel(t.Context())
		interrupt = cancel
		err := root.ExecuteContext(ctx)
		cancel()
		if err != nil {
			said.WriteString(err.Error())
		}
		if code := exitCode(err); code != c.code || !strings.Contains(said.String(), c.says) {
			t.Errorf("%s: status %d, %s; want %d, %q", c.line, code, &said, c.code, c.says)
		}
		if follows := strings.Contains(c.line, "--wait") && c.told != ""; follows != (asked > 0) {
			t.Errorf("%s: asked %d times for what it caused", c.line, asked)
		}
	}
}
