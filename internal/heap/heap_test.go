package heap_test

import (
	"os"
	"runtime/debug"
	"testing"

	"github.com/muster-hq/muster/internal/heap"
)

// percent is GOGC as it is.
func percent() int {
	p := debug.SetGCPercent(100)
	debug.SetGCPercent(p)
	return p
}

func TestLoading(t *testing.T) {
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} { // as the test was started, it may have some
		if old, ok := os.LookupEnv(name); ok {
			t.Setenv(name, old) // put back at the end
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	before := percent()
	done := heap.Loading()
	if p := percent(); p <= before {
		t.Errorf("while something is loaded: %d", p)
	}
	done()
	if p := percent(); p != before {
		t.Errorf("afterwards: %d, and %d before", p, before)
	}
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, "200")
			done := heap.Loading()
			if p := percent(); p != before {
				t.Errorf("with %s set: %d", name, p)
			}
			done()
		})
	}
}
