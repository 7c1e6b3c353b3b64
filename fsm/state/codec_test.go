package state_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/muster-hq/muster/fsm/state"
)

func randomCommit(r *rand.Rand) *state.Commit {
	text := func() string {
		b := make([]byte, r.IntN(200))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return string(b)
	}
	texts := func() []string {
		var out []string
		for range r.IntN(4) {
			out = append(out, text())
		}
		return out
	}
	c := &state.Commit{Base: r.Uint64(), Epoch: r.Uint64() >> r.IntN(64), Term: r.Uint64() >> r.IntN(64), Schema: 1 + r.Uint32N(3), Actor: text()}
	binary.BigEndian.PutUint64(c.ID[:], r.Uint64())
	for range r.IntN(5) {
		c.Reads = append(c.Reads, state.Read{Kind: state.ReadKind(1 + r.IntN(4)), Table: text(), Name: text()})
	}
	for range r.IntN(5) {
		w := state.Write{Table: text(), Key: text(), Old: texts(), New: texts(), Delete: r.IntN(2) == 0, Fresh: r.IntN(2) == 0}
		if v := text(); v != "" {
			w.Value = []byte(v)
		}
		c.Writes = append(c.Writes, w)
		if c.Schema >= state.SchemaEvents && r.IntN(2) == 0 {
			c.Events = append(c.Events, state.EventNote{Write: len(c.Writes) - 1, Org: text(), Object: text()})
		}
	}
	for range r.IntN(3) {
		if c.Schema >= state.SchemaLogs {
			c.Notes = append(c.Notes, state.LogNote{Log: text(), Data: []byte("a record" + text())})
		}
	}
	return c
}

func TestCommitRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var reader state.Borrower
	for n := range 300 {
		c := randomCommit(r)
		data := c.Encode(nil)
		got, err := state.DecodeCommit(data)
		if err != nil || !reflect.DeepEqual(got, c) {
			t.Fatalf("commit %d: %v\n%+v\n%+v", n, err, got, c)
		}
		cut := data[:r.IntN(len(data))]
		if _, err := state.DecodeCommit(cut); !errors.Is(err, state.ErrDecode) {
			t.Fatalf("commit %d cut to %d of %d: %v", n, len(cut), len(data), err)
		}
		for _, check := range []func([]byte) error{state.CheckCommit, reader.Check} { // the second one in memory of before
			if err := check(data); err != nil {
				t.Fatalf("commit %d: %v", n, err)
			}
			if err := check(cut); !errors.Is(err, state.ErrDecode) {
				t.Fatalf("commit %d cut to %d of %d is checked as %v", n, len(cut), len(data), err)
			}
		}
		if _, err := state.DecodeCommit(append(data, 0)); !errors.Is(err, state.ErrDecode) {
			t.Fatalf("commit %d with a byte more: %v", n, err)
		}
	}
}

func TestDecodedCommitIsItsOwn(t *testing.T) {
	data := (&state.Commit{Schema: 1, Actor: "me", Writes: []state.Write{{Table: "t", Key: "k", Value: []byte("value")}}}).Encode(nil)
	c, err := state.DecodeCommit(data)
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		data[i] = 'X'
	}
	if c.Actor != "me" || c.Writes[0].Key != "k" || string(c.Writes[0].Value) != "value" {
		t.Errorf("the commit changed with its bytes: %+v", c)
	}
}

func TestDecodeNamesUnknownFormat(t *testing.T) {
	_, err := state.DecodeCommit([]byte{9, 0, 0})
	if !errors.Is(err, state.ErrDecode) || !bytes.Contains([]byte(err.Error()), []byte("format 9")) {
		t.Errorf("error %v", err)
	}
}

func FuzzDecodeCommit(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 20 {
		f.Add(randomCommit(r).Encode(nil))
	}
	f.Add([]byte{1})
	var reader state.Borrower
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := state.DecodeCommit(data)
		if checked := reader.Check(data); fmt.Sprint(checked) != fmt.Sprint(err) {
			t.Errorf("decoding: %v, checking: %v", err, checked)
		}
		if err != nil {
			var newer *state.SchemaError
			if !errors.Is(err, state.ErrDecode) || c == nil && !errors.As(err, &newer) && len(data) > 0 && data[0] == 1 {
				t.Errorf("commit %v, error %v", c, err)
			}
			return
		}
		again, err := state.DecodeCommit(c.Encode(nil))
		if err != nil || !reflect.DeepEqual(again, c) {
			t.Errorf("%+v became %+v, %v", c, again, err)
		}
	})
}

// FuzzRestore feeds damaged snapshots: an error and no change, or the whole state.
func FuzzRestore(f *testing.F) {
	db := newDB(f)
	if err := db.Update(f.Context(), func(tx *state.Tx) error {
		if err := state.Put(tx, &env{ID: "e"}); err != nil {
			return err
		}
		return state.Put(tx, &item{ID: "1", Env: "e", Name: "n"})
	}); err != nil {
		f.Fatal(err)
	}
	sn := db.Store().Snapshot()
	defer sn.Release()
	var buf bytes.Buffer
	if err := sn.Write(&buf); err != nil {
		f.Fatal(err)
	}
	want := db.Store().Fingerprint()
	f.Add(buf.Bytes())
	f.Add(buf.Bytes()[:buf.Len()-1])
	f.Add([]byte("musterS1"))
	f.Add([]byte("musterS3"))
	f.Fuzz(func(t *testing.T, data []byte) {
		st, err := state.NewStore(state.Options{Tables: tables(t)})
		if err != nil {
			t.Fatal(err)
		}
		empty := st.Fingerprint()
		if err := st.Restore(bytes.NewReader(data)); err != nil {
			if st.Fingerprint() != empty {
				t.Errorf("a refused snapshot changed the state: %v", err)
			}
			return
		}
		if st.Fingerprint() != want && bytes.Equal(data, buf.Bytes()) {
			t.Error("the good snapshot gave another state")
		}
	})
}

// slowReader gives a byte at a time, as a network may.
type slowReader struct{ r io.Reader }

func (s slowReader) Read(p []byte) (int, error) { return s.r.Read(p[:min(1, len(p))]) }

func TestRestoreFromSlowReader(t *testing.T) {
	db := newDB(t)
	put(t, db, &item{ID: "1", Env: "e", Name: "n"})
	st, err := state.NewStore(state.Options{Tables: tables(t)})
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Restore(slowReader{snapshotOf(t, db)}); err != nil {
		t.Fatal(err)
	}
	if st.Fingerprint() != db.Store().Fingerprint() {
		t.Error("another state came out")
	}
}
