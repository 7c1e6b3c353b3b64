package journal

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/dispatch/wire"
)

// finish accepts order n of a change and ends its steps.
func finish(t *testing.T, j *Journal, n int, statuses ...wire.Status) {
	t.Helper()
	o := makeOrder(n, len(statuses))
	o.ChangeID = fmt.Sprintf("change-%d", n)
	check(t, j.Accept(o, seenAt(o)))
	for i, s := range statuses {
		r := wire.Reply{Order: o.ID, Step: i, Status: s, Final: i == len(statuses)-1}
		if s == wire.StatusError {
			r.Error = strings.Repeat("long ", 1000)
		}
		must[wire.Reply](t)(j.Finish(r, nil))
	}
}

// TestMemoryOutlivesCompaction tells the same standing however the journal comes back, and forgets from the oldest on.
func TestMemoryOutlivesCompaction(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Options{})
	finish(t, j, 1, wire.StatusOK, wire.StatusError, wire.StatusSkipped)
	finish(t, j, 2, wire.StatusInterrupted)
	o := makeOrder(3, 2)
	check(t, j.Accept(o, seenAt(o)))
	must[wire.Reply](t)(j.Finish(wire.Reply{Order: o.ID, Step: 0, Status: wire.StatusOK, Changed: true}, nil))
	want := j.Standing(0)
	if len(want.Orders) != 3 || want.Orders[0].Steps != "oes" || want.Orders[1].Steps != "i" || want.Orders[2].Steps != "c." || !want.Whole() {
		t.Fatalf("%+v", want)
	}
	if e := want.Orders[0].Error; len(e) > maxTold+8 || !strings.HasPrefix(e, "long long") {
		t.Errorf("the error has %d bytes", len(e))
	}
	for range 2 {
		check(t, j.Close())
		j = open(t, dir, Options{})
		if got := j.Standing(0); !sameStanding(got, want) {
			t.Errorf("opened again:\n%+v\nwas\n%+v", got, want)
		}
		j.mu.Lock()
		check(t, j.compact())
		j.mu.Unlock()
		if got := j.Standing(0); !sameStanding(got, want) {
			t.Errorf("compacted:\n%+v\nwas\n%+v", got, want)
		}
	}
	must[wire.Reply](t)(j.Finish(wire.Reply{Order: o.ID, Step: 1, Final: true}, nil))
	for n := 4; n <= keptDone+10; n++ {
		finish(t, j, n, wire.StatusOK)
	}
	st := j.Standing(0)
	if st.Floor != 10 || len(st.Orders) != keptDone || st.Orders[0].Sequence != 11 || st.Highest != keptDone+10 || !st.Whole() {
		t.Errorf("floor %d, %d orders from %d on, highest %d, whole %v", st.Floor, len(st.Orders), st.Orders[0].Sequence, st.Highest, st.Whole())
	}
	if above := j.Standing(keptDone + 8); len(above.Orders) != 2 || !above.Whole() || above.Digest != st.Digest {
		t.Errorf("above: %+v", above)
	}
}

// sameStanding compares, with times as they are in JSON.
func sameStanding(a, b wire.Standing) bool {
	for _, s := range []*wire.Standing{&a, &b} {
		for i := range s.Orders {
			s.Orders[i].Issued, s.Orders[i].Expires = s.Orders[i].Issued.Round(0).UTC(), s.Orders[i].Expires.Round(0).UTC()
		}
	}
	return reflect.DeepEqual(a, b)
}

