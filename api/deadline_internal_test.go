package api

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

type keyOfDeadline struct{}

// A lazy deadline ends as one of package context does: at its time, with its parent, or when it is let go; those below it end
// with it, whoever asked first.
func TestLazyDeadline(t *testing.T) {
	for name, c := range map[string]struct {
		parent time.Duration // of its own deadline; 0 is none
		wait   bool          // somebody waits before the end
		end    string
		want   error
	}{
		"time":                  {end: "time", want: context.DeadlineExceeded},
		"time, waited for":      {end: "time", wait: true, want: context.DeadlineExceeded},
		"parent":                {end: "parent", want: context.Canceled},
		"parent, waited for":    {end: "parent", wait: true, want: context.Canceled},
		"parent's time":         {parent: time.Second, end: "soon", want: context.DeadlineExceeded},
		"parent's time, waited": {parent: time.Second, wait: true, end: "soon", want: context.DeadlineExceeded},
		"let go":                {end: "go", want: context.Canceled},
		"let go, waited for":    {end: "go", wait: true, want: context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				parent, cancel := context.WithCancel(context.WithValue(t.Context(), keyOfDeadline{}, 7))
				defer cancel()
				if c.parent > 0 {
					var stop context.CancelFunc
					parent, stop = context.WithTimeout(parent, c.parent)
					defer stop()
				}
				d := &deadline{began: time.Now()}
				d.begin(parent, time.Minute)
				var below context.Context
				if c.wait {
					var stop context.CancelFunc
					below, stop = context.WithCancel(d)
					defer stop()
				}
				if d.Err() != nil || d.Value(keyOfDeadline{}) != 7 {
					t.Fatalf("at first: %v", d.Err())
				}
				if at, ok := d.Deadline(); !ok || at.After(time.Now().Add(time.Minute)) {
					t.Errorf("it ends at %s", at)
				}
				switch c.end {
				case "time":
					time.Sleep(time.Minute) // in a bubble: no real time
				case "soon":
					time.Sleep(time.Second)
				case "parent":
					cancel()
				case "go":
					d.end()
				}
				synctest.Wait()
				if !errors.Is(d.Err(), c.want) || c.wait && !errors.Is(below.Err(), c.want) {
					t.Errorf("it ended with %v, not %v", d.Err(), c.want)
				}
				<-d.Done()
				d.end()
				if !errors.Is(d.Err(), c.want) {
					t.Errorf("let go, it says %v", d.Err())
				}
			})
		})
	}
}
