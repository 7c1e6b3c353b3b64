package hub

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Frame types and the octet that ends a frame (AMQP 0-9-1, section 4.2).
const (
	frameMethod    = 1
	frameHeader    = 2
	frameBody      = 3
	frameHeartbeat = 8
	frameEnd       = 0xCE
	frameOverhead  = 8 // type, channel, size, end
	frameMinMax    = 4096
)

// protocolHeader is what a client says first.
const protocolHeader = "AMQP\x00\x00\x09\x01"

var (
	errFrame = errors.New("malformed frame")
	errShort = errors.New("arguments end too early")
	errDeep  = errors.New("table is nested too deeply")
)

// frame is one frame; payload belongs to whoever read it.
type frame struct {
	kind    byte
	channel uint16
	payload []byte
}

// readFrame reads one frame of at most limit octets altogether. The size is judged before memory is
// taken for it.
func readFrame(r *bufio.Reader, limit uint32) (frame, error) {
	var head [7]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return frame{}, err
	}
	f := frame{kind: head[0], channel: binary.BigEndian.Uint16(head[1:])}
	size := binary.BigEndian.Uint32(head[3:])
	switch f.kind {
	case frameMethod, frameHeader, frameBody, frameHeartbeat:
	default:
		return frame{}, fmt.Errorf("%w: type %d", errFrame, f.kind)
	}
	if size > limit-frameOverhead {
		return frame{}, fmt.Errorf("%w: %d octets, the limit is %d", errFrame, size, limit-frameOverhead)
	}
	f.payload = make([]byte, size)
	if _, err := io.ReadFull(r, f.payload); err != nil {
		return frame{}, err
	}
	end, err := r.ReadByte()
	if err != nil {
		return frame{}, err
	}
	if end != frameEnd {
		return frame{}, fmt.Errorf("%w: it ends with octet %#x", errFrame, end)
	}
	return f, nil
}

// appendFrame appends a frame to b.
func appendFrame(b []byte, kind byte, channel uint16, payload []byte) []byte {
	b = append(b, kind)
	b = binary.BigEndian.AppendUint16(b, channel)
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	b = append(b, payload...)
	return append(b, frameEnd)
}

// decoder takes values off a payload. After the first error it gives zero values; done tells.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) take(n int) []byte {
	if d.err != nil {
		return nil
	}
	if n < 0 || n > len(d.b) {
		d.err = errShort
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) octet() byte {
	if v := d.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (d *decoder) short() uint16 {
	if v := d.take(2); v != nil {
		return binary.BigEndian.Uint16(v)
	}
	return 0
}

func (d *decoder) long() uint32 {
	if v := d.take(4); v != nil {
		return binary.BigEndian.Uint32(v)
	}
	return 0
}

func (d *decoder) longlong() uint64 {
	if v := d.take(8); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

func (d *decoder) shortstr() string { return string(d.take(int(d.octet()))) }

func (d *decoder) longstr() []byte {
	n := d.long()
	if uint64(n) > uint64(len(d.b)) {
		d.fail(errShort)
		return nil
	}
	return d.take(int(n))
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
}

// maxDepth bounds the nesting of tables and arrays.
const maxDepth = 8

// table is a field table. Values are bool, int64, uint64, float64 or string, nested table and []any,
// raw octets for the types that nothing here looks into, or nil.
type table map[string]any

func (d *decoder) table() table { return d.tableAt(0) }

func (d *decoder) tableAt(depth int) table {
	inner := decoder{b: d.longstr()}
	if d.err != nil {
		return nil
	}
	if depth > maxDepth {
		d.fail(errDeep)
		return nil
	}
	t := table{}
	for len(inner.b) > 0 && inner.err == nil {
		key := inner.shortstr()
		t[key] = inner.field(depth)
	}
	d.fail2(inner.err)
	return t
}

// fail2 takes over the error of an inner decoder, if it has one.
func (d *decoder) fail2(err error) {
	if err != nil {
		d.fail(err)
	}
}

// field reads one value by the types that RabbitMQ and its clients write.
func (d *decoder) field(depth int) any {
	switch kind := d.octet(); kind {
	case 't':
		return d.octet() != 0
	case 'b':
		return int64(int8(d.octet()))
	case 'B':
		return int64(d.octet())
	case 's':
		return int64(int16(d.short()))
	case 'u':
		return int64(d.short())
	case 'I':
		return int64(int32(d.long()))
	case 'i':
		return int64(d.long())
	case 'l', 'L', 'T':
		return int64(d.longlong())
	case 'S':
		return string(d.longstr())
	case 'x':
		return append([]byte(nil), d.longstr()...)
	case 'f':
		return append([]byte(nil), d.take(4)...)
	case 'd':
		return append([]byte(nil), d.take(8)...)
	case 'D':
		return append([]byte(nil), d.take(5)...)
	case 'F':
		return d.tableAt(depth + 1)
	case 'A':
		return d.array(depth + 1)
	case 'V':
		return nil
	default:
		d.fail(fmt.Errorf("field of unknown type %q", kind))
		return nil
	}
}

func (d *decoder) array(depth int) []any {
	inner := decoder{b: d.longstr()}
	if depth > maxDepth {
		d.fail(errDeep)
		return nil
	}
	var list []any
	for len(inner.b) > 0 && inner.err == nil {
		list = append(list, inner.field(depth))
	}
	d.fail2(inner.err)
	return list
}

// encoder builds a payload.
type encoder struct{ b []byte }

// method begins the payload of a method.
func method(class, id uint16) *encoder {
	e := &encoder{b: make([]byte, 0, 64)}
	return e.short(class).short(id)
}

func (e *encoder) octet(v byte) *encoder      { e.b = append(e.b, v); return e }
func (e *encoder) short(v uint16) *encoder    { e.b = binary.BigEndian.AppendUint16(e.b, v); return e }
func (e *encoder) long(v uint32) *encoder     { e.b = binary.BigEndian.AppendUint32(e.b, v); return e }
func (e *encoder) longlong(v uint64) *encoder { e.b = binary.BigEndian.AppendUint64(e.b, v); return e }

// shortstr appends at most 255 octets of s.
func (e *encoder) shortstr(s string) *encoder {
	if len(s) > 255 {
		s = s[:255]
	}
	e.b = append(e.b, byte(len(s)))
	e.b = append(e.b, s...)
	return e
}

func (e *encoder) longstr(s string) *encoder {
	e.long(uint32(len(s)))
	e.b = append(e.b, s...)
	return e
}

func (e *encoder) bit(v bool) *encoder {
	if v {
		return e.octet(1)
	}
	return e.octet(0)
}

// table appends a table of strings, bools and tables: what the hub tells about itself. Keys are in the
// order given.
func (e *encoder) table(pairs ...any) *encoder {
	inner := &encoder{}
	for i := 0; i+1 < len(pairs); i += 2 {
		key, _ := pairs[i].(string)
		inner.shortstr(key)
		switch v := pairs[i+1].(type) {
		case bool:
			inner.octet('t').bit(v)
		case string:
			inner.octet('S').longstr(v)
		case []any:
			inner.octet('F').table(v...)
		default:
			inner.octet('V')
		}
	}
	return e.longstr(string(inner.b))
}
