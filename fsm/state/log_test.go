package state_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/state/statetest"
)

func appendTo(log, text string) func(tx *state.Tx) error {
	return func(tx *state.Tx) error { return state.AppendLog(tx, log, []byte(text)) }
}

func readLog(r state.Reader, log string, g state.LogRange) (all []string) {
	state.ReadLog(r, log, g, func(l state.LogRecord) bool { all = append(all, string(l.Data)); return true })
	return all
}

// TestLogsKeepTheOrder appends some thousand records of all sizes to two logs, and reads them from every place and
// backwards: before and after they are compressed, and from a snapshot.
func TestLogsKeepTheOrder(t *testing.T) {
	db := newDB(t)
	r := rand.New(rand.NewPCG(1, 2))
	want := map[string][]string{}
	for n := range 600 {
		update(t, db, func(tx *state.Tx) error {
			for range r.IntN(3) {
				log := []string{"a/1", "b"}[r.IntN(2)]
				text := fmt.Sprintf("%d-%s", n, strings.Repeat("x", r.IntN(900)))
				if r.IntN(100) == 0 {
					text = strings.Repeat("y", state.MaxLogRecord)
				}
				if err := state.AppendLog(tx, log, []byte(text)); err != nil {
					return err
				}
				want[log] = append(want[log], text)
			}
			return state.Put(tx, &env{ID: "e", Note: fmt.Sprint(n)})
		})
	}
	check := func(when string, v *state.View) {
		t.Helper()
		for log, all := range want {
			if got := readLog(v, log, state.LogRange{}); !slices.Equal(got, all) || state.LogEnd(v, log) != uint64(len(all)) {
				t.Fatalf("%s: %d records of %s, want %d; the end is %d", when, len(got), log, len(all), state.LogEnd(v, log))
			}
			var back []string
			state.ReadLogBack(v, log, state.LogRange{From: 3}, func(l state.LogRecord) bool {
				if string(l.Data) != all[l.Seq] {
					t.Fatalf("%s: record %d is another", when, l.Seq)
				}
				back = append(back, string(l.Data))
				return len(back) < 200
			})
			slices.Reverse(back)
			if !slices.Equal(back, all[len(all)-200:]) {
				t.Errorf("%s: backwards it reads otherwise", when)
			}
			for range 20 {
				from, to := uint64(r.IntN(len(all))), uint64(r.IntN(len(all)))
				if to == 0 || from > to {
					continue
				}
				if got := readLog(v, log, state.LogRange{From: from, Before: to}); !slices.Equal(got, all[from:to]) {
					t.Fatalf("%s: from %d to %d there are %d", when, from, to, len(got))
				}
			}
		}
	}
	check("as appended", db.Local())
	if got := state.Logs(db.Local()); !slices.Equal(got, []string{"a/1", "b"}) {
		t.Errorf("logs %q", got)
	}
	before := snapshotOf(t, db).Len()
	done, err := state.TidyLogs(t.Context(), db, db.Local(), func(string) state.LogKeep { return state.LogKeep{} })
	if err != nil || done.Compressed < 10 || done.Dropped != 0 || done.Removed != 0 {
		t.Fatalf("tidied %+v, %v", done, err)
	}
	check("compressed", db.Local())
	if after := snapshotOf(t, db).Len(); after >= before {
		t.Errorf("a snapshot of %d bytes, %d before the logs were compressed", after, before)
	}
	update(t, db, appendTo("b", "one more"))
	want["b"] = append(want["b"], "one more")
	other, err := state.NewStore(state.Options{Tables: tables(t)})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Restore(snapshotOf(t, db)); err != nil {
		t.Fatal(err)
	}
	check("restored", other.View())
	if other.Fingerprint() != db.Store().Fingerprint() {
		t.Error("the restored state is another")
	}
}

// TestLogsDoNotConflict: two transactions that append to one log both apply, and old views see what they saw.
func TestLogsDoNotConflict(t *testing.T) {
	db := newDB(t)
	update(t, db, appendTo("l", "first"))
	old := db.Local()
	one, two := attempt(t, db, appendTo("l", "second")), attempt(t, db, appendTo("l", "third"))
	for _, c := range []*state.Commit{one, two, one} {
		if res := propose(t, db, c); res.Outcome != state.Applied {
			t.Errorf("outcome %s", res.Outcome)
		}
	}
	if got := readLog(db.Local(), "l", state.LogRange{}); !slices.Equal(got, []string{"first", "second", "third"}) {
		t.Errorf("the log holds %q: what is sent again counts once", got)
	}
	if got := readLog(old, "l", state.LogRange{}); !slices.Equal(got, []string{"first"}) {
		t.Errorf("an old view shows %q", got)
	}
}

