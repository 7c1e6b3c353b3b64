package orchestrate

import (
	"bytes"
	"crypto/ed25519"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// CreateEnrolToken keeps the public half of a new enrolment token. uses is how many agents may enrol with
// it (0: any number); a zero expires means never. The caller made id and key, and shows the private half
// once, to the person who asked.
func CreateEnrolToken(tx *state.Tx, envID, id string, key ed25519.PublicKey, uses int, expires time.Time, creator string) (*model.EnrolToken, error) {
	env, ok := state.Get[model.EnvironmentRow](tx, envID)
	if !ok || env.Going != nil || !orgKept(tx, env.OrgID) {
		return nil, model.Errorf(model.NotFound, "environment not found")
	}
	if uses < 0 {
		return nil, model.Errorf(model.Invalid, "uses is %d: give how many machines may enrol with the token, or 0 for any number", uses)
	}
	if !expires.IsZero() && !expires.After(tx.Now()) {
		return nil, model.Errorf(model.Invalid, "expires is %s, which is past: give a time to come, or leave it out", expires.Format(time.RFC3339))
	}
	t := &model.EnrolToken{ID: id, OrgID: env.OrgID, EnvID: envID, PublicKey: key, Uses: uses, Expires: expires, Created: tx.Now(), Creator: creator}
	return t, state.Put(tx, t)
}

// EnrolTokens lists the enrolment tokens of an environment.
func EnrolTokens(r state.Reader, envID string) []*model.EnrolToken {
	return state.List[model.EnrolToken](r, model.EnrolTokensOf(envID))
}

// DeleteEnrolToken deletes a token of an environment; machines that enrolled with it stay.
func DeleteEnrolToken(tx *state.Tx, envID, id string) error {
	t, ok := state.Get[model.EnrolToken](tx, id)
	if !ok || t.EnvID != envID {
		return model.Errorf(model.NotFound, "no enrolment token %q in this environment", id)
	}
	state.Delete[model.EnrolToken](tx, id)
	return nil
}

// TokenKey is the public key of an enrolment token, used up and expired ones included: their holders may
// log in to hear why they are refused.
func TokenKey(r state.Reader, id string) (ed25519.PublicKey, error) {
	t, ok := state.Get[model.EnrolToken](r, id)
	if !ok {
		return nil, model.Errorf(model.NotFound, "unknown enrolment token")
	}
	return t.PublicKey, nil
}

// AgentKey is the public key of an agent.
func AgentKey(r state.Reader, id string) (ed25519.PublicKey, error) {
	a, ok := state.Get[model.Agent](r, id)
	if !ok {
		return nil, model.Errorf(model.NotFound, "unknown agent")
	}
	return a.PublicKey, nil
}

// SigningKey is the organization's key for orders.
func SigningKey(r state.Reader, orgID string) (ed25519.PrivateKey, error) {
	k, ok := state.Get[model.OrgKey](r, orgID)
	if !ok {
		return nil, model.Errorf(model.NotFound, "the organization has no signing key")
	}
	return ed25519.NewKeyFromSeed(k.Seed), nil
}

// PutSigningKey gives an organization its signing key, when it is created.
func PutSigningKey(tx *state.Tx, orgID string, key ed25519.PrivateKey) error {
	return state.Put(tx, &model.OrgKey{OrgID: orgID, PublicKey: key.Public().(ed25519.PublicKey), Seed: key.Seed()})
}

// Enrolment is what a newcomer asks, after its signatures were verified.
type Enrolment struct {
	TokenID   string
	AgentID   string
	PublicKey ed25519.PublicKey
	Exchange  []byte
	Name      string // host name that the machine would like
	Facts     map[string]string
}

// hostNames are the names that a machine may choose for itself: a narrower set than people may type.
func hostNames() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$`) }

// What of an agent's facts becomes properties of its instance: names of an ordinary form, values of ordinary
// length, and not more than maxFacts. The rest stays with the agent.
const (
	maxFacts     = 256
	maxFactValue = 1024 // bytes
)

func factNames() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._:@-]{0,63}$`) }

// properties are the facts that the instance shows, by key.
func properties(facts map[string]string) []model.Property {
	names := factNames()
	var out []model.Property
	for _, key := range slices.Sorted(maps.Keys(facts)) {
		if v := facts[key]; v != "" && len(v) <= maxFactValue && names.MatchString(key) && len(out) < maxFacts {
			out = append(out, model.Property{Key: key, Value: v})
		}
	}
	return out
}

