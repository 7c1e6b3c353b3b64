// Package wire is what travels on the bus between the orchestrator and the agents: versioned, signed,
// and the same over the embedded hub and over RabbitMQ. Both sides import it, so it imports nothing of
// the server.
package wire

import (
	"crypto/ed25519"
	"encoding/json"
	"time"
)

// Version is the version of the envelope that this code writes. A reader refuses any other.
const Version = 1

// Kind names what an envelope carries. It is part of the signed bytes, so that one kind cannot be
// replayed as another.
type Kind string

// The kinds. Orders, receipts, questions and welcomes are signed with the organization's key; replies,
// answers, standings, alerts, facts and presence with the agent's; an enrolment with the enrolment token's key and with the
// agent's own (inside the body).
const (
	KindOrder    Kind = "order"
	KindReceipt  Kind = "receipt"
	KindWelcome  Kind = "welcome"
	KindRefusal  Kind = "refusal"
	KindReply    Kind = "reply"
	KindAlert    Kind = "alert"
	KindPresence Kind = "presence"
	KindEnrol    Kind = "enrol"
	KindLogin    Kind = "login"
	KindResync   Kind = "resync"
	KindStanding Kind = "standing"
	KindAsk      Kind = "ask"
	KindAnswer   Kind = "answer"
)

// Order is one change, or one question, for one agent: steps to take in sequence.
type Order struct {
	ID       string    `json:"id"`    // random; the key of the agent's journal
	Agent    string    `json:"agent"` // whom it is for; another agent drops it
	Lane     Lane      `json:"lane"`
	Epoch    uint64    `json:"epoch"` // of the cluster; with Term and Sequence the fence
	Term     uint64    `json:"term"`
	Sequence uint64    `json:"sequence"` // per agent and lane, from 1
	Issued   time.Time `json:"issued"`   // the leader's time
	Expires  time.Time `json:"expires"`
	Change   int       `json:"change"`             // orderNum of the change, for the log
	ChangeID string    `json:"changeId,omitempty"` // the change itself, for the agent's standing; "" of an older orchestrator
	Cancel   bool      `json:"cancel,omitempty"`   // no step of it is begun any more, whether the agent knows the order already or not
	Steps    []Step    `json:"steps"`
}

// Lane separates changes, which run one at a time, from questions, which overtake them.
type Lane string

// The lanes.
const (
	LaneChanges Lane = "changes"
	LaneAsks    Lane = "asks"
)

// Step is one thing to do to one resource.
type Step struct {
	Num         int             `json:"num"` // orderNum of the task, from 0
	Description string          `json:"description"`
	Collection  string          `json:"collection"`
	Resource    string          `json:"resource"` // id within the collection: path, package name
	Verb        Verb            `json:"verb"`
	Want        json.RawMessage `json:"want,omitempty"`    // for apply
	Action      string          `json:"action,omitempty"`  // for act: "restart", "reload", "run"
	Args        json.RawMessage `json:"args,omitempty"`    // for act
	Restart     []int           `json:"restart,omitempty"` // services: restart when one of these steps changed something
	Monitor     *bool           `json:"monitor,omitempty"` // true: keep and watch; false: forget; nil: leave as it is
	Origin      Origin          `json:"origin"`
	Fail        string          `json:"fail,omitempty"` // the step cannot be done (its template failed): tell this text
}

// Verb is what a step does.
type Verb string

// The verbs.
const (
	VerbApply  Verb = "apply"  // make Want true
	VerbCheck  Verb = "check"  // compare only
	VerbRead   Verb = "read"   // tell the state
	VerbAct    Verb = "act"    // do Action once
	VerbForget Verb = "forget" // stop watching, touch nothing
)

// Origin says which part of which application a step comes from, in the words of contract section 4.4;
// alerts carry it back.
type Origin struct {
	Application string `json:"application,omitempty"`
	Type        string `json:"type,omitempty"` // services, files, packages, users, groups, directories
	Name        string `json:"name,omitempty"`
}

