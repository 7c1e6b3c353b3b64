package state

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestPacer: long work rests for twice as long as it has worked, but only while the machine applies entries, and no longer
// than its context lives.
func TestPacer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &Store{}
		st.pub.Store(&published{index: 1})
		p := pacer{st: st, index: 1, began: time.Now()}
		ctx, cancel := context.WithCancel(t.Context())
		work := func() (rested time.Duration, err error) {
			time.Sleep(2 * time.Millisecond) // of virtual time: the work
			began := time.Now()
			for range paceSteps {
				err = errors.Join(err, p.step(ctx))
			}
			return time.Since(began), err
		}
		if rested, err := work(); err != nil || rested != 0 {
			t.Errorf("while nothing is applied it rests for %s, %v", rested, err)
		}
		st.pub.Store(&published{index: 2})
		if rested, err := work(); err != nil || rested != 8*time.Millisecond { // of both works
			t.Errorf("after an entry it rests for %s, %v", rested, err)
		}
		if rested, err := work(); err != nil || rested != 0 {
			t.Errorf("without another entry it rests for %s, %v", rested, err)
		}
		cancel()
		st.pub.Store(&published{index: 3})
		if _, err := work(); !errors.Is(err, context.Canceled) {
			t.Errorf("at the end of its context: %v", err)
		}
	})
}
