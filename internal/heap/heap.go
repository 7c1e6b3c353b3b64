// Package heap tells Go's garbage collector what a program knows of its memory and the collector does not.
package heap

import (
	"os"
	"runtime/debug"
)

// loadingPercent is GOGC while a program loads what it then keeps. Nearly all that is allocated stays, so looking for
// garbage each time the heap has doubled finds none and takes up to a third of the time. The heap does not become
// larger than in normal use, where it may be twice what is kept: see fsm/state/DESIGN.md for what a restore leaves behind.
const loadingPercent = 400

// Loading makes collections rarer until done is called. Only one in a process may load, as the setting is the process's.
// GOGC and GOMEMLIMIT, when set, mean that the operator has decided: then nothing changes.
func Loading() (done func()) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	before := debug.SetGCPercent(loadingPercent)
	return func() { debug.SetGCPercent(before) }
}
