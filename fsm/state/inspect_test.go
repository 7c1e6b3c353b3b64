package state_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/muster-hq/muster/fsm/state"
	"github.com/muster-hq/muster/fsm/state/statetest"
)

func written(t *testing.T, db *statetest.DB) []byte {
	t.Helper()
	var b bytes.Buffer
	sn := db.Store().Snapshot()
	defer sn.Release()
	if err := sn.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestInspect(t *testing.T) {
	db := statetest.NewOptions(t, state.Options{Tables: tables(t)})
	for i := range 500 {
		put(t, db, &item{ID: fmt.Sprint("i", i), Env: "e1", Name: fmt.Sprint("n", i), Log: []string{fmt.Sprint(sha256.Sum256([]byte{byte(i)}))}})
	}
	good := written(t, db)
	var rows []string
	c, err := state.Inspect(bytes.NewReader(good), func(r state.RawRow) error {
		rows = append(rows, r.Table)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	v := db.Local()
	sum := sha256.Sum256(good)
	if c.Index != v.Index() || c.Epoch != v.Epoch() || c.Term != v.Term() || c.Schema != state.Schema || int(c.Bytes) != len(good) ||
		c.SHA256 != hex.EncodeToString(sum[:]) || c.Tables["items"].Rows != 500 || c.Tables["envs"].Rows != 1 || c.Tables["items"].Bytes < 500*100 ||
		c.Rows != uint64(len(rows)) || c.IDs == 0 || c.Marks == 0 {
		t.Errorf("%d rows: %+v", len(rows), c)
	}
	stop := errors.New("stop")
	if _, err := state.Inspect(bytes.NewReader(good), func(state.RawRow) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("who looks at the rows stops: %v", err)
	}
	n := 0
	if err := state.Rows(v, func(r state.RawRow) error { n++; return nil }); err != nil || n != len(rows) {
		t.Errorf("the view has %d rows, the snapshot %d: %v", n, len(rows), err)
	}
	other, err := state.Inspect(strings.NewReader("something else that is longer than a checksum, for sure it is"), nil)
	if !errors.Is(err, state.ErrDecode) || !strings.Contains(err.Error(), "no snapshot") {
		t.Errorf("something else: %+v, %v", other, err)
	}
	cut, err := state.Inspect(bytes.NewReader(good[:len(good)*2/3]), nil)
	if !errors.Is(err, state.ErrDecode) || cut.Rows == 0 || cut.Rows >= 500 || !strings.Contains(err.Error(), "whole records") || !strings.Contains(err.Error(), "items") {
		t.Errorf("cut: %+v, %v", cut, err)
	}
	for _, at := range []int{0, 5, 9, 200, len(good) / 2, len(good) - 40, len(good) - 1} { // each place is told
		bad := bytes.Clone(good)
		bad[at] ^= 1 << (at % 8)
		if _, err := state.Inspect(bytes.NewReader(bad), nil); !errors.Is(err, state.ErrDecode) {
			t.Errorf("a bit in byte %d: %v", at, err)
		}
	}
}

func FuzzInspect(f *testing.F) {
	db := statetest.New(f)
	sn := db.Store().Snapshot()
	var b bytes.Buffer
	if err := sn.Write(&b); err != nil {
		f.Fatal(err)
	}
	sn.Release()
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		_, verr := state.Verify(bytes.NewReader(data))
		_, ierr := state.Inspect(bytes.NewReader(data), nil)
		if (verr == nil) != (ierr == nil) {
			t.Errorf("verify says %v, inspect %v", verr, ierr)
		}
	})
}
