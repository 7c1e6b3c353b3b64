package bus

import (
	"math/rand/v2"
	"time"
)

// backoff gives the pauses between attempts: anything from nothing to a limit that doubles ("full
// jitter"), so that agents that lost a node together come back one by one.
type backoff struct {
	first, limit time.Duration
	attempt      int
}

// next returns the pause before the next attempt.
func (b *backoff) next() time.Duration {
	ceiling := b.limit
	if b.attempt < 32 {
		if d := b.first << b.attempt; d > 0 && d < b.limit {
			ceiling = d
		}
		b.attempt++
	}
	return rand.N(ceiling + 1)
}

// again makes the next pause no longer than the last one.
func (b *backoff) again() { b.attempt = max(0, b.attempt-1) }

// reset starts again from the first pause.
func (b *backoff) reset() { b.attempt = 0 }
