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

// sink counts how often it is written to.
type sink struct {
	bytes.Buffer
	calls int
	err   error
}

func (s *sink) Write(p []byte) (int, error) {
	if s.calls++; s.err != nil {
		return 0, s.err
	}
	return s.Buffer.Write(p)
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
		if s.calls != 0 {
			t.Fatal("written at once", s.calls)
		}
		time.Sleep(loglines.Delay) // of the bubble's clock
		synctest.Wait()
		if s.calls != 1 || strings.Count(s.String(), "\n") != 100 || !strings.Contains(s.String(), "node=n1 g.n=99") {
			t.Fatal(s.calls, s.String())
		}
		log.Info("one more")
		time.Sleep(loglines.Delay)
		synctest.Wait()
		if s.calls != 2 || !strings.HasSuffix(s.String(), "msg=\"one more\" node=n1\n") {
			t.Fatal(s.calls, s.String())
		}
	})
}

func TestWarningsGoAtOnceBehindWhatCameBefore(t *testing.T) {
	var s sink
	log, _ := logTo(&s)
	log.Info("first")
	log.With("a", 1).Warn("second")
	if text := s.String(); s.calls != 1 || strings.Index(text, "first") > strings.Index(text, "second") || !strings.Contains(text, "second") {
		t.Fatal(s.calls, text)
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
		if s.Len() < 128<<10 {
			t.Fatal("200 KiB wait, written:", s.Len())
		}
		if err := w.Flush(); err != nil || s.Len() != 200<<10 {
			t.Fatal(err, s.Len())
		}
	})
}

func TestAnErrorIsToldOnce(t *testing.T) {
	broken := errors.New("no space")
	s := sink{err: broken}
	w := loglines.New(&s)
	if _, err := w.Write([]byte("a\n")); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	s.err = nil
	if _, err := w.Write([]byte("b\n")); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil || s.String() != "b\n" {
		t.Fatal(err, s.String())
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
	for line := range strings.Lines(s.String()) {
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
