package model

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// auditRecords are records with texts and values of all kinds.
func auditRecords() []AuditRecord {
	out := []AuditRecord{{}, {Actor: "ann", Kind: ActorUser, Action: "users.update", Object: "users/ann", Message: "updated", Read: true, More: 3, Queued: 2}}
	for _, text := range []string{"plain", `quote " and \`, "<b>&amp;", "ünïcode\u2028", "line\nbreak", "broken \xff"} {
		for _, value := range append(plainValues(), `{"a":["b"]}`, `"********"`) {
			raw := json.RawMessage(value)
			out = append(out, AuditRecord{Actor: text, Kind: ActorKey, Fullname: text, Address: "::1", Request: text, Action: "settings.update", Object: text,
				Message: text, EnvID: "e", HostID: "h", Changes: []AuditChange{
					{Kind: "setting", Object: text, Action: "updated", EnvID: "e", HostID: "h", Fields: []AuditField{
						{Field: text, Before: raw, After: raw}, {Field: "b", After: raw}, {Field: "c", Before: raw}}},
					{Kind: "host", Object: text, Action: "deleted", Cut: true}}})
		}
	}
	return out
}

// TestAuditRecordAsJSON: a record is written as encoding/json writes it, and reads back.
func TestAuditRecordAsJSON(t *testing.T) {
	for _, rec := range auditRecords() {
		want, err := json.Marshal(rec)
		if err != nil {
			t.Fatal(err)
		}
		got := rec.Encode(1 << 20)
		if strings.Contains(string(got), `"<b>"`) { // such a value is never stored: rows are written by encoding/json
			continue
		}
		if !bytes.Equal(got, want) {
			t.Errorf("it is written as\n%s in place of\n%s", got, want)
		}
		back, err := DecodeAudit(got)
		var same AuditRecord
		if err == nil {
			err = json.Unmarshal(want, &same)
		}
		if err != nil || !reflect.DeepEqual(back, same) {
			t.Errorf("it reads as %+v, %v", back, err)
		}
	}
}

// TestAuditRecordWithinBounds: what does not fit is left out, and that is told.
func TestAuditRecordWithinBounds(t *testing.T) {
	long := json.RawMessage(`"` + strings.Repeat("x", 400) + `"`)
	rec := AuditRecord{Actor: "ann", Message: strings.Repeat("m", 5000)}
	for range 10 {
		c := AuditChange{Kind: "setting"}
		for range 10 {
			c.Fields = append(c.Fields, AuditField{Field: "value", Before: long, After: long})
		}
		rec.Changes = append(rec.Changes, c)
	}
	for _, most := range []int{1 << 20, 80_000, 20_000, 8 << 10, 2 << 10} {
		b := rec.Encode(most)
		got, err := DecodeAudit(b)
		if err != nil || len(b) > most {
			t.Fatalf("%d bytes where %d are the most: %v", len(b), most, err)
		}
		cut := got.More > 0 || len(got.Message) < len(rec.Message)
		for _, c := range got.Changes {
			cut = cut || c.Cut
		}
		if cut != (most < 90_000) || len(got.Changes)+got.More != 10 {
			t.Errorf("of %d bytes: %d changes, %d more, cut: %v", most, len(got.Changes), got.More, cut)
		}
	}
}

// slowEncode is Encode that leaves out one after the other and tries each time.
func (a AuditRecord) slowEncode(most int) []byte {
	for {
		b := a.AppendJSON(nil)
		if len(b) <= most {
			return b
		}
		switch n := len(a.Changes); {
		case n == 0:
			return a.Encode(most)
		case len(a.Changes[n-1].Fields) > 0:
			c := a.Changes[n-1]
			c.Fields, c.Cut = c.Fields[:len(c.Fields)/2], true
			a.Changes = append(a.Changes[:n-1:n-1], c)
		default:
			a.Changes, a.More = a.Changes[:n/2], a.More+n-n/2
		}
	}
}

// TestAuditRecordLeavesOutTheSame: what Encode leaves out without a try would have been left out anyway.
func TestAuditRecordLeavesOutTheSame(t *testing.T) {
	for n := range 40 {
		for _, size := range []int{0, 7, 150, 600} {
			rec := AuditRecord{Actor: "ann"}
			for i := range n {
				c := AuditChange{Kind: "setting", Object: strings.Repeat("o", (i*37)%50)}
				for j := range i % 4 {
					c.Fields = append(c.Fields, AuditField{Field: "value", After: json.RawMessage(`"` + strings.Repeat("x", (size*(i+j+1))%(size+300)) + `"`)})
				}
				rec.Changes = append(rec.Changes, c)
			}
			for _, most := range []int{100, 300, 1000, 3000, 8 << 10} {
				if got, want := rec.Encode(most), rec.slowEncode(most); !bytes.Equal(got, want) {
					t.Fatalf("%d changes within %d bytes:\n%s in place of\n%s", n, most, got, want)
				}
			}
		}
	}
}

// TestAppendText: as encoding/json.
func TestAppendText(t *testing.T) {
	for _, s := range []string{"", "plain", `a"b\c"`, `"`, `\`, "<&>", "\n", "é", "\xff", strings.Repeat(`x"`, 40) + "\u2028"} {
		want, _ := json.Marshal(s)
		if got := AppendText([]byte("x"), s); string(got) != "x"+string(want) {
			t.Errorf("%q is written as %s in place of %s", s, got[1:], want)
		}
	}
}
