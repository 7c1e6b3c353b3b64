package api

import "sync"

// generations is a map of bounded size: when the younger of two generations is full, the older is dropped. What is asked for
// moves to the younger, so what is in use stays. It is safe for concurrent use.
type generations[K comparable, V any] struct {
	mu         sync.Mutex
	limit      int // of the size of a generation
	size       int // of the young one
	young, old map[K]sized[V]
}

type sized[V any] struct {
	value V
	size  int
}

// newGenerations makes one whose values are together no larger than limit.
func newGenerations[K comparable, V any](limit int) *generations[K, V] {
	return &generations[K, V]{limit: limit / 2, young: map[K]sized[V]{}}
}

func (g *generations[K, V]) get(k K) (V, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if e, ok := g.young[k]; ok {
		return e.value, true
	}
	e, ok := g.old[k]
	if ok {
		delete(g.old, k)
		g.insert(k, e)
	}
	return e.value, ok
}

// put keeps a value of a size. One that is larger than an eighth of all is not kept.
func (g *generations[K, V]) put(k K, v V, size int) {
	if size > g.limit/4 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if had, ok := g.young[k]; ok {
		g.size -= had.size
		delete(g.young, k)
	}
	delete(g.old, k)
	g.insert(k, sized[V]{v, size})
}

func (g *generations[K, V]) insert(k K, e sized[V]) {
	if g.size+e.size > g.limit {
		g.old, g.young, g.size = g.young, map[K]sized[V]{}, 0
	}
	g.young[k] = e
	g.size += e.size
}

// drop forgets a value.
func (g *generations[K, V]) drop(k K) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if had, ok := g.young[k]; ok {
		g.size -= had.size
		delete(g.young, k)
	}
	delete(g.old, k)
}

// held is the size of all that is kept.
func (g *generations[K, V]) held() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := g.size
	for _, e := range g.old {
		n += e.size
	}
	return n
}
