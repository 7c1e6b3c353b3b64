package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

var (
	// ErrReturned: no queue took a mandatory message.
	ErrReturned = errors.New("message returned: no queue takes it")
	// ErrNacked: the broker refused responsibility for a message.
	ErrNacked = errors.New("message not taken by the broker")
	// ErrClosed: the session or its channel ended before the broker had answered.
	ErrClosed = errors.New("bus connection closed")
)

// IsRefused reports whether the broker answered "access refused" (403), at login or later.
func IsRefused(err error) bool { return hasCode(err, amqp.AccessRefused) }

// IsNotFound reports whether the broker answered "not found" (404).
func IsNotFound(err error) bool { return hasCode(err, amqp.NotFound) }

func hasCode(err error, code int) bool {
	var e *amqp.Error
	return errors.As(err, &e) && e.Code == code
}

// Session is one connection that stands. Its methods are safe for concurrent use.
type Session struct {
	conn     *amqp.Connection
	endpoint endpoint
	user     string
	timeout  time.Duration
	done     chan struct{}
	err      error // set before done is closed

	mu  sync.Mutex
	pub *publisher // nil until the first Publish, and after its channel ended
}

func newSession(conn *amqp.Connection, e endpoint, user string, timeout time.Duration) *Session {
	s := &Session{conn: conn, endpoint: e, user: user, timeout: timeout, done: make(chan struct{})}
	closed := conn.NotifyClose(make(chan *amqp.Error, 1))
	go func() {
		if e := <-closed; e != nil {
			s.err = fmt.Errorf("%w: %w", ErrClosed, e)
		} else {
			s.err = ErrClosed
		}
		close(s.done)
	}()
	return s
}

// User is the user that is logged in.
func (s *Session) User() string { return s.user }

// Endpoint is the address that answered.
func (s *Session) Endpoint() string { return s.endpoint.addr }

// Done is closed when the connection has ended.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err tells why the connection ended; nil while it stands.
func (s *Session) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// Close ends the connection. Messages that are not acknowledged go back to their queues.
func (s *Session) Close() error {
	err := s.conn.CloseDeadline(time.Now().Add(min(s.timeout, 5*time.Second)))
	if errors.Is(err, amqp.ErrClosed) {
		return nil
	}
	return err
}

// call runs f with a channel of its own, since an error of the broker ends the channel. A broker that
// does not answer in time (RabbitMQ without its majority) costs the whole session: the library would
// wait for ever.
func (s *Session) call(ctx context.Context, f func(ch *amqp.Channel) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	result := make(chan error, 1)
	go func() {
		ch, err := s.conn.Channel()
		if err != nil {
			result <- err
			return
		}
		if err = f(ch); err == nil {
			err = ch.Close()
		} else if !ch.IsClosed() {
			_ = ch.Close() // f's error is the one to tell
		}
		result <- err
	}()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		go func() { _ = s.Close() }()
		return fmt.Errorf("no answer from the broker: %w", ctx.Err())
	}
}

// publisher is a channel in confirm mode. Its loop notes returned messages; since a return comes before
// the confirm of the same message, asking the loop after the confirm cannot miss it.
type publisher struct {
	ch       *amqp.Channel
	returns  chan amqp.Return
	asked    chan ask
	closed   chan struct{}
	closeErr error // set before closed is closed
	nextID   atomic.Uint64
}

type ask struct {
	id     string
	answer chan bool
}

func (s *Session) publisher(ctx context.Context) (*publisher, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pub != nil && !s.pub.ch.IsClosed() {
		return s.pub, nil
	}
	type opened struct {
		ch  *amqp.Channel
		err error
	}
	result := make(chan opened, 1)
	go func() {
		ch, err := s.conn.Channel()
		if err == nil {
			err = ch.Confirm(false)
		}
		result <- opened{ch, err}
	}()
	select {
	case o := <-result:
		if o.err != nil {
			return nil, o.err
		}
		s.pub = newPublisher(o.ch)
		return s.pub, nil
	case <-ctx.Done():
		go func() { _ = s.Close() }()
		return nil, fmt.Errorf("no answer from the broker: %w", ctx.Err())
	}
}

func newPublisher(ch *amqp.Channel) *publisher {
	p := &publisher{ch: ch, asked: make(chan ask), closed: make(chan struct{})}
	p.returns = ch.NotifyReturn(make(chan amqp.Return))
	ended := ch.NotifyClose(make(chan *amqp.Error, 1))
	go p.loop(ended)
	return p
}

func (p *publisher) loop(ended <-chan *amqp.Error) {
	returned := make(map[string]bool)
	for {
		select {
		case r, ok := <-p.returns:
			if !ok {
				p.returns = nil
				continue
			}
			returned[r.MessageId] = true
		case a := <-p.asked:
			a.answer <- returned[a.id]
			delete(returned, a.id)
		case e := <-ended:
			p.closeErr = ErrClosed
			if e != nil {
				p.closeErr = fmt.Errorf("%w: %w", ErrClosed, e)
			}
			close(p.closed)
			return
		}
	}
}

