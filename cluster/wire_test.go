package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"

	"github.com/muster-hq/muster/cluster/pki"
	"github.com/muster-hq/muster/cluster/transport"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

func TestFlippedBitInTheLogIsTold(t *testing.T) {
	path := t.TempDir() + "/log.db"
	open := func() *raftboltdb.BoltStore {
		b, err := raftboltdb.NewBoltStore(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	bolt := open()
	s := newSumStore(bolt)
	data := []byte("what was written")
	if err := s.StoreLogs([]*raft.Log{{Index: 1, Term: 1, Data: data}, {Index: 2, Term: 1}}); err != nil {
		t.Fatal(err)
	}
	if string(data) != "what was written" || cap(data) != len(data) {
		t.Error("the caller's entry was changed")
	}
	var l raft.Log
	for i := uint64(1); i <= 2; i++ {
		if err := s.GetLog(i, &l); err != nil {
			t.Fatal(err)
		}
	}
	if len(l.Data) != 0 {
		t.Errorf("an empty entry reads as %q", l.Data)
	}
	if err := bolt.Close(); err != nil {
		t.Fatal(err)
	}
	flip(t, path, data)
	bolt = open()
	defer func() { _ = bolt.Close() }()
	s.LogStore = bolt
	if err := s.GetLog(1, &l); !errors.Is(err, ErrDamaged) {
		t.Errorf("read %q, %v", l.Data, err)
	}
	if err := s.GetLog(2, &l); err != nil {
		t.Errorf("the entry beside it: %v", err)
	}
	if err := s.GetLog(9, &l); !errors.Is(err, raft.ErrLogNotFound) {
		t.Errorf("an absent entry: %v", err)
	}
}

// TestEntryOfAnotherPlaceIsTold: the checksum of an entry is also of where it stands, in which term, and of what kind.
func TestEntryOfAnotherPlaceIsTold(t *testing.T) {
	for name, damage := range map[string]func(*raft.Log){
		"nothing":             nil,
		"another term":        func(l *raft.Log) { l.Term ^= 1 },
		"another kind":        func(l *raft.Log) { l.Type = raft.LogBarrier },
		"other extensions":    func(l *raft.Log) { l.Extensions = []byte("x") },
		"other data":          func(l *raft.Log) { l.Data[0] ^= 1 },
		"less data":           func(l *raft.Log) { l.Data = l.Data[1:] },
		"no data at all":      func(l *raft.Log) { l.Data = nil },
		"says another index":  func(l *raft.Log) { l.Index = 8 },
		"of another place":    func(l *raft.Log) { l.Index = 6 },
		"another checksum":    func(l *raft.Log) { l.Data[len(l.Data)-1] ^= 0x80 },
		"data of none at all": func(l *raft.Log) { l.Data = l.Data[len(l.Data)-4:] },
	} {
		t.Run(name, func(t *testing.T) {
			under := &oneEntry{}
			s := newSumStore(under)
			if err := s.StoreLog(&raft.Log{Index: 7, Term: 3, Type: raft.LogCommand, Data: []byte("what was written")}); err != nil {
				t.Fatal(err)
			}
			if damage != nil {
				damage(&under.entry)
			}
			at := uint64(7)
			if name == "of another place" {
				at = under.entry.Index // as if a page of the file had been written elsewhere
			}
			var l raft.Log
			if err := s.GetLog(at, &l); errors.Is(err, ErrDamaged) != (damage != nil) {
				t.Errorf("entry %d: %v", at, err)
			}
		})
	}
}

// oneEntry keeps one entry, and gives it wherever it is asked.
type oneEntry struct {
	raft.LogStore
	entry raft.Log
}

func (o *oneEntry) StoreLogs(logs []*raft.Log) error {
	o.entry = *logs[0]
	o.entry.Data = bytes.Clone(o.entry.Data)
	return nil
}

func (o *oneEntry) GetLog(_ uint64, l *raft.Log) error { *l = o.entry; return nil }

// flip changes one bit of a stored value, past boltdb's own page checks.
func flip(t *testing.T, path string, value []byte) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	flipped := false
	err = db.Update(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(_ []byte, b *bbolt.Bucket) error {
			c := b.Cursor()
			for k, v := c.First(); k != nil; k, v = c.Next() {
				if i := bytes.Index(v, value); i >= 0 {
					bad := bytes.Clone(v)
					bad[i] ^= 1
					flipped = true
					return b.Put(k, bad)
				}
			}
			return nil
		})
	})
	if err != nil || !flipped {
		t.Fatalf("the value was not found: %v", err)
	}
}

