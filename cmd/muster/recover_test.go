package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/muster-hq/muster/api/client"
	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/internal/freeport"
)

// TestRecoverAfterTheLossOfTheMajority kills two of three servers under load, and goes on with the third one alone: it
// serves every write that it had, in a new epoch, two new ones join, and the lost ones are refused when they come back.
func TestRecoverAfterTheLossOfTheMajority(t *testing.T) {
	t.Parallel()
	all := threeProcesses(t)
	last, pw := all[0], all[0].passwordFile()
	c, err := last.client(pw)
	if err != nil {
		t.Fatal(err)
	}
	before := last.status(pw).Epoch
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var had sync.Map // organizations that the last one had: it has read them, after they were acknowledged
	var wrote atomic.Int64
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for k := 0; ctx.Err() == nil; k++ {
				name := fmt.Sprintf("org-%d-%d", i, k)
				err := c.Call(ctx, client.Op{Name: "organizations.create", Body: map[string]string{"name": name}}, nil)
				if err == nil {
					err = c.Call(ctx, client.Op{Name: "organizations.show", Params: map[string]string{"org": name}}, nil)
				}
				if err == nil {
					had.Store(name, true)
					wrote.Add(1)
				}
			}
		})
	}
	eventually(t, "writes", func() bool { return wrote.Load() > 50 })
	for _, p := range all[1:] {
		_ = p.end(syscall.SIGKILL)
	}
	eventually(t, "the last one to have no leader", func() bool { return last.probe("/leaderz") != 200 && last.probe("/readyz") == 503 })
	cancel()
	wg.Wait()
	_ = last.end(syscall.SIGKILL)

	out, errs, code := muster(t, "cluster", "recover", "--data", last.data, "--yes", "-o", "json")
	var done cluster.Recovered
	if code != exitDone || json.Unmarshal([]byte(out), &done) != nil {
		t.Fatalf("recover: status %d\n%s%s", code, out, errs)
	}
	if strings.Join(done.Dropped, " ") != "n2 n3" || done.Epoch <= before {
		t.Errorf("recovered %+v, the epoch before was %d", done, before)
	}
	last.run()
	last.waitLogin(pw)
	if st := last.status(pw); st.Epoch != done.Epoch || st.Voters != 1 || !st.Healthy {
		t.Errorf("the status is %+v", st)
	}
	serves := func(p *process) {
		t.Helper()
		c, err := p.client(pw)
		if err != nil {
			t.Fatal(err)
		}
		there, err := client.List[struct{ Name string }](t.Context(), c, client.Op{Name: "organizations.list"})
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]bool{}
		for _, o := range there {
			found[o.Name] = true
		}
		had.Range(func(name, _ any) bool {
			if !found[name.(string)] {
				t.Errorf("%s lacks %s, which n1 had", p.name, name)
			}
			return true
		})
	}
	serves(last)

	ports, err := freeport.Take(loopback, 8)
	if err != nil {
		t.Fatal(err)
	}
	var at []string
	for _, p := range ports {
		at = append(at, loopback+":"+strconv.Itoa(p))
	}
	token := last.joinToken(pw)
	for i := range 2 {
		p := &process{node: nodeOn(t, at[4*i:4*i+4], fmt.Sprintf("n%d", i+4)), bin: last.bin, log: &output{}}
		p.args = append(p.args, "--join", last.cluster, "--token-file", token)
		t.Cleanup(func() { _ = p.cmd.Process.Kill() })
		p.program = &program{ended: make(chan struct{})}
		p.run()
		p.waitLogin(pw)
		last.waitVoters(pw, i+2)
		serves(p)
	}
	for _, p := range all[1:] { // a majority of what they were
		p.run()
	}
	for _, p := range all[1:] {
		select {
		case err := <-p.ended:
			if said := p.log.String(); err == nil || !strings.Contains(said, "was removed from its cluster") || !strings.Contains(said, "empty its data folder") {
				t.Errorf("%s ended with %v:\n%s", p.name, err, said)
			}
		case <-time.After(patience):
			t.Errorf("%s goes on, although it was lost", p.name)
		}
	}
	if st := last.status(pw); st.Voters != 3 || !st.Healthy {
		t.Errorf("afterwards the status is %+v", st)
	}
}
