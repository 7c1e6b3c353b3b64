package api

import (
	"context"
	"sync"
	"time"
)

// deadline is a context that ends at a time, like those of context.WithDeadline. It sets its timer when somebody asks for its
// channel first: most requests that read are done before anybody waits for anything.
type deadline struct {
	context.Context           // the parent
	began           time.Time // from when on time is counted
	at              time.Time

	mu     sync.Mutex
	real   context.Context // nil until somebody waits
	cancel context.CancelFunc
	ended  bool
}

// begin makes it the context that ends a time after it began. The caller calls end.
func (d *deadline) begin(parent context.Context, after time.Duration) {
	d.Context, d.at = parent, d.began.Add(after)
	if until, ok := parent.Deadline(); ok && until.Before(d.at) {
		d.at = until
	}
}

// Deadline is when it ends.
func (d *deadline) Deadline() (time.Time, bool) { return d.at, true }

// Done is closed once it ends.
func (d *deadline) Done() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.armed().Done()
}

// armed is the context with a timer. The lock is held.
func (d *deadline) armed() context.Context {
	if d.real == nil {
		d.real, d.cancel = context.WithDeadline(d.Context, d.at)
		if d.ended {
			d.cancel()
		}
	}
	return d.real
}

// Err says why it ended, nil before.
func (d *deadline) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.real != nil:
		return d.real.Err()
	case d.ended:
		return context.Canceled
	case d.Context.Err() != nil:
		return d.Context.Err()
	case !time.Now().Before(d.at):
		return context.DeadlineExceeded
	}
	return nil
}

// Value looks in the context with the timer once there is one, so that others below it end with it without a goroutine.
func (d *deadline) Value(key any) any {
	d.mu.Lock()
	real := d.real
	d.mu.Unlock()
	if real != nil {
		return real.Value(key)
	}
	return d.Context.Value(key)
}

// end lets it go.
func (d *deadline) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended = true; d.cancel != nil {
		d.cancel()
	}
}