// TestLogsDoNotDependOnBatches: replicas that apply the same log in other batches hold the same.
func TestLogsDoNotDependOnBatches(t *testing.T) {
	db := newDB(t)
	start := snapshotOf(t, db).Bytes()
	r := rand.New(rand.NewPCG(7, 8))
	var commits []*state.Commit
	db.BeforeCommit(func(c *state.Commit) { commits = append(commits, c) })
	for n := range 300 {
		log := fmt.Sprint("l", r.IntN(3))
		update(t, db, appendTo(log, fmt.Sprint(n, strings.Repeat("z", r.IntN(2000)))))
		if n == 200 { // one goes as a whole, and begins anew
			if _, err := state.TidyLogs(t.Context(), db, db.Local(), func(log string) state.LogKeep { return state.LogKeep{Gone: log == "l1"} }); err != nil {
				t.Fatal(err)
			}
		}
	}
	prints := map[string]bool{}
	for _, size := range []int{1, 7, len(commits)} {
		st, err := state.NewStore(state.Options{Tables: tables(t)})
		if err != nil {
			t.Fatal(err)
		}
		if err := st.Restore(bytes.NewReader(start)); err != nil {
			t.Fatal(err)
		}
		index := st.AppliedIndex()
		for some := range slices.Chunk(commits, size) {
			b := st.Batch()
			for _, c := range some {
				index++
				b.Entry(index, int64(index))
				if res, err := b.Commit(c); err != nil || res.Outcome != state.Applied {
					t.Fatalf("%v, %v", res, err)
				}
			}
			b.Publish()
		}
		prints[st.Fingerprint()] = true
	}
	if len(prints) != 1 {
		t.Errorf("%d different states", len(prints))
	}
}

// TestLogRetention drops by bytes and by age, whole chunks, and numbers go on.
func TestLogRetention(t *testing.T) {
	db := newDB(t)
	now := time.Now()
	db.SetClock(func() time.Time { return now })
	r := rand.New(rand.NewPCG(1, 1))
	write := func(n int) {
		for range n {
			b := make([]byte, 1000)
			for i := range b {
				b[i] = byte(r.Uint32())
			}
			update(t, db, appendTo("l", string(b)))
			update(t, db, appendTo("m", "short"))
		}
	}
	tidy := func(k state.LogKeep) state.TidiedLogs {
		t.Helper()
		done, err := state.TidyLogs(t.Context(), db, db.Local(), func(string) state.LogKeep { return k })
		if err != nil {
			t.Fatal(err)
		}
		return done
	}
	write(100)
	now = now.Add(48 * time.Hour)
	write(100)
	tidy(state.LogKeep{})
	if d := tidy(state.LogKeep{Age: 72 * time.Hour, Bytes: 1 << 20}); d.Dropped != 0 {
		t.Errorf("dropped %d of what is to be kept", d.Dropped)
	}
	if d := tidy(state.LogKeep{Age: 24 * time.Hour}); d.Dropped != 3 {
		t.Errorf("dropped %d chunks of two days ago, want 3", d.Dropped)
	}
	first := func() (seq uint64, n int) {
		seq = ^uint64(0)
		state.ReadLog(db.Local(), "l", state.LogRange{}, func(l state.LogRecord) bool { seq = min(seq, l.Seq); n++; return true })
		return seq, n
	}
	if seq, n := first(); seq == 0 || int(seq)+n != 200 || n > 120 || n < 100 {
		t.Errorf("%d records are kept, from %d", n, seq)
	}
	if d := tidy(state.LogKeep{Bytes: 40_000}); d.Dropped != 2 {
		t.Errorf("dropped %d chunks to stay below 40,000 bytes", d.Dropped)
	}
	if got := readLog(db.Local(), "l", state.LogRange{Until: now}); len(got) != 0 {
		t.Errorf("%d records are older than the newest write", len(got))
	}
	if got := readLog(db.Local(), "m", state.LogRange{Since: now}); len(got) != 100 {
		t.Errorf("%d records since then, want 100", len(got))
	}
	if d := tidy(state.LogKeep{Gone: true}); d.Removed != 2 || len(state.Logs(db.Local())) != 0 {
		t.Errorf("removed %d logs, %v are left", d.Removed, state.Logs(db.Local()))
	}
	update(t, db, appendTo("l", "anew"))
	if got := readLog(db.Local(), "l", state.LogRange{}); !slices.Equal(got, []string{"anew"}) || state.LogEnd(db.Local(), "l") != 1 {
		t.Errorf("a log that was removed holds %q", got)
	}
}

