package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/muster-hq/muster/cluster/transport"
)

// What is known of a question that got no answer. errNotDone: nothing was done, ask again at will. errUnknown:
// it may have been done, or may yet be.
var (
	errNotDone = errors.New("not done")
	errUnknown = errors.New("outcome unknown")
)

// handler answers the questions of the node that peer is. It is called from many goroutines.
type handler func(ctx context.Context, peer transport.Peer, op byte, body []byte) ([]byte, error)

// taker takes a commit, which its asker waits for so long, and calls reply once, when its outcome is known. It does not
// wait itself, so that there can be more commits than goroutines.
type taker func(peer transport.Peer, commit []byte, patience time.Duration, reply func([]byte, error))

// rpc asks other nodes and answers them, many questions on one connection for each address and lane.
type rpc struct {
	mux    *transport.Mux
	handle handler
	take   taker
	max    int64       // bytes of questions that are not answered, on one connection
	sums   func() bool // whether every node knows frames with sums; answers have one where their question has
	log    *slog.Logger
	ctx    context.Context
	stop   context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	links  map[linkKey]*link
	leader string // where commits may go; "": anywhere
}

// linkKey names a connection to a node. Each lane has its own: a question never waits for commits on the wire, a small
// commit never for big ones.
type linkKey struct {
	addr string
	lane byte
}

const (
	laneAsk byte = iota
	laneCommit
	laneBig
)

func laneOf(op byte, body []byte) byte {
	switch {
	case op != opCommit:
		return laneAsk
	case len(body) > bigCommit:
		return laneBig
	}
	return laneCommit
}

func newRPC(mux *transport.Mux, h handler, take taker, maxBytes int, sums func() bool, log *slog.Logger) *rpc {
	r := &rpc{sums: sums, mux: mux, handle: h, take: take, max: int64(maxBytes), log: log, links: map[linkKey]*link{}}
	r.ctx, r.stop = context.WithCancel(context.Background())
	r.wg.Add(1)
	go r.serve(mux.Listener(transport.Forward))
	return r
}

func (r *rpc) close() {
	r.stop()
	_ = r.mux.Listener(transport.Forward).Close()
	r.mu.Lock()
	for _, l := range r.links {
		l.fail(net.ErrClosed)
	}
	r.mu.Unlock()
	r.wg.Wait()
}

// inFlight bounds the questions that one connection may have open, but for commits: their queue is bounded.
const inFlight = 1024

// untold is how long an asker is thought to wait that does not tell.
const untold = 30 * time.Second

func (r *rpc) serve(ln net.Listener) {
	defer r.wg.Done()
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		r.wg.Add(1)
		go r.serveConn(c)
	}
}

func (r *rpc) serveConn(c net.Conn) {
	defer r.wg.Done()
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	unhook := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer unhook()
	defer func() { _ = c.Close() }()
	peer := transport.PeerOf(c)
	slots := make(chan struct{}, inFlight)
	out := newSender(c, func(error) { _ = c.Close() })
	r.wg.Go(out.run)
	defer out.close()
	in := bufio.NewReaderSize(c, 64<<10)
	for {
		f, err := readFrame(in)
		if err != nil {
			if errors.Is(err, errFrame) {
				r.log.Warn("a node sent what cannot be read", "peer", peer.Name, "error", err)
			}
			return
		}
		told := f.patience() > 0
		reply := func(body []byte, err error) {
			a := frame{id: f.id, op: opOK, summed: f.summed, body: body}
			if err != nil {
				a.op, a.body = opErr, encodeError(err, told)
			}
			out.send(a)
		}
		patience := f.patience()
		if !told {
			patience = untold
		}
		if f.op == opCommit {
			r.take(peer, f.body, patience, reply)
			continue
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		r.wg.Go(func() {
			defer func() { <-slots }()
			qctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			reply(r.handle(qctx, peer, f.op, f.body))
		})
	}
}

// ask puts a question to the node at addr and waits for the answer or the end of ctx, whose deadline travels along. An
// error wraps errNotDone or errUnknown.
func (r *rpc) ask(ctx context.Context, addr string, op byte, body []byte) ([]byte, error) {
	l, err := r.link(ctx, linkKey{addr, laneOf(op, body)})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNotDone, err)
	}
	size := int64(len(body))
	if l.bytes.Add(size) > r.max {
		l.bytes.Add(-size)
		return nil, fmt.Errorf("%w: %w", errNotDone, busy())
	}
	defer l.bytes.Add(-size)
	return l.ask(ctx, frame{op: op, summed: r.sums(), body: body})
}

