package client

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
)

// The pauses between tries, where the server names none.
const (
	firstPause = 100 * time.Millisecond
	mostPause  = 2 * time.Second
)

// takesKey tells whether a route is a write that the server does once under an idempotency key. Requests about the
// cluster itself are no transactions.
func takesKey(r spec.Route) bool {
	return r.Method != spec.GET && r.Section != "Cluster" && r.Section != "Account" && r.Section != "Templates"
}

// newKey makes an idempotency key: 128 random bits.
func newKey() string { return rand.Text() }

// attempt is what one try came to.
type attempt struct {
	body  []byte
	at    string // epoch and index of the answer, as ?index= takes them; "" where it does not tell
	tag   string // ETag of the answer
	plan  string // what the write caused
	err   error
	after time.Duration // what the server said; 0 when it said nothing
}

// again tells whether another try may help: the server had no leader, or the outcome is not known. A connection that was
// refused says that nothing is there; only after an answer, or half of one, it is worth asking again.
func (a attempt) again(before bool) bool {
	switch model.CodeOf(a.err) {
	case model.Unavailable, model.Unknown:
		return true
	}
	if !IsUnreachable(a.err) {
		return false
	}
	var op *net.OpError
	return before || !errors.As(a.err, &op) || op.Op != "dial"
}

// persist does a write under one key until it is answered, or the client's patience is over.
func (c *Client) persist(ctx context.Context, try func(key string) attempt) attempt {
	key, began, pause := newKey(), time.Now(), firstPause
	for tried := false; ; tried = true {
		a := try(key)
		if a.err == nil || !a.again(tried) || ctx.Err() != nil {
			return a
		}
		wait := max(a.after, pause)
		if time.Since(began)+wait > c.cfg.Patience {
			return a
		}
		pause = min(2*pause, mostPause)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return a
		}
	}
}

// retryAfter is the server's word on when to come again; 0 when there is none.
func retryAfter(h http.Header) time.Duration {
	n, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || n < 0 || n > 3600 {
		return 0
	}
	return time.Duration(n) * time.Second
}
