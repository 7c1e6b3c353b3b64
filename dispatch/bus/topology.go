// Package bus is what the orchestrator, the agents and the brokers agree upon: the names of exchanges
// and queues, who may do what with them (Policy, written once for the embedded hub and for RabbitMQ),
// and the AMQP 0-9-1 client of both sides: supervised connections, confirmed publishing, manual
// acknowledgement. See DESIGN.md.
package bus

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// The exchanges. ExchangeOrders is direct (routing key: the agent's id); ExchangeAsk, for broadcasts,
// and ExchangeAgents, for what agents tell, are topic exchanges; ExchangeEnrol is direct (KeyEnrol).
const (
	ExchangeOrders = "muster.orders"
	ExchangeAsk    = "muster.ask"
	ExchangeAgents = "muster.agents"
	ExchangeEnrol  = "muster.enrol"
)

// The queues that the orchestrator consumes, and the routing key of enrolments.
const (
	QueueReplies    = "muster.replies"
	QueuePresence   = "muster.presence"
	QueueEnrolments = "muster.enrolments"
	KeyEnrol        = "enrol"
)

// ServerName is the name in the certificate of every hub. Agents verify it whatever address they
// dialled, so hubs can move and stand behind a load balancer.
const ServerName = "bus.muster"

// UserOrchestrator is the user of the orchestrator itself. The policy never lets it log in: an embedded
// hub knows it by the cluster port, RabbitMQ by a user of its own.
const UserOrchestrator = "orchestrator"

// How much a queue holds before the oldest message is dropped, and for how long. The outbox repeats
// what is lost, so these bound a broker's memory and nothing else.
const (
	agentQueueLength   = 64
	agentQueueTTL      = 10 * time.Minute
	repliesQueueLength = 100_000
	presenceLength     = 50_000
	presenceTTL        = 2 * time.Minute
	enrolmentsLength   = 10_000
	enrolmentsTTL      = 10 * time.Minute
)

// Talk is what an agent tells: the last word of its routing keys. There are four, since a broker asks
// for permission for each routing key.
type Talk string

// The routing keys of agents. All but presence go to QueueReplies.
const (
	TalkReply    Talk = "reply"
	TalkAlert    Talk = "alert"
	TalkFact     Talk = "fact"
	TalkPresence Talk = "presence"
)

func (t Talk) valid() bool {
	return t == TalkReply || t == TalkAlert || t == TalkFact || t == TalkPresence
}

const (
	agentPrefix    = "agent."
	newcomerPrefix = "enrol."
)

// AgentUser is the user that the agent logs in as.
func AgentUser(id string) string { return agentPrefix + id }

// AgentQueue is the queue that the agent's orders come by.
func AgentQueue(id string) string { return agentPrefix + id }

// AgentKey is the routing key, for ExchangeAgents, of what the agent tells.
func AgentKey(id string, t Talk) string { return agentPrefix + id + "." + string(t) }

// NewcomerUser is the user that a machine logs in as while it has nothing but an enrolment token.
func NewcomerUser(tokenID string) string { return newcomerPrefix + tokenID }

// NewcomerQueue is the queue on which a newcomer waits for the answer.
func NewcomerQueue(tokenID, agentID string) string {
	return newcomerPrefix + tokenID + "." + agentID
}

// ParseAgentKey takes a routing key of ExchangeAgents apart; ok is false for any other text.
func ParseAgentKey(key string) (id string, t Talk, ok bool) {
	rest, ok := strings.CutPrefix(key, agentPrefix)
	if !ok {
		return "", "", false
	}
	id, last, ok := strings.Cut(rest, ".")
	if !ok || !validID(id) || !Talk(last).valid() {
		return "", "", false
	}
	return id, Talk(last), true
}

