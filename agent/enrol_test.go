package agent

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/muster-hq/muster/agent/agenttest"
	"github.com/muster-hq/muster/dispatch/wire"
)

// logBuffer is a log that two goroutines may write and read.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.b.String(), text)
}

func openState(t *testing.T, dir string) *State {
	t.Helper()
	s, err := OpenState(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestEnrol(t *testing.T) {
	o := agenttest.Start(t)
	dir := filepath.Join(t.TempDir(), "new", "state")
	s := openState(t, dir)
	opts := EnrolOptions{Log: slog.New(slog.DiscardHandler), URLs: []string{o.URL}, Token: o.Token, Name: "web1", Facts: Facts("")}
	if err := Enrol(t.Context(), s, opts); err != nil {
		t.Fatal(err)
	}
	want := Identity{Agent: s.AgentID(), Organization: "Acme", Environment: "Test", Host: "web1", Key: o.Token.Key, Epoch: 1, PinnedCA: true}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openState(t, dir)
	got, err := json.Marshal(s.Identity)
	if err != nil {
		t.Fatal(err)
	}
	if exp, _ := json.Marshal(want); string(got) != string(exp) {
		t.Errorf("identity %s, want %s", got, exp)
	}
	// A crash before the identity was stored: the same agent enrols again and is the same member.
	if err := Enrol(t.Context(), s, opts); err != nil || s.Identity.Agent != want.Agent {
		t.Errorf("the second enrolment: %v", err)
	}
}

// A bus that does not show the pinned CA is not believed, whatever its certificate says.
func TestEnrolPinsTheCA(t *testing.T) {
	o := agenttest.Start(t)
	s := openState(t, t.TempDir())
	token := o.Token
	token.CA = strings.Repeat("0", 64)
	log := &logBuffer{}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		done <- Enrol(ctx, s, EnrolOptions{Log: slog.New(slog.NewTextHandler(log, nil)), URLs: []string{o.URL}, Token: token})
	}()
	waitFor(t, "the refusal of the bus", func() bool { return log.has("does not show the CA that the token pins") })
	cancel()
	if err := <-done; err == nil || s.Identity != nil {
		t.Errorf("enrolled by a bus that is not the pinned one: %v", err)
	}
}

func TestAnswersToAnEnrolment(t *testing.T) {
	org, other := fakeKey(1), fakeKey(3)
	token := wire.EnrolToken{ID: "t1", Seed: make([]byte, ed25519.SeedSize), Key: org.Public().(ed25519.PublicKey)}
	welcome := wire.Welcome{Agent: "a1", Key: token.Key}
	elsewhere, wrongKey := welcome, welcome
	elsewhere.Agent, wrongKey.Key = "a2", other.Public().(ed25519.PublicKey)
	sign := func(kind wire.Kind, key ed25519.PrivateKey, body any) []byte {
		data, err := wire.Sign(kind, key, body)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for name, c := range map[string]struct {
		data             []byte
		welcome, refused bool
	}{
		"a welcome":             {sign(wire.KindWelcome, org, welcome), true, false},
		"a refusal":             {sign(wire.KindRefusal, org, wire.Refusal{Agent: "a1", Reason: "no"}), false, true},
		"another's welcome":     {sign(wire.KindWelcome, other, welcome), false, false},
		"another's refusal":     {sign(wire.KindRefusal, other, wire.Refusal{Agent: "a1"}), false, false},
		"for another agent":     {sign(wire.KindWelcome, org, elsewhere), false, false},
		"refusal for another":   {sign(wire.KindRefusal, org, wire.Refusal{Agent: "a2"}), false, false},
		"with another key":      {sign(wire.KindWelcome, org, wrongKey), false, false},
		"an order in its place": {sign(wire.KindOrder, org, welcome), false, false},
		"nonsense":              {[]byte("hello"), false, false},
	} {
		w, err := readAnswer(c.data, "a1", token)
		if (w != nil) != c.welcome || isRefusal(err) != c.refused || (err == nil) != c.welcome {
			t.Errorf("%s: %+v, %v", name, w, err)
		}
	}
}

func TestTheStateDirectory(t *testing.T) {
	dir := t.TempDir()
	s := openState(t, dir)
	if _, err := OpenState(dir); !errors.Is(err, ErrInUse) {
		t.Errorf("two agents on one directory: %v", err)
	}
	id := s.AgentID()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s = openState(t, dir); s.AgentID() != id {
		t.Error("the keys changed between two starts")
	}
	_ = s.Close()
	for name, data := range map[string]string{
		keysFile:     `{"ed25519":"AAAA"}`,
		identityFile: `{"agent":"0123"}`,
	} {
		path := filepath.Join(dir, name)
		old, readErr := os.ReadFile(path)
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenState(dir); err == nil || !strings.Contains(err.Error(), "enrol this machine again") {
			t.Errorf("a damaged %s: %v", name, err)
		}
		if readErr == nil {
			if err := os.WriteFile(path, old, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	mixed, err := json.Marshal(Identity{Agent: strings.Repeat("0", 32), Key: make([]byte, ed25519.PublicKeySize)})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, identityFile), mixed, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenState(dir); err == nil || !strings.Contains(err.Error(), "mixture of two") {
		t.Errorf("the identity of another agent: %v", err)
	}
	if _, err := OpenState("/proc/nothing"); err == nil || !strings.Contains(err.Error(), "state directory") {
		t.Errorf("a directory that cannot be made: %v", err)
	}
}

func TestFacts(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	text := "# a comment\nID=debian\nVERSION_ID=\"12\"\nNAME='Debian'\nbroken\n"
	if err := os.WriteFile(filepath.Join(root, "etc", "os-release"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f := Facts(root)
	if f["os"] != "debian" || f["osVersion"] != "12" || f["hostname"] == "" || f["kernel"] == "" || f["architecture"] == "" {
		t.Errorf("%v", f)
	}
}

func FuzzOSRelease(f *testing.F) {
	f.Add("ID=debian\nVERSION_ID=\"12\"\n")
	f.Add("=\n'\n#")
	f.Fuzz(func(t *testing.T, text string) {
		for k, v := range osRelease(text) {
			if strings.Contains(k, "=") || strings.ContainsAny(v, "\n") {
				t.Errorf("%q: %q", k, v)
			}
		}
	})
}

// TestMachineThatLostItsIdentityIsAnotherAgent: with the old keys its new orders would lie below the old fence, or
// an old order above no fence.
func TestMachineThatLostItsIdentityIsAnotherAgent(t *testing.T) {
	dir := t.TempDir()
	s := openState(t, dir)
	first := s.AgentID()
	reopen := func() string {
		t.Helper()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openState(t, dir)
		return s.AgentID()
	}
	if reopen() != first {
		t.Error("an enrolment that was cut off goes on with other keys")
	}
	if err := s.keepIdentity(Identity{Agent: first, Key: s.Key.Public().(ed25519.PublicKey)}, []byte("ca")); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"journal": "what was done\n", "expected/files": "x"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if reopen() != first {
		t.Error("a member has other keys")
	}
	if err := os.Remove(filepath.Join(dir, identityFile)); err != nil {
		t.Fatal(err)
	}
	if reopen() == first || s.Identity != nil {
		t.Error("a machine that has to enrol again keeps its keys")
	}
	for _, name := range []string{"journal", "expected", caFile} {
		if _, err := os.Lstat(filepath.Join(dir, name)); !os.IsNotExist(err) {
			t.Errorf("%s of the earlier membership is kept: %v", name, err)
		}
	}
}
