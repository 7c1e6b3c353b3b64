package model

import (
	"encoding/json"
	"slices"
	"strings"
)

// Definition is what is kept alike of things that are stored as they were given: webhooks, notification channels, and
// the modules and repositories of an application. It is embedded in their rows.
type Definition struct {
	ID      string `json:"id"`
	OrgID   string `json:"orgId"`
	OwnerID string `json:"ownerId"` // the organization, or the application
	Version int    `json:"version"`
	Name    string `json:"name"`
}

// Base is the definition itself, whatever row it is embedded in.
func (d *Definition) Base() *Definition { return d }

// Key is the id.
func (d *Definition) Key() string { return d.ID }

// Ranges: those of the owner in their table, and the unique name there.
func (d *Definition) Ranges() []string {
	return []string{DefinitionsOf(d.OwnerID), DefinitionNamed(d.OwnerID, d.Name)}
}

// DefinitionsOf is the range of an owner's rows in a table of definitions.
func DefinitionsOf(ownerID string) string { return "owner/" + ownerID }

// DefinitionNamed is the unique range of a name of an owner, in a table of definitions.
func DefinitionNamed(ownerID, name string) string { return "name/" + ownerID + "/" + name }

// Pair is a header or parameter of a webhook.
type Pair struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Secret bool   `json:"secret"`
}

// JSONProperty takes a value out of the answer to a webhook.
type JSONProperty struct {
	Name     string `json:"name"`
	JSONPath string `json:"jsonPath"`
}

// Webhook is the document of contract section 3.7.
type Webhook struct {
	UUID                 string         `json:"uuid,omitempty"`
	Version              int            `json:"version,omitempty"`
	Name                 string         `json:"name"`
	Description          string         `json:"description"`
	Organization         string         `json:"organization"`
	Method               string         `json:"method"`
	Protocol             string         `json:"protocol"`
	ServerName           string         `json:"serverName"`
	Port                 *int           `json:"port"`
	Path                 string         `json:"path"`
	AuthenticationMethod string         `json:"authenticationMethod"`
	Username             string         `json:"username"`
	Token                string         `json:"token"` // secret
	Body                 string         `json:"body"`
	Headers              []Pair         `json:"headers"`
	Parameters           []Pair         `json:"parameters"`
	Properties           []JSONProperty `json:"properties"`
	// Events are the kinds of events that are sent to the address as they happen: host.created, host.*, *. Ours.
	Events []string `json:"events,omitempty"`
	// SigningSecret signs what is sent (Standard Webhooks): whsec_ and base64. It is made where events are asked for
	// without one. Secret; ours.
	SigningSecret string `json:"signingSecret,omitempty"`
}

// Validate refuses a webhook that could never be called. Every fault is one message of the error, which is Invalid.
func (w *Webhook) Validate() error {
	var c checker
	c.check(CheckName("webhook", w.Name))
	c.oneOf("method", w.Method, "GET", "POST", "PUT")
	c.oneOf("protocol", w.Protocol, "HTTP", "HTTPS")
	c.oneOf("authenticationMethod", w.AuthenticationMethod, "BASIC_AUTH", "NO_AUTH")
	if w.ServerName == "" || strings.ContainsAny(w.ServerName, "/@?# \t\r\n") {
		c.fail("serverName is %q: give the name or address of the server alone", w.ServerName)
	}
	if w.Port != nil && (*w.Port < 1 || *w.Port > 65535) {
		c.fail("port is %d: give a number from 1 to 65535, or null", *w.Port)
	}
	if w.Path != "" && !strings.HasPrefix(w.Path, "/") {
		c.fail("path is %q: it must begin with /", w.Path)
	}
	for _, h := range w.Headers {
		if h.Name == "" || strings.ContainsAny(h.Name+h.Value, "\r\n\x00") {
			c.fail("header %q: give a name, and no line ends", h.Name)
		}
	}
	for _, p := range w.Parameters {
		if p.Name == "" {
			c.fail("a parameter has no name: give one")
		}
	}
	w.validateEvents(&c)
	return c.err()
}

// Normalize fills in what is left out.
func (w *Webhook) Normalize() {
	w.Method, w.Protocol = orElse(w.Method, "POST"), orElse(w.Protocol, "HTTPS")
	w.AuthenticationMethod = orElse(w.AuthenticationMethod, "NO_AUTH")
	w.Headers, w.Parameters, w.Properties = list(w.Headers), list(w.Parameters), list(w.Properties)
}

// WebhookRow is what is kept of a webhook.
type WebhookRow struct {
	Definition
	Document Webhook `json:"document"`
	// Since is the index before which events are none of the webhook's.
	Since uint64 `json:"since,omitempty"`
}

// Ranges are those of every definition, and that of webhooks that want events.
func (w *WebhookRow) Ranges() []string {
	r := w.Definition.Ranges()
	if len(w.Document.Events) > 0 {
		r = append(r, EventWebhooks)
	}
	return r
}

// Table names the table of webhooks.
func (*WebhookRow) Table() string { return "webhook" }

