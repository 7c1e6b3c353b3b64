package api_test

import (
	"strings"
	"testing"

	"github.com/muster-hq/muster/api/spec"
)

// TestRestoreVoidsWhatClientsHold restores a snapshot. What clients hold of before, tags, indexes and cursors, matches
// nothing any more, though the documents may be the same to the byte; and the hints of the refusals lead on.
func TestRestoreVoidsWhatClientsHold(t *testing.T) {
	s := newSite(t).furnish()
	s.do("POST", settings, `{"key": "a", "value": 1}`)
	snapshot := s.db.Save(t)
	same := s.do("GET", settings+"a", "")
	s.do("PUT", settings+"a", `{"value": 2}`)
	later := s.do("GET", settings+"a", "")
	old := later.header.Get(spec.HeaderEpoch) + "-" + later.header.Get(spec.HeaderIndex)
	if !strings.HasPrefix(old, "1-") || same.header.Get("ETag") == later.header.Get("ETag") {
		t.Fatalf("before: at %s, tags %s and %s", old, same.header.Get("ETag"), later.header.Get("ETag"))
	}
	waiting := make(chan answer, 1)
	go func() { waiting <- s.raw("GET", settings+"a?index="+old+"&wait=1m", "") }()
	s.db.Restore(t, snapshot)

	for _, tag := range []string{same.header.Get("ETag"), later.header.Get("ETag")} {
		for _, verb := range []string{"PUT", "DELETE"} {
			if a := s.raw(verb, settings+"a", `{"value": 3}`, "If-Match", tag); a.status != 412 || !strings.Contains(a.errors(t), "another epoch") {
				t.Errorf("%s with the tag %s: %d %s", verb, tag, a.status, a.body)
			}
		}
		if a := s.raw("GET", settings+"a", "", "If-None-Match", tag); a.status != 200 {
			t.Errorf("read with the tag %s: %d %s", tag, a.status, a.body)
		}
	}
	now := s.do("GET", settings+"a", "")
	if string(now.body) != string(same.body) || now.header.Get(spec.HeaderEpoch) != "2" || !strings.HasPrefix(now.header.Get("ETag"), `"2-`) {
		t.Errorf("after: %s, tag %s", now.body, now.header.Get("ETag"))
	}
	if a := s.raw("PUT", settings+"a", `{"value": 4}`, "If-Match", now.header.Get("ETag")); a.status != 200 {
		t.Errorf("with the tag of now: %d %s", a.status, a.body)
	}

	for _, query := range []string{"?index=" + old, "?index=" + old + "&wait=1s"} {
		if a := s.raw("GET", settings+"a"+query, ""); a.status != 410 || !strings.Contains(a.errors(t), "read anew without an index, and go on from 2-") {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}
	if a := <-waiting; a.status != 410 && a.header.Get(spec.HeaderEpoch) != "2" {
		t.Errorf("who waited through the restore: %d %s", a.status, a.body)
	}
	if a := s.raw("GET", settings+"a?index=2-"+now.header.Get(spec.HeaderIndex), ""); a.status != 200 {
		t.Errorf("from the index of now: %d %s", a.status, a.body)
	}

	a := s.raw("GET", acmeEvents+"?after="+old, "")
	_, hint, ok := strings.Cut(a.errors(t), "after=")
	if a.status != 410 || !ok || !strings.HasPrefix(hint, "2-") {
		t.Fatalf("events after %s: %d %s", old, a.status, a.body)
	}
	if a := s.raw("GET", acmeEvents, "", "Accept", "text/event-stream", "Last-Event-ID", old); a.status != 410 {
		t.Errorf("a stream resumed after %s: %d %s", old, a.status, a.body)
	}
	cursor := strings.FieldsFunc(hint, func(r rune) bool { return r != '-' && (r < '0' || r > '9') })[0]
	s.do("PUT", settings+"a", `{"value": 5}`)
	if a := s.do("GET", acmeEvents+"?after="+cursor, ""); !strings.Contains(string(a.body), "setting.updated") {
		t.Errorf("events after %s, as the hint says: %s", cursor, a.body)
	}
}
