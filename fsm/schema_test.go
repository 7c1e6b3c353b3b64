package fsm_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/muster-hq/muster/fsm"
	"github.com/muster-hq/muster/fsm/state"
)

// The files of testdata were written by the build of commit 3fad623, the last one that knew only the first schema:
// a log with commits, each entry with its length in front, and the snapshot of what it comes to.
const (
	firstLog         = "testdata/schema1.log"
	firstSnapshot    = "testdata/schema1.snapshot"
	firstFingerprint = "e3c4b43ef765e367d69970835c27af5bf4062bd9133935260f0b4033f3d71061"
)

func readFirst(t *testing.T) (entries [][]byte, snapshot []byte) {
	t.Helper()
	log, err := os.ReadFile(firstLog)
	if err != nil {
		t.Fatal(err)
	}
	if snapshot, err = os.ReadFile(firstSnapshot); err != nil {
		t.Fatal(err)
	}
	for len(log) > 0 {
		n, w := binary.Uvarint(log)
		entries = append(entries, log[w:w+int(n)])
		log = log[w+int(n):]
	}
	return entries, snapshot
}

// TestFirstSchemaIsReadAndWrittenAsBefore: the log and the snapshot of the earlier build mean the same, and what is
// encoded from them is the same bytes.
func TestFirstSchemaIsReadAndWrittenAsBefore(t *testing.T) {
	entries, snapshot := readFirst(t)
	m := newMachine(t, state.Options{Window: 40})
	for i, data := range entries {
		e, err := fsm.DecodeEntry(data)
		if err != nil {
			t.Fatal(err)
		}
		for n, c := range e.Commits {
			commit, err := state.DecodeCommit(c)
			if err != nil {
				t.Fatal(err)
			}
			if again := commit.Encode(nil); !bytes.Equal(again, c) {
				t.Errorf("entry %d, commit %d: %x was written again as %x", i+1, n, c, again)
			}
		}
		if again := e.Encode(nil); !bytes.Equal(again, data) {
			t.Errorf("entry %d was written again as other bytes", i+1)
		}
		for _, r := range results(t, m.Apply(&raft.Log{Index: uint64(i + 1), Term: 1, Type: raft.LogCommand, Data: data})) {
			if r.Outcome != state.Applied {
				t.Errorf("entry %d: %+v", i+1, r)
			}
		}
	}
	if got := m.st.Fingerprint(); got != firstFingerprint {
		t.Errorf("the log comes to %s, was %s", got, firstFingerprint)
	}
	n := newMachine(t, state.Options{})
	if err := n.Restore(io.NopCloser(bytes.NewReader(snapshot))); err != nil {
		t.Fatal(err)
	}
	if got := n.st.Fingerprint(); got != firstFingerprint {
		t.Errorf("the snapshot comes to %s, was %s", got, firstFingerprint)
	}
	n.index = uint64(len(entries))
	if c := n.putCommit(t, &thing{ID: "new"}); c.Schema != state.SchemaFirst || c.Encode(nil)[0] != 1 {
		t.Errorf("before the schema is raised, a commit is of schema %d", c.Schema)
	}
	raise(t, n)
	n.commit(t, n.putCommit(t, &thing{ID: "new"}))
	if state.SchemaOf(n.st.View()) != state.Schema {
		t.Error("the schema was not raised")
	}
}

func raise(t testing.TB, m *machine) {
	t.Helper()
	c := m.attempt(t, state.TxOptions{}, func(tx *state.Tx) error { return state.RaiseSchema(tx, state.Schema) })
	if got := m.commit(t, c)[0].Outcome; got != state.Applied {
		t.Fatalf("raise the schema: %s", got)
	}
}

