package loglines_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/muster-hq/muster/internal/loglines"
)

// records are of all kinds: those that are written at once, and those that are not.
func records() []slog.Record {
	at := time.Date(2024, 2, 29, 12, 30, 0, 123456789, time.FixedZone("x", 3600))
	record := func(at time.Time, level slog.Level, text string, attrs ...slog.Attr) slog.Record {
		r := slog.NewRecord(at, level, text, 0)
		r.AddAttrs(attrs...)
		return r
	}
	out := []slog.Record{
		record(at, slog.LevelInfo, "request", slog.String("id", "a1"), slog.String("method", "GET"), slog.String("path", "/api/organizations/acme"), slog.String("route", "organizations.show"),
			slog.Int("status", 200), slog.String("caller", "admin"), slog.String("address", "::1"), slog.Duration("took", 1234567)),
		record(at.UTC(), slog.LevelWarn+1, "no attributes"),
		record(time.Time{}, slog.LevelInfo, "no time", slog.Int("n", 1)),
		record(time.Date(12024, 1, 1, 0, 0, 0, 0, time.UTC), slog.LevelInfo, "a far time"),
		record(time.Now(), slog.LevelDebug, "now", slog.Uint64("u", 1<<63), slog.Int64("i", -1<<63), slog.Bool("b", true), slog.Bool("c", false)),
	}
	for _, text := range []string{"", `quote " and \`, "<b>&amp;", "ünï\u2028", "line\nbreak", "broken \xff", "\x7f", "\x00"} {
		out = append(out, record(at, slog.LevelError, text), record(at, slog.LevelInfo, "m", slog.String("a", text)), record(at, slog.LevelInfo, "m", slog.String(text, "a")))
	}
	for _, a := range []slog.Attr{{}, slog.Any("e", errors.New("an error")), slog.Float64("f", 1.5), slog.Time("t", at), slog.Any("n", nil), slog.Group("g", slog.Int("n", 1)), slog.Group("g")} {
		out = append(out, record(at, slog.LevelInfo, "m", slog.Int("before", 1), a, slog.Int("after", 2)))
	}
	return out
}

// TestJSONLines: they are those of slog's handler.
func TestJSONLines(t *testing.T) {
	for _, r := range records() {
		var got, want bytes.Buffer
		w := loglines.New(&got)
		if err := errors.Join(w.JSON(slog.LevelDebug).Handle(t.Context(), r), w.Flush(), slog.NewJSONHandler(&want, nil).Handle(t.Context(), r)); err != nil {
			t.Fatal(err)
		}
		if got.String() != want.String() {
			t.Errorf("the line is\n%s in place of\n%s", got.String(), want.String())
		}
	}
}

// TestJSONLoggers: with attributes of their own, in groups, and at levels that change.
func TestJSONLoggers(t *testing.T) {
	var got, want bytes.Buffer
	level := new(slog.LevelVar)
	w := loglines.New(&got)
	opts := &slog.HandlerOptions{Level: level}
	for _, l := range []*slog.Logger{slog.New(w.JSON(level)), slog.New(slog.NewJSONHandler(&want, opts))} {
		level.Set(slog.LevelInfo)
		for range 2 {
			for _, to := range []*slog.Logger{l, l.With("node", "n1"), l.WithGroup("g").With("a", 1)} {
				for _, at := range []slog.Level{slog.LevelDebug, slog.LevelInfo} {
					r := slog.NewRecord(time.Time{}, at, "m", 0)
					r.AddAttrs(slog.Int("n", 1))
					if to.Enabled(t.Context(), at) {
						if err := to.Handler().Handle(t.Context(), r); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			level.Set(slog.LevelDebug)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if got.String() != want.String() || bytes.Count(got.Bytes(), []byte("\n")) != 9 {
		t.Errorf("the lines are\n%s in place of\n%s", got.String(), want.String())
	}
}

func BenchmarkJSON(b *testing.B) {
	r := records()[0]
	for name, h := range map[string]slog.Handler{"own": loglines.New(io.Discard).JSON(slog.LevelInfo), "slog": slog.NewJSONHandler(loglines.New(io.Discard), nil)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := h.Handle(context.Background(), r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
