package bus

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/muster-hq/muster/dispatch/wire"
)

// Role is what a user of the bus is.
type Role string

// The roles.
const (
	RoleOrchestrator Role = "orchestrator" // may do everything
	RoleAgent        Role = "agent"
	RoleNewcomer     Role = "newcomer" // holds an enrolment token, not yet an identity
)

// Identity is a user of the bus. ID is the agent's or the token's.
type Identity struct {
	User string
	Role Role
	ID   string
}

// Permission is what is asked for, in the words of RabbitMQ: configure is declare and delete; write is
// publish to an exchange and bind a queue; read is consume, get, purge a queue and bind to an exchange.
type Permission string

// The permissions.
const (
	Configure Permission = "configure"
	Write     Permission = "write"
	Read      Permission = "read"
)

// Resource is what it is asked for. Topic is asked in addition to Exchange, with a routing key, for
// topic exchanges only.
type Resource string

// The resources.
const (
	ResourceExchange Resource = "exchange"
	ResourceQueue    Resource = "queue"
	ResourceTopic    Resource = "topic"
)

// DefaultExchange is the name under which permission for the default exchange is asked.
const DefaultExchange = "amq.default"

var (
	// ErrNoKey is what Keys answers for an agent or token that is unknown or revoked.
	ErrNoKey = errors.New("no such key")
	// ErrLogin: the login is refused. The error that wraps it says why, for the log, not for the peer.
	ErrLogin = errors.New("login refused")
)

// Keys finds the public keys that login statements are verified with. TokenKey also answers for tokens
// that are used up or expired: those may log in, so that the refusal can say why. Errors wrap ErrNoKey
// when there is none. Implementations are safe for concurrent use.
type Keys interface {
	AgentKey(ctx context.Context, id string) (ed25519.PublicKey, error)
	TokenKey(ctx context.Context, id string) (ed25519.PublicKey, error)
}

// PolicyOptions adjusts a Policy; the zero value is good.
type PolicyOptions struct {
	// Window is how far the time of a login statement may be from ours, on either side. Zero means six
	// hours: clocks of machines that just booted are wrong by whole time zones.
	Window time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

const defaultWindow = 6 * time.Hour

// Policy decides who may log in and, by Allow, who may do what. It is safe for concurrent use. It keeps
// the highest login counter of each agent, in memory: a statement that was seen is refused for as long
// as this process lives, and by its window afterwards.
type Policy struct {
	keys   Keys
	window time.Duration
	now    func() time.Time

	mu   sync.Mutex
	last map[string]seen // by agent id
}

// seen is an agent's last login.
type seen struct {
	counter uint64
	made    time.Time // by the agent's clock
	came    time.Time // by ours
}

// repeatWindow is for how long a broker may ask again about the login it is busy with.
const repeatWindow = 15 * time.Second

// NewPolicy makes a policy over the keys.
func NewPolicy(keys Keys, opts PolicyOptions) *Policy {
	p := &Policy{keys: keys, window: opts.Window, now: opts.Now, last: make(map[string]seen)}
	if p.window == 0 {
		p.window = defaultWindow
	}
	if p.now == nil {
		p.now = time.Now
	}
	return p
}

// ParseUser tells whom a user name stands for; ok is false for names that nobody has.
func ParseUser(user string) (id Identity, ok bool) {
	if user == UserOrchestrator {
		return Identity{User: user, Role: RoleOrchestrator}, true
	}
	if rest, found := strings.CutPrefix(user, agentPrefix); found && validID(rest) {
		return Identity{User: user, Role: RoleAgent, ID: rest}, true
	}
	if rest, found := strings.CutPrefix(user, newcomerPrefix); found && validID(rest) {
		return Identity{User: user, Role: RoleNewcomer, ID: rest}, true
	}
	return Identity{}, false
}

// Authenticate judges a login: password is a statement of wire.SignLogin. The orchestrator never passes
// here. Errors wrap ErrLogin, or are those of Keys when it could not answer; both refuse the login.
//
// Counters are compared for agents only. Many machines may hold one enrolment token at once, and what a
// repeated newcomer's login would win is a queue with an answer that only its agent can use.
func (p *Policy) Authenticate(ctx context.Context, user, password string) (Identity, error) {
	return p.authenticate(ctx, user, password, false)
}

// AuthenticateRepeated is Authenticate for a broker that asks more than once about one login, as
// RabbitMQ does through its cache: the very statement that passed last passes again for some seconds.
func (p *Policy) AuthenticateRepeated(ctx context.Context, user, password string) (Identity, error) {
	return p.authenticate(ctx, user, password, true)
}

func (p *Policy) authenticate(ctx context.Context, user, password string, repeated bool) (Identity, error) {
	id, ok := ParseUser(user)
	if !ok || id.Role == RoleOrchestrator {
		return Identity{}, fmt.Errorf("%w: no user %.80q logs in with a statement", ErrLogin, user)
	}
	find := p.keys.AgentKey
	if id.Role == RoleNewcomer {
		find = p.keys.TokenKey
	}
	key, err := find(ctx, id.ID)
	if errors.Is(err, ErrNoKey) {
		return Identity{}, fmt.Errorf("%w: %s: %w", ErrLogin, user, err)
	}
	if err != nil {
		return Identity{}, fmt.Errorf("login of %s: %w", user, err)
	}
	login, err := wire.VerifyLogin(user, password, key, p.now(), p.window)
	if err != nil {
		return Identity{}, fmt.Errorf("%w: %s: %w", ErrLogin, user, err)
	}
	if id.Role == RoleAgent && !p.advance(id.ID, login, repeated) {
		return Identity{}, fmt.Errorf("%w: %s: the statement was used before (counter %d)", ErrLogin, user, login.Counter)
	}
	return id, nil
}

// advance notes an agent's login; false if its counter does not grow.
func (p *Policy) advance(id string, login wire.Login, repeated bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if last, ok := p.last[id]; ok && login.Counter <= last.counter {
		same := login.Counter == last.counter && login.At.Equal(last.made)
		return repeated && same && now.Sub(last.came) <= repeatWindow
	}
	p.last[id] = seen{counter: login.Counter, made: login.At, came: now}
	return true
}

// Allow is the whole policy of permissions, a pure function. routingKey is looked at for ResourceTopic
// only. Names are compared whole, or with the dot that ends a word: agent.1 is not agent.10.
func Allow(id Identity, perm Permission, res Resource, name, routingKey string) bool {
	switch id.Role {
	case RoleOrchestrator:
		return true
	case RoleAgent:
		return allowAgent(id.ID, perm, res, name, routingKey)
	case RoleNewcomer:
		return allowNewcomer(id.ID, perm, res, name)
	default:
		return false
	}
}

func allowAgent(id string, perm Permission, res Resource, name, routingKey string) bool {
	switch res {
	case ResourceQueue:
		return perm == Read && name == AgentQueue(id)
	case ResourceExchange:
		return perm == Write && name == ExchangeAgents
	case ResourceTopic:
		owner, _, ok := ParseAgentKey(routingKey)
		return perm == Write && name == ExchangeAgents && ok && owner == id
	default:
		return false
	}
}

func allowNewcomer(tokenID string, perm Permission, res Resource, name string) bool {
	switch res {
	case ResourceQueue:
		agentID, ok := strings.CutPrefix(name, newcomerPrefix+tokenID+".")
		return ok && validID(agentID) && (perm == Configure || perm == Read)
	case ResourceExchange:
		return perm == Write && name == ExchangeEnrol
	default:
		return false
	}
}
