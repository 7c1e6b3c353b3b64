package model

import "time"

// Agent is the row of a machine's agent: the keys that it made itself, and the host that it stands for.
type Agent struct {
	ID        string            `json:"id"` // made from its public key; 32 hexadecimal digits
	OrgID     string            `json:"orgId"`
	EnvID     string            `json:"envId"`
	HostID    string            `json:"hostId"`
	PublicKey []byte            `json:"publicKey"` // Ed25519: replies and logins
	Exchange  []byte            `json:"exchange"`  // X25519: sealing
	TokenID   string            `json:"tokenId"`   // the token that it enrolled with
	Facts     map[string]string `json:"facts,omitempty"`
	Enrolled  time.Time         `json:"enrolled"`
}

// Table names the table of agents.
func (*Agent) Table() string { return "agent" }

// Key is the agent's id.
func (a *Agent) Key() string { return a.ID }

// Ranges: all agents, those of the organization, and the one of the host.
func (a *Agent) Ranges() []string {
	return []string{AllAgents, "org/" + a.OrgID, AgentOfHost(a.HostID)}
}

// Parent is the host that the agent stands for.
func (a *Agent) Parent() (table, key string) { return "host", a.HostID }

// AllAgents is the range of all agents.
const AllAgents = "all"

// AgentOfHost is the unique range of a host's agent.
func AgentOfHost(hostID string) string { return "host/" + hostID }

// Lanes is the row of an agent's order sequences, apart from Agent because it changes with each order.
type Lanes struct {
	AgentID string `json:"agentId"`
	Changes uint64 `json:"changes"` // the last sequence given in the lane of changes
	Asks    uint64 `json:"asks"`

	Epoch   uint64 `json:"epoch,omitempty"`   // in which it is known how far the agent is: enrolled or told; 0 of an older version
	Journal string `json:"journal,omitempty"` // id of the agent's journal, as it told; "": not yet
	Digest  string `json:"digest,omitempty"`  // of what it had done when it told its standing
}

// Table names the table of lanes.
func (*Lanes) Table() string { return "lanes" }

// Key is the agent's id.
func (l *Lanes) Key() string { return l.AgentID }

// Ranges: none.
func (*Lanes) Ranges() []string { return nil }

// Parent is the agent.
func (l *Lanes) Parent() (table, key string) { return "agent", l.AgentID }

// Presence is the row that says whether an agent is up. Only transitions are committed.
type Presence struct {
	AgentID string    `json:"agentId"`
	Up      bool      `json:"up"`
	Since   time.Time `json:"since"`
	Version string    `json:"version,omitempty"`
	Resyncs bool      `json:"resyncs,omitempty"` // this version can tell its standing after a restore
}

// Table names the table of presence.
func (*Presence) Table() string { return "presence" }

// Key is the agent's id.
func (p *Presence) Key() string { return p.AgentID }

// Ranges: none.
func (*Presence) Ranges() []string { return nil }

// Parent is the agent.
func (p *Presence) Parent() (table, key string) { return "agent", p.AgentID }

// AlertMark is the row of the last alert that was recorded of a resource: brokers repeat and reorder, and an
// older alert must not undo what a newer one told.
type AlertMark struct {
	AgentID  string    `json:"agentId"`
	Resource string    `json:"resource"` // digest of collection and resource
	Sequence uint64    `json:"sequence"`
	At       time.Time `json:"at"` // by the machine's clock
}

// Table names the table of alert marks.
func (*AlertMark) Table() string { return "alertmark" }

// Key is made of the agent's id and the resource's digest.
func (m *AlertMark) Key() string { return m.AgentID + "/" + m.Resource }

// Ranges: the marks of the agent.
func (m *AlertMark) Ranges() []string { return []string{AlertMarksOf(m.AgentID)} }

// Parent is the agent.
func (m *AlertMark) Parent() (table, key string) { return "agent", m.AgentID }

