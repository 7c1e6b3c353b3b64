package cluster_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/cluster/clustertest"
	"github.com/muster-hq/muster/fsm/model"
)

const (
	day             = 24 * time.Hour
	patienceOfADuty = 2 * time.Second // several looks of a duty in a clustertest
)

// fakeClock is the machine's, some time ahead.
type fakeClock struct{ ahead atomic.Int64 }

func (f *fakeClock) now() time.Time       { return time.Now().Add(time.Duration(f.ahead.Load())) }
func (f *fakeClock) pass(d time.Duration) { f.ahead.Add(int64(d)) }

func TestTokensThatAreOfNoUse(t *testing.T) {
	t.Parallel()
	clock := &fakeClock{}
	c := clustertest.New(t, 1, clustertest.Steady(), clustertest.WithConfig(func(_ int, cfg *cluster.Config) { cfg.Now = clock.now }))
	n := c.Node(0)
	make := func(o cluster.TokenOptions) (string, string) {
		t.Helper()
		text, tok, err := n.NewJoinToken(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		return text, tok.ID
	}
	once, onceID := make(cluster.TokenOptions{Life: time.Hour, Uses: 1})
	stale, _ := make(cluster.TokenOptions{Life: time.Minute})
	gone, goneID := make(cluster.TokenOptions{Life: time.Hour, Uses: 2})
	if err := n.RevokeJoinToken(t.Context(), goneID); err != nil {
		t.Fatal(err)
	}
	if err := n.RevokeJoinToken(t.Context(), "none"); model.CodeOf(err) != model.NotFound {
		t.Errorf("revoking what is not there: %v", err)
	}
	for _, o := range []cluster.TokenOptions{{}, {Life: -1}, {Life: time.Hour, Uses: -1}} {
		if _, _, err := n.NewJoinToken(t.Context(), o); model.CodeOf(err) != model.Invalid {
			t.Errorf("%+v: %v", o, err)
		}
	}
	clock.pass(2 * time.Minute)
	if _, err := open(t, cluster.Config{Name: "first", DataDir: t.TempDir(), Now: clock.now, Bootstrap: cluster.Bootstrap{Token: once}}); err != nil {
		t.Fatal(err)
	}
	c.WaitVoters(2)
	for name, tc := range map[string]struct{ token, text string }{
		"used up": {once, "is used up: 1 of 1 nodes have joined with it: make a new one"},
		"stale":   {stale, "expired at"},
		"revoked": {gone, "the join token " + goneID + " was revoked at"},
	} {
		dir := filepath.Join(t.TempDir(), "data")
		_, err := open(t, cluster.Config{Name: "second", DataDir: dir, Now: clock.now, Bootstrap: cluster.Bootstrap{Token: tc.token}})
		if model.CodeOf(err) != model.Unauthenticated || !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%s: %v, expected %q", name, err, tc.text)
		}
		if _, err := os.Stat(filepath.Join(dir, "node.json")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: it is a member: %v", name, err)
		}
	}
	if m := n.Members(); len(m) != 2 {
		t.Errorf("members %+v", m)
	}
	list, err := n.JoinTokens(t.Context())
	if err != nil || len(list) != 3 {
		t.Fatalf("%+v, %v", list, err)
	}
	for _, tok := range list {
		if tok.ID == onceID && (tok.Used != 1 || tok.Uses != 1) || tok.ID == goneID && (tok.Used != 0 || tok.Revoked.IsZero()) || tok.Created.IsZero() {
			t.Errorf("listed %+v", tok)
		}
	}
	clock.pass(2 * day)
	make(cluster.TokenOptions{Life: time.Hour}) // those of before are forgotten
	if list, err = n.JoinTokens(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("after two days: %+v, %v", list, err)
	}
}
