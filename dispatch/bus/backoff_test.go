package bus

import (
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	b := backoff{first: 100 * time.Millisecond, limit: time.Second}
	for round := range 3 {
		var highest [6]time.Duration
		for range 2000 {
			b.reset()
			for i := range highest {
				highest[i] = max(highest[i], b.next())
			}
		}
		for i, ceiling := range []time.Duration{100, 200, 400, 800, 1000, 1000} {
			ceiling *= time.Millisecond
			if highest[i] > ceiling || highest[i] < ceiling*8/10 {
				t.Errorf("round %d, pause %d: at most %s, want up to %s", round, i, highest[i], ceiling)
			}
		}
	}
	b = backoff{first: time.Hour, limit: time.Minute}
	for range 100 { // attempts beyond any shift
		if d := b.next(); d < 0 || d > time.Minute {
			t.Fatalf("pause of %s", d)
		}
	}
}
