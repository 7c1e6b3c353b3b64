package model

import "encoding/json"

// Explanation tells why a setting has the value that it has somewhere.
type Explanation struct {
	Key    string          `json:"key"`
	Value  json.RawMessage `json:"value,omitempty"` // absent without one, and when Hidden
	From   string          `json:"from,omitempty"`  // address of the owner, or of the parameter for a default
	Schema json.RawMessage `json:"schema,omitempty"`
	Secret bool            `json:"secret"`
	Hidden bool            `json:"hidden,omitempty"` // the caller may not read where it stands
	// Candidates are all settings of the key that might count, the nearest first, and the parameter's default.
	Candidates []Candidate `json:"candidates"`
	// Way are the addresses that a link leads through to the value.
	Way []string `json:"way"`
}

// Candidate is a setting, or a default, that might count.
type Candidate struct {
	From     string          `json:"from"`
	Kind     string          `json:"kind"` // simple, link, property, default
	Value    json.RawMessage `json:"value,omitempty"`
	Link     string          `json:"link,omitempty"`
	Property string          `json:"property,omitempty"`
	Final    bool            `json:"final"`
	Counts   bool            `json:"counts"`
	Why      string          `json:"why,omitempty"` // why it does not count
	Hidden   bool            `json:"hidden,omitempty"`
}
