package fsm_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/muster-hq/muster/fsm"
	"github.com/muster-hq/muster/fsm/state"
)

type thing struct {
	ID    string `json:"id"`
	Group string `json:"group"`
	N     int    `json:"n"`
}

func (*thing) Table() string            { return "things" }
func (x *thing) Key() string            { return x.ID }
func (x *thing) Ranges() []string       { return []string{"group/" + x.Group} }
func (*thing) Parent() (string, string) { return "", "" }

func tables(t testing.TB) *state.Tables {
	t.Helper()
	all, err := state.NewTables(state.Define[thing](state.TableOptions[thing]{
		Event: func(_ state.Reader, x *thing) (string, string, bool) { return x.Group, x.ID, true },
	}))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// machine is an FSM with a log that the test writes.
type machine struct {
	*fsm.FSM
	st    *state.Store
	index uint64
	fatal []error
}

func newMachine(t testing.TB, o state.Options) *machine {
	t.Helper()
	if o.Tables == nil {
		o.Tables = tables(t)
	}
	st, err := state.NewStore(o)
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{st: st}
	m.FSM, err = fsm.New(fsm.Options{Store: st, Log: slog.New(slog.DiscardHandler), Fatal: func(err error) { m.fatal = append(m.fatal, err) }})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

var start = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// log makes the next log entry of e.
func (m *machine) log(e *fsm.Entry) *raft.Log {
	m.index++
	if e.Time.IsZero() {
		e.Time = start.Add(time.Duration(m.index) * time.Second)
	}
	return &raft.Log{Index: m.index, Term: 1, Type: raft.LogCommand, Data: e.Encode(nil)}
}

func (m *machine) attempt(t testing.TB, o state.TxOptions, fn func(tx *state.Tx) error) *state.Commit {
	t.Helper()
	c, err := m.st.Attempt(o, fn)
	if err != nil || c == nil {
		t.Fatalf("attempt: commit %v, error %v", c, err)
	}
	return c
}

func (m *machine) putCommit(t testing.TB, things ...*thing) *state.Commit {
	t.Helper()
	return m.attempt(t, state.TxOptions{}, func(tx *state.Tx) error {
		for _, x := range things {
			if err := state.Put(tx, x); err != nil {
				return err
			}
		}
		return nil
	})
}

// commit applies commits in one entry.
func (m *machine) commit(t testing.TB, commits ...*state.Commit) []state.Result {
	t.Helper()
	e := &fsm.Entry{Kind: fsm.KindCommits}
	for _, c := range commits {
		e.Commits = append(e.Commits, c.Encode(nil))
	}
	return results(t, m.Apply(m.log(e)))
}

func results(t testing.TB, resp any) []state.Result {
	t.Helper()
	res, ok := resp.([]state.Result)
	if !ok {
		t.Fatalf("response %v", resp)
	}
	return res
}

func outcomes(res []state.Result) []state.Outcome {
	out := make([]state.Outcome, len(res))
	for i, r := range res {
		out[i] = r.Outcome
	}
	return out
}

func TestCommitsOfOneEntryVerifyInOrder(t *testing.T) {
	m := newMachine(t, state.Options{})
	a := m.putCommit(t, &thing{ID: "1", N: 1}, &thing{ID: "2"})
	b := m.putCommit(t, &thing{ID: "1", N: 2})
	c := m.putCommit(t, &thing{ID: "3"})
	res := m.commit(t, a, b, c)
	if want := []state.Outcome{state.Applied, state.Conflict, state.Applied}; !slices.Equal(outcomes(res), want) {
		t.Fatalf("outcomes %v, want %v", outcomes(res), want)
	}
	if res[1].ConflictKey != "things 1" || res[2].Pos != 2 {
		t.Errorf("conflict on %q; third commit at position %d", res[1].ConflictKey, res[2].Pos)
	}
	seen := map[state.Version]bool{}
	for _, id := range []string{"1", "2", "3"} {
		v, ok := state.VersionOf[thing](m.st.View(), id)
		if !ok || seen[v] {
			t.Errorf("version of %s: %v, %v", id, v, ok)
		}
		seen[v] = true
	}
	if x, _ := state.Get[thing](m.st.View(), "1"); x.N != 1 {
		t.Errorf("row 1 is %+v", x)
	}
}

func TestBatchAnswersEachLog(t *testing.T) {
	m := newMachine(t, state.Options{})
	c := m.putCommit(t, &thing{ID: "1"})
	logs := []*raft.Log{
		m.log(&fsm.Entry{Kind: fsm.KindEpoch, Epoch: 5}),
		m.log(&fsm.Entry{Kind: fsm.KindOpenTerm, Term: 3, Node: "n1"}),
		m.log(&fsm.Entry{Kind: fsm.KindCommits, Commits: [][]byte{c.Encode(nil)}}),
	}
	m.index++
	logs = append(logs, &raft.Log{Index: m.index, Type: raft.LogConfiguration, Data: []byte("not ours")})
	out := m.ApplyBatch(logs)
	if len(out) != 4 || out[3] != nil {
		t.Fatalf("answers %v", out)
	}
	// The commit was computed in epoch 0, so the new epoch refuses it.
	if got := results(t, out[2])[0].Outcome; got != state.TooOld {
		t.Errorf("a commit of another epoch: %s", got)
	}
	if m.st.Epoch() != 5 || m.st.Term() != 3 || m.st.AppliedIndex() != 4 {
		t.Errorf("epoch %d, term %d, index %d", m.st.Epoch(), m.st.Term(), m.st.AppliedIndex())
	}
	results(t, m.Apply(m.log(&fsm.Entry{Kind: fsm.KindEpoch, Epoch: 2})))
	results(t, m.Apply(m.log(&fsm.Entry{Kind: fsm.KindOpenTerm, Term: 2})))
	if m.st.Epoch() != 6 || m.st.Term() != 3 {
		t.Errorf("epoch %d and term %d went back", m.st.Epoch(), m.st.Term())
	}
}

func TestDutiesAreFenced(t *testing.T) {
	m := newMachine(t, state.Options{})
	m.Apply(m.log(&fsm.Entry{Kind: fsm.KindOpenTerm, Term: 4}))
	duty := func(id string) *state.Commit {
		return m.attempt(t, state.TxOptions{Term: 4}, func(tx *state.Tx) error { return state.Put(tx, &thing{ID: id}) })
	}
	in, late := duty("in"), duty("late")
	if got := m.commit(t, in)[0].Outcome; got != state.Applied {
		t.Errorf("a duty in its term: %s", got)
	}
	m.Apply(m.log(&fsm.Entry{Kind: fsm.KindOpenTerm, Term: 5}))
	if got := m.commit(t, late)[0].Outcome; got != state.Fenced {
		t.Errorf("a duty after its term: %s", got)
	}
	if got := m.commit(t, in)[0]; got.Outcome != state.Applied || got.Index != 2 {
		t.Errorf("a repeat of what was applied in time: %+v", got)
	}
	if _, ok := state.Get[thing](m.st.View(), "late"); ok {
		t.Error("a fenced commit left a row")
	}
}

func TestUndecodableEntriesStopTheNode(t *testing.T) {
	newer := func(m *machine) []byte {
		c := m.putCommit(t, &thing{ID: "2"})
		c.Schema = state.Schema + 1
		e := fsm.Entry{Kind: fsm.KindCommits, Commits: [][]byte{c.Encode(nil)}}
		return e.Encode(nil)
	}
	for name, data := range map[string]func(m *machine) []byte{
		"empty":        func(*machine) []byte { return nil },
		"noise":        func(*machine) []byte { return []byte("no entry at all, only text") },
		"unknown kind": func(*machine) []byte { return (&fsm.Entry{Kind: 99}).Encode(nil) },
		"bad commit": func(*machine) []byte {
			return (&fsm.Entry{Kind: fsm.KindCommits, Commits: [][]byte{{1, 2, 3}}}).Encode(nil)
		},
		"newer schema": newer,
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, state.Options{})
			good, after := m.putCommit(t, &thing{ID: "1"}), m.putCommit(t, &thing{ID: "3"})
			logs := []*raft.Log{m.log(&fsm.Entry{Kind: fsm.KindCommits, Commits: [][]byte{good.Encode(nil)}})}
			bad := m.log(&fsm.Entry{Kind: fsm.KindCommits})
			bad.Data = data(m)
			logs = append(logs, bad, m.log(&fsm.Entry{Kind: fsm.KindCommits, Commits: [][]byte{after.Encode(nil)}}))
			out := m.ApplyBatch(logs)
			if got := results(t, out[0])[0].Outcome; got != state.Applied {
				t.Errorf("the entry before: %s", got)
			}
			for i := 1; i < 3; i++ {
				if err, ok := out[i].(error); !ok || !errors.Is(err, fsm.ErrStopped) {
					t.Errorf("answer %d: %v", i, out[i])
				}
			}
			if err, ok := m.Apply(logs[2]).(error); !ok || !errors.Is(err, fsm.ErrStopped) || len(m.fatal) != 1 {
				t.Errorf("later: %v; told %d times", err, len(m.fatal))
			}
			if _, ok := state.Get[thing](m.st.View(), "3"); ok || m.st.AppliedIndex() != 1 {
				t.Errorf("something was applied after the stop; index %d", m.st.AppliedIndex())
			}
			if _, err := m.Snapshot(); err == nil {
				t.Error("a stopped machine gave a snapshot")
			}
		})
	}
}

