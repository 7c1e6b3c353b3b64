package wire

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hpke"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Ask is a question to an agent that changes nothing on its machine. It is answered once, within its time or not at all,
// and neither side keeps it: who still wants to know asks anew.
type Ask struct {
	ID       string    `json:"id"`    // random; an agent that is at work on it takes no copy of it
	Agent    string    `json:"agent"` // whom it is for; another agent drops it
	Epoch    uint64    `json:"epoch"`
	Issued   time.Time `json:"issued"`  // the leader's time
	Expires  time.Time `json:"expires"` // not begun and not answered after that
	Question Question  `json:"question"`
	Seal     []byte    `json:"seal"` // X25519 public key, of this question only: the answer is sealed for it
}

// Subject is what a question is about.
type Subject string

// The subjects.
const (
	SubjectFile   Subject = "file"   // a part of the content of a file
	SubjectSensor Subject = "sensor" // what is observed of a resource now
)

// Question is what an agent is asked.
type Question struct {
	Subject    Subject `json:"subject"`
	Collection string  `json:"collection,omitempty"` // of a sensor
	Name       string  `json:"name"`                 // absolute path of a file; name of a sensor: an id within the collection
	Offset     int64   `json:"offset,omitempty"`     // of the part, in bytes
	Limit      int     `json:"limit,omitempty"`      // bytes of the part at most, up to MaxPart
}

// MaxPart is the largest part of a file in one answer, in bytes; MaxValue the largest value of a sensor, as JSON.
const (
	MaxPart  = 256 << 10
	MaxValue = 64 << 10
)

// Refusal codes of an answer: why there is none.
const (
	RefusedUnknown    = "not-found"   // the machine has no such file, the agent no such collection or sensor
	RefusedInvalid    = "invalid"     // the question makes no sense, as a path that is not absolute
	RefusedForbidden  = "forbidden"   // the agent does not give that away
	RefusedTooLarge   = "too-large"   // the value is above its bound
	RefusedBusy       = "busy"        // too many questions at once: ask later
	RefusedFailed     = "failed"      // it was tried, and the machine had an error
	RefusedUnexpected = "unsupported" // a subject that this agent does not know
)

// Answer is what an agent answers. It travels sealed.
type Answer struct {
	Code  string          `json:"code,omitempty"`  // why there is no answer; "": here it is
	Text  string          `json:"text,omitempty"`  // the same for people
	Value json.RawMessage `json:"value,omitempty"` // of a sensor
	Part  []byte          `json:"part,omitempty"`  // of a file
	Size  int64           `json:"size,omitempty"`  // of the file as it is now; what /proc makes up has 0
	End   bool            `json:"end,omitempty"`   // the part reaches the file's end
	Tag   string          `json:"tag,omitempty"`   // changes with the file: parts with different tags do not fit together
}

// Sealed is the body of the message that carries an answer.
type Sealed struct {
	Agent string `json:"agent"`
	Ask   string `json:"ask"`
	Body  []byte `json:"body"` // HPKE: encapsulated key and ciphertext of an Answer as JSON
}

// askInfo binds a sealed answer to its question.
func askInfo(agent, ask string) []byte { return []byte("muster-answer-v1\x00" + agent + "\x00" + ask) }

// SealAnswer seals an answer for who asked: neither the broker nor its disks learn what it says. Error: a key that is none.
func SealAnswer(q Ask, a Answer) (Sealed, error) {
	text, err := json.Marshal(a)
	if err != nil {
		return Sealed{}, fmt.Errorf("seal an answer: %w", err)
	}
	return sealText(q, text)
}

func sealText(q Ask, text []byte) (Sealed, error) {
	pub, err := ecdh.X25519().NewPublicKey(q.Seal)
	if err != nil {
		return Sealed{}, fmt.Errorf("seal an answer: %w", err)
	}
	to, err := hpke.NewDHKEMPublicKey(pub)
	if err != nil {
		return Sealed{}, fmt.Errorf("seal an answer: %w", err)
	}
	body, err := hpke.Seal(to, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), askInfo(q.Agent, q.ID), text)
	if err != nil {
		return Sealed{}, fmt.Errorf("seal an answer: %w", err)
	}
	return Sealed{Agent: q.Agent, Ask: q.ID, Body: body}, nil
}

// OpenSealed verifies the message that carries an answer with the agent's key. Errors wrap an error of Open.
func OpenSealed(data []byte, pub ed25519.PublicKey) (Sealed, error) {
	var s Sealed
	if err := Open(data, KindAnswer, pub, &s); err != nil {
		return Sealed{}, err
	}
	if s.Ask == "" || s.Agent != KeyID(pub) {
		return Sealed{}, fmt.Errorf("open answer: %w: without its question, or in another agent's name", ErrMalformed)
	}
	return s, nil
}

// errAnswer is wrapped by OpenAnswer for what no agent of ours writes.
var errAnswer = errors.New("an answer that makes no sense")

// OpenAnswer opens a sealed answer to q with the private half of q.Seal, and checks what the rest relies on. Errors wrap
// ErrMalformed.
func OpenAnswer(q Ask, s Sealed, key *ecdh.PrivateKey) (Answer, error) {
	var a Answer
	k, err := hpke.NewDHKEMPrivateKey(key)
	if err != nil {
		return a, fmt.Errorf("open answer: %w: %w", ErrMalformed, err)
	}
	text, err := hpke.Open(k, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), askInfo(q.Agent, q.ID), s.Body)
	if err != nil {
		return a, fmt.Errorf("open answer: %w: %w", ErrMalformed, err)
	}
	if err := json.Unmarshal(text, &a); err != nil {
		return Answer{}, fmt.Errorf("open answer: %w: %w", ErrMalformed, err)
	}
	switch {
	case a.Code != "" && (a.Value != nil || a.Part != nil),
		len(a.Part) > q.Question.Limit, len(a.Value) > MaxValue, len(a.Text) > maxAnswerText, len(a.Tag) > maxAnswerText,
		a.Code == "" && q.Question.Subject == SubjectSensor && a.Value == nil,
		a.Code == "" && q.Question.Subject == SubjectFile && !a.End && len(a.Part) == 0:
		return Answer{}, fmt.Errorf("open answer: %w: %w", ErrMalformed, errAnswer)
	}
	return a, nil
}

// maxAnswerText bounds the texts of an answer.
const maxAnswerText = 4 << 10
