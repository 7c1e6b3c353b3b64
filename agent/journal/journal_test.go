package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/dispatch/wire"
)

var issued = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func makeOrder(n int, steps int) wire.Order {
	o := wire.Order{
		ID: fmt.Sprintf("order-%d", n), Agent: "a1", Lane: wire.LaneChanges, Epoch: 1, Term: 2, Sequence: uint64(n),
		Issued: issued.Add(time.Duration(n) * time.Minute), Expires: issued.Add(time.Hour), Change: n,
	}
	for i := range steps {
		o.Steps = append(o.Steps, wire.Step{Num: i, Collection: "files", Resource: fmt.Sprintf("/etc/%d", i), Verb: wire.VerbApply, Want: json.RawMessage(`{"content":"x"}`)})
	}
	return o
}

// seenAt is a clock that knows the order's time.
func seenAt(o wire.Order) Seen { return Seen{Time: o.Issued, Boot: "boot", Since: time.Minute} }

func open(t *testing.T, dir string, o Options) *Journal {
	t.Helper()
	j, err := Open(dir, o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fill makes a journal with one of everything: an order that is over and confirmed, one in the middle of
// a step, alerts, a debt, logins.
func fill(t *testing.T, j *Journal) {
	t.Helper()
	check(t, j.Accept(makeOrder(1, 2), seenAt(makeOrder(1, 2))))
	check(t, j.Begin("order-1", 0, issued, json.RawMessage(`{"changes":true}`)))
	r0 := must[wire.Reply](t)(j.Finish(wire.Reply{Order: "order-1", Step: 0, Status: wire.StatusOK, Changed: true}, nil))
	r1 := must[wire.Reply](t)(j.Finish(wire.Reply{Order: "order-1", Step: 1, Status: wire.StatusOK, Final: true}, &Owe{Key: "services/nginx", Yes: true}))
	check(t, j.Receipt([]uint64{r0.Sequence, r1.Sequence, 99}))
	check(t, j.Accept(makeOrder(2, 3), seenAt(makeOrder(2, 3))))
	check(t, j.Begin("order-2", 0, issued, nil))
	must[wire.Reply](t)(j.Finish(wire.Reply{Order: "order-2", Step: 0, Status: wire.StatusOK}, nil))
	check(t, j.Begin("order-2", 1, issued.Add(time.Second), json.RawMessage(`{"running":true}`)))
	must[wire.Alert](t)(j.Alert(wire.Alert{Collection: "files", Resource: "/etc/motd"}, "d1"))
	must[wire.Alert](t)(j.Alert(wire.Alert{Collection: "files", Resource: "/etc/motd"}, "d2"))
	must[wire.Alert](t)(j.Alert(wire.Alert{Collection: "services", Resource: "nginx"}, "d3"))
	must[wire.Alert](t)(j.Alert(wire.Alert{Collection: "services", Resource: "nginx", Compliant: true}, ""))
	must[uint64](t)(j.NextLogin(0))
	must[uint64](t)(j.NextLogin(100))
}

// filled checks what fill left, however the journal came back.
func filled(t *testing.T, j *Journal) {
	t.Helper()
	p, ok := j.Next(wire.LaneChanges)
	if !ok || p.Order.ID != "order-2" || len(p.Order.Steps) != 3 || len(p.Replies) != 1 {
		t.Fatalf("next order: %v %+v", ok, p)
	}
	if p.Begun == nil || p.Begun.Step != 1 || p.Begun.At != issued.Add(time.Second).UnixNano() || string(p.Begun.Note) != `{"running":true}` {
		t.Errorf("the step that was cut off: %+v", p.Begun)
	}
	if _, ok := j.Next(wire.LaneAsks); ok {
		t.Error("there is no question to answer")
	}
	if f := j.Fence(wire.LaneChanges); f != (Fence{1, 2, 2}) {
		t.Errorf("fence: %+v", f)
	}
	if got := j.Told("files", "/etc/motd"); got != "d2" {
		t.Errorf("told of motd: %q", got)
	}
	if got := j.Told("services", "nginx"); got != "" {
		t.Errorf("nginx came back, but told is %q", got)
	}
	if !j.Owed("services/nginx") {
		t.Error("the debt is forgotten")
	}
	if !j.Known("order-1") || len(j.Replies("order-1")) != 2 {
		t.Error("a late repeat of order 1 could not be answered")
	}
	var seqs []uint64
	for _, m := range j.Outstanding() {
		seqs = append(seqs, m.Sequence())
	}
	if !reflect.DeepEqual(seqs, []uint64{3, 5, 7}) {
		t.Errorf("outstanding: %v", seqs)
	}
	if s := j.Seen(); !s.Time.Equal(issued.Add(2*time.Minute)) || s.Boot != "boot" || s.Since != time.Minute {
		t.Errorf("seen: %+v", s)
	}
	want := Counts{Orders: 1, Replies: 1, Alerts: 2, Drifted: 1, Logins: 100}
	if got := j.Counts(); got != want {
		t.Errorf("counts: %+v, want %+v", got, want)
	}
}

func TestItComesBackAsItWas(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Options{})
	fill(t, j)
	filled(t, j)
	check(t, j.Close())
	j = open(t, dir, Options{})
	filled(t, j)
	if n := must[uint64](t)(j.NextLogin(5)); n != 101 {
		t.Errorf("the next login has number %d", n)
	}
	r := must[wire.Reply](t)(j.Finish(wire.Reply{Order: "order-2", Step: 1}, nil))
	if r.Sequence != 8 {
		t.Errorf("the next message has sequence %d: a number was used again or left out", r.Sequence)
	}
	if c, err := Inspect(dir); err != nil || c.Orders != 1 {
		t.Errorf("inspect: %+v %v", c, err)
	}
}

func TestCompactionKeepsTheMeaning(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Options{})
	fill(t, j)
	before := j.size
	j.mu.Lock()
	err := j.compact()
	j.mu.Unlock()
	check(t, err)
	filled(t, j)
	if j.size >= before {
		t.Errorf("compaction made %d bytes of %d", j.size, before)
	}
	check(t, j.Accept(makeOrder(3, 1), seenAt(makeOrder(3, 1))))
	check(t, j.Close())
	j = open(t, dir, Options{})
	if j.Fence(wire.LaneChanges).Sequence != 3 {
		t.Error("what was written after the compaction is gone")
	}
}

