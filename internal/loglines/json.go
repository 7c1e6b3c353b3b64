package loglines

import (
	"context"
	"log/slog"
	"strconv"
	"time"
	"unicode/utf8"
)

// JSON is a handler that writes to w the lines of slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}), those of a busy
// server in half of its time: records of texts, numbers and times, without groups. All others it leaves to that.
func (w *Writer) JSON(level slog.Leveler) slog.Handler {
	return w.Handler(&quick{slow: slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}), w: w, level: level})
}

// quick is JSON without attributes of its own.
type quick struct {
	slow  slog.Handler
	w     *Writer
	level slog.Leveler
}

// Enabled is slog.Handler's.
func (q *quick) Enabled(_ context.Context, level slog.Level) bool { return level >= q.level.Level() }

// WithAttrs is slog.Handler's: a logger with attributes of its own is not busy.
func (q *quick) WithAttrs(attrs []slog.Attr) slog.Handler { return q.slow.WithAttrs(attrs) }

// WithGroup is slog.Handler's.
func (q *quick) WithGroup(name string) slog.Handler { return q.slow.WithGroup(name) }

// Handle is slog.Handler's.
func (q *quick) Handle(ctx context.Context, r slog.Record) error {
	var room [512]byte // most lines are no longer
	line, ok := appendLine(room[:0], r)
	if !ok {
		return q.slow.Handle(ctx, r)
	}
	_, err := q.w.Write(line)
	return err
}

// appendLine appends a record as slog's JSON handler writes it; false where it has more than simple texts, numbers and times.
func appendLine(b []byte, r slog.Record) (line []byte, ok bool) {
	if year := r.Time.Year(); year < 2 || year > 9999 { // there is no time, or none that is written so
		return b, false
	}
	b = append(b, `{"time":"`...)
	b = r.Time.AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","level":"`...)
	b = append(b, r.Level.String()...)
	b = append(b, `","msg":`...)
	b, ok = appendText(b, r.Message)
	if !ok {
		return b, false
	}
	r.Attrs(func(a slog.Attr) bool {
		if b, ok = appendText(append(b, ','), a.Key); !ok || a.Key == "" {
			ok = false
			return false
		}
		b = append(b, ':')
		switch v := a.Value; v.Kind() {
		case slog.KindString:
			b, ok = appendText(b, v.String())
		case slog.KindInt64:
			b = strconv.AppendInt(b, v.Int64(), 10)
		case slog.KindUint64:
			b = strconv.AppendUint(b, v.Uint64(), 10)
		case slog.KindBool:
			b = strconv.AppendBool(b, v.Bool())
		case slog.KindDuration:
			b = strconv.AppendInt(b, int64(v.Duration()), 10)
		default:
			ok = false
		}
		return ok
	})
	return append(b, "}\n"...), ok
}

// appendText appends a text that stands for itself in JSON; false for others.
func appendText(b []byte, s string) ([]byte, bool) {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			return b, false
		}
	}
	return append(append(append(b, '"'), s...), '"'), true
}
