package agent

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-hq/muster/agent/resource"
	"github.com/muster-hq/muster/dispatch/wire"
)

// bubble runs a test in virtual time, with a site that watches /a, wanted "1".
func bubble(t *testing.T, f func(t *testing.T, s *site)) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.interval = 10 * time.Minute
		s.start()
		s.send(s.order(1, watched(apply("files", "/a", "1"))))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if len(s.link.alerts()) != 0 {
			t.Fatalf("alerts before anything drifted: %+v", s.link.alerts())
		}
		f(t, s)
		s.stop()
	})
}

// later lets virtual time pass.
func later(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestDriftIsToldWithinASecond(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		at := time.Now()
		s.files.set("/a", "2")
		later(time.Second)
		alerts := s.link.alerts()
		if len(alerts) != 1 {
			t.Fatalf("%d alerts", len(alerts))
		}
		a := alerts[0].alert
		if a.Compliant || string(a.Expected) != `{"value":"1"}` || string(a.Observed) != `{"value":"2"}` ||
			a.Origin != (wire.Origin{Application: "app", Type: "files", Name: "/a"}) || a.Agent != s.id.Agent || a.Sequence == 0 {
			t.Errorf("%+v", a)
		}
		if d := alerts[0].at.Sub(at); d > time.Second {
			t.Errorf("told after %v", d)
		}
		s.receipt(a.Sequence)
		s.files.set("/a", "1")
		later(time.Second)
		if alerts = s.link.alerts(); len(alerts) != 2 || !alerts[1].alert.Compliant || len(alerts[1].alert.Expected) != 0 {
			t.Errorf("the return was not told: %+v", alerts[1:])
		}
	})
}

func TestTheSameDriftIsToldOnce(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		s.files.set("/a", "2")
		later(time.Second)
		s.receipt(s.link.alerts()[0].alert.Sequence)
		for range 5 {
			s.files.set("/a", "2")
			later(10 * time.Second)
		}
		if n := len(s.link.alerts()); n != 1 {
			t.Fatalf("told %d times", n)
		}
		s.stop()
		s.start() // what was told is remembered over a restart
		later(time.Minute)
		if n := len(s.link.alerts()); n != 0 {
			t.Errorf("told again after a restart")
		}
		s.files.set("/a", "3")
		later(time.Second)
		if a := s.link.alerts(); len(a) != 1 || string(a[0].alert.Observed) != `{"value":"3"}` {
			t.Errorf("the drift went on, but: %+v", a)
		}
	})
}

func TestWhatFlickersIsToldSlowly(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		for i := range 300 {
			s.files.set("/a", strings.Repeat("x", i%7+2))
			later(100 * time.Millisecond)
		}
		if n := len(s.link.alerts()); n < 5 || n > 11 {
			t.Errorf("30 seconds of changes gave %d alerts", n)
		}
		s.files.set("/a", "1")
		later(10 * time.Second)
		if a := s.link.alerts(); !a[len(a)-1].alert.Compliant {
			t.Error("the last word is not the truth")
		}
		if n := len(s.agent.journal.Outstanding()); n > 2 {
			t.Errorf("%d messages wait; one alert of a resource is enough", n)
		}
	})
}

func TestWhatComesAndGoesIsToldSlowly(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		for i := range 60 {
			s.files.set("/a", []string{"1", "2"}[i%2])
			later(500 * time.Millisecond)
		}
		if n := len(s.link.alerts()); n < 5 || n > 11 {
			t.Errorf("30 seconds of coming and going gave %d alerts", n)
		}
		later(10 * time.Second)
		if a := s.link.alerts(); a[len(a)-1].alert.Compliant {
			t.Error("the last word is not the truth")
		}
	})
}

func TestWhatOrdersRepairIsNoFlicker(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		for i := range 10 {
			s.files.set("/a", "2")
			later(time.Second)
			s.send(s.order(i+2, watched(apply("files", "/a", "1"))))
			later(time.Second)
			a := s.link.alerts()
			if len(a) != 2*(i+1) || a[len(a)-2].alert.Compliant || !a[len(a)-1].alert.Compliant {
				t.Fatalf("%d alerts after %d drifts and repairs within %d s", len(a), i+1, 2*(i+1))
			}
			for _, told := range a[len(a)-2:] {
				s.receipt(told.alert.Sequence)
			}
		}
	})
}

func TestManyEventsMakeOneCheck(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		before := s.files.checks
		for range 100 {
			s.files.set("/a", "1")
		}
		later(5 * time.Second)
		if n := s.files.checks - before; n != 1 {
			t.Errorf("100 events made %d checks", n)
		}
	})
}

func TestTheTimerCatchesWhatEventsMiss(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		s.files.mu.Lock()
		s.files.values["/a"] = "2" // without an event
		s.files.mu.Unlock()
		later(7 * time.Minute)
		if n := len(s.link.alerts()); n != 0 {
			t.Fatalf("told before the timer could see it")
		}
		later(6 * time.Minute)
		if n := len(s.link.alerts()); n == 0 {
			t.Error("not told after the timer's longest period")
		}
	})
}

func TestAlertsWaitForTheConnection(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		s.link.mu.Lock()
		s.link.fail = errFake
		s.link.mu.Unlock()
		s.files.set("/a", "2")
		later(time.Hour)
		s.stop()
		s.start()
		later(time.Second)
		if a := s.link.alerts(); len(a) != 1 || string(a[0].alert.Observed) != `{"value":"2"}` {
			t.Errorf("%+v", a)
		}
	})
}

func TestAWatchThatFailsIsStartedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.files.watchErr = errFake
		s.start()
		s.send(s.order(1, watched(apply("files", "/a", "1"))))
		later(time.Minute)
		s.files.mu.Lock()
		s.files.watchErr = nil
		s.files.mu.Unlock()
		later(2 * time.Minute)
		s.files.set("/a", "2")
		later(time.Second)
		if n := len(s.link.alerts()); n != 1 {
			t.Errorf("%d alerts", n)
		}
		s.stop()
	})
}

// An order that passes over a resource twice makes no noise about what lies between.
func TestAnOrderIsNoDrift(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		s.files.hook = func(call, id string) error {
			if call == "acted" {
				s.files.set("/a", "package default")
				time.Sleep(time.Minute)
			}
			return nil
		}
		s.send(s.order(2, act("files", "/install", "run"), watched(apply("files", "/a", "3"))))
		later(5 * time.Minute)
		if a := s.link.alerts(); len(a) != 0 {
			t.Errorf("%+v", a[0].alert)
		}
		s.files.hook = nil
		s.files.set("/a", "1")
		later(time.Second)
		if a := s.link.alerts(); len(a) != 1 || string(a[0].alert.Expected) != `{"value":"3"}` {
			t.Errorf("the new expectation does not hold: %+v", a)
		}
	})
}

func TestForgetAndMonitorFalse(t *testing.T) {
	no := false
	unwatch := apply("files", "/a", "1")
	unwatch.Monitor = &no
	for name, st := range map[string]wire.Step{
		"forget":        {Collection: "files", Resource: "/a", Verb: wire.VerbForget},
		"monitor false": unwatch,
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *site) {
				s.send(s.order(2, st))
				later(5 * time.Second)
				s.files.set("/a", "9")
				later(time.Hour)
				if n := len(s.link.alerts()); n != 0 {
					t.Errorf("%d alerts of what is not watched", n)
				}
			})
		})
	}
}

func TestACheckThatFailsIsTriedAgain(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		s.files.mu.Lock()
		s.files.hook = func(call, id string) error {
			if call == "check" {
				panic("boom")
			}
			return nil
		}
		s.files.mu.Unlock()
		s.files.set("/a", "2")
		later(time.Minute)
		s.files.mu.Lock()
		s.files.hook = nil
		s.files.mu.Unlock()
		later(2 * time.Minute)
		if n := len(s.link.alerts()); n != 1 {
			t.Errorf("%d alerts", n)
		}
	})
}

func TestRepeatsUntilTheReceipt(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		later(time.Hour)
		n := len(s.link.replies())
		if n < 20 || n > 90 {
			t.Errorf("an hour without a receipt: told %d times; it should back off to a minute or two", n)
		}
		first := s.link.replies()[0]
		for _, r := range s.link.replies() {
			if r.Sequence != first.Sequence || !r.At.Equal(first.At) {
				t.Errorf("a repeat differs: %+v", r)
			}
		}
		s.receipt(first.Sequence)
		later(time.Hour)
		if got := len(s.link.replies()); got != n {
			t.Errorf("told %d times after the receipt", got-n)
		}
	})
}

func TestHeartbeat(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		later(time.Minute)
		s.stop()
		var beats, byes int
		for _, m := range s.link.all {
			if m.presence == nil {
				continue
			}
			if m.presence.Bye {
				byes++
			} else {
				beats++
			}
			if m.presence.Agent != s.id.Agent || m.presence.Version != "test" || m.presence.Started.IsZero() {
				t.Errorf("%+v", m.presence)
			}
		}
		if beats < 7 || beats > 9 || byes != 1 {
			t.Errorf("%d heartbeats in 70 seconds, %d goodbyes", beats, byes)
		}
		if last := s.link.all[len(s.link.all)-1]; last.presence == nil || !last.presence.Bye {
			t.Error("the goodbye is not the last word")
		}
	})
}

func TestTheStoreComesBack(t *testing.T) {
	dir := t.TempDir()
	silent := slog.New(slog.DiscardHandler)
	st, err := openStore(dir, silent)
	if err != nil {
		t.Fatal(err)
	}
	want := json.RawMessage(`{"content":"<&> \u00e9","mode":"0644"}`)
	for _, id := range []string{"/a", "/b"} {
		if err := st.put(expectation{Collection: "files", Resource: id, Want: want}); err != nil {
			t.Fatal(err)
		}
	}
	damaged := st.path("files", "/b")
	data, err := os.ReadFile(damaged)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(damaged, []byte(strings.Replace(string(data), "0644", "0666", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if st, err = openStore(dir, silent); err != nil {
		t.Fatal(err)
	}
	x, ok, err := st.get("files", "/a")
	var a, b any
	if json.Unmarshal(x.Want, &a) != nil || json.Unmarshal(want, &b) != nil || a.(map[string]any)["content"] != b.(map[string]any)["content"] || !ok || err != nil {
		t.Errorf("%v %v %s", ok, err, x.Want)
	}
	if _, ok, _ := st.get("files", "/b"); ok {
		t.Error("a damaged expectation is believed")
	}
	if found, _ := filepath.Glob(filepath.Join(dir, "*.damaged")); len(found) != 1 {
		t.Error("the damaged file was not put aside")
	}
	if info, err := os.Stat(st.path("files", "/a")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("wants may hold secrets: %v %v", info.Mode(), err)
	}
	if err := st.remove("files", "/a"); err != nil {
		t.Fatal(err)
	}
	if err := st.remove("files", "/a"); err != nil {
		t.Errorf("forgetting twice: %v", err)
	}
}

func FuzzExpectation(f *testing.F) {
	f.Add([]byte(`{"sha256":"x","expectation":{"collection":"files"}}`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if x, err := decodeExpectation(data); err == nil {
			_ = x.Collection
		}
	})
}

var _ resource.Watcher = (*FakeCollection)(nil)