func TestTheFileStaysSmall(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Options{CompactAt: 8 << 10})
	for n := 1; n <= 300; n++ {
		check(t, j.Accept(makeOrder(n, 1), seenAt(makeOrder(n, 1))))
		r := must[wire.Reply](t)(j.Finish(wire.Reply{Order: fmt.Sprintf("order-%d", n), Final: true}, nil))
		check(t, j.Receipt([]uint64{r.Sequence}))
	}
	info, err := os.Stat(filepath.Join(dir, FileName))
	check(t, err)
	if info.Size() > 128<<10 { // the newest in full, and what became of some hundred
		t.Errorf("the journal of 300 orders that are over has %d bytes", info.Size())
	}
	if j.Known("order-1") || !j.Known("order-300") {
		t.Error("the newest orders are to be kept, the oldest not")
	}
	if f := j.Fence(wire.LaneChanges); f.Sequence != 300 {
		t.Errorf("the fence is kept for good, but is %+v", f)
	}
}

func TestTornAnywhereItIsTheBeginning(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Options{})
	fill(t, j)
	check(t, j.Close())
	whole, err := os.ReadFile(filepath.Join(dir, FileName))
	check(t, err)
	for cut := range whole {
		if edge := bytes.ContainsRune(whole[max(0, cut-2):min(len(whole), cut+2)], '\n'); cut%11 != 0 && !edge {
			continue
		}
		sub := t.TempDir()
		check(t, os.WriteFile(filepath.Join(sub, FileName), whole[:cut], 0o600))
		var log bytes.Buffer
		j, err := Open(sub, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatalf("cut at byte %d: %v", cut, err)
		}
		torn := cut > 0 && whole[cut-1] != '\n'
		if told := strings.Contains(log.String(), "cut off"); told != torn {
			t.Fatalf("cut at byte %d: told %v, want %v", cut, told, torn)
		}
		check(t, j.Accept(makeOrder(9, 1), seenAt(makeOrder(9, 1)))) // it can be written
		check(t, j.Close())
		j, err = Open(sub, Options{})
		if err != nil || !j.Known("order-9") {
			t.Fatalf("cut at byte %d, then written: %v", cut, err)
		}
		check(t, j.Close())
	}
}

