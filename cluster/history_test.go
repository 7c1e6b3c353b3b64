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

	"github.com/muster-hq/muster/fsm/state"
)

// A history is about one object: a register (a row of testcounter) and a list (the members of a range). Each
// operation sees both, so a history that is linearizable is one of atomic transactions over several rows.

// element is one place of a list. Its key is list and place, so an append that took effect twice shows twice.
type element struct {
	List  string `json:"list"`
	Place int    `json:"place"`
	Value int    `json:"value"`
}

func (*element) Table() string            { return "testelement" }
func (e *element) Key() string            { return fmt.Sprintf("%s/%06d", e.List, e.Place) }
func (e *element) Ranges() []string       { return []string{"list/" + e.List} }
func (*element) Parent() (string, string) { return "", "" }

type opKind byte

const (
	opRead opKind = iota
	opWrite
	opAppend
)

func (k opKind) String() string { return [...]string{"read", "write", "append"}[k] }

// opIn is what an operation was to do. Values are unique, so each is told from all others.
type opIn struct {
	kind  opKind
	value int
}

// seen is what an operation saw: for a write or an append the state just before it.
type seen struct {
	register int
	list     string // "1,2,"
	unknown  bool   // the caller was told that the outcome is not known
}

func (s seen) String() string {
	if s.unknown {
		return "?"
	}
	return fmt.Sprintf("register %d list [%s]", s.register, s.list)
}

func observe(r state.Reader, object string) seen {
	s := seen{register: count(r, object)}
	var b strings.Builder
	for _, e := range state.List[element](r, "list/"+object) {
		fmt.Fprintf(&b, "%d,", e.Value)
	}
	s.list = b.String()
	return s
}

// perform is the closure of a write or an append; it may run many times, and the last run's sight counts.
func perform(object string, in opIn, out *seen) func(tx *state.Tx) error {
	return func(tx *state.Tx) error {
		*out = observe(tx, object)
		if in.kind == opWrite {
			return state.Put(tx, &counter{object, in.value})
		}
		return state.Put(tx, &element{object, strings.Count(out.list, ","), in.value})
	}
}

// objectModel is one object as it should behave. An operation of unknown outcome is given the time until the end of
// the world; one that never took effect then is the last of all, where nobody sees it.
var objectModel = porcupine.Model{
	Init: func() any { return seen{} },
	Step: func(before, input, output any) (bool, any) {
		s, in, out := before.(seen), input.(opIn), output.(seen)
		if !out.unknown && out != s {
			return false, s
		}
		switch in.kind {
		case opWrite:
			s.register = in.value
		case opAppend:
			s.list += fmt.Sprintf("%d,", in.value)
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

// check judges the history. It gives it in order of the calls, for the report.
func (h *history) check() (porcupine.CheckResult, string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	res := porcupine.CheckOperationsTimeout(objectModel, h.ops, 20*time.Second)
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

// TestTheCheckerFinds plants faults into histories that are in order.
func TestTheCheckerFinds(t *testing.T) {
	op := func(call, ret int64, kind opKind, value, register int, list string) porcupine.Operation {
		return porcupine.Operation{Input: opIn{kind, value}, Output: seen{register: register, list: list}, Call: call, Return: ret}
	}
	unknown := func(call int64, kind opKind, value int) porcupine.Operation {
		return porcupine.Operation{Input: opIn{kind, value}, Output: seen{unknown: true}, Call: call, Return: math.MaxInt64}
	}
	for name, c := range map[string]struct {
		ops  []porcupine.Operation
		good bool
	}{
		"one after the other": {[]porcupine.Operation{
			op(1, 2, opWrite, 7, 0, ""), op(3, 4, opAppend, 8, 7, ""), op(5, 6, opRead, 0, 7, "8,")}, true},
		"unknown, and it happened": {[]porcupine.Operation{
			unknown(1, opAppend, 8), op(3, 4, opRead, 0, 0, ""), op(5, 6, opRead, 0, 0, "8,")}, true},
		"unknown, and it never happened": {[]porcupine.Operation{
			unknown(1, opWrite, 8), op(3, 4, opRead, 0, 0, ""), op(5, 6, opRead, 0, 0, "")}, true},
		"either of two at once": {[]porcupine.Operation{
			op(1, 9, opWrite, 7, 0, ""), op(2, 3, opRead, 0, 0, ""), op(4, 5, opRead, 0, 7, "")}, true},
		"a stale read": {[]porcupine.Operation{
			op(1, 2, opWrite, 7, 0, ""), op(3, 4, opRead, 0, 0, "")}, false},
		"a read that goes back": {[]porcupine.Operation{
			op(1, 9, opWrite, 7, 0, ""), op(2, 3, opRead, 0, 7, ""), op(4, 5, opRead, 0, 0, "")}, false},
		"a lost write": {[]porcupine.Operation{
			op(1, 2, opAppend, 7, 0, ""), op(3, 4, opAppend, 8, 0, ""), op(5, 6, opRead, 0, 0, "8,")}, false},
		"a doubled write": {[]porcupine.Operation{
			op(1, 2, opAppend, 7, 0, ""), op(3, 4, opRead, 0, 0, "7,7,")}, false},
		"a doubled write of unknown outcome": {[]porcupine.Operation{
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

// plant makes a fault of a history that was found in order, by changing what one read saw. False when it has no
// operation that the fault could be planted in.
func plant(h *history, fault string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := len(h.ops) - 1; i >= 0; i-- {
		op := &h.ops[i]
		in, out := op.Input.(opIn), op.Output.(seen)
		values := strings.Split(strings.TrimSuffix(out.list, ","), ",")
		if in.kind != opRead || out.list == "" || out.register == 0 {
			continue
		}
		switch last := values[len(values)-1]; fault {
		case "stale read":
			out = seen{} // as if nothing had been done yet
		case "lost write":
			out.list = strings.TrimSuffix(out.list, last+",")
		case "doubled write":
			out.list += last + ","
		}
		op.Output = out
		return true
	}
	return false
}
