package torture

import (
	"context"
	"time"

	"github.com/muster-hq/muster/api/client"
)

// kill ends nodes with SIGKILL, and starts them again.
func (l *lab) kill(nodes ...int) (end func() int) {
	for _, i := range nodes {
		l.node(i).Kill()
	}
	return func() int {
		for _, i := range nodes {
			l.must(l.node(i).Start())
		}
		return 1
	}
}

// pause stops nodes where they are, and lets them go on.
func (l *lab) pause(nodes ...int) (end func() int) {
	for _, i := range nodes {
		l.must(l.node(i).Pause())
	}
	return func() int {
		for _, i := range nodes {
			l.must(l.node(i).Resume())
		}
		return 1
	}
}

// both is a pair in both directions.
func both(pairs ...[2]int) (out [][2]int) {
	for _, p := range pairs {
		out = append(out, p, [2]int{p[1], p[0]})
	}
	return out
}

// flap cuts and heals, again and again.
func (l *lab) flap(pairs ...[2]int) (end func() int) {
	stop, felt := make(chan struct{}), make(chan int)
	go func() {
		lost := 0
		for {
			heal := l.drop(pairs...)
			up := false
			select {
			case <-stop:
				up = true
			case <-time.After(300 * time.Millisecond):
			}
			lost += heal()
			if !up {
				select {
				case <-stop:
					up = true
				case <-time.After(250 * time.Millisecond):
				}
			}
			if up {
				felt <- lost
				return
			}
		}
	}()
	return func() int { close(stop); return <-felt }
}

// slow slows a node's disk down to a few writes a second.
func (l *lab) slow(writes int, nodes ...int) (end func() int) {
	for _, i := range nodes {
		l.must(l.disks[i].slow(writes))
	}
	return func() int {
		for _, i := range nodes {
			l.must(l.disks[i].slow(0))
		}
		return 1
	}
}

// full fills a node's disk, and makes room again. A node that stopped over it is started.
func (l *lab) full(c *crowd, i int) (end func() int) {
	l.must(l.disks[i].fill())
	c.big.Store(true)
	return func() int {
		c.big.Store(false)
		l.must(l.disks[i].empty())
		// A node that cannot write stops; with pages of its file to reuse it may not have had to.
		stopped := false
		l.await("the node to stop, or to be ready again", func(ctx context.Context) (bool, error) {
			if stopped = !l.node(i).Running(); stopped {
				return true, nil
			}
			return l.answersReady(ctx, i), nil
		})
		if stopped {
			l.t.Logf("%s stopped over its full disk", l.node(i).Name)
			l.must(l.node(i).Start())
		}
		return 1
	}
}

// limitRate makes what a node sends slow and late.
func (l *lab) limitRate(i int) (end func() int) {
	l.must(run(l.hosts[i].Command("tc", "qdisc", "add", "dev", "eth0", "root", "tbf", "rate", "2mbit", "burst", "16kb", "latency", "300ms"), ""))
	return func() int {
		l.must(run(l.hosts[i].Command("tc", "qdisc", "del", "dev", "eth0", "root"), ""))
		return 1
	}
}

// unplug cuts a node off from everybody, clients included.
func (l *lab) unplug(i int) (end func() int) {
	link := func(state string) { l.must(run(l.net.Command("ip", "link", "set", l.hosts[i].Port, state), "")) }
	link("down")
	return func() int { link("up"); return 1 }
}

func faults() []fault {
	return []fault{
		{"kill -9 of the leader", func(l *lab, _ *crowd) func() int { x, _, _ := l.leader(); return l.kill(x) }},
		{"kill -9 of a follower", func(l *lab, _ *crowd) func() int { _, a, _ := l.leader(); return l.kill(a) }},
		{"kill -9 of the majority", func(l *lab, _ *crowd) func() int { x, a, _ := l.leader(); return l.kill(x, a) }},
		{"SIGSTOP of the leader", func(l *lab, _ *crowd) func() int { x, _, _ := l.leader(); return l.pause(x) }},
		{"SIGSTOP of the majority", func(l *lab, _ *crowd) func() int { x, a, _ := l.leader(); return l.pause(a, x) }},
		{"leader alone", func(l *lab, _ *crowd) func() int {
			x, a, b := l.leader()
			return l.drop(both([2]int{x, a}, [2]int{x, b})...)
		}},
		{"leader unplugged", func(l *lab, _ *crowd) func() int { x, _, _ := l.leader(); return l.unplug(x) }},
		{"a bridge beside the leader", func(l *lab, _ *crowd) func() int {
			x, a, _ := l.leader()
			return l.drop(both([2]int{x, a})...)
		}},
		{"the leader is the bridge", func(l *lab, _ *crowd) func() int {
			_, a, b := l.leader()
			return l.drop(both([2]int{a, b})...)
		}},
		{"the leader is not heard", func(l *lab, _ *crowd) func() int {
			x, a, b := l.leader()
			return l.drop([2]int{x, a}, [2]int{x, b})
		}},
		{"the leader does not hear", func(l *lab, _ *crowd) func() int {
			x, a, b := l.leader()
			return l.drop([2]int{a, x}, [2]int{b, x})
		}},
		{"the leader flaps", func(l *lab, _ *crowd) func() int {
			x, a, b := l.leader()
			return l.flap(both([2]int{x, a}, [2]int{x, b})...)
		}},
		{"a fifth of the packets is lost", func(l *lab, _ *crowd) func() int { return l.lose(20, 0, 1, 2) }},
		{"the leader's line is slow", func(l *lab, _ *crowd) func() int { x, _, _ := l.leader(); return l.limitRate(x) }},
		{"the leader's disk is slow", func(l *lab, _ *crowd) func() int { x, _, _ := l.leader(); return l.slow(8, x) }},
		{"a follower's disk is slow", func(l *lab, _ *crowd) func() int { _, a, _ := l.leader(); return l.slow(8, a) }},
		{"the leader's disk is full", func(l *lab, c *crowd) func() int { x, _, _ := l.leader(); return l.full(c, x) }},
		{"a follower's disk is full", func(l *lab, c *crowd) func() int { _, a, _ := l.leader(); return l.full(c, a) }},
	}
}

// answersReady says whether a node answers a linearizable read: what it is behind it has got into its log.
func (l *lab) answersReady(ctx context.Context, i int) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	c, err := l.site.Client(i)
	if err == nil {
		_, err = client.List[map[string]any](ctx, c, client.Op{Name: "users.list"})
	}
	return err == nil
}
