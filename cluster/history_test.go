package cluster_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/muster-hq/muster/cluster/clustertest"
	"github.com/muster-hq/muster/fsm/state"
)

// A history is about one object: a register (a row of testcounter) and a list (the members of a range). Each
// operation sees both, so a history that is linearizable is one of atomic transactions over several rows.

// element is one place of a list.
type element = clustertest.Element

// answer is what an operation that has a key saw, written in the same commit: whoever repeats the operation gets it.
type answer = clustertest.Answer

type opKind byte

const (
	opRead   opKind = iota
	opWrite         // sets the register
	opAppend        // to the list, of which it reads the members alone
	opEdit          // gives the last element of the list another value; of an empty list it is an append
	opKinds
)

func (k opKind) String() string { return [...]string{"read", "write", "append", "edit"}[k] }

// opIn is what an operation was to do. Values are unique, so each is told from all others.
type opIn struct {
	kind  opKind
	value int
}

// seen is what an operation saw: for one that writes, the state just before it.
type seen struct {
	register int
	list     string // "1,2,"
	length   int    // of the list
	partly   bool   // of the list only the length was read
	unknown  bool   // the caller was told that the outcome is not known
}

func (s seen) String() string {
	switch {
	case s.unknown:
		return "?"
	case s.partly:
		return fmt.Sprintf("register %d list of %d", s.register, s.length)
	}
	return fmt.Sprintf("register %d list [%s]", s.register, s.list)
}

// observe reads an object, the list with its content.
func observe(r state.Reader, object string) seen {
	s := seen{register: count(r, object)}
	var b strings.Builder
	for _, e := range state.List[element](r, "list/"+object) {
		fmt.Fprintf(&b, "%d,", e.Value)
		s.length++
	}
	s.list = b.String()
	return s
}

// perform is the closure of an operation that writes; it may run many times, and the last run's sight counts. With a
// key, what was seen is kept under it, and an operation that was done already is only answered.
func perform(object string, in opIn, key string, out *seen) func(tx *state.Tx) error {
	return func(tx *state.Tx) error {
		if key != "" {
			if a, ok := state.Get[answer](tx, key); ok {
				*out = seen{register: a.Register, list: a.List, length: a.Length, partly: a.Partly}
				return nil
			}
		}
		if err := write(tx, object, in, out); err != nil || key == "" {
			return err
		}
		return state.Put(tx, &answer{Name: key, Register: out.register, List: out.list, Length: out.length, Partly: out.partly})
	}
}

func write(tx *state.Tx, object string, in opIn, out *seen) error {
	switch in.kind {
	case opWrite:
		*out = observe(tx, object)
		return state.Put(tx, &counter{Name: object, Count: in.value})
	case opEdit:
		*out = observe(tx, object)
		return state.Put(tx, &element{List: object, Place: max(out.length-1, 0), Value: in.value})
	default:
		*out = seen{register: count(tx, object), length: len(state.Keys[element](tx, "list/"+object)), partly: true}
		return state.Put(tx, &element{List: object, Place: out.length, Value: in.value})
	}
}

// object is the state of one.
type object struct {
	register int
	list     string
}

// objectModel is one object as it should behave. An operation of unknown outcome is given the time until the end of
// the world; one that never took effect then is the last of all, where nobody sees it.
var objectModel = porcupine.Model{
	Init: func() any { return object{} },
	Step: func(before, input, output any) (bool, any) {
		s, in, out := before.(object), input.(opIn), output.(seen)
		if !out.unknown && (out.register != s.register || out.partly && out.length != strings.Count(s.list, ",") || !out.partly && out.list != s.list) {
			return false, s
		}
		value := fmt.Sprintf("%d,", in.value)
		switch in.kind {
		case opWrite:
			s.register = in.value
		case opAppend:
			s.list += value
		case opEdit:
			rest := strings.TrimSuffix(s.list, ",")
			s.list = rest[:strings.LastIndexByte(rest, ',')+1] + value
		}
		return true, s
	},
	Equal: func(a, b any) bool { return a == b },
	DescribeOperation: func(input, output any) string {
		in := input.(opIn)
		return fmt.Sprintf("%s %d: %s", in.kind, in.value, output)
	},
}

// history collects the operations on one object.
type history struct {
	object string
	begin  time.Time

	mu      sync.Mutex
	started int
	ops     []porcupine.Operation
}

func (h *history) now() int64 { return time.Since(h.begin).Nanoseconds() }

func (h *history) add(client int, in opIn, out seen, call int64) {
	ret := h.now()
	if out.unknown {
		ret = math.MaxInt64
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: in, Call: call, Output: out, Return: ret})
}