func TestBrokenTablesStopTheNode(t *testing.T) {
	m := newMachine(t, state.Options{})
	c := m.putCommit(t, &thing{ID: "1"})
	// It claims an old range that the row was never in, as no proposer of ours does.
	c.Writes[0].Fresh, c.Writes[0].Old = false, []string{"never"}
	resp := m.Apply(m.log(&fsm.Entry{Kind: fsm.KindCommits, Commits: [][]byte{c.Encode(nil)}}))
	if err, ok := resp.(error); !ok || !errors.Is(err, fsm.ErrStopped) || len(m.fatal) != 1 {
		t.Errorf("answer %v, told %d times", resp, len(m.fatal))
	}
	if got := state.Keys[thing](m.st.View(), "group/"); len(got) != 0 || m.st.AppliedIndex() != 0 {
		t.Errorf("half a batch is visible: %v", got)
	}
}

// sink takes what Persist writes.
type sink struct {
	bytes.Buffer
	closed, cancelled bool
	fail              error
}

func (s *sink) ID() string    { return "test" }
func (s *sink) Close() error  { s.closed = true; return nil }
func (s *sink) Cancel() error { s.cancelled = true; return nil }
func (s *sink) Write(p []byte) (int, error) {
	if s.fail != nil {
		return 0, s.fail
	}
	return s.Buffer.Write(p)
}