// TestJournalOfAnOlderAgent has no id and has forgotten what is over: it gets an id, and says where its memory begins.
func TestJournalOfAnOlderAgent(t *testing.T) {
	dir := t.TempDir()
	lines := []record{{Kind: kindBegin, Version: formatVersion}, {Kind: kindState, State: &state{
		Fences: map[wire.Lane]Fence{wire.LaneChanges: {Epoch: 1, Term: 2, Sequence: 7}}, Sequence: 9,
	}}}
	var data []byte
	for _, r := range lines {
		line, err := encode(r)
		check(t, err)
		data = append(data, line...)
	}
	check(t, os.WriteFile(filepath.Join(dir, FileName), data, 0o600))
	j := open(t, dir, Options{})
	id := j.ID()
	if st := j.Standing(0); id == "" || st.Floor != 7 || st.Highest != 7 || len(st.Orders) != 0 {
		t.Errorf("id %q, %+v", id, st)
	}
	finish(t, j, 8, wire.StatusOK)
	check(t, j.Close())
	j = open(t, dir, Options{})
	if st := j.Standing(7); j.ID() != id || st.Floor != 7 || st.Highest != 8 || len(st.Orders) != 1 {
		t.Errorf("opened again: id %q, %+v", j.ID(), st)
	}
	if another := open(t, t.TempDir(), Options{}); another.ID() == "" || another.ID() == id {
		t.Errorf("another journal has the id %q", another.ID())
	}
}

// TestResyncRaisesTheFence for good, in every lane, and never lowers it.
func TestResyncRaisesTheFence(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Options{})
	finish(t, j, 1, wire.StatusOK)
	seen := Seen{Time: issued.Add(time.Hour), Boot: "boot"}
	check(t, j.Resync(5, seen))
	check(t, j.Resync(5, seen))
	check(t, j.Resync(3, seen))
	check(t, j.Close())
	j = open(t, dir, Options{})
	for _, lane := range []wire.Lane{wire.LaneChanges, wire.LaneAsks} {
		if f := j.Fence(lane); f != (Fence{Epoch: 5}) || !f.Below(Fence{Epoch: 5, Term: 1, Sequence: 1}) {
			t.Errorf("the fence of %s is %+v", lane, f)
		}
	}
	if j.Standing(0).Highest != 1 || !j.Seen().Time.Equal(seen.Time) {
		t.Errorf("%+v, seen %+v", j.Standing(0), j.Seen())
	}
}

// TestResyncForgetsWhatWasTold: what was told before the beginning of an epoch does not count any more, also after the
// journal was written anew; what is told then counts, and asking again changes nothing.
func TestResyncForgetsWhatWasTold(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Options{})
	tell := func(resource string) wire.Alert {
		t.Helper()
		return must[wire.Alert](t)(j.Alert(wire.Alert{Collection: "files", Resource: resource}, "d"))
	}
	confirmed, waiting := tell("/a"), tell("/b")
	check(t, j.Receipt([]uint64{confirmed.Sequence}))
	if got := j.Standing(0).Retold; got != 0 {
		t.Errorf("before it was asked, %d is told again", got)
	}
	check(t, j.Resync(5, Seen{Time: issued}))
	later := tell("/c")
	check(t, j.Resync(5, Seen{Time: issued}))
	for life := range 3 {
		if j.Told("files", "/a") != "" || j.Told("files", "/b") != "" || j.Told("files", "/c") != "d" {
			t.Errorf("life %d: told of %q, %q, %q", life, j.Told("files", "/a"), j.Told("files", "/b"), j.Told("files", "/c"))
		}
		if got := j.Standing(0).Retold; got != waiting.Sequence || got >= later.Sequence {
			t.Errorf("life %d: %d is told again, of %d and %d", life, got, waiting.Sequence, later.Sequence)
		}
		if n := j.Counts(); n.Drifted != 1 || n.Alerts != 2 {
			t.Errorf("life %d: %+v", life, n)
		}
		check(t, j.Close())
		if life == 1 { // as compaction does
			var data []byte
			for _, r := range j.st.records() {
				data = append(data, must[[]byte](t)(encode(r))...)
			}
			check(t, os.WriteFile(filepath.Join(dir, FileName), data, 0o600))
		}
		j = open(t, dir, Options{})
	}
}