func TestErrorsTravel(t *testing.T) {
	for _, tc := range []struct {
		err  error
		fate error
		code model.Code
	}{
		{errNotLeading, errNotDone, model.Internal},
		{fate(raft.ErrLeadershipLost), errUnknown, model.Internal},
		{fate(raft.ErrNotLeader), errNotDone, model.Internal},
		{model.Errorf(model.NotFound, "gone"), errNotDone, model.NotFound},
	} {
		got := decodeError(encodeError(tc.err, true))
		if !errors.Is(got, tc.fate) || model.CodeOf(got) != tc.code {
			t.Errorf("%v arrives as %v", tc.err, got)
		}
	}
	if err := decodeError(nil); !errors.Is(err, errUnknown) {
		t.Errorf("an error that cannot be read: %v", err)
	}
}

// TestAFrameWithForeignBytesIsRefused flips each bit of a frame with a sum: it never reads as another one.
func TestAFrameWithForeignBytesIsRefused(t *testing.T) {
	want := frame{id: withPatience(9, time.Second), op: opCommit, summed: true, body: []byte("a commit")}
	b := want.encode([]byte("of before"))[len("of before"):]
	next := frame{id: 10, op: opOK, body: []byte("without")}.encode(nil)
	in := bytes.NewReader(append(bytes.Clone(b), next...))
	if got, err := readFrame(in); err != nil || got.id != want.id || got.op != opCommit || !got.summed || string(got.body) != "a commit" {
		t.Fatalf("reads as %+v, %v", got, err)
	}
	if got, err := readFrame(in); err != nil || got.op != opOK || got.summed || string(got.body) != "without" {
		t.Fatalf("the next reads as %+v, %v", got, err)
	}
	const flag = 12*8 + 7 // without it the frame has no sum, and the sum's bytes are taken for the next frame
	for bit := range len(b) * 8 {
		bad := bytes.Clone(b)
		bad[bit/8] ^= 1 << (bit % 8)
		if got, err := readFrame(bytes.NewReader(bad)); !errors.Is(err, errFrame) && bit != flag {
			t.Errorf("with bit %d changed it reads as %+v, %v", bit, got, err)
		}
	}
	cut := bytes.NewReader(b[:len(b)-1])
	if _, err := readFrame(cut); !errors.Is(err, errFrame) {
		t.Errorf("cut: %v", err)
	}
}

// TestAnUnsummedFrameIsAsBefore is the wire of nodes of before the sums, byte for byte.
func TestAnUnsummedFrameIsAsBefore(t *testing.T) {
	got := frame{id: 0x0102030405060708, op: opCommit, body: []byte("x")}.encode(nil)
	if want := "\x00\x00\x00\x01\x01\x02\x03\x04\x05\x06\x07\x08cx"; string(got) != want {
		t.Errorf("%q", got)
	}
}

// TestNodesThatTellNoPatience is the wire of nodes of before the deadline travelled: ids are small, errors have two fates.
func TestNodesThatTellNoPatience(t *testing.T) {
	old := frame{id: 77, op: opCommit}
	if old.patience() != 0 {
		t.Errorf("an id of a node that tells nothing says %s", old.patience())
	}
	for _, d := range []time.Duration{0, time.Millisecond, 1234 * time.Millisecond, 100 * time.Hour} {
		f := frame{id: withPatience(77, d)}
		if got, want := f.patience(), max(min(d, maxPatience), time.Millisecond); got != want || f.id&(1<<patienceShift-1) != 77 {
			t.Errorf("%s travels as %s", d, got)
		}
	}
	for _, err := range []error{busy(), fmt.Errorf("%w: %w", errNotDone, errExpired), errNotLeading} {
		if b := encodeError(err, false); b[0] != fateNone {
			t.Errorf("%v is told with the fate %q, which the asker does not know", err, b[0])
		}
	}
	var me *model.Error
	if got := decodeError(encodeError(fmt.Errorf("%w: %w", errNotDone, busy()), true)); !errors.As(got, &me) || me.RetryAfter != busyPause || me.Code != model.Unavailable {
		t.Errorf("a full queue arrives as %v", got)
	}
	if got := decodeError(encodeError(fmt.Errorf("%w: %w", errNotDone, errExpired), true)); !errors.Is(got, errExpired) || !errors.Is(got, errNotDone) {
		t.Errorf("an expired commit arrives as %v", got)
	}
}