func persist(t testing.TB, m *machine) []byte {
	t.Helper()
	sn, err := m.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer sn.Release()
	var s sink
	if err := sn.Persist(&s); err != nil || !s.closed || s.cancelled {
		t.Fatalf("persist: %v, closed %v, cancelled %v", err, s.closed, s.cancelled)
	}
	return s.Bytes()
}

func filled(t testing.TB, o state.Options) *machine {
	m := newMachine(t, o)
	m.Apply(m.log(&fsm.Entry{Kind: fsm.KindEpoch, Epoch: 7}))
	m.Apply(m.log(&fsm.Entry{Kind: fsm.KindOpenTerm, Term: 2}))
	for i := range 30 {
		m.commit(t, m.putCommit(t, &thing{ID: fmt.Sprint(i), Group: fmt.Sprint(i % 3), N: i}))
	}
	return m
}

func TestSnapshotRoundTrip(t *testing.T) {
	m := filled(t, state.Options{Window: 40})
	before := m.putCommit(t, &thing{ID: "5", N: 50})
	stale := m.putCommit(t, &thing{ID: "6", N: 60})
	first := m.commit(t, before)[0]
	m.commit(t, m.putCommit(t, &thing{ID: "6", N: 61}))

	n := newMachine(t, state.Options{})
	if err := n.Restore(io.NopCloser(bytes.NewReader(persist(t, m)))); err != nil {
		t.Fatal(err)
	}
	n.index = m.index
	if a, b := m.st.Fingerprint(), n.st.Fingerprint(); a != b {
		t.Fatalf("fingerprints differ: %s and %s", a, b)
	}
	if n.st.Epoch() != 7 || n.st.Term() != 2 || n.st.AppliedIndex() != m.index || !n.st.Now().Equal(m.st.Now()) {
		t.Errorf("epoch %d, term %d, index %d, time %v", n.st.Epoch(), n.st.Term(), n.st.AppliedIndex(), n.st.Now())
	}
	// What decides must have come along: ids, marks and the floor.
	for _, x := range []*machine{m, n} {
		if got := x.commit(t, before)[0]; got != first {
			t.Errorf("a repeat: %+v, want %+v", got, first)
		}
		if got := x.commit(t, stale)[0].Outcome; got != state.Conflict {
			t.Errorf("a stale commit: %s", got)
		}
	}
	// And it must go on in step, also with what it forgets.
	for i := range 60 {
		c := m.putCommit(t, &thing{ID: fmt.Sprint(i), Group: "later"})
		if a, b := m.commit(t, c)[0], n.commit(t, c)[0]; a != b {
			t.Fatalf("commit %d: %+v and %+v", i, a, b)
		}
	}
	if a, b := m.st.Fingerprint(), n.st.Fingerprint(); a != b {
		t.Errorf("fingerprints differ later: %s and %s", a, b)
	}
}