// wasReturned asks the loop about a message that is confirmed.
func (p *publisher) wasReturned(id string) (bool, error) {
	a := ask{id: id, answer: make(chan bool, 1)}
	select {
	case p.asked <- a:
		return <-a.answer, nil
	case <-p.closed:
		return false, p.closeErr
	}
}

// Publish sends a message and waits until the broker has confirmed it. With mandatory, a message that no
// queue takes is ErrReturned; without, it is lost without a word. Errors: ErrReturned; ErrNacked; what
// wraps ErrClosed when the channel or connection ended first, with the broker's reason (IsRefused,
// IsNotFound); the context's. After any but the first two the message may or may not have arrived.
func (s *Session) Publish(ctx context.Context, exchange, key string, mandatory bool, body []byte) error {
	p, err := s.publisher(ctx)
	if err != nil {
		return fmt.Errorf("publish to %q: %w", exchange, err)
	}
	id := strconv.FormatUint(p.nextID.Add(1), 36)
	confirm, err := p.ch.PublishWithDeferredConfirmWithContext(ctx, exchange, key, mandatory, false, amqp.Publishing{
		ContentType: "application/json", MessageId: id, UserId: s.user, Body: body,
	})
	if err != nil {
		return fmt.Errorf("publish to %q: %w", exchange, p.reason(err))
	}
	select {
	case <-confirm.Done():
	case <-p.closed:
		return fmt.Errorf("publish to %q: %w", exchange, p.closeErr)
	case <-ctx.Done():
		return fmt.Errorf("publish to %q: %w", exchange, ctx.Err())
	}
	if !confirm.Acked() {
		return fmt.Errorf("publish to %q: %w", exchange, p.reason(ErrNacked))
	}
	if !mandatory {
		return nil
	}
	returned, err := p.wasReturned(id)
	if err != nil {
		return fmt.Errorf("publish to %q: %w", exchange, err)
	}
	if returned {
		return fmt.Errorf("publish to %q by %q: %w", exchange, key, ErrReturned)
	}
	return nil
}

// reason prefers the broker's words for the end of the channel over err.
func (p *publisher) reason(err error) error {
	if !p.ch.IsClosed() {
		return err
	}
	<-p.closed
	return p.closeErr
}

// Delivery is a message that came by a queue. It wants exactly one Ack or Nack.
type Delivery struct {
	Body        []byte
	Exchange    string
	Key         string // routing key
	User        string // who published it, checked by the broker; "" if it did not say
	Redelivered bool   // may have been delivered before
	ack         amqp.Acknowledger
	tag         uint64
}

// Ack takes the message off its queue.
func (d Delivery) Ack() error { return d.ack.Ack(d.tag, false) }

// Nack refuses the message: with requeue it goes back to its queue, without it is dropped.
func (d Delivery) Nack(requeue bool) error { return d.ack.Nack(d.tag, false, requeue) }

// Consume subscribes to a queue. At most prefetch messages are out without an acknowledgement. The
// channel is closed when ctx ends, the queue is deleted or the connection is lost. Errors: those of the
// broker (IsRefused, IsNotFound).
func (s *Session) Consume(ctx context.Context, queue string, prefetch int) (<-chan Delivery, error) {
	type started struct {
		ch   *amqp.Channel
		from <-chan amqp.Delivery
		err  error
	}
	result := make(chan started, 1)
	go func() {
		var st started
		if st.ch, st.err = s.conn.Channel(); st.err == nil {
			if st.err = st.ch.Qos(prefetch, 0, false); st.err == nil {
				st.from, st.err = st.ch.Consume(queue, "", false, false, false, false, nil)
			}
		}
		result <- st
	}()
	timer := time.NewTimer(s.timeout)
	defer timer.Stop()
	select {
	case st := <-result:
		if st.err != nil {
			return nil, fmt.Errorf("consume %s: %w", queue, st.err)
		}
		to := make(chan Delivery)
		go forward(ctx, st.ch, st.from, to)
		return to, nil
	case <-ctx.Done():
		go func() { _ = s.Close() }()
		return nil, fmt.Errorf("consume %s: %w", queue, ctx.Err())
	case <-timer.C:
		go func() { _ = s.Close() }()
		return nil, fmt.Errorf("consume %s: no answer from the broker in %s", queue, s.timeout)
	}
}

// forward hands deliveries on until ctx or the consumer ends. Closing the channel gives back to the
// queue what was not handed on; from is drained so that the library's reader is never held up.
func forward(ctx context.Context, ch *amqp.Channel, from <-chan amqp.Delivery, to chan<- Delivery) {
	defer close(to)
	defer func() {
		go func() {
			for range from { //nolint:revive // only drained
			}
		}()
		_ = ch.Close() // it may be closed already
	}()
	for {
		select {
		case d, ok := <-from:
			if !ok {
				return
			}
			out := Delivery{Body: d.Body, Exchange: d.Exchange, Key: d.RoutingKey, User: d.UserId,
				Redelivered: d.Redelivered, ack: d.Acknowledger, tag: d.DeliveryTag}
			select {
			case to <- out:
			case <-ctx.Done():
				return
			}
		case <-ctx.Done():
			return
		}
	}
}
