package hub

import (
	"bufio"
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestFrameRoundTrip(t *testing.T) {
	for _, size := range []int{0, 1, 100, 4096 - frameOverhead} {
		want := frame{kind: frameBody, channel: 7, payload: bytes.Repeat([]byte{frameEnd}, size)}
		data := appendFrame(nil, want.kind, want.channel, want.payload)
		got, err := readFrame(bufio.NewReader(bytes.NewReader(data)), 4096)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%d octets: %+v, %v", size, got, err)
		}
		if len(data) != size+frameOverhead {
			t.Errorf("%d octets became %d", size, len(data))
		}
	}
	data := appendFrame(nil, frameBody, 1, make([]byte, 4096-frameOverhead+1))
	if _, err := readFrame(bufio.NewReader(bytes.NewReader(data)), 4096); !errors.Is(err, errFrame) {
		t.Errorf("one octet too many: %v", err)
	}
}

func TestTable(t *testing.T) {
	e := (&encoder{}).table("t", true, "s", "text", "in", []any{"x", false})
	d := decoder{b: e.b}
	want := table{"t": true, "s": "text", "in": table{"x": false}}
	if got := d.table(); d.err != nil || !reflect.DeepEqual(got, want) || len(d.b) != 0 {
		t.Errorf("%v, %v", got, d.err)
	}
	for text, want := range map[string]any{
		"b\xff": int64(-1), "B\xff": int64(255), "s\xff\xfe": int64(-2), "u\xff\xfe": int64(65534),
		"I\xff\xff\xff\xff": int64(-1), "i\xff\xff\xff\xff": int64(1<<32 - 1), "l\x00\x00\x00\x00\x00\x00\x01\x00": int64(256),
		"V": nil, "S\x00\x00\x00\x02ab": "ab", "A\x00\x00\x00\x04t\x01t\x00": []any{true, false},
	} {
		d := decoder{b: []byte(text)}
		if got := d.field(0); d.err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %v, %v", text, got, d.err)
		}
	}
	for _, text := range []string{"?", "S\x00\x00\x00\x03ab", "S\xff\xff\xff\xffab", "A\x00\x00\x00\x01t", "l\x00", ""} {
		d := decoder{b: []byte(text)}
		if got := d.field(0); d.err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestContentHeader(t *testing.T) {
	// content-type, expiration, message-id, user-id
	flags := uint16(1<<15 | 1<<8 | 1<<7 | 1<<4)
	e := (&encoder{}).short(classBasic).short(0).longlong(9).short(flags).shortstr("x/y").shortstr("250").shortstr("m").shortstr("agent.1")
	size, p, err := contentHeader(e.b)
	if err != nil || size != 9 || p.userID != "agent.1" || !p.expires || p.expiration != 250*time.Millisecond || !bytes.Equal(p.raw, e.b[12:]) {
		t.Errorf("%d %+v %v", size, p, err)
	}
	for name, data := range map[string][]byte{
		"cut":           e.b[:len(e.b)-1],
		"more":          append(bytes.Clone(e.b), 0),
		"other class":   (&encoder{}).short(classQueue).short(0).longlong(9).short(0).b,
		"more flags":    (&encoder{}).short(classBasic).short(0).longlong(9).short(1).b,
		"no expiration": (&encoder{}).short(classBasic).short(0).longlong(9).short(1 << 8).shortstr("soon").b,
		"empty":         nil,
	} {
		if _, _, err := contentHeader(data); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestMatchTopicIsFast(t *testing.T) {
	pattern := strings.Split(strings.Repeat("#.a.", 40)+"b", ".")
	words := strings.Split(strings.Repeat("a.", 100)+"a", ".")
	began := time.Now()
	if matchTopic(pattern, words) {
		t.Error("it matched")
	}
	if d := time.Since(began); d > time.Second {
		t.Errorf("it took %s", d)
	}
}

func FuzzFrame(f *testing.F) {
	f.Add(appendFrame(nil, frameMethod, 0, connectionTune.begin().short(1).long(2).short(3).b))
	f.Add(appendFrame(nil, frameHeartbeat, 0, nil))
	f.Add([]byte("\x01\x00\x00\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := readFrame(bufio.NewReader(bytes.NewReader(data)), 4096)
		if err != nil {
			return
		}
		again := appendFrame(nil, got.kind, got.channel, got.payload)
		if !bytes.HasPrefix(data, again) || len(again) > 4096 {
			t.Errorf("%x was read from %x", again, data)
		}
	})
}

// FuzzMethods gives arbitrary arguments to every method, in the hands of somebody who may do all, and in
// those of an agent.
func FuzzMethods(f *testing.F) {
	f.Add(uint32(queueDeclare), (&encoder{}).short(0).shortstr("q").octet(0).table("x-max-length", "1").b)
	f.Add(uint32(basicPublish), (&encoder{}).short(0).shortstr("").shortstr("q").octet(1).b)
	f.Add(uint32(basicConsume), (&encoder{}).short(0).shortstr("q").shortstr("t").octet(0).table().b)
	f.Add(uint32(queueBind), (&encoder{}).short(0).shortstr("q").shortstr("amq.topic").shortstr("#").octet(0).table().b)
	f.Fuzz(func(t *testing.T, id uint32, args []byte) {
		for _, user := range []string{"orchestrator", "agent.1", "enrol.1"} {
			ch := fuzzChannel(t, user)
			before := len(ch.conn.hub.exchanges)
			e := ch.method(methodID(id), &decoder{b: args})
			if ch.incoming != nil {
				_ = ch.content(frame{kind: frameHeader, payload: args})
			}
			if user == "agent.1" && (len(ch.conn.hub.queues) > 1 || len(ch.conn.hub.exchanges) != before) {
				t.Errorf("an agent declared something: %v", e)
			}
		}
	})
}

func FuzzContentHeader(f *testing.F) {
	f.Add((&encoder{}).short(classBasic).short(0).longlong(9).short(1<<15|1<<13).shortstr("x").table("a", "b").b)
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, p, err := contentHeader(data); err == nil && len(p.raw) != len(data)-12 {
			t.Errorf("%d octets of %d", len(p.raw), len(data))
		}
	})
}
