package sys_test

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/muster-hq/muster/agent/sys"
)

type seen struct {
	mu sync.Mutex
	n  map[string]int
}

func (s *seen) add(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n[name]++
}

func (s *seen) count(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n[name]
}

func watch(t *testing.T, m *sys.Machine, names ...string) *seen {
	t.Helper()
	s := &seen{n: map[string]int{}}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.Watch(ctx, names, s.add) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Watch = %v", err)
		}
	})
	return s
}

// settle waits until a while has passed without news, so that what comes next is not of the past.
func (s *seen) settle(t *testing.T) {
	t.Helper()
	last, since := -1, time.Now()
	eventually(t, "silence", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		total := 0
		for _, n := range s.n {
			total += n
		}
		if total != last {
			last, since = total, time.Now()
		}
		return time.Since(since) > 50*time.Millisecond
	})
}

// until repeats something harmless until the watch has seen it, which tells that it is set up.
func (s *seen) until(t *testing.T, name string, do func()) {
	t.Helper()
	do()
	before := s.count(name)
	eventually(t, "a change of "+name, func() bool {
		if s.count(name) > before {
			return true
		}
		do()
		return false
	})
}

func TestWatchSeesEveryKindOfChange(t *testing.T) {
	m, dir := machine(t, nil)
	put(t, dir+"/etc/f", "1", 0o644)
	put(t, dir+"/etc/other", "1", 0o644)
	s := watch(t, m, "/etc/f", "/etc/quiet")
	s.until(t, "/etc/f", func() { put(t, dir+"/etc/f", "2", 0o644) })
	put(t, dir+"/etc/new", "3", 0o644)
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"chmod", func() error { return os.Chmod(dir+"/etc/f", 0o600) }},
		{"rename over", func() error { return os.Rename(dir+"/etc/new", dir+"/etc/f") }},
		{"remove", func() error { return os.Remove(dir + "/etc/f") }},
		{"link", func() error { return os.Symlink("other", dir+"/etc/f") }},
	} {
		s.settle(t)
		before := s.count("/etc/f")
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		eventually(t, step.what+" is seen", func() bool { return s.count("/etc/f") > before })
	}
	put(t, dir+"/etc/other", "2", 0o644)
	if s.count("/etc/other") != 0 || s.count("/etc/quiet") != 0 {
		t.Error("a change of something else was reported")
	}
}

func TestWatchFollowsDirectoriesThatComeAndGo(t *testing.T) {
	m, dir := machine(t, nil)
	s := watch(t, m, "/a/b/f", "/probe")
	s.until(t, "/probe", func() { put(t, dir+"/probe", "x", 0o644) })
	for round := range 3 {
		before := s.count("/a/b/f")
		put(t, dir+"/a/b/f", "1", 0o644)
		eventually(t, "the file in new directories is seen", func() bool { return s.count("/a/b/f") > before })
		s.until(t, "/a/b/f", func() { put(t, dir+"/a/b/f", "2", 0o644) })
		s.settle(t)
		before = s.count("/a/b/f")
		if round == 1 { // moved away instead of removed
			if err := os.Rename(dir+"/a", dir+"/moved"); err != nil {
				t.Fatal(err)
			}
		} else if err := os.RemoveAll(dir + "/a"); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the end of the directory is seen", func() bool { return s.count("/a/b/f") > before })
	}
}
