package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// result is what one run tells, as JSON. Times are in milliseconds.
type result struct {
	Ops     int     `json:"ops"`
	Seconds float64 `json:"seconds"`
	Rate    float64 `json:"rate"` // per second
	P50     float64 `json:"p50"`
	P99     float64 `json:"p99"`
	Max     float64 `json:"max"`
	Missing int     `json:"missing"` // acknowledged writes that were not there at the end
	Read    int     `json:"read"`    // keys that were read back
	CPU     float64 `json:"cpu"`     // microseconds of the nodes' processor time for each operation
	Idle    float64 `json:"idle"`    // share of the machine's processor time that nobody used, 0 to 1
}

// minSize leaves room for what makes a value unlike all others.
const minSize = 64

// value is unlike all others, and says of which key and which write it is.
func value(key string, seq, size int) string {
	head := key + " " + strconv.Itoa(seq) + " "
	return head + strings.Repeat("x", size-len(head))
}

// client is one of those at work.
type client struct {
	store store
	names []string
	last  []int   // number of the last acknowledged write of each key
	seen  []int64 // version that it told
	took  []time.Duration
}

func (c *client) put(ctx context.Context, i, size int) error {
	k := i % len(c.names)
	seq := c.last[k] + 1
	write := c.store.put
	if seq == 1 {
		write = c.store.create
	}
	v, err := write(ctx, c.names[k], value(c.names[k], seq, size))
	if err != nil {
		return fmt.Errorf("put of %s: %w", c.names[k], err)
	}
	if v <= c.seen[k] {
		return fmt.Errorf("put of %s: version %d after %d: a write was lost or doubled", c.names[k], v, c.seen[k])
	}
	c.last[k], c.seen[k] = seq, v
	return nil
}

// bulk writes all keys of the client at once.
func (c *client) bulk(ctx context.Context, size int) error {
	values := make([]string, len(c.names))
	for k, name := range c.names {
		values[k] = value(name, c.last[k]+1, size)
	}
	v, err := c.store.bulk(ctx, c.names, values)
	if err != nil {
		return fmt.Errorf("bulk write of %s: %w", c.names[0], err)
	}
	if v <= c.seen[0] {
		return fmt.Errorf("bulk write of %s: version %d after %d: a write was lost or doubled", c.names[0], v, c.seen[0])
	}
	for k := range c.names {
		c.last[k]++
	}
	c.seen[0] = v
	return nil
}

func (c *client) get(ctx context.Context, i, size int, stale bool) error {
	k := i % len(c.names)
	v, err := c.store.get(ctx, c.names[k], stale)
	if err != nil {
		return fmt.Errorf("get of %s: %w", c.names[k], err)
	}
	if want := value(c.names[k], c.last[k], size); v != want {
		return fmt.Errorf("get of %s: %.40q in place of %.40q", c.names[k], v, want)
	}
	return nil
}

// measure prepares the keys, lets the clients work for a time, and reads all keys back.
func measure(ctx context.Context, c config, open func(string) (store, error)) (result, error) {
	clients := make([]*client, c.clients)
	run := strconv.FormatInt(time.Now().UnixNano(), 36) // a second run finds no keys of the first
	for i := range clients {
		s, err := open(c.nodes[i%len(c.nodes)])
		if err != nil {
			return result{}, err
		}
		defer func() { _ = s.close() }()
		clients[i] = &client{store: s, last: make([]int, c.keys), seen: make([]int64, c.keys)}
		for k := range c.keys {
			clients[i].names = append(clients[i].names, fmt.Sprintf("%s-%d-%d", run, i, k))
		}
	}
	fill := func(cl *client) error {
		if c.op == "bulk" {
			if err := cl.store.begin(ctx, cl.names[0]); err != nil {
				return err
			}
			return cl.bulk(ctx, c.size)
		}
		for k := range cl.names {
			if err := cl.put(ctx, k, c.size); err != nil {
				return err
			}
		}
		return nil
	}
	if err := all(clients, fill); err != nil {
		return result{}, fmt.Errorf("preparing: %w", err)
	}
	res, err := timed(ctx, c, clients)
	if err != nil {
		return res, err
	}
	return res, readBack(ctx, c, clients, &res)
}

// all lets the clients do something, each in its goroutine.
func all(clients []*client, do func(*client) error) error {
	errs := make([]error, len(clients))
	var wg sync.WaitGroup
	for i, cl := range clients {
		wg.Go(func() { errs[i] = do(cl) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func timed(ctx context.Context, c config, clients []*client) (result, error) {
	var counts, stop atomic.Bool
	var elapsed time.Duration
	var before, after spent
	var lookErr error
	go func() {
		time.Sleep(c.warm)
		before, lookErr = lookAt(c.pids)
		begin := time.Now()
		counts.Store(true)
		time.Sleep(c.run)
		elapsed = time.Since(begin)
		if lookErr == nil {
			after, lookErr = lookAt(c.pids)
		}
		stop.Store(true)
	}()
	err := all(clients, func(cl *client) error {
		for i := 0; !stop.Load(); i++ {
			counted, t := counts.Load(), time.Now()
			var err error
			switch c.op {
			case "put":
				err = cl.put(ctx, i, c.size)
			case "bulk":
				err = cl.bulk(ctx, c.size)
			default:
				err = cl.get(ctx, i, c.size, c.op == "stale")
			}
			if err != nil {
				stop.Store(true)
				return err
			}
			if counted && !stop.Load() {
				cl.took = append(cl.took, time.Since(t))
			}
		}
		return nil
	})
	if err := errors.Join(err, lookErr); err != nil {
		return result{}, err
	}
	var took []time.Duration
	for _, cl := range clients {
		took = append(took, cl.took...)
	}
	if len(took) == 0 {
		return result{}, errors.New("nothing was done in the time that counts")
	}
	slices.Sort(took)
	ms := func(q float64) float64 { return float64(took[int(q*float64(len(took)-1))].Nanoseconds()) / 1e6 }
	return result{Ops: len(took), Seconds: elapsed.Seconds(), Rate: float64(len(took)) / elapsed.Seconds(),
		P50: ms(0.5), P99: ms(0.99), Max: ms(1), CPU: float64((after.processes - before.processes).Microseconds()) / float64(len(took)),
		Idle: float64(after.idle-before.idle) / float64(max(after.all-before.all, 1))}, nil
}

// readBack counts the keys whose last acknowledged value is not there.
func readBack(ctx context.Context, c config, clients []*client, res *result) error {
	var missing, read atomic.Int64
	err := all(clients, func(cl *client) error {
		for k := range cl.names {
			v, err := cl.store.get(ctx, cl.names[k], false)
			if err != nil {
				return err
			}
			read.Add(1)
			if v != value(cl.names[k], cl.last[k], c.size) {
				missing.Add(1)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading back: %w", err)
	}
	res.Missing, res.Read = int(missing.Load()), int(read.Load())
	return nil
}