// Parent is the organization.
func (w *WebhookRow) Parent() (table, key string) { return "organization", w.OwnerID }

// NotifiableView says whether a channel tells of a kind of event.
type NotifiableView struct {
	ActionType  string `json:"actionType"`
	Active      bool   `json:"active"`
	Description string `json:"description"`
}

// NotificationChannel is the document of contract section 3.7.
type NotificationChannel struct {
	UUID            string           `json:"uuid,omitempty"`
	Version         int              `json:"version,omitempty"`
	Name            string           `json:"name"`
	Description     string           `json:"description"`
	Organization    string           `json:"organization"`
	Channel         string           `json:"channel"`
	Value           string           `json:"value"` // JSON as a text; secret
	NotifiableViews []NotifiableView `json:"notifiableViews"`
}

// Normalize fills in what is left out: a channel without a name is called as its channel.
func (n *NotificationChannel) Normalize() {
	n.Name = orElse(n.Name, n.Channel)
	n.NotifiableViews = list(n.NotifiableViews)
}

// Validate refuses a channel that is wrong. Every fault is one message of the error, which is Invalid.
func (n *NotificationChannel) Validate() error {
	var c checker
	c.check(CheckName("notification channel", n.Name))
	if n.Channel == "" {
		c.fail("channel is missing: name the kind of channel")
	}
	if n.Value != "" && !json.Valid([]byte(n.Value)) {
		c.fail("value must be a text that holds JSON")
	}
	for _, v := range n.NotifiableViews {
		if v.ActionType == "" {
			c.fail("notifiableViews has an element without an actionType: give one")
		}
		c.once("action type", v.ActionType)
	}
	return c.err()
}

// NotificationRow is what is kept of a notification channel.
type NotificationRow struct {
	Definition
	Document NotificationChannel `json:"document"`
}

// Table names the table of notification channels.
func (*NotificationRow) Table() string { return "notification" }

// Parent is the organization.
func (n *NotificationRow) Parent() (table, key string) { return "organization", n.OwnerID }

// RpmModule is a module of an application (contract section 3.7).
type RpmModule struct {
	UUID    string `json:"uuid,omitempty"`
	Version int    `json:"version,omitempty"`
	Name    string `json:"name"`
	Stream  string `json:"stream"`
	Profile string `json:"profile"`
	Enabled bool   `json:"enabled"`
}

// Validate refuses a module without a name, or with a word that no machine knows. Errors are Invalid.
func (m *RpmModule) Validate() error {
	var c checker
	c.system("rpm module", m.Name, "+-._", "")
	for _, f := range [][2]string{{"stream", m.Stream}, {"profile", m.Profile}} {
		if f[1] != "" {
			c.system("rpm module "+f[0], f[1], "+-._", "")
		}
	}
	return c.err()
}

// RpmModuleRow is what is kept of a module.
type RpmModuleRow struct {
	Definition
	Document RpmModule `json:"document"`
}

// Table names the table of modules.
func (*RpmModuleRow) Table() string { return "rpmmodule" }

// Parent is the application.
func (m *RpmModuleRow) Parent() (table, key string) { return "application", m.OwnerID }

// Git is a repository of an application (contract section 3.7).
type Git struct {
	UUID                 string `json:"uuid,omitempty"`
	Version              int    `json:"version,omitempty"`
	Name                 string `json:"name"`
	Endpoint             string `json:"endpoint"`
	Branch               string `json:"branch"`
	Username             string `json:"username"`
	Token                string `json:"token"` // secret
	KeyName              string `json:"keyName"`
	AuthenticationMethod string `json:"authenticationMethod"`
}

// Validate refuses a repository that is wrong. Every fault is one message of the error, which is Invalid.
func (g *Git) Validate() error {
	var c checker
	c.check(CheckName("git repository", g.Name))
	if g.Endpoint == "" || strings.HasPrefix(g.Endpoint, "-") || strings.ContainsAny(g.Endpoint, " \t\r\n\x00") {
		c.fail("endpoint is missing or no address: give that of the repository")
	}
	if strings.HasPrefix(g.Branch, "-") || strings.ContainsAny(g.Branch, " \t\r\n\x00") {
		c.fail("branch is %q: give the name of a branch", g.Branch)
	}
	if g.AuthenticationMethod != "" {
		c.oneOf("authenticationMethod", g.AuthenticationMethod, "HTTPS", "SSH")
	}
	return c.err()
}

// GitRow is what is kept of a repository.
type GitRow struct {
	Definition
	Document Git `json:"document"`
}

// Table names the table of repositories.
func (*GitRow) Table() string { return "git" }

// Parent is the application.
func (g *GitRow) Parent() (table, key string) { return "application", g.OwnerID }

func (c *checker) oneOf(field, value string, words ...string) {
	if !slices.Contains(words, value) {
		c.fail("%s is %q: use %s", field, value, strings.Join(words, " or "))
	}
}

func orElse(value, other string) string {
	if value == "" {
		return other
	}
	return value
}

// list makes a list that is written as [], not null.
func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}