// AlertMarksOf is the range of an agent's alert marks.
func AlertMarksOf(agentID string) string { return "agent/" + agentID }

// EnrolToken is the row of a token that lets machines enrol into one environment. Only the public half
// of the token's key is kept.
type EnrolToken struct {
	ID        string    `json:"id"`
	OrgID     string    `json:"orgId"`
	EnvID     string    `json:"envId"`
	PublicKey []byte    `json:"publicKey"` // Ed25519
	Uses      int       `json:"uses"`      // how many agents may enrol with it; 0: any number
	Used      int       `json:"used"`
	Expires   time.Time `json:"expires,omitzero"` // zero: never
	Created   time.Time `json:"created"`
	Creator   string    `json:"creator"`

	HostID     string `json:"hostId,omitempty"`     // bound to the machine of one host; "": makes any host of the environment
	InstanceID string `json:"instanceId,omitempty"` // that machine
}

// Table names the table of enrolment tokens.
func (*EnrolToken) Table() string { return "enroltoken" }

// Key is the token's id.
func (t *EnrolToken) Key() string { return t.ID }

// Ranges: the tokens of the environment.
func (t *EnrolToken) Ranges() []string { return []string{EnrolTokensOf(t.EnvID)} }

// Parent is the environment.
func (t *EnrolToken) Parent() (table, key string) { return "environment", t.EnvID }

// EnrolTokensOf is the range of an environment's enrolment tokens.
func EnrolTokensOf(envID string) string { return "env/" + envID }

// OrgKey is the row of an organization's signing key. Agents pin its public half when they enrol.
type OrgKey struct {
	OrgID     string `json:"orgId"`
	PublicKey []byte `json:"publicKey"` // Ed25519
	Seed      []byte `json:"seed"`      // Ed25519 seed: secret, never shown, logged or exported
}

// Table names the table of signing keys.
func (*OrgKey) Table() string { return "orgkey" }

// Key is the organization's id.
func (k *OrgKey) Key() string { return k.OrgID }

// Ranges: none.
func (*OrgKey) Ranges() []string { return nil }

// Parent is the organization.
func (k *OrgKey) Parent() (table, key string) { return "organization", k.OrgID }

// Order is the row of an order: it is written before the order is first published, and says all that is
// needed to publish the same bytes again from any later leader.
type Order struct {
	ID       string    `json:"id"`
	AgentID  string    `json:"agentId"`
	HostID   string    `json:"hostId"`
	OrgID    string    `json:"orgId"`
	ChangeID string    `json:"changeId"`
	Lane     string    `json:"lane"`
	Epoch    uint64    `json:"epoch"`
	Term     uint64    `json:"term"`
	Sequence uint64    `json:"sequence"`
	Issued   time.Time `json:"issued"`
	Expires  time.Time `json:"expires"`
	Heard    bool      `json:"heard,omitempty"` // the agent has answered at least once
	Cancel   bool      `json:"cancel,omitempty"`
	Done     bool      `json:"done,omitempty"`
}

// Table names the table of orders.
func (*Order) Table() string { return "order" }

// Key is the order's id.
func (o *Order) Key() string { return o.ID }

// Ranges: those that are out, and the one that is out to the host.
func (o *Order) Ranges() []string {
	if o.Done {
		return []string{OrdersOf(o.HostID)}
	}
	return []string{OrdersOf(o.HostID), OpenOrders, OpenOrderOf(o.HostID)}
}

// Parent is the host.
func (o *Order) Parent() (table, key string) { return "host", o.HostID }

// OpenOrders is the range of all orders that are out.
const OpenOrders = "open"

// OrdersOf is the range of a host's orders.
func OrdersOf(hostID string) string { return "host/" + hostID }

// OpenOrderOf is the range of the order that is out to a host: one, or after a restore all that its agent had.
func OpenOrderOf(hostID string) string { return "openhost/" + hostID }
