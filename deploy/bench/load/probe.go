package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
)

// How a probe tries: a new put is begun each step, whatever became of those before, so that one which waits for a
// leader that is dead holds up no other. Each gives up in the end.
const (
	probeStep = 10 * time.Millisecond
	probeWait = 5 * time.Second
	probeKeys = 512
)

// probe puts to the first node until the input ends. It tells each success in a line: when it was begun and when it
// was answered, in nanoseconds of the machine's clock.
func probe(ctx context.Context, c config, open func(string) (store, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // whoever started it ends it by closing the input, or by dying
		in := bufio.NewScanner(os.Stdin)
		for in.Scan() {
		}
		cancel()
	}()
	run := strconv.FormatInt(time.Now().UnixNano(), 36)
	name := func(i int) string { return fmt.Sprintf("%s-%d", run, i%probeKeys) }
	first, err := open(c.nodes[0])
	if err != nil {
		return err
	}
	for i := range probeKeys {
		if _, err := first.create(ctx, name(i), value(name(i), i, c.size)); err != nil {
			return fmt.Errorf("preparing: %w", err)
		}
	}
	// One connection for each put at a time: a put over HTTP holds its own, and so it is with etcd.
	idle := make(chan store, probeKeys)
	var mu sync.Mutex
	var wg sync.WaitGroup
	idle <- first
	tick := time.NewTicker(probeStep)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			wg.Wait()
			return nil
		}
		wg.Go(func() {
			var s store
			select {
			case s = <-idle:
			default:
				var err error
				if s, err = open(c.nodes[0]); err != nil {
					return
				}
			}
			actx, stop := context.WithTimeout(ctx, probeWait)
			defer stop()
			begun := time.Now()
			_, err := s.put(actx, name(i), value(name(i), i, c.size))
			answered := time.Now()
			if err == nil {
				mu.Lock()
				fmt.Printf("%d %d\n", begun.UnixNano(), answered.UnixNano())
				mu.Unlock()
			}
			select {
			case idle <- s:
			default:
				_ = s.close()
			}
		})
	}
}