func TestDamageIsTold(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Options{})
	fill(t, j)
	check(t, j.Close())
	path := filepath.Join(dir, FileName)
	whole, err := os.ReadFile(path)
	check(t, err)
	for at := 0; at < len(whole)-1; at += 13 {
		bad := bytes.Clone(whole)
		bad[at] ^= 0x01
		check(t, os.WriteFile(path, bad, 0o600))
		_, err := Open(dir, Options{})
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "enrol this machine again") {
			t.Fatalf("byte %d of %d changed: %v", at, len(whole), err)
		}
		after, err := os.ReadFile(path)
		check(t, err)
		if !bytes.Equal(after, bad) {
			t.Fatal("a damaged journal was changed")
		}
	}
}

func TestZerosAtTheEndAreATornEnd(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Options{})
	fill(t, j)
	check(t, j.Close())
	f, err := os.OpenFile(filepath.Join(dir, FileName), os.O_APPEND|os.O_WRONLY, 0)
	check(t, err)
	_, err = f.Write(append(make([]byte, 512), '\n'))
	check(t, err)
	check(t, f.Close())
	filled(t, open(t, dir, Options{}))
}

func TestItRefusesWhatMakesNoSense(t *testing.T) {
	j := open(t, t.TempDir(), Options{})
	check(t, j.Accept(makeOrder(1, 1), seenAt(makeOrder(1, 1))))
	if err := j.Begin("nobody", 0, issued, nil); err == nil {
		t.Error("a step of an unknown order began")
	}
	must[wire.Reply](t)(j.Finish(wire.Reply{Order: "order-1", Final: true}, nil))
	if _, err := j.Finish(wire.Reply{Order: "order-1"}, nil); err == nil {
		t.Error("a step ended twice")
	}
	check(t, j.Close())
	if err := j.Accept(makeOrder(2, 1), seenAt(makeOrder(2, 1))); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestForget(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Options{})
	must[wire.Alert](t)(j.Alert(wire.Alert{Collection: "files", Resource: "/a"}, "d"))
	check(t, j.Forget("files", "/a"))
	check(t, j.Forget("files", "/never"))
	check(t, j.Close())
	j = open(t, dir, Options{})
	if len(j.Outstanding()) != 0 || j.Told("files", "/a") != "" {
		t.Error("a forgotten resource is still spoken of")
	}
}

func TestFenceOrder(t *testing.T) {
	rising := []Fence{{}, {1, 1, 1}, {1, 1, 2}, {1, 2, 1}, {2, 1, 1}}
	for i, a := range rising {
		for k, b := range rising {
			if a.Below(b) != (i < k) {
				t.Errorf("%+v below %+v: %v", a, b, a.Below(b))
			}
		}
	}
}

func FuzzReplay(f *testing.F) {
	dir := f.TempDir()
	j, err := Open(dir, Options{})
	if err != nil {
		f.Fatal(err)
	}
	for _, err := range []error{j.Accept(makeOrder(1, 1), seenAt(makeOrder(1, 1))), j.Begin("order-1", 0, issued, nil)} {
		if err != nil {
			f.Fatal(err)
		}
	}
	if _, err := j.Finish(wire.Reply{Order: "order-1", Final: true}, nil); err != nil {
		f.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, FileName))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:len(data)-3])
	for _, line := range bytes.SplitAfter(data, []byte("\n")) {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		// The checksum keeps a fuzzer out, so each line of the input is also tried as a record's JSON.
		first, err := encode(record{Kind: kindBegin, Version: formatVersion})
		if err != nil {
			t.Fatal(err)
		}
		sealed := first
		for line := range bytes.SplitSeq(data, []byte("\n")) {
			sealed = append(sealed, frame(line)...)
		}
		for _, in := range [][]byte{data, sealed} {
			st := newContents()
			good, err := replay(in, st)
			if good < 0 || good > len(in) {
				t.Fatalf("%d good bytes of %d", good, len(in))
			}
			again := newContents()
			if n, err2 := replay(in[:good], again); n != good || (err == nil && err2 != nil) {
				t.Fatalf("the good part is not good: %d of %d, %v", n, good, err2)
			}
			for _, r := range st.records() {
				if err := again.apply(r); err == nil {
					_ = again.counts()
					_ = (&Journal{st: again}).Standing(0)
				}
			}
		}
	})
}
