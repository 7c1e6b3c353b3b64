package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
	"golang.org/x/sys/unix"
)

// op is one operation on a register, as one client saw it. Values of writes are above 0 and unique for a key; 0 is
// a register that was never written. Times are those of clock, comparable between the processes of one machine.
type op struct {
	Client  int    `json:"client"`
	Key     string `json:"key"`
	Write   int64  `json:"write,omitempty"`   // the value, 0 for a read
	Seen    int64  `json:"seen"`              // what was there before; of a write -1 when it was not looked at
	Unknown bool   `json:"unknown,omitempty"` // a write of unknown outcome: what it saw does not count
	Call    int64  `json:"call"`
	Return  int64  `json:"return"`
}

// clock is the machine's monotonic clock in nanoseconds: the same in all processes.
func clock() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic(err) // cannot fail on a clock that exists
	}
	return t.Nano()
}

// register is what a key must behave like. A write of unknown outcome has until the end of the world: one that never
// took effect is then the last of all, where nobody sees it.
var register = porcupine.Model{
	Init: func() any { return int64(0) },
	Step: func(before, input, _ any) (bool, any) {
		now, o := before.(int64), input.(op)
		if !o.Unknown && o.Seen != -1 && o.Seen != now {
			return false, now
		}
		if o.Write != 0 {
			now = o.Write
		}
		return true, now
	},
	Equal: func(a, b any) bool { return a == b },
}

// checkLimit bounds the check of one key. One that takes longer is a violation: it could not be shown that all is well.
const checkLimit = 20 * time.Second

// violations checks the operations, key by key, and tells which keys are not in order. Keys is how many there were.
func violations(ops []op) (bad []string, keys int) {
	byKey := map[string][]op{}
	for _, o := range ops {
		byKey[o.Key] = append(byKey[o.Key], o)
	}
	for key, list := range byKey {
		history := make([]porcupine.Operation, len(list))
		for i, o := range list {
			end := o.Return
			if o.Unknown {
				end = math.MaxInt64
			}
			history[i] = porcupine.Operation{ClientId: o.Client, Input: o, Call: o.Call, Return: end}
		}
		if res := porcupine.CheckOperationsTimeout(register, history, checkLimit); res != porcupine.Ok {
			bad = append(bad, fmt.Sprintf("the history of %s is %s:\n%s", key, strings.ToLower(string(res)), describe(list)))
		}
	}
	slices.Sort(bad)
	return bad, len(byKey)
}

func describe(list []op) string {
	slices.SortFunc(list, func(a, b op) int { return int(a.Call - b.Call) })
	var b strings.Builder
	for _, o := range list {
		what, end := fmt.Sprintf("read %d", o.Seen), time.Duration(o.Return-list[0].Call).String()
		if o.Write != 0 {
			what = fmt.Sprintf("wrote %d over %d", o.Write, o.Seen)
		}
		if o.Unknown {
			end = "-"
		}
		fmt.Fprintf(&b, "  %s..%s client %d %s\n", time.Duration(o.Call-list[0].Call), end, o.Client, what)
	}
	return b.String()
}

// judge has a run's histories checked.
func (r *run) judge(where string, ops []op) {
	bad, keys := violations(ops)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.judged += keys
	for _, text := range bad {
		r.bad = append(r.bad, where+": "+text)
	}
}
