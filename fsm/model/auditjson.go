package model

import (
	"encoding/json"
	"math"
	"strconv"
)

// AppendJSON appends the record as encoding/json writes it. The values of fields must be JSON as encoding/json writes it;
// they are not looked at.
func (a *AuditRecord) AppendJSON(b []byte) []byte {
	b, _ = a.appendWithin(b, math.MaxInt)
	return b
}

// appendWithin is AppendJSON that gives up once the record is longer than most: what it gives is of no use then. It tells how many
// of the changes were written.
func (a *AuditRecord) appendWithin(b []byte, most int) (out []byte, written int) {
	start := len(b)
	w := jsonWriter{b: append(b, '{')}
	w.text("actor", a.Actor)
	w.text("kind", a.Kind)
	w.some("fullname", a.Fullname)
	w.some("address", a.Address)
	w.some("request", a.Request)
	w.text("action", a.Action)
	w.text("object", a.Object)
	w.text("message", a.Message)
	w.flag("read", a.Read)
	w.some("env", a.EnvID)
	w.some("host", a.HostID)
	w.list("changes", len(a.Changes), func(i int) {
		if len(w.b)-start <= most {
			a.Changes[i].write(&w)
			written++
		}
	})
	w.count("more", a.More)
	w.count("queued", a.Queued)
	w.b = append(w.b, '}')
	return w.b, written
}

func (c *AuditChange) write(w *jsonWriter) {
	w.b = append(w.b, '{')
	w.text("kind", c.Kind)
	w.text("object", c.Object)
	w.text("action", c.Action)
	w.some("env", c.EnvID)
	w.some("host", c.HostID)
	w.list("fields", len(c.Fields), func(i int) {
		f := &c.Fields[i]
		w.b = append(w.b, '{')
		w.text("field", f.Field)
		w.raw("before", f.Before)
		w.raw("after", f.After)
		w.b = append(w.b, '}')
	})
	w.flag("cut", c.Cut)
	w.b = append(w.b, '}')
}

// jsonWriter appends fields of objects.
type jsonWriter struct{ b []byte }

// text writes a field.
func (w *jsonWriter) text(name, value string) {
	w.b = AppendText(appendName(w.b, name), value)
}

// some writes a field unless it is empty.
func (w *jsonWriter) some(name, value string) {
	if value != "" {
		w.text(name, value)
	}
}

func (w *jsonWriter) raw(name string, value json.RawMessage) {
	if len(value) > 0 {
		w.b = append(appendName(w.b, name), value...)
	}
}

func (w *jsonWriter) flag(name string, value bool) {
	if value {
		w.b = append(appendName(w.b, name), "true"...)
	}
}

func (w *jsonWriter) count(name string, n int) {
	if n != 0 {
		w.b = strconv.AppendInt(appendName(w.b, name), int64(n), 10)
	}
}

func (w *jsonWriter) list(name string, n int, item func(i int)) {
	if n == 0 {
		return
	}
	w.b = append(appendName(w.b, name), '[')
	for i := range n {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		item(i)
	}
	w.b = append(w.b, ']')
}

// AppendText appends a text as encoding/json writes it.
func AppendText(b []byte, value string) []byte {
	start := len(b)
	b = append(b, '"')
	for rest := bytesOf(value); ; {
		n := plainLen(rest)
		if b = append(b, rest[:n]...); n == len(rest) {
			return append(b, '"')
		}
		if c := rest[n]; c != '"' && c != '\\' {
			v, _ := json.Marshal(value) // a text cannot fail
			return append(b[:start], v...)
		}
		b = append(b, '\\', rest[n])
		rest = rest[n+1:]
	}
}
