package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/muster-hq/muster/api"
	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// manyWatchers is how many blocking reads another process holds; in short runs, which are those of the race detector,
// a tenth.
func manyWatchers() int {
	if testing.Short() {
		return 1_000
	}
	return 10_000
}

// watcherEnv tells the test binary that it is that process: address, token and index.
const watcherEnv = "MUSTER_TEST_WATCHERS"

// TestWatcherProcess is no test but the process that waits: it prints the number of each watcher that is answered, and
// ends with its input.
func TestWatcherProcess(t *testing.T) {
	told := strings.Fields(os.Getenv(watcherEnv))
	if len(told) != 4 {
		return // not started as the process that waits
	}
	slots := make(chan struct{}, 64)
	count, err := strconv.Atoi(told[3])
	must(t, err)
	for i := range count {
		slots <- struct{}{}
		go func() {
			body, err := watchOne(told[0], told[1], told[2], i, func() { <-slots })
			fmt.Printf("woke %d %v %s\n", i, err, body)
		}()
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// watchOne sends one blocking read over a connection of its own, and waits for its answer.
func watchOne(addr, token, index string, i int, sent func()) (string, error) {
	conn, err := net.Dial("tcp", addr)
	if err == nil {
		_, err = fmt.Fprintf(conn, "GET /api/organizations/acme/settings/k%d?wait=5m&index=%s HTTP/1.1\r\nHost: x\r\n%s: %s\r\n\r\n", i, index, spec.HeaderAppKey, token)
	}
	sent()
	if err != nil {
		return "", err
	}
	defer conn.Close() //nolint:errcheck // read only
	resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 512), nil)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(resp.Body)
	return resp.Status + " " + string(bytes.TrimSpace(b)), err
}

// countingStore counts how often requests look at the local state: a waiting one does when it wakes.
type countingStore struct {
	*cluster.Node
	looks, views atomic.Int64
}

// View implements api.Store.
func (s *countingStore) View(ctx context.Context) (*state.View, error) {
	defer s.views.Add(1)
	return s.Node.View(ctx)
}

// Local implements api.Store.
func (s *countingStore) Local() *state.View {
	s.looks.Add(1)
	return s.Node.Local()
}

// TestTenThousandWatchers holds 10,000 blocking reads of another process against one node of three: a write wakes only
// the one who waits for it, and commits go on.
func TestTenThousandWatchers(t *testing.T) {
	var files syscall.Rlimit
	watchers := manyWatchers()
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil || files.Cur < uint64(watchers)+2000 {
		if os.Getenv("CI") == "true" {
			t.Fatalf("only %d files may be open", files.Cur)
		}
		t.Skipf("needs %d open files; %d are allowed", watchers+2000, files.Cur)
	}
	r := newRig(t, 3)
	ctx := t.Context()
	admin := r.client(0)
	must(t, admin.Call(ctx, client.Op{Name: "organizations.create", Body: map[string]any{"name": "acme"}}, nil))
	var key model.ApplicationKey
	must(t, admin.Call(ctx, client.Op{Name: "applicationkeys.create", Params: map[string]string{"org": "acme"}, Body: map[string]any{"name": "w", "method": "TOKEN", "group": "readonly"}}, &key))
	node := r.nodes.Leader()
	for from := 0; from < watchers; from += 250 {
		must(t, node.Update(ctx, func(tx *state.Tx) error { return putSettings(tx, from, from+250) }))
	}
	// The server under test, with its requests counted.
	store := &countingStore{Node: node}
	a, err := api.New(api.Config{Store: store, Log: discard()})
	must(t, err)
	var waiting atomic.Int64
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	server := api.NewHTTPServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		waiting.Add(1)
		defer waiting.Add(-1)
		a.Handler().ServeHTTP(w, q)
	}), discard())
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(func() { _ = server.Close() })

	before := inUse()
	woke := startWatchers(t, ln.Addr().String(), key.Token, fmt.Sprintf("%d-%d", node.Local().Epoch(), node.Local().Index()), strconv.Itoa(watchers))
	eventually(t, "all to wait", func() bool { return waiting.Load() == int64(watchers) && store.views.Load() == int64(watchers) })
	t.Logf("%d watchers take %.1f KiB each", watchers, float64(inUse()-before)/float64(watchers)/1024)

	for i := range 5 {
		k := watchers/8 + watchers/16*i
		looks, began := store.looks.Load(), time.Now()
		must(t, node.Update(ctx, func(tx *state.Tx) error { return putSettings(tx, k, k+1) }))
		select {
		case line := <-woke:
			if !strings.HasPrefix(line, fmt.Sprintf("woke %d <nil> 200 OK", k)) || !strings.Contains(line, `"version":2`) {
				t.Errorf("a write of k%d: %s", k, line)
			}
			t.Logf("the one concerned had its answer after %s", time.Since(began))
		case <-time.After(patience):
			t.Fatalf("nobody woke for k%d", k)
		}
		if n := store.looks.Load() - looks; n != 1 {
			t.Errorf("%d requests looked at the state again after one write", n)
		}
	}
	looks, began := store.looks.Load(), time.Now()
	const commits = 300
	for i := range commits {
		must(t, r.nodes.Node(i%3).Update(ctx, func(tx *state.Tx) error {
			return state.Put(tx, &model.UserRow{ID: "u" + strconv.Itoa(i), Username: "u" + strconv.Itoa(i), Version: 1})
		}))
	}
	t.Logf("%.0f commits a second meanwhile, one after another", commits/time.Since(began).Seconds())
	if n := store.looks.Load() - looks; n != 0 || len(woke) != 0 || waiting.Load() != int64(watchers)-5 {
		t.Errorf("%d woke for what does not concern them; %d still wait", n, waiting.Load())
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// putSettings makes settings of the organization, or new versions of them.
func putSettings(tx *state.Tx, from, to int) error {
	org, err := orchestrate.OrganizationByName(tx, "acme")
	if err != nil {
		return err
	}
	owner := orchestrate.OwnerOfOrganization(org)
	for i := from; i < to; i++ {
		name := fmt.Sprint("k", i)
		row, ok := state.Edit[model.SettingRow](tx, model.SettingKey(owner.ID, name))
		if !ok {
			row = &model.SettingRow{ID: fmt.Sprint("id", i), Owner: owner, Name: name}
		}
		row.Version++
		row.Value = []byte(strconv.Itoa(row.Version))
		if err := state.Put(tx, row); err != nil {
			return err
		}
	}
	return nil
}

// inUse is the memory that this process uses, in bytes.
func inUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// startWatchers starts the process that waits, and gives what it prints.
func startWatchers(t *testing.T, told ...string) <-chan string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestWatcherProcess$")
	cmd.Env = append(os.Environ(), watcherEnv+"="+strings.Join(told, " "))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := make(chan string, manyWatchers())
	go func() {
		for scan := bufio.NewScanner(out); scan.Scan(); {
			if strings.HasPrefix(scan.Text(), "woke") {
				lines <- scan.Text()
			}
		}
	}()
	t.Cleanup(func() {
		_ = in.Close()
		cancel()
		_ = cmd.Wait() // it was ended
	})
	return lines
}
