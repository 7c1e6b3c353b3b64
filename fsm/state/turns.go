package state

import (
	"context"
	"sync"
)

// turns makes those who lost a key on this node wait for one another, so that they do not all run again at
// once to lose again but one. A holder has one key at a time, so nobody waits in a circle.
type turns struct {
	mu sync.Mutex
	m  map[string]*turn
}

// turn is the queue of one key.
type turn struct {
	free  chan struct{} // holds one token while nobody has the turn
	users int           // holder and waiters; the last one to leave removes the queue
	index uint64        // the state that the last holder left behind
}

// enter waits for the turn at key, and tells the index that the one before left behind.
func (q *turns) enter(ctx context.Context, key string) (uint64, error) {
	q.mu.Lock()
	if q.m == nil {
		q.m = map[string]*turn{}
	}
	t := q.m[key]
	if t == nil {
		t = &turn{free: make(chan struct{}, 1)}
		t.free <- struct{}{}
		q.m[key] = t
	}
	t.users++
	q.mu.Unlock()
	select {
	case <-t.free:
		q.mu.Lock()
		defer q.mu.Unlock()
		return t.index, nil
	case <-ctx.Done():
		q.drop(key, t)
		return 0, ctx.Err()
	}
}

// leave gives up the turn at key. Index is what the next one should see.
func (q *turns) leave(key string, index uint64) {
	q.mu.Lock()
	t := q.m[key]
	t.index = max(t.index, index)
	q.mu.Unlock()
	t.free <- struct{}{}
	q.drop(key, t)
}

func (q *turns) drop(key string, t *turn) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if t.users--; t.users == 0 {
		delete(q.m, key)
	}
}

// queued names a key that the commit touches and that others queue for; empty when there is none. That
// a parent exists does not count: few who queue for it create or delete it.
func (q *turns) queued(c *Commit) string {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.m) == 0 {
		return ""
	}
	for i := range c.Writes {
		if k := conflictKey(c.Writes[i].Table, c.Writes[i].Key); q.m[k] != nil {
			return k
		}
	}
	for i := range c.Reads {
		if k := conflictKey(c.Reads[i].Table, c.Reads[i].Name); c.Reads[i].Kind != ReadExists && q.m[k] != nil {
			return k
		}
	}
	return ""
}

func conflictKey(table, name string) string { return table + " " + name }
