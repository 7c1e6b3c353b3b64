package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/muster-hq/muster/agent/journal"
	"github.com/muster-hq/muster/agent/resource"
	"github.com/muster-hq/muster/dispatch/wire"
)

// Times of watching.
const (
	debounce     = 300 * time.Millisecond // from an event to its check: several make one
	settle       = 300 * time.Millisecond // from a change of what is watched to a new Watch
	overlap      = time.Second            // how long the Watch before still runs: nothing falls in between
	secondLook   = 5 * time.Second        // after that, for a Watch that a busy machine let begin late
	alertSpacing = 5 * time.Second        // between two alerts of one resource that keeps changing,
	alertBurst   = 4                      // after so many at once
	checkLimit   = time.Minute
	recheckLater = 30 * time.Second // after a check or its alert that failed
	retellWithin = time.Minute      // after a restore: the whole fleet is asked at once
	watchFirst   = time.Second      // until a Watch that failed is started again
	watchMost    = 5 * time.Minute
)

// watch looks after the expected resources of one collection. Its checks run one after the other, and
// beside those of other collections: a slow package manager holds no file up.
type watch struct {
	a     *Agent
	c     resource.Collection
	wake  chan struct{} // something is due earlier
	ids   chan struct{} // what is watched changed
	mu    sync.Mutex
	due   map[string]time.Time
	held  map[string]int
	said  map[string]pace
	error map[string]string // the last check's error, so that it is logged once
}

func newWatch(a *Agent, c resource.Collection) *watch {
	return &watch{
		a: a, c: c, wake: make(chan struct{}, 1), ids: make(chan struct{}, 1),
		due: map[string]time.Time{}, held: map[string]int{}, said: map[string]pace{}, error: map[string]string{},
	}
}

// touch asks for a check of id after a while, or earlier if one is due earlier.
func (w *watch) touch(id string, after time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := time.Now().Add(after)
	if old, ok := w.due[id]; ok && !at.Before(old) {
		return
	}
	w.due[id] = at
	signal(w.wake)
}

func (w *watch) touchAll(ids []string, after time.Duration) {
	for _, id := range ids {
		w.touch(id, after)
	}
}

// hold puts off the checks of id until as many releases have come.
func (w *watch) hold(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held[id]++
}

// release ends one hold. After the last, id is checked again at once.
func (w *watch) release(id string) {
	w.mu.Lock()
	if w.held[id]--; w.held[id] > 0 {
		w.mu.Unlock()
		return
	}
	delete(w.held, id)
	delete(w.said, id) // what orders repair is no flicker: it is told at once, however often it is done
	w.due[id] = time.Now()
	w.mu.Unlock()
	signal(w.wake)
}

// changedSet says that the store has other ids now.
func (w *watch) changedSet() { signal(w.ids) }

// run checks what is due until ctx ends.
func (w *watch) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { w.listen(ctx) })
	for _, id := range w.a.store.list(w.c.Name()) {
		w.touch(id, 0)
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		id, wait := w.next()
		if id != "" {
			w.check(ctx, id)
			if ctx.Err() != nil {
				return
			}
			continue
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		case <-timer.C:
		}
	}
}

// next takes the resource that is due longest, or tells how long none is.
func (w *watch) next() (id string, wait time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now, best := time.Now(), time.Time{}
	for k, at := range w.due {
		if w.held[k] == 0 && (best.IsZero() || at.Before(best)) {
			id, best = k, at
		}
	}
	if best.IsZero() {
		return "", time.Hour
	}
	if wait := best.Sub(now); wait > 0 {
		return "", wait
	}
	delete(w.due, id)
	return id, 0
}

// check compares one resource with what is expected, and tells what is new about it.
func (w *watch) check(ctx context.Context, id string) {
	unlock, err := w.a.locks.lock(ctx, journal.Key(w.c.Name(), id))
	if err != nil {
		return
	}
	defer unlock()
	x, ok, err := w.a.store.get(w.c.Name(), id)
	if err == nil && !ok {
		w.drop(id)
		return
	}
	var d resource.Diff
	if err == nil {
		d, err = caller{log: w.a.log, c: w.c, limit: checkLimit}.check(ctx, id, x.Want)
	}
	if err == nil {
		err = w.a.noteBroken(w.judge(x, d))
	}
	w.failed(id, err)
	if err != nil {
		w.touch(id, min(jitter(2*recheckLater), w.a.interval))
		return
	}
	w.touch(id, spread(w.a.interval))
}

// failed logs a check that could not be made, once per text.
func (w *watch) failed(id string, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	w.mu.Lock()
	old := w.error[id]
	if text == "" {
		delete(w.error, id)
	} else {
		w.error[id] = text
	}
	w.mu.Unlock()
	if text != old && text != "" && !errors.Is(err, resource.ErrUnavailable) {
		w.a.log.Warn("a watched resource could not be checked", "collection", w.c.Name(), "resource", id, "error", err)
	}
}