// Status of a step.
type Status string

// The statuses of a step.
const (
	StatusOK          Status = "ok"
	StatusError       Status = "error"
	StatusInterrupted Status = "interrupted" // cut off, and nobody can check whether it took effect
	StatusSkipped     Status = "skipped"     // an earlier step failed
)

// Reply tells the outcome of one step. The agent repeats it until a Receipt names its Sequence.
type Reply struct {
	Agent    string          `json:"agent"`
	Order    string          `json:"order"`
	Sequence uint64          `json:"sequence"` // counts the agent's messages that want a receipt; never reused
	Step     int             `json:"step"`
	Status   Status          `json:"status"`
	Error    string          `json:"error,omitempty"`
	Changed  bool            `json:"changed,omitempty"`
	State    json.RawMessage `json:"state,omitempty"`  // for read and check
	Output   json.RawMessage `json:"output,omitempty"` // for act
	Final    bool            `json:"final,omitempty"`  // the order's last reply
	At       time.Time       `json:"at"`
}

// Alert tells that a watched resource drifted, or came back.
type Alert struct {
	Agent      string          `json:"agent"`
	Sequence   uint64          `json:"sequence"` // the same counter as Reply
	Collection string          `json:"collection"`
	Resource   string          `json:"resource"`
	Origin     Origin          `json:"origin"`
	Compliant  bool            `json:"compliant"`
	Expected   json.RawMessage `json:"expected,omitempty"` // object; same keys as Observed
	Observed   json.RawMessage `json:"observed,omitempty"`
	At         time.Time       `json:"at"`
}

// Receipt confirms that the orchestrator has committed the agent's messages with these sequences.
type Receipt struct {
	Agent     string   `json:"agent"`
	Sequences []uint64 `json:"sequences"`
}

// Presence is the heartbeat. Started changes with each start of the process.
type Presence struct {
	Agent   string    `json:"agent"`
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	Bye     bool      `json:"bye,omitempty"`     // a clean stop
	Journal string    `json:"journal,omitempty"` // id of the agent's journal; "" of an older agent, which knows no Resync
	Asks    bool      `json:"asks,omitempty"`    // the agent answers an Ask
}

// Enrol asks for membership. It is signed with the enrolment token's key; Proof is the agent key's
// signature over the token's id, the agent's id and Exchange, so nobody can enrol with a key it does not
// hold, or another's agent with a sealing key of its own.
type Enrol struct {
	Token    string            `json:"token"`    // id of the token
	Agent    string            `json:"agent"`    // AgentID(Key)
	Key      ed25519.PublicKey `json:"key"`      // Ed25519, the agent's
	Exchange []byte            `json:"exchange"` // X25519 public key, for sealing
	Proof    []byte            `json:"proof"`
	Name     string            `json:"name"` // host name that the machine would like
	Facts    map[string]string `json:"facts,omitempty"`
	ReplyTo  string            `json:"replyTo"` // queue of the newcomer
	At       time.Time         `json:"at"`
}

// Welcome answers an enrolment. A repeated enrolment of the same agent gets the same welcome.
type Welcome struct {
	Agent        string            `json:"agent"`
	Organization string            `json:"organization"`
	Environment  string            `json:"environment"`
	Host         string            `json:"host"`
	Key          ed25519.PublicKey `json:"key"` // the organization's; equals the one that the token pinned
	Epoch        uint64            `json:"epoch"`
}

// Refusal answers an enrolment that is refused; Reason tells the person at the machine what to do.
type Refusal struct {
	Agent  string `json:"agent"`
	Reason string `json:"reason"`
}

// Login is the statement an agent gives as its AMQP password: who, a counter that only grows, and a
// window hours wide, since clocks differ.
type Login struct {
	User    string    `json:"user"` // AMQP user: "agent.<id>" or "enrol.<token id>"
	Counter uint64    `json:"counter"`
	At      time.Time `json:"at"`
}