// TestSnapshotIsOfItsMoment writes a snapshot after the machine went on.
func TestSnapshotIsOfItsMoment(t *testing.T) {
	m := filled(t, state.Options{Window: 50})
	want := m.st.Fingerprint()
	sn, err := m.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		m.commit(t, m.putCommit(t, &thing{ID: fmt.Sprint(i), Group: "new"}))
	}
	var s sink
	if err := sn.Persist(&s); err != nil {
		t.Fatal(err)
	}
	sn.Release()
	n := newMachine(t, state.Options{})
	if err := n.Restore(io.NopCloser(&s)); err != nil {
		t.Fatal(err)
	}
	if got := n.st.Fingerprint(); got != want {
		t.Errorf("the snapshot holds %s, taken was %s", got, want)
	}
}

func TestPersistCancelsOnError(t *testing.T) {
	m := filled(t, state.Options{})
	sn, err := m.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer sn.Release()
	full := errors.New("no space")
	s := sink{fail: full}
	if err := sn.Persist(&s); !errors.Is(err, full) || !s.cancelled || s.closed {
		t.Errorf("persist: %v, cancelled %v, closed %v", err, s.cancelled, s.closed)
	}
}

// TestDamagedSnapshots cuts a snapshot at every length and flips a bit in every byte: each is refused, and
// the state stays as it was.
func TestDamagedSnapshots(t *testing.T) {
	good := persist(t, filled(t, state.Options{Window: 40}))
	m := newMachine(t, state.Options{})
	m.commit(t, m.putCommit(t, &thing{ID: "mine"}))
	want := m.st.Fingerprint()
	try := func(what string, at int, data []byte) {
		if err := m.Restore(io.NopCloser(bytes.NewReader(data))); err == nil {
			t.Errorf("%s at %d of %d was taken", what, at, len(good))
		}
		if got := m.st.Fingerprint(); got != want {
			t.Fatalf("%s at %d changed the state", what, at)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range good {
		if i%3 == 0 { // every length would only take longer
			try("cut", i, good[:i])
		}
		bad := slices.Clone(good)
		bad[i] ^= 1 << r.IntN(8)
		try("flip", i, bad)
	}
	try("more", len(good), append(slices.Clone(good), 'x'))
	if _, err := state.Verify(bytes.NewReader(good[:len(good)-1])); !errors.Is(err, state.ErrDecode) {
		t.Errorf("verify of a cut snapshot: %v", err)
	}
	info, err := state.Verify(bytes.NewReader(good))
	if err != nil || info.Rows != 30 || info.Epoch != 7 || info.Index != 32 {
		t.Errorf("verify: %+v, %v", info, err)
	}
}

func FuzzDecodeEntry(f *testing.F) {
	f.Add((&fsm.Entry{Kind: fsm.KindCommits, Time: start, Commits: [][]byte{[]byte("a"), {}}}).Encode(nil))
	f.Add((&fsm.Entry{Kind: fsm.KindOpenTerm, Time: start, Term: 300, Node: "n"}).Encode(nil))
	f.Add((&fsm.Entry{Kind: fsm.KindEpoch, Time: start, Epoch: 1 << 60}).Encode(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := fsm.DecodeEntry(data)
		if err != nil {
			if !errors.Is(err, fsm.ErrDecode) {
				t.Errorf("error %v does not wrap ErrDecode", err)
			}
			return
		}
		again, err := fsm.DecodeEntry(e.Encode(nil))
		if err != nil || again.Kind != e.Kind || again.Term != e.Term || again.Node != e.Node ||
			again.Epoch != e.Epoch || !again.Time.Equal(e.Time) || len(again.Commits) != len(e.Commits) {
			t.Errorf("%+v became %+v, %v", e, again, err)
		}
	})
}

// BenchmarkApply applies single-row edits of 1 KiB, packed 30 to an entry and 64 entries to a batch.
func BenchmarkApply(b *testing.B) {
	m := newMachine(b, state.Options{})
	pad := string(bytes.Repeat([]byte("x"), 1000))
	const rows = 30 * 64
	for i := range rows {
		m.commit(b, m.putCommit(b, &thing{ID: fmt.Sprint(i), Group: pad[:10]}))
	}
	b.ReportAllocs()
	n := 0
	for n < b.N {
		b.StopTimer()
		var logs []*raft.Log
		for l := range 64 {
			e := &fsm.Entry{Kind: fsm.KindCommits}
			for c := range 30 {
				e.Commits = append(e.Commits, m.putCommit(b, &thing{ID: fmt.Sprint(l*30 + c), Group: pad[:10], N: n}).Encode(nil))
			}
			logs = append(logs, m.log(e))
		}
		b.StartTimer()
		m.ApplyBatch(logs)
		n += rows
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/commit")
}