func (r *rpc) link(ctx context.Context, key linkKey) (*link, error) {
	r.mu.Lock()
	if r.deposed(key) { // else it would be dialled for as long as the commit has
		r.mu.Unlock()
		return nil, errDeposed
	}
	l := r.links[key]
	if l == nil || l.broken() {
		if r.ctx.Err() != nil {
			r.mu.Unlock()
			return nil, net.ErrClosed
		}
		l = &link{ready: make(chan struct{}), dead: make(chan struct{}), waits: map[uint64]chan frame{}}
		r.links[key] = l
		r.wg.Add(1)
		go r.dial(key.addr, l)
	}
	r.mu.Unlock()
	select {
	case <-l.ready:
		return l, nil
	case <-l.dead:
		return nil, l.cause()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// dial connects a link and reads its answers until it breaks.
func (r *rpc) dial(addr string, l *link) {
	defer r.wg.Done()
	ctx, cancel := context.WithTimeout(r.ctx, 5*time.Second)
	c, err := r.mux.Dial(ctx, addr, transport.Forward)
	cancel()
	if err != nil {
		l.fail(err)
		return
	}
	defer func() { _ = c.Close() }()
	out := newSender(c, l.fail)
	l.mu.Lock()
	l.conn, l.out = c, out
	failed := l.err != nil
	l.mu.Unlock()
	if failed {
		return
	}
	r.wg.Go(out.run)
	defer out.close()
	close(l.ready)
	in := bufio.NewReaderSize(c, 64<<10)
	for {
		f, err := readFrame(in)
		if err != nil {
			l.fail(err)
			return
		}
		l.mu.Lock()
		l.heard = time.Now()
		w := l.waits[f.id]
		delete(l.waits, f.id)
		l.mu.Unlock()
		if w != nil {
			w <- f
		}
	}
}

// link is our side of a connection to one address. It breaks once and is then replaced.
type link struct {
	ready, dead chan struct{}
	bytes       atomic.Int64 // of questions that are not answered

	mu    sync.Mutex
	conn  net.Conn
	out   *sender
	err   error
	next  uint64
	heard time.Time
	waits map[uint64]chan frame
}

func (l *link) broken() bool { return l.cause() != nil }

func (l *link) cause() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func (l *link) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	l.err = err
	close(l.dead)
	if l.conn != nil {
		_ = l.conn.Close()
	}
}

// patience is what the other node is told of how long we wait: a little less, so that its word on a commit that was
// not proposed in time comes before our own patience ends.
func patience(ctx context.Context) time.Duration {
	d, ok := ctx.Deadline()
	if !ok {
		return maxPatience
	}
	left := time.Until(d)
	return left - min(left/8, 250*time.Millisecond)
}

// ask puts a question, which has no id yet.
func (l *link) ask(ctx context.Context, q frame) ([]byte, error) {
	wait := make(chan frame, 1)
	l.mu.Lock()
	l.next++
	id, out := withPatience(l.next, patience(ctx)), l.out
	q.id = id
	l.waits[id] = wait
	l.mu.Unlock()
	sent := time.Now()
	out.send(q)
	select {
	case f := <-wait:
		return answer(f)
	case <-l.dead:
		select { // it may have come with the last bytes
		case f := <-wait:
			return answer(f)
		default:
			return nil, fmt.Errorf("%w: %w", errUnknown, l.cause())
		}
	case <-ctx.Done():
		l.mu.Lock()
		delete(l.waits, id)
		silent := l.heard.Before(sent)
		l.mu.Unlock()
		if silent && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			l.fail(errors.New("the node does not answer")) // a broken path shows in no other way for minutes
		}
		return nil, fmt.Errorf("%w: %w", errUnknown, ctx.Err())
	}
}

func answer(f frame) ([]byte, error) {
	if f.op == opOK {
		return f.body, nil
	}
	return nil, decodeError(f.body)
}
