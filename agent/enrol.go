package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/muster-hq/muster/dispatch/bus"
	"github.com/muster-hq/muster/dispatch/wire"
)

// askAgain is how long a newcomer waits for an answer before it repeats itself: the leader may be away.
const askAgain = 10 * time.Second

// RefusedError is the organization's final answer to an enrolment.
type RefusedError struct {
	Reason string // tells the person at the machine what to do
}

// Error implements error.
func (e *RefusedError) Error() string { return "the enrolment was refused: " + e.Reason }

// EnrolOptions are what a machine brings to its enrolment.
type EnrolOptions struct {
	Log   *slog.Logger
	URLs  []string // of the bus
	Token wire.EnrolToken
	Name  string            // of the host that it would like to be
	Facts map[string]string // about the machine
}

// Enrol makes the machine a member and keeps its identity in s. It tries until it has an answer or ctx
// ends. A *RefusedError is final; an interrupted Enrol may be done again, also with the same token.
func Enrol(ctx context.Context, s *State, o EnrolOptions) error {
	pinned := &pin{digest: o.Token.CA}
	cfg := bus.Config{URLs: o.URLs, Log: o.Log, Name: "muster-agent " + s.AgentID() + " (enrolling)"}
	if o.Token.CA != "" {
		cfg.TLS = pinned.config()
	}
	user := bus.NewcomerUser(o.Token.ID)
	cfg.Login = func(context.Context) (string, string, error) {
		now := time.Now()
		statement, err := wire.SignLogin(user, uint64(max(0, now.UnixNano())), now, o.Token.PrivateKey())
		return user, statement, err
	}
	conn, err := bus.New(cfg)
	if err != nil {
		return fmt.Errorf("enrol: %w", err)
	}
	var welcome *wire.Welcome
	err = conn.Run(ctx, func(ctx context.Context, session *bus.Session) error {
		w, err := ask(ctx, s, o, session)
		welcome = w
		return err
	})
	if err != nil {
		return fmt.Errorf("enrol: %w", err)
	}
	id := Identity{
		Agent: welcome.Agent, Organization: welcome.Organization, Environment: welcome.Environment,
		Host: welcome.Host, Key: o.Token.Key, Epoch: welcome.Epoch,
	}
	return s.keepIdentity(id, pinned.pem())
}

// ask asks over one connection until the answer is there.
func ask(ctx context.Context, s *State, o EnrolOptions, session *bus.Session) (*wire.Welcome, error) {
	queue, err := bus.DeclareNewcomer(ctx, session, o.Token.ID, s.AgentID())
	if err != nil {
		return nil, fmt.Errorf("make the queue for the answer: %w", err)
	}
	answers, err := session.Consume(ctx, queue, 8)
	if err != nil {
		return nil, fmt.Errorf("wait for the answer: %w", err)
	}
	for {
		e := wire.Enrol{Name: o.Name, Exchange: s.Exchange.PublicKey().Bytes(), Facts: o.Facts, ReplyTo: queue, At: time.Now().UTC()}
		envelope, err := wire.SignEnrol(o.Token, s.Key, e)
		if err != nil {
			return nil, bus.Stop(fmt.Errorf("sign the enrolment: %w", err))
		}
		if err := session.Publish(ctx, bus.ExchangeEnrol, bus.KeyEnrol, true, envelope); err != nil && !errors.Is(err, bus.ErrReturned) {
			return nil, fmt.Errorf("ask for membership: %w", err)
		}
		timer := time.NewTimer(jitter(askAgain))
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				timer.Stop()
				return nil, ctx.Err()
			case <-timer.C:
				o.Log.Info("no answer to the enrolment yet; asking again")
				waiting = false
			case d, ok := <-answers:
				if !ok {
					timer.Stop()
					return nil, errors.New("the bus closed the queue for the answer")
				}
				w, err := readAnswer(d.Body, s.AgentID(), o.Token)
				if w != nil || isRefusal(err) {
					timer.Stop()
					_ = d.Ack() // the queue ends with this connection
					return w, err
				}
				o.Log.Warn("dropped an answer to the enrolment", "error", err)
				_ = d.Ack()
			}
		}
	}
}

func isRefusal(err error) bool {
	var r *RefusedError
	return errors.As(err, &r)
}

// readAnswer verifies an answer with the key that the token pins. A refusal is a *RefusedError that
// stops the connection; any other error is an answer to be dropped.
func readAnswer(data []byte, agent string, token wire.EnrolToken) (*wire.Welcome, error) {
	kind, err := wire.PeekKind(data)
	if err != nil {
		return nil, err
	}
	if kind == wire.KindRefusal {
		var r wire.Refusal
		if err := wire.Open(data, kind, token.Key, &r); err != nil {
			return nil, err
		}
		if r.Agent != agent {
			return nil, fmt.Errorf("a refusal for agent %s", r.Agent)
		}
		return nil, bus.Stop(&RefusedError{Reason: r.Reason})
	}
	var w wire.Welcome
	if err := wire.Open(data, wire.KindWelcome, token.Key, &w); err != nil {
		return nil, err
	}
	if w.Agent != agent || !w.Key.Equal(token.Key) {
		return nil, fmt.Errorf("a welcome for agent %s, or with a key that the token does not pin", w.Agent)
	}
	return &w, nil
}
