package dispatch

import (
	"context"
	"hash/fnv"
	"sync"
)

// lanes runs work in the order of its arrival for each key, and keys beside each other.
type lanes struct {
	queues []chan func()
}

func newLanes(workers int) *lanes {
	l := &lanes{queues: make([]chan func(), workers)}
	for i := range l.queues {
		l.queues[i] = make(chan func(), 16)
	}
	return l
}

// run works until ctx ends; what waits then is dropped.
func (l *lanes) run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, q := range l.queues {
		wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case work := <-q:
					work()
				}
			}
		})
	}
	wg.Wait()
	return nil
}

// do puts work behind the other work of key. It waits while the key's queue is full.
func (l *lanes) do(ctx context.Context, key string, work func()) {
	h := fnv.New32a()
	h.Write([]byte(key))
	select {
	case l.queues[h.Sum32()%uint32(len(l.queues))] <- work:
	case <-ctx.Done():
	}
}
