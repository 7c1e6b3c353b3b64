package loglines_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-hq/muster/internal/loglines"
)

// sink counts how often it is written to. It is safe for concurrent use.
type sink struct {
	mu    sync.Mutex
	text  bytes.Buffer
	calls int
	err   error
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls++; s.err != nil {
		return 0, s.err
	}
	return s.text.Write(p)
}

// got is what was written, in how many calls.
func (s *sink) got() (text string, calls int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String(), s.calls
}

// breaks makes the next calls fail; nil makes them work again.
func (s *sink) breaks(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func logTo(s *sink) (*slog.Logger, *loglines.Writer) {
	w := loglines.New(s)
	return slog.New(w.Handler(slog.NewTextHandler(w, nil))), w
}

func TestLinesGoTogetherWithinTheDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s sink
		log, _ := logTo(&s)
		log = log.With("node", "n1").WithGroup("g")
		for i := range 100 {
			log.Info("request", "n", i)
		}
		if text, _ := s.got(); text != "" {
			t.Fatal("written at once:", text)
		}
		time.Sleep(loglines.Delay) // of the bubble's clock
		synctest.Wait()
		if text, calls := s.got(); calls != 1 || strings.Count(text, "\n") != 100 || !strings.Contains(text, "node=n1 g.n=99") {
			t.Fatal(calls, text)
		}
		log.Info("one more")
		time.Sleep(loglines.Delay)
		synctest.Wait()
		if text, calls := s.got(); calls != 2 || !strings.HasSuffix(text, "msg=\"one more\" node=n1\n") {
			t.Fatal(calls, text)
		}
	})
}

func TestWarningsGoAtOnceBehindWhatCameBefore(t *testing.T) {
	var s sink
	log, _ := logTo(&s)
	log.Info("first")
	log.With("a", 1).Warn("second")
	if text, calls := s.got(); calls != 1 || strings.Index(text, "first") > strings.Index(text, "second") || !strings.Contains(text, "second") {
		t.Fatal(calls, text)
	}
}

func TestManyBytesDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s sink
		w := loglines.New(&s)
		line := bytes.Repeat([]byte("x"), 1<<10)
		for range 200 {
			if _, err := w.Write(line); err != nil {
				t.Fatal(err)
			}
		}
		if text, _ := s.got(); len(text) < 128<<10 {
			t.Fatal("200 KiB wait, written:", len(text))
		}
		err := w.Flush()
		if text, _ := s.got(); err != nil || len(text) != 200<<10 {
			t.Fatal(err, len(text))
		}
	})
}

func TestAnErrorIsToldOnce(t *testing.T) {
	broken := errors.New("no space")
	var s sink
	s.breaks(broken)
	w := loglines.New(&s)
	if _, err := w.Write([]byte("a\n")); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	s.breaks(nil)
	if _, err := w.Write([]byte("b\n")); err != nil {
		t.Fatal(err)
	}
	err := w.Flush()
	if text, _ := s.got(); err != nil || text != "b\n" {
		t.Fatal(err, text)
	}
}

func TestLinesOfManyStayWhole(t *testing.T) {
	var s sink
	log, w := logTo(&s)
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			for i := range 500 {
				log.Info("line", "of", n, "i", i)
			}
		})
	}
	all.Wait()
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	next := [8]int{}
	text, _ := s.got()
	for line := range strings.Lines(text) {
		var n, i int
		if _, err := fmt.Sscanf(line[strings.Index(line, "of="):], "of=%d i=%d\n", &n, &i); err != nil || i != next[n] {
			t.Fatal(line, err)
		}
		next[n]++
	}
	if next != [8]int{500, 500, 500, 500, 500, 500, 500, 500} {
		t.Fatal(next)
	}
}