// TestFate: what raft refused was not done, and may be tried elsewhere; whatever else it says, nobody knows.
func TestFate(t *testing.T) {
	for _, err := range []error{raft.ErrNotLeader, raft.ErrEnqueueTimeout, raft.ErrLeadershipTransferInProgress} {
		if got := fate(err); !errors.Is(got, errNotDone) || errors.Is(got, errUnknown) || !errors.Is(got, err) {
			t.Errorf("%v: %v", err, got)
		}
	}
	for _, err := range []error{raft.ErrLeadershipLost, raft.ErrRaftShutdown, raft.ErrAbortedByRestore, errors.New("another")} {
		if got := fate(err); errors.Is(got, errNotDone) || !errors.Is(got, errUnknown) || !errors.Is(got, err) {
			t.Errorf("%v: %v", err, got)
		}
	}
}

func TestAilments(t *testing.T) {
	for want, in := range map[string]info{
		"":                                {Leader: "a", ContactMs: 10},
		"its disk is full":                {Leader: "a", ContactMs: 10, Fault: "its disk is full"},
		"knows no leader, while a leads":  {ContactMs: 10},
		"follows \"b\", and not a":        {Leader: "b", ContactMs: 10},
		"has heard no leader":             {Leader: "a", ContactMs: -1},
		"has heard no leader for 2000 ms": {Leader: "a", ContactMs: 2000},
	} {
		if got := ailment(in, "a", 0, time.Second); got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
	if got := ailment(info{Leader: "a"}, "a", maxTrailing+1, time.Second); got != "is 1025 entries behind" {
		t.Errorf("%q", got)
	}
}

func TestAskAndAnswer(t *testing.T) {
	ca, err := pki.NewAuthority("c", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	stuck := make(chan struct{})
	end := func(name string) *rpc {
		id, err := ca.Issue(pki.Subject{Name: name}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		mux := transport.New(ln, id, transport.Options{})
		r := newRPC(mux, func(ctx context.Context, peer transport.Peer, op byte, body []byte) ([]byte, error) {
			switch op {
			case 's':
				close(stuck)
				<-ctx.Done()
				return nil, ctx.Err()
			case 'f':
				return nil, errNotLeading
			}
			return append([]byte(peer.Name+":"), body...), nil
		}, nil, 1<<20, func() bool { return name == "alfa" }, slog.New(slog.DiscardHandler))
		t.Cleanup(func() { _ = mux.Close(); r.close() })
		return r
	}
	a, b := end("alfa"), end("bravo")
	addr := b.mux.Addr().String()
	if out, err := a.ask(t.Context(), addr, 'e', []byte("hi")); err != nil || string(out) != "alfa:hi" {
		t.Errorf("%q, %v", out, err)
	}
	if _, err := a.ask(t.Context(), addr, 'f', nil); !errors.Is(err, errNotDone) {
		t.Errorf("refused: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-stuck; cancel() }()
	if _, err := a.ask(ctx, addr, 's', nil); !errors.Is(err, errUnknown) {
		t.Errorf("no answer: %v", err)
	}
	if out, err := a.ask(t.Context(), addr, 'e', nil); err != nil || string(out) != "alfa:" {
		t.Errorf("after that: %q, %v", out, err)
	}
	if _, err := a.ask(t.Context(), "127.0.0.1:1", 'e', nil); !errors.Is(err, errNotDone) {
		t.Errorf("nobody there: %v", err)
	}
}

// TestSharedQuestionsAreAskedAfterwards: who comes while a question is out is not content with its answer, which may be of
// before a write that was acknowledged before they came.
func TestSharedQuestionsAreAskedAfterwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reply := make(chan uint64)
		asked := 0
		s := &sharer{ask: func(context.Context) (current, error) {
			asked++
			return current{index: <-reply}, nil
		}}
		got := make(chan uint64, 3)
		share := func() {
			c, err := s.share(t.Context())
			if err != nil {
				t.Error(err)
			}
			got <- c.index
		}
		go share()
		synctest.Wait() // the first question is out
		go share()
		go share()
		synctest.Wait()
		for want, askers := range []int{1, 2} {
			reply <- uint64(want + 1)
			synctest.Wait()
			if len(got) != askers {
				t.Fatalf("answer %d came to %d of %d", want+1, len(got), askers)
			}
			for range askers {
				if i := <-got; i != uint64(want+1) {
					t.Errorf("got answer %d in place of %d", i, want+1)
				}
			}
		}
		if asked != 2 {
			t.Errorf("%d questions, not 2", asked)
		}
	})
}

func FuzzFrame(f *testing.F) {
	f.Add(frame{id: 7, op: opCommit, body: []byte("x")}.encode(nil))
	f.Add(frame{id: 7, op: opCommit, summed: true, body: []byte("x")}.encode(nil))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		fr, err := readFrame(bytes.NewReader(b))
		if err != nil {
			return
		}
		if out := fr.encode(nil); !bytes.Equal(out, b[:len(out)]) {
			t.Errorf("%x reads and writes as %x", b, out)
		}
	})
}