// validID reports whether s can be the id of an agent or a token: letters, digits, dash, underscore.
// No dot, since a dot separates the words of names and keys; no wildcard of a topic exchange.
func validID(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for _, c := range []byte(s) {
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}

// Declare makes the exchanges, the orchestrator's queues and their bindings, where they are missing.
// The orchestrator calls it at the start of each session: an embedded hub forgets everything.
func Declare(ctx context.Context, s *Session) error {
	err := s.call(ctx, func(ch *amqp.Channel) error {
		for _, e := range []struct{ name, kind string }{
			{ExchangeOrders, amqp.ExchangeDirect}, {ExchangeAsk, amqp.ExchangeTopic},
			{ExchangeAgents, amqp.ExchangeTopic}, {ExchangeEnrol, amqp.ExchangeDirect},
		} {
			if err := ch.ExchangeDeclare(e.name, e.kind, true, false, false, false, nil); err != nil {
				return fmt.Errorf("exchange %s: %w", e.name, err)
			}
		}
		for _, q := range sharedQueues() {
			if err := q.declare(ch); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("declare the bus: %w", err)
	}
	return nil
}

// queueSpec describes a queue and its bindings to one exchange.
type queueSpec struct {
	name      string
	transient bool
	args      amqp.Table
	exchange  string
	keys      []string
}

func (q queueSpec) declare(ch *amqp.Channel) error {
	if _, err := ch.QueueDeclare(q.name, !q.transient, false, false, false, q.args); err != nil {
		return fmt.Errorf("queue %s: %w", q.name, err)
	}
	for _, key := range q.keys {
		if err := ch.QueueBind(q.name, key, q.exchange, false, nil); err != nil {
			return fmt.Errorf("bind %s to %s by %s: %w", q.name, q.exchange, key, err)
		}
	}
	return nil
}

// bounded are the arguments of a short queue that drops its oldest messages.
func bounded(length int, ttl time.Duration) amqp.Table {
	return amqp.Table{"x-max-length": int64(length), "x-overflow": "drop-head", "x-message-ttl": ttl.Milliseconds()}
}

func sharedQueues() []queueSpec {
	return []queueSpec{
		{name: QueueReplies, exchange: ExchangeAgents,
			args: amqp.Table{"x-queue-type": "quorum", "x-max-length": int64(repliesQueueLength)},
			keys: []string{AgentKey("*", TalkReply), AgentKey("*", TalkAlert), AgentKey("*", TalkFact)}},
		{name: QueuePresence, transient: true, exchange: ExchangeAgents,
			args: bounded(presenceLength, presenceTTL), keys: []string{AgentKey("*", TalkPresence)}},
		{name: QueueEnrolments, exchange: ExchangeEnrol,
			args: bounded(enrolmentsLength, enrolmentsTTL), keys: []string{KeyEnrol}},
	}
}

// DeclareAgent makes the queue that the agent's orders come by and binds it. Only the orchestrator may,
// so an agent exists on a broker when it exists in the state. Repeating it changes nothing.
func DeclareAgent(ctx context.Context, s *Session, id string) error {
	return DeclareAgents(ctx, s, []string{id})
}

// DeclareAgents is DeclareAgent for many, as at the start of a session. The session's time-out holds for
// each batch of a hundred. After an error some of them may be declared.
func DeclareAgents(ctx context.Context, s *Session, ids []string) error {
	for _, id := range ids {
		if !validID(id) {
			return fmt.Errorf("declare agent: %.40q is no agent's id", id)
		}
	}
	for batch := range slices.Chunk(ids, 100) {
		err := s.call(ctx, func(ch *amqp.Channel) error {
			for _, id := range batch {
				q := queueSpec{name: AgentQueue(id), args: bounded(agentQueueLength, agentQueueTTL),
					exchange: ExchangeOrders, keys: []string{id}}
				if err := q.declare(ch); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("declare agents: %w", err)
		}
	}
	return nil
}

// DeleteAgent removes the agent's queue with what is in it. Deleting one that is not there is no error.
func DeleteAgent(ctx context.Context, s *Session, id string) error {
	err := s.call(ctx, func(ch *amqp.Channel) error {
		_, err := ch.QueueDelete(AgentQueue(id), false, false, false)
		return err
	})
	if err != nil && !IsNotFound(err) {
		return fmt.Errorf("delete agent %s: %w", id, err)
	}
	return nil
}

// DeclareNewcomer makes the exclusive queue on which a newcomer waits; it goes when the session ends.
func DeclareNewcomer(ctx context.Context, s *Session, tokenID, agentID string) (string, error) {
	name := NewcomerQueue(tokenID, agentID)
	err := s.call(ctx, func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclare(name, false, false, true, false, nil)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("declare queue %s: %w", name, err)
	}
	return name, nil
}
