package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/muster-hq/muster/cluster/transport"
)

// What is known of a question that got no answer. errNotDone: nothing was done, ask again at will. errUnknown:
// it may have been done, or may yet be.
var (
	errNotDone = errors.New("not done")
	errUnknown = errors.New("outcome unknown")
)

// handler answers the questions of the node called peer. It is called from many goroutines.
type handler func(ctx context.Context, peer string, op byte, body []byte) ([]byte, error)

// rpc asks other nodes and answers them, many questions on one connection for each address.
type rpc struct {
	mux    *transport.Mux
	handle handler
	log    *slog.Logger
	ctx    context.Context
	stop   context.CancelFunc
	wg     sync.WaitGroup

	mu    sync.Mutex
	links map[string]*link
}

func newRPC(mux *transport.Mux, h handler, log *slog.Logger) *rpc {
	r := &rpc{mux: mux, handle: h, log: log, links: map[string]*link{}}
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

// inFlight bounds the questions that one connection may have open.
const inFlight = 1024

// stuck is how long a peer may leave our bytes unread before its connection is given up.
const stuck = 3 * time.Second

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
	peer := transport.PeerName(c)
	slots := make(chan struct{}, inFlight)
	var wmu sync.Mutex
	in := bufio.NewReaderSize(c, 64<<10)
	for {
		f, err := readFrame(in)
		if err != nil {
			if errors.Is(err, errFrame) {
				r.log.Warn("a node sent what cannot be read", "peer", peer, "error", err)
			}
			return
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		r.wg.Add(1)
		go func() {
			defer r.wg.Done()
			defer func() { <-slots }()
			out := frame{id: f.id, op: opOK}
			if out.body, err = r.handle(ctx, peer, f.op, f.body); err != nil {
				out.op, out.body = opErr, encodeError(err)
			}
			b := out.encode(nil)
			wmu.Lock()
			defer wmu.Unlock()
			_ = c.SetWriteDeadline(time.Now().Add(stuck))
			if _, err := c.Write(b); err != nil {
				_ = c.Close()
			}
		}()
	}
}

// ask puts a question to the node at addr and waits for the answer or the end of ctx. An error wraps errNotDone
// or errUnknown.
func (r *rpc) ask(ctx context.Context, addr string, op byte, body []byte) ([]byte, error) {
	l, err := r.link(ctx, addr)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNotDone, err)
	}
	return l.ask(ctx, op, body)
}

func (r *rpc) link(ctx context.Context, addr string) (*link, error) {
	r.mu.Lock()
	l := r.links[addr]
	if l == nil || l.broken() {
		if r.ctx.Err() != nil {
			r.mu.Unlock()
			return nil, net.ErrClosed
		}
		l = &link{ready: make(chan struct{}), dead: make(chan struct{}), waits: map[uint64]chan frame{}}
		r.links[addr] = l
		r.wg.Add(1)
		go r.dial(addr, l)
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
	l.mu.Lock()
	l.conn = c
	failed := l.err != nil
	l.mu.Unlock()
	if failed {
		return
	}
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
	wmu         sync.Mutex // held while writing

	mu    sync.Mutex
	conn  net.Conn
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

func (l *link) ask(ctx context.Context, op byte, body []byte) ([]byte, error) {
	wait := make(chan frame, 1)
	l.mu.Lock()
	l.next++
	id, conn := l.next, l.conn
	l.waits[id] = wait
	l.mu.Unlock()
	sent := time.Now()
	b := frame{id: id, op: op, body: body}.encode(make([]byte, 0, frameHead+len(body)))
	l.wmu.Lock()
	_ = conn.SetWriteDeadline(sent.Add(stuck))
	_, err := conn.Write(b)
	l.wmu.Unlock()
	if err != nil {
		l.fail(err)
		return nil, fmt.Errorf("%w: %w", errUnknown, err)
	}
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