func FuzzAnswers(f *testing.F) {
	f.Add(encodeResult(state.Result{Index: 3, Pos: 1, ConflictKey: "k"}))
	f.Add(current{index: 1, nanos: 2}.encode())
	f.Add(encodeTerm(9))
	f.Add(encodeError(errNotLeading, true))
	f.Add(encodeError(busy(), true))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := decodeResult(b); err == nil && !bytes.Equal(encodeResult(r), b) {
			t.Errorf("result %x", b)
		}
		if c, err := decodeCurrent(b); err == nil && !bytes.Equal(c.encode(), b) {
			t.Errorf("current %x", b)
		}
		if n, err := decodeTerm(b); err == nil && !bytes.Equal(encodeTerm(n), b) {
			t.Errorf("term %x", b)
		}
		if err := decodeError(b); !errors.Is(err, errUnknown) && !errors.Is(err, errNotDone) {
			t.Errorf("error %x says nothing of the outcome", b)
		}
	})
}

func FuzzMark(f *testing.F) {
	f.Add(encodeMark(7))
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if i, ok := decodeMark(b); ok && !bytes.Equal(encodeMark(i), b) {
			t.Errorf("mark %x", b)
		}
	})
}

func FuzzJoin(f *testing.F) {
	tok, err := token{ID: "a", Secret: []byte("s"), CA: pki.Fingerprint(nil)}.encode()
	if err != nil {
		f.Fatal(err)
	}
	var msg bytes.Buffer
	if err := writeJoin(&msg, joinRequest{Token: "a"}); err != nil {
		f.Fatal(err)
	}
	f.Add(tok, msg.Bytes(), []byte(`[{"name":"a","cluster":"h:1"}]`))
	f.Add(tokenPrefix, []byte{0, 0, 0, 2, '{', '}'}, []byte("null"))
	f.Fuzz(func(t *testing.T, text string, msg, hello []byte) {
		if tk, err := decodeToken(text); err == nil {
			again, err := tk.encode()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := decodeToken(again); err != nil {
				t.Errorf("%q: %v", again, err)
			}
		}
		var req joinRequest
		_ = readJoin(bytes.NewReader(msg), &req)
		if peers, err := decodeHello(hello); err == nil {
			for _, p := range peers {
				if validName(p.Name) != nil {
					t.Errorf("took the name %q", p.Name)
				}
			}
		}
	})
}
