package auth

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// The bounds of the guard. Nothing is ever locked: the longest that an attempt waits is patience.
const (
	guardEntries = 20_000           // of failures, and of known addresses
	guardForget  = 15 * time.Minute // after the last failure
	knownFor     = 30 * 24 * time.Hour
	firstDelay   = 500 * time.Millisecond
	patience     = 10 * time.Second // an attempt that would have to wait longer is sent away
)

// slowness says how failures of one kind slow the next attempts down.
type slowness struct {
	free    int // failures that cost nothing
	slowest time.Duration
}

// The kinds of what is counted. Whoever logged in before from the same address is slowed only by the failures of that
// pair, so nobody else can keep the owner out.
func slowAccount() slowness { return slowness{freeFailures, 5 * time.Second} }
func slowAddress() slowness { return slowness{10, 10 * time.Second} }
func slowPair() slowness    { return slowness{10, time.Second} }
func slowCode() slowness    { return slowness{freeFailures, 30 * time.Second} }

// freeFailures of an account cost nothing: people mistype.
const freeFailures = 5

func (s slowness) delay(failures int) time.Duration {
	if failures < s.free {
		return 0
	}
	d := firstDelay
	for range failures - s.free {
		if d *= 2; d >= s.slowest {
			return s.slowest
		}
	}
	return d
}

type guardKey [sha256.Size]byte

func keyOf(kind string, parts ...string) guardKey {
	h := sha256.New()
	h.Write([]byte(kind))
	for _, p := range parts {
		fmt.Fprintf(h, "\x00%d:%s", len(p), p)
	}
	return guardKey(h.Sum(nil))
}

// failures is what is remembered of one account, address or both.
type failures struct {
	count int
	last  time.Time
	next  time.Time // before this no attempt is looked at
}

// Guard slows down who guesses, by account and by address. It is the memory of one node, and bounded. It is safe for
// concurrent use.
type Guard struct {
	mu    sync.Mutex
	seen  map[guardKey]*failures
	known map[guardKey]time.Time // account and address that logged in, until when
}

// NewGuard makes a guard that remembers nothing.
func NewGuard() *Guard {
	return &Guard{seen: map[guardKey]*failures{}, known: map[guardKey]time.Time{}}
}

// Attempt is one try to log in.
type Attempt struct {
	g     *Guard
	keys  []guardKey
	slow  []slowness
	known guardKey
}

// DelayError tells that an attempt was not looked at, as too many before it failed.
type DelayError struct{ After time.Duration }

// Error says when to try again.
func (e *DelayError) Error() string {
	return fmt.Sprintf("too many attempts failed: try again in %s", e.After.Round(time.Second))
}

// network is what counts as one sender: an address, of IPv6 the usual network of one customer.
func network(a netip.Addr) string {
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}

// Enter waits until an attempt for an account from an address may be looked at. Attempts that come at once queue up. The
// caller tells the outcome by Done. Errors: *DelayError, or that of ctx.
func (g *Guard) Enter(ctx context.Context, account string, from netip.Addr) (*Attempt, error) {
	at := network(from)
	pair := keyOf("pair", account, at)
	a := &Attempt{g: g, known: pair, keys: []guardKey{pair}, slow: []slowness{slowPair()}}
	if !g.isKnown(pair) {
		a.keys = []guardKey{keyOf("account", account), keyOf("address", at)}
		a.slow = []slowness{slowAccount(), slowAddress()}
	}
	return a, g.wait(ctx, a)
}

// EnterCode is Enter for a one-time code: knowing the address is no help there, as the password is known already.
func (g *Guard) EnterCode(ctx context.Context, account string) (*Attempt, error) {
	a := &Attempt{g: g, keys: []guardKey{keyOf("code", account)}, slow: []slowness{slowCode()}}
	return a, g.wait(ctx, a)
}

// EnterAddress is Enter for what has no account, such as a token or a registration.
func (g *Guard) EnterAddress(ctx context.Context, from netip.Addr) (*Attempt, error) {
	a := &Attempt{g: g, keys: []guardKey{keyOf("address", network(from))}, slow: []slowness{slowAddress()}}
	return a, g.wait(ctx, a)
}

func (g *Guard) isKnown(pair guardKey) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return time.Now().Before(g.known[pair])
}

// wait reserves the attempt's turn and waits for it.
func (g *Guard) wait(ctx context.Context, a *Attempt) error {
	d, err := g.reserve(a)
	if err != nil || d <= 0 {
		return err
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting to try a login: %w", ctx.Err())
	}
}

func (g *Guard) reserve(a *Attempt) (time.Duration, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	turn := now
	for _, k := range a.keys {
		if f := g.seen[k]; f != nil && now.Sub(f.last) < guardForget && f.next.After(turn) {
			turn = f.next
		}
	}
	if turn.Sub(now) > patience {
		return 0, &DelayError{turn.Sub(now)}
	}
	for i, k := range a.keys {
		if f := g.seen[k]; f != nil {
			f.next = turn.Add(a.slow[i].delay(f.count))
		}
	}
	return turn.Sub(now), nil
}

// Done tells whether the attempt was right. A right one makes account and address known to one another; what others
// failed at stays counted.
func (a *Attempt) Done(right bool) {
	g := a.g
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if right {
		if a.known != (guardKey{}) {
			if len(g.known) >= guardEntries {
				dropSome(g.known, func(until time.Time) bool { return now.After(until) })
			}
			g.known[a.known] = now.Add(knownFor)
			delete(g.seen, a.known)
		}
		return
	}
	for i, k := range a.keys {
		f := g.seen[k]
		if f == nil || now.Sub(f.last) >= guardForget {
			if f == nil && len(g.seen) >= guardEntries {
				dropSome(g.seen, func(f *failures) bool { return now.Sub(f.last) >= guardForget || f.count < freeFailures })
			}
			f = &failures{}
			g.seen[k] = f
		}
		f.count, f.last = f.count+1, now
		if next := now.Add(a.slow[i].delay(f.count)); next.After(f.next) {
			f.next = next
		}
	}
}

// dropSome makes room in a full map: among some entries those that matter least, or else the first ones seen.
func dropSome[V any](m map[guardKey]V, spare func(V) bool) {
	looked := 0
	for k, v := range m {
		if looked++; looked > 256 {
			break
		}
		if spare(v) {
			delete(m, k)
		}
	}
	for k := range m {
		if len(m) < guardEntries {
			return
		}
		delete(m, k)
	}
}

// Len is how many entries are remembered.
func (g *Guard) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.seen) + len(g.known)
}
