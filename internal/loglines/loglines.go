// Package loglines writes the lines of a busy log together: a server that answers thousands of requests a second would else
// spend a twentieth of its time on as many calls of the system. A warning or an error is written at once, with all before it.
package loglines

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"
)

// The bounds of what waits: in time from its first line, and in bytes.
const (
	Delay = 10 * time.Millisecond
	room  = 64 << 10
)

// Writer collects what is written to it and passes it on, in order, within Delay. What a process has not passed on when it is
// killed is lost. It is safe for concurrent use; an error of the writer behind it is told by the next Write or Flush.
type Writer struct {
	mu    sync.Mutex
	out   io.Writer
	buf   []byte
	timer *time.Timer // runs while there is something to pass on
	err   error
}

// New collects for out.
func New(out io.Writer) *Writer {
	w := &Writer{out: out}
	w.timer = time.AfterFunc(time.Hour, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.pass()
	})
	w.timer.Stop()
	return w
}

// Write takes p, which may be used again afterwards.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.buf) == 0 {
		w.timer.Reset(Delay)
	}
	if w.buf = append(w.buf, p...); len(w.buf) >= room {
		w.pass()
	}
	return len(p), w.told()
}

// Flush passes on what there is.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pass()
	return w.told()
}

// pass wants the lock.
func (w *Writer) pass() {
	w.timer.Stop()
	if len(w.buf) == 0 {
		return
	}
	if _, err := w.out.Write(w.buf); err != nil {
		w.err = err
	}
	if w.buf = w.buf[:0]; cap(w.buf) > 2*room {
		w.buf = nil
	}
}

func (w *Writer) told() error {
	err := w.err
	w.err = nil
	return err
}

// Handler is h, which writes to w, with what is a warning or worse passed on at once.
func (w *Writer) Handler(h slog.Handler) slog.Handler { return &handler{h, w} }

type handler struct {
	slog.Handler
	w *Writer
}

func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	err := h.Handler.Handle(ctx, r)
	if r.Level >= slog.LevelWarn {
		if e := h.w.Flush(); err == nil {
			err = e
		}
	}
	return err
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &handler{h.Handler.WithAttrs(attrs), h.w}
}

func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{h.Handler.WithGroup(name), h.w}
}