// TestLogRemovalLosesNoRecord: a record that comes while its log is removed is kept.
func TestLogRemovalLosesNoRecord(t *testing.T) {
	db := newDB(t)
	update(t, db, appendTo("l", "old"))
	once := true
	db.BeforeCommit(func(*state.Commit) {
		if once {
			once = false
			if err := db.Inject(appendTo("l", "late")); err != nil {
				t.Error(err)
			}
		}
	})
	if _, err := state.TidyLogs(t.Context(), db, db.Local(), func(string) state.LogKeep { return state.LogKeep{Gone: true} }); err != nil {
		t.Fatal(err)
	}
	if once {
		t.Fatal("nothing came in between")
	}
	// The removal ran again, knowing of it: a log of what is gone takes all along.
	if got := readLog(db.Local(), "l", state.LogRange{}); len(got) != 0 {
		t.Errorf("the log holds %q", got)
	}
}

func TestLogsAreWatched(t *testing.T) {
	db := newDB(t)
	ws := state.NewWatchSet()
	readLog(db.Local().Watched(ws), "l", state.LogRange{})
	woke := make(chan error, 1)
	go func() { woke <- ws.Wait(t.Context()) }()
	update(t, db, appendTo("other", "x"))
	update(t, db, appendTo("l", "x"))
	select {
	case err := <-woke:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("a reader of a log slept through a record")
	}
}

func TestLogsRefuseWhatCannotBe(t *testing.T) {
	db := newDB(t)
	for name, size := range map[string]int{"": 1, "a#b": 1, "a\x00b": 1, "l": state.MaxLogRecord + 1} {
		err := db.Update(t.Context(), func(tx *state.Tx) error { return state.AppendLog(tx, name, make([]byte, size)) })
		if model.CodeOf(err) != model.Invalid {
			t.Errorf("%q, %d bytes: %v", name, size, err)
		}
	}
	c := attempt(t, db, appendTo("l", "x"))
	c.Notes[0].Log = "a#b"
	if res := propose(t, db, c); res.Outcome != state.Malformed {
		t.Errorf("a malformed name: %s", res.Outcome)
	}
	two := statetest.NewOptions(t, state.Options{Tables: tables(t), Known: state.SchemaEvents})
	update(t, two, func(tx *state.Tx) error {
		if err := state.AppendLog(tx, "l", []byte("x")); err != nil {
			return err
		}
		return state.Put(tx, &env{ID: "e"})
	})
	if got := state.Logs(two.Local()); len(got) != 0 {
		t.Errorf("before the schema is raised there are logs %q", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	update(t, db, appendTo("l", "x"))
	if _, err := state.TidyLogs(ctx, cancelled{ctx}, db.Local(), func(string) state.LogKeep { return state.LogKeep{Gone: true} }); !errors.Is(err, context.Canceled) {
		t.Errorf("a store that fails: %v", err)
	}
}

// cancelled is a store whose context has ended.
type cancelled struct{ ctx context.Context }

func (c cancelled) Update(context.Context, func(tx *state.Tx) error) error { return c.ctx.Err() }

// TestLogsThatDoNotCompress: records without repetition are stored as compressed ones in commits that are not too large.
func TestLogsThatDoNotCompress(t *testing.T) {
	db := newDB(t)
	r := rand.New(rand.NewPCG(1, 2))
	var want []string
	for range 40 {
		record := make([]byte, 15_000)
		for i := range record {
			record[i] = byte(r.Uint32())
		}
		want = append(want, string(record))
		update(t, db, appendTo("l", string(record)))
	}
	plain := state.PlainChunks(db.Local())
	largest := 0
	db.BeforeCommit(func(c *state.Commit) { largest = max(largest, c.EncodedSize()) })
	n, err := state.CompressLogs(t.Context(), db, db.Local())
	if err != nil || n != plain || n < 15 || state.PlainChunks(db.Local()) != 0 {
		t.Fatalf("%d of %d chunks were compressed: %v; %d are left", n, plain, err, state.PlainChunks(db.Local()))
	}
	if largest > state.MaxCommit || largest < state.MaxCommit/4 {
		t.Errorf("the largest commit has %d bytes", largest)
	}
	if got := readLog(db.Local(), "l", state.LogRange{}); !slices.Equal(got, want) {
		t.Errorf("%d records are other ones afterwards", len(got))
	}
}