// check judges the history. It gives it in order of the calls, for the report. One that cannot be judged in time is
// told as Unknown, which no caller takes for good.
func (h *history) check() (porcupine.CheckResult, string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	res := porcupine.CheckOperationsTimeout(objectModel, h.ops, time.Minute)
	if res == porcupine.Ok {
		return res, ""
	}
	slices.SortFunc(h.ops, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	var b strings.Builder
	for _, op := range h.ops {
		end := "-"
		if op.Return != math.MaxInt64 {
			end = fmt.Sprint(time.Duration(op.Return))
		}
		fmt.Fprintf(&b, "%s..%s client %d %s\n", time.Duration(op.Call), end, op.ClientId, objectModel.DescribeOperation(op.Input, op.Output))
	}
	return res, b.String()
}

// TestTheCheckerFinds judges histories that are in order and others that are not.
func TestTheCheckerFinds(t *testing.T) {
	full := func(register int, list string) seen {
		return seen{register: register, list: list, length: strings.Count(list, ",")}
	}
	op := func(call, ret int64, kind opKind, value, register int, list string) porcupine.Operation {
		return porcupine.Operation{Input: opIn{kind, value}, Output: full(register, list), Call: call, Return: ret}
	}
	partly := func(call, ret int64, value, length int) porcupine.Operation {
		return porcupine.Operation{Input: opIn{opAppend, value}, Output: seen{length: length, partly: true}, Call: call, Return: ret}
	}
	unknown := func(call int64, kind opKind, value int) porcupine.Operation {
		return porcupine.Operation{Input: opIn{kind, value}, Output: seen{unknown: true}, Call: call, Return: math.MaxInt64}
	}
	for name, c := range map[string]struct {
		ops  []porcupine.Operation
		good bool
	}{
		"one after the other": {[]porcupine.Operation{
			op(1, 2, opWrite, 7, 0, ""), op(3, 4, opAppend, 8, 7, ""), op(5, 6, opEdit, 9, 7, "8,"), op(7, 8, opRead, 0, 7, "9,")}, true},
		"unknown, and it happened": {[]porcupine.Operation{
			unknown(1, opAppend, 8), op(3, 4, opRead, 0, 0, ""), op(5, 6, opRead, 0, 0, "8,")}, true},
		"unknown, and it never happened": {[]porcupine.Operation{
			unknown(1, opWrite, 8), op(3, 4, opRead, 0, 0, ""), op(5, 6, opRead, 0, 0, "")}, true},
		"either of two at once": {[]porcupine.Operation{
			op(1, 9, opWrite, 7, 0, ""), op(2, 3, opRead, 0, 0, ""), op(4, 5, opRead, 0, 7, "")}, true},
		"an append that the edit of a content does not disturb": {[]porcupine.Operation{
			partly(1, 2, 7, 0), op(3, 9, opEdit, 8, 0, "7,"), partly(4, 8, 9, 1), op(10, 11, opRead, 0, 0, "8,9,")}, true},
		"a stale register": {[]porcupine.Operation{
			op(1, 2, opWrite, 7, 0, ""), op(3, 4, opRead, 0, 0, "")}, false},
		"a stale list": {[]porcupine.Operation{
			op(1, 2, opAppend, 7, 0, ""), op(3, 4, opRead, 0, 0, "")}, false},
		"stale members": {[]porcupine.Operation{
			partly(1, 2, 7, 0), partly(3, 4, 8, 0)}, false},
		"a read that goes back": {[]porcupine.Operation{
			op(1, 9, opWrite, 7, 0, ""), op(2, 3, opRead, 0, 7, ""), op(4, 5, opRead, 0, 0, "")}, false},
		"a lost write of a register": {[]porcupine.Operation{
			op(1, 2, opWrite, 7, 0, ""), op(3, 4, opWrite, 8, 0, ""), op(5, 6, opRead, 0, 8, "")}, false},
		"a lost append": {[]porcupine.Operation{
			op(1, 2, opAppend, 7, 0, ""), op(3, 4, opAppend, 8, 0, ""), op(5, 6, opRead, 0, 0, "8,")}, false},
		"a lost edit": {[]porcupine.Operation{
			partly(1, 2, 7, 0), op(3, 4, opEdit, 8, 0, "7,"), op(5, 6, opRead, 0, 0, "7,")}, false},
		"a doubled write of a register": {[]porcupine.Operation{
			op(1, 2, opWrite, 7, 0, ""), op(3, 4, opWrite, 8, 7, ""), op(5, 6, opRead, 0, 7, "")}, false},
		"a doubled append": {[]porcupine.Operation{
			op(1, 2, opAppend, 7, 0, ""), op(3, 4, opRead, 0, 0, "7,7,")}, false},
		"a doubled append of unknown outcome": {[]porcupine.Operation{
			unknown(1, opAppend, 7), op(3, 4, opRead, 0, 0, "7,7,")}, false},
		"a write that was said not to have happened": {[]porcupine.Operation{
			op(3, 4, opRead, 0, 9, "")}, false},
		"half a transaction": {[]porcupine.Operation{
			op(1, 2, opWrite, 7, 0, ""), op(3, 4, opAppend, 8, 7, ""), op(5, 6, opRead, 0, 0, "8,")}, false},
		"a list in another order": {[]porcupine.Operation{
			op(1, 2, opAppend, 7, 0, ""), op(3, 4, opAppend, 8, 0, "7,"), op(5, 6, opRead, 0, 0, "8,7,")}, false},
	} {
		h := &history{ops: c.ops}
		if res, text := h.check(); (res == porcupine.Ok) != c.good {
			t.Errorf("%s: %s\n%s", name, res, text)
		}
	}
}