// TestNodeOlderThanTheSchemaStops: by the entry that raises it, and by a snapshot in which it was raised. Both say
// which version is needed, also to one who starts again.
func TestNodeOlderThanTheSchemaStops(t *testing.T) {
	m := newMachine(t, state.Options{Version: "4.5.6"})
	m.Apply(m.log(&fsm.Entry{Kind: fsm.KindEpoch, Epoch: 1}))
	c := m.attempt(t, state.TxOptions{}, func(tx *state.Tx) error { return state.RaiseSchema(tx, state.Schema) })
	raising := &fsm.Entry{Kind: fsm.KindCommits, Commits: [][]byte{c.Encode(nil)}}
	m.commit(t, c)
	check := func(what string, old *machine, err error) {
		t.Helper()
		var e *state.SchemaError
		if len(old.fatal) != 1 || !errors.As(old.fatal[0], &e) || !strings.Contains(old.fatal[0].Error(), "update it to version 4.5.6") {
			t.Errorf("%s: the node was stopped by %v", what, old.fatal)
		}
		if !errors.As(err, &e) {
			t.Errorf("%s: answer %v", what, err)
		}
		if later, ok := old.Apply(old.log(&fsm.Entry{Kind: fsm.KindOpenTerm, Term: 9})).(error); !ok || !errors.Is(later, fsm.ErrStopped) {
			t.Errorf("%s: it goes on: %v", what, later)
		}
	}
	for range 2 {
		old := newMachine(t, state.Options{Known: state.SchemaFirst})
		old.Apply(old.log(&fsm.Entry{Kind: fsm.KindEpoch, Epoch: 1}))
		resp := old.Apply(old.log(raising))
		err, _ := resp.(error)
		check("raise", old, err)
	}
	old := newMachine(t, state.Options{Known: state.SchemaFirst})
	check("snapshot", old, old.Restore(io.NopCloser(bytes.NewReader(persist(t, m)))))
	// A snapshot of a form to come, which nothing can be read of, stops a node of today; a flipped bit does not look like one.
	for name, data := range map[string][]byte{"first": persist(t, newMachine(t, state.Options{Known: state.SchemaFirst})), "now": persist(t, m)} {
		later := append([]byte("musterS4"), data[8:]...)
		var e *state.SchemaError
		today := newMachine(t, state.Options{})
		err := today.Restore(io.NopCloser(bytes.NewReader(later)))
		if len(today.fatal) != 1 || !errors.As(err, &e) || !strings.Contains(err.Error(), "of a later schema than") {
			t.Errorf("a form to come: %v, stopped by %v", err, today.fatal)
		}
		for bit := range 8 * 8 {
			flipped := bytes.Clone(data)
			flipped[bit/8] ^= 1 << (bit % 8)
			today := newMachine(t, state.Options{})
			if err := today.Restore(io.NopCloser(bytes.NewReader(flipped))); err == nil || len(today.fatal) > 0 {
				t.Errorf("the snapshot of the %s schema with bit %d of its head flipped: %v, stopped by %v", name, bit, err, today.fatal)
			}
		}
	}
	// Neither does it take a commit that is of it, should one ever come without the rest.
	old = newMachine(t, state.Options{Known: state.SchemaFirst})
	old.Apply(old.log(&fsm.Entry{Kind: fsm.KindEpoch, Epoch: 1}))
	newer := m.putCommit(t, &thing{ID: "new"})
	resp := old.Apply(old.log(&fsm.Entry{Kind: fsm.KindCommits, Commits: [][]byte{newer.Encode(nil)}}))
	var e *state.SchemaError
	if err, _ := resp.(error); newer.Schema != state.Schema || len(old.fatal) != 1 || !errors.As(err, &e) {
		t.Errorf("a commit of schema %d: %v, stopped by %v", newer.Schema, resp, old.fatal)
	}
}

// TestMachinesAgreeHoweverTheyGetTheLog applies one random log to machines in batches of other sizes, one of them
// restored from its own snapshot again and again. All must come to the same state, and answer the same.
func TestMachinesAgreeHoweverTheyGetTheLog(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	o := state.Options{Window: 120, EventBytes: 6000}
	m := newMachine(t, o)
	var logs []*raft.Log
	add := func(e *fsm.Entry) []state.Result {
		l := m.log(e)
		logs = append(logs, l)
		return results(t, m.Apply(l))
	}
	outcomes := map[state.Outcome]int{}
	add(&fsm.Entry{Kind: fsm.KindEpoch, Epoch: 3})
	var waiting []*state.Commit
	for n := range 1200 {
		switch {
		case n == 300:
			waiting = append(waiting, m.attempt(t, state.TxOptions{}, func(tx *state.Tx) error { return state.RaiseSchema(tx, state.Schema) }))
		case n%150 == 149:
			add(&fsm.Entry{Kind: fsm.KindOpenTerm, Term: uint64(n)})
		}
		c := m.attempt(t, state.TxOptions{Actor: fmt.Sprint("a", n%3)}, func(tx *state.Tx) error {
			id := fmt.Sprint(r.IntN(40))
			if r.IntN(4) == 0 {
				state.List[thing](tx, fmt.Sprint("group/", r.IntN(5)))
			}
			if r.IntN(5) == 0 {
				state.Delete[thing](tx, id)
			}
			return state.Put(tx, &thing{ID: fmt.Sprint(r.IntN(40)), Group: fmt.Sprint(r.IntN(5)), N: n})
		})
		waiting = append(waiting, c)
		if len(waiting) < r.IntN(6) {
			continue
		}
		e := &fsm.Entry{Kind: fsm.KindCommits, Time: start.Add(time.Duration(r.IntN(n+1)) * time.Second)}
		for _, i := range r.Perm(len(waiting)) {
			e.Commits = append(e.Commits, waiting[i].Encode(nil))
		}
		if r.IntN(3) == 0 {
			e.Commits = append(e.Commits, e.Commits[0]) // a repeat
		}
		waiting = waiting[:0]
		for _, res := range add(e) {
			outcomes[res.Outcome]++
		}
	}
	t.Log(outcomes)
	if outcomes[state.Applied] < 300 || outcomes[state.Conflict] < 50 || state.SchemaOf(m.st.View()) != state.Schema {
		t.Errorf("outcomes %v, schema %d do not test much", outcomes, state.SchemaOf(m.st.View()))
	}
	want := m.st.Fingerprint()
	for _, longest := range []int{1, 7, 64, len(logs)} {
		other := newMachine(t, o)
		for rest := logs; len(rest) > 0; {
			n := min(1+r.IntN(longest), len(rest))
			other.ApplyBatch(rest[:n])
			rest = rest[n:]
			if longest != 7 || r.IntN(8) > 0 {
				continue
			}
			again := newMachine(t, state.Options{Window: 9, EventBytes: o.EventBytes}) // the snapshot brings its own window
			if err := again.Restore(io.NopCloser(bytes.NewReader(persist(t, other)))); err != nil {
				t.Fatal(err)
			}
			other = again
		}
		if got := other.st.Fingerprint(); got != want {
			t.Errorf("in batches of up to %d: %s, one by one %s", longest, got, want)
		}
	}
}