func (w *watch) drop(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.due, id)
	delete(w.said, id)
	delete(w.error, id)
}

// judge raises an alert when the resource drifted, drifted further, or came back.
func (w *watch) judge(x expectation, d resource.Diff) error {
	told := w.a.journal.Told(x.Collection, x.Resource)
	alert := wire.Alert{
		Agent: w.a.identity.Agent, Collection: x.Collection, Resource: x.Resource, Origin: x.Origin,
		Compliant: d.Empty(), At: time.Now().UTC(),
	}
	digest := ""
	if d.Empty() {
		if told == "" {
			return nil
		}
	} else {
		var err error
		if alert.Expected, err = json.Marshal(d.Expected); err != nil {
			return fmt.Errorf("write what is expected as JSON: %w", err)
		}
		if alert.Observed, err = json.Marshal(d.Observed); err != nil {
			return fmt.Errorf("write what was observed as JSON: %w", err)
		}
		sum := sha256.Sum256(slices.Concat(alert.Expected, []byte{0}, alert.Observed))
		if digest = hex.EncodeToString(sum[:16]); digest == told {
			return nil
		}
	}
	if wait := w.spacing(x.Resource); wait > 0 {
		w.touch(x.Resource, wait)
		return nil
	}
	if _, err := w.a.journal.Alert(alert, digest); err != nil {
		return fmt.Errorf("keep an alert: %w", err)
	}
	w.mu.Lock()
	w.said[x.Resource] = pace{level: w.said[x.Resource].now() + 1, at: time.Now()}
	w.mu.Unlock()
	signal(w.a.outbox.wake)
	w.a.log.Info("told of a watched resource", "collection", x.Collection, "resource", x.Resource, "compliant", alert.Compliant)
	return nil
}

// pace is a leaking bucket of the alerts of one resource.
type pace struct {
	level float64 // at the time at
	at    time.Time
}

func (p pace) now() float64 {
	return max(0, p.level-time.Since(p.at).Seconds()/alertSpacing.Seconds())
}

// spacing is how long the next alert of a resource has to wait: what flickers must not flood the bus.
func (w *watch) spacing(id string) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Duration((w.said[id].now() - (alertBurst - 1)) * float64(alertSpacing))
}

// listen keeps a Watch running over what is watched, until ctx ends.
func (w *watch) listen(ctx context.Context) {
	watcher, ok := w.c.(resource.Watcher)
	if !ok {
		return
	}
	var now []string
	stop := func() {}
	defer func() { stop() }()
	for {
		ids := w.a.store.list(w.c.Name())
		if !slices.Equal(ids, now) {
			fresh := without(ids, now)
			before := stop
			stop = w.listenTo(ctx, watcher, ids)
			now = ids
			if !pause(ctx, overlap) {
				before()
				return
			}
			before()
			w.touchAll(fresh, 0)                                        // what happened before the new Watch knew of it
			time.AfterFunc(secondLook, func() { w.touchAll(fresh, 0) }) // harmless after the end
		}
		select {
		case <-ctx.Done():
			return
		case <-w.ids:
		}
		if !pause(ctx, settle) {
			return
		}
	}
}

// listenTo starts a Watch that is started again when it fails, and returns what ends it.
func (w *watch) listenTo(ctx context.Context, watcher resource.Watcher, ids []string) (stop func()) {
	if len(ids) == 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for wait := watchFirst; ; wait = min(2*wait, watchMost) {
			begun := time.Now()
			err := w.watchOnce(ctx, watcher, ids)
			if ctx.Err() != nil || errors.Is(err, resource.ErrUnavailable) {
				return
			}
			if time.Since(begun) > watchMost {
				wait = watchFirst
			}
			w.a.log.Warn("the events of a collection stopped; the timer goes on", "collection", w.c.Name(), "error", err, "again in", wait)
			if !pause(ctx, jitter(wait)) {
				return
			}
			w.touchAll(ids, overlap)
		}
	})
	return func() { cancel(); wg.Wait() }
}

func (w *watch) watchOnce(ctx context.Context, watcher resource.Watcher, ids []string) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("a mistake in the agent's collection %s: %v", w.c.Name(), p)
		}
	}()
	return watcher.Watch(ctx, ids, func(id string) { w.touch(id, debounce) })
}

// pause waits and says whether ctx still goes on.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// spread makes a period uneven: between three and five quarters of it.
func spread(d time.Duration) time.Duration { return d*3/4 + rand.N(d/2+1) }

// without returns the members of a that are not in b; both are sorted.
func without(a, b []string) []string {
	var out []string
	for _, x := range a {
		if _, found := slices.BinarySearch(b, x); !found {
			out = append(out, x)
		}
	}
	return out
}