// Enrol makes a machine a host of the token's environment and answers its agent. The same agent asking
// again with the same token gets the same answer and uses nothing up. A host that is only DEFINED under
// the name is taken over; one that has an agent is not, since any holder of the token could claim it.
//
// Errors, whose texts are for the person at the machine: NotFound (the token), Forbidden (used up, expired),
// Conflict (the name), Invalid (the name's form).
func Enrol(tx *state.Tx, e Enrolment) (*model.Agent, error) {
	token, ok := state.Edit[model.EnrolToken](tx, e.TokenID)
	if ok {
		_, err := environmentByID(tx, token.OrgID, token.EnvID)
		ok = err == nil || token.InstanceID != "" // a machine's host may have moved
	}
	if !ok {
		return nil, model.Errorf(model.NotFound, "the enrolment token is unknown here: it was deleted, or belongs to another cluster; ask for a new one")
	}
	if a, ok := state.Get[model.Agent](tx, e.AgentID); ok {
		if a.TokenID == e.TokenID && bytes.Equal(a.PublicKey, e.PublicKey) {
			return a, nil
		}
		return nil, model.Errorf(model.Conflict, "this agent is enrolled already: start it without a token, or empty its state folder to enrol it anew")
	}
	if !token.Expires.IsZero() && !tx.Now().Before(token.Expires) {
		return nil, model.Errorf(model.Forbidden, "the enrolment token expired at %s: ask for a new one", token.Expires.UTC().Format(time.RFC3339))
	}
	if token.Uses > 0 && token.Used >= token.Uses {
		return nil, model.Errorf(model.Forbidden, "the enrolment token was good for %d enrolment(s) and is used up: ask for a new one", token.Uses)
	}
	host, err := newcomersHost(tx, token, e)
	if err != nil {
		return nil, err
	}
	token.Used++
	if err := state.Put(tx, token); err != nil {
		return nil, err
	}
	a := &model.Agent{
		ID: e.AgentID, OrgID: token.OrgID, EnvID: host.EnvID, HostID: host.Key(), PublicKey: e.PublicKey, Exchange: e.Exchange,
		TokenID: e.TokenID, Facts: e.Facts, Enrolled: tx.Now(),
	}
	if err := state.Put(tx, a); err != nil {
		return nil, err
	}
	if err := state.Put(tx, &model.Lanes{AgentID: a.ID, Epoch: tx.Epoch()}); err != nil {
		return nil, err
	}
	if err := tellHost(tx, model.AgentLogOf, a.HostID, "a machine enrolled"); err != nil {
		return nil, err
	}
	if err := notify(tx, model.NoticeAgent, a.HostID, "a machine enrolled"); err != nil {
		return nil, err
	}
	return a, state.Put(tx, &model.Presence{AgentID: a.ID, Up: true, Since: tx.Now()})
}

// newcomersHost is the host that a newcomer becomes: that of the machine which the token is bound to, whatever the newcomer
// calls itself, else the one of the newcomer's name.
func newcomersHost(tx *state.Tx, token *model.EnrolToken, e Enrolment) (*model.HostRow, error) {
	if token.InstanceID != "" {
		return enrolMachine(tx, token, e.Facts)
	}
	if !hostNames().MatchString(e.Name) {
		return nil, model.Errorf(model.Invalid, "the host name %q is not usable: give one of letters, digits, dots and dashes with --name", e.Name)
	}
	return AdoptHost(tx, token.OrgID, token.EnvID, e.Name, properties(e.Facts)...)
}

// RemoveAgent forgets the agent of a host, if it has one, with all that hangs on it.
func RemoveAgent(tx *state.Tx, hostID string) {
	a, ok := state.Find[model.Agent](tx, model.AgentOfHost(hostID))
	if !ok {
		return
	}
	state.Delete[model.Lanes](tx, a.ID)
	state.Delete[model.Presence](tx, a.ID)
	for _, k := range state.Keys[model.AlertMark](tx, model.AlertMarksOf(a.ID)) {
		state.Delete[model.AlertMark](tx, k)
	}
	state.Delete[model.Agent](tx, a.ID)
	for _, o := range state.List[model.Order](tx, model.OrdersOf(hostID)) {
		state.Delete[model.Order](tx, o.ID)
	}
}
