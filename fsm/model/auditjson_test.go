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

// TestAppendText: as encoding/json.
func TestAppendText(t *testing.T) {
	for _, s := range []string{"", "plain", `a"b\c"`, `"`, `\`, "<&>", "\n", "é", "\xff", strings.Repeat(`x"`, 40) + "\u2028"} {
		want, _ := json.Marshal(s)
		if got := AppendText([]byte("x"), s); string(got) != "x"+string(want) {
			t.Errorf("%q is written as %s in place of %s", s, got[1:], want)
		}
	}
}
