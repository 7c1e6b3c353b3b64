package model

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// EventWebhooks is the range of the webhooks of all organizations that want events.
const EventWebhooks = "events"

// maxWebhookEvents is how many patterns a webhook may have.
const maxWebhookEvents = 50

// Of signing secrets (Standard Webhooks).
const (
	SigningPrefix = "whsec_"
	leastSigning  = 24 // bytes
	mostSigning   = 64
)

func (w *Webhook) validateEvents(c *checker) {
	if len(w.Events) > maxWebhookEvents {
		c.fail("events: there are %d patterns: give at most %d, or *", len(w.Events), maxWebhookEvents)
	}
	kind := regexp.MustCompile(`^(\*|[a-z]+\.(\*|created|updated|deleted))$`)
	for _, e := range w.Events {
		if !kind.MatchString(e) {
			c.fail("events: %q is no kind of event: write like host.created, host.* or *", e)
		}
	}
	if len(w.Events) > 0 && w.Method == "GET" {
		c.fail("method is GET: events are sent by POST or PUT")
	}
	if w.SigningSecret != "" {
		if _, err := w.SigningKey(); err != nil {
			c.fail("signingSecret: %v", err)
		}
	}
}

// SigningKey is the key in the signing secret.
func (w *Webhook) SigningKey() ([]byte, error) {
	text, ok := strings.CutPrefix(w.SigningSecret, SigningPrefix)
	key, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(key) < leastSigning || len(key) > mostSigning {
		return nil, fmt.Errorf("give %s and %d to %d bytes in base64, or leave it out to have one made", SigningPrefix, leastSigning, mostSigning)
	}
	return key, nil
}

// Wants says whether events of a kind are sent to the webhook.
func (w *Webhook) Wants(kind string) bool {
	noun, _, _ := strings.Cut(kind, ".")
	for _, e := range w.Events {
		if e == "*" || e == kind || e == noun+".*" {
			return true
		}
	}
	return false
}

// Delivery is an event that a webhook is to be sent, or what a notification channel is to be told. It is a row until it was delivered or given up.
type Delivery struct {
	ID       string    `json:"id"` // the webhook-id of all its attempts
	OrgID    string    `json:"orgId"`
	HookID   string    `json:"hookId"`
	Kind     string    `json:"kind"`
	Object   string    `json:"object"`
	Actor    string    `json:"actor,omitempty"`
	Cursor   string    `json:"cursor"` // epoch and index of the event
	Time     time.Time `json:"time"`   // of the event
	Attempts int       `json:"attempts,omitempty"`
	Next     time.Time `json:"next"`              // not to be tried before
	Channel  bool      `json:"channel,omitempty"` // HookID is a notification channel; Kind an action type, Object for people
	Text     string    `json:"text,omitempty"`    // that a channel is told
}

// Table names the table of deliveries.
func (*Delivery) Table() string { return "delivery" }

// Key is the delivery's id.
func (d *Delivery) Key() string { return d.ID }

// Ranges: all deliveries of webhooks or notices of channels, and those of the webhook or channel.
func (d *Delivery) Ranges() []string {
	if d.Channel {
		return []string{AllNotices, DeliveriesOf(d.HookID)}
	}
	return []string{AllDeliveries, DeliveriesOf(d.HookID)}
}

// Parent: none; the webhook may be deleted before the delivery is looked at again.
func (*Delivery) Parent() (table, key string) { return "", "" }

// AllDeliveries is the range of all that is to be delivered.
const AllDeliveries = "all"

// DeliveriesOf is the range of what is to be delivered to a webhook.
func DeliveriesOf(hookID string) string { return "hook/" + hookID }

// WebhookHealth is what is known of a webhook or notification channel that fails. It is a row from the first failure to the next success.
type WebhookHealth struct {
	HookID   string    `json:"hookId"`
	OrgID    string    `json:"orgId"`
	Since    time.Time `json:"since"`              // of the first failure
	Disabled bool      `json:"disabled,omitempty"` // it failed for too long: nothing is sent until it is updated
	Error    string    `json:"error"`              // of the last failure
}

// Table names the table.
func (*WebhookHealth) Table() string { return "webhookhealth" }

// Key is the webhook's id.
func (h *WebhookHealth) Key() string { return h.HookID }

// Ranges: none.
func (*WebhookHealth) Ranges() []string { return nil }

// Parent is the webhook; the row may outlive it.
func (*WebhookHealth) Parent() (table, key string) { return "", "" }

// EventMark says up to where events were looked at for webhooks and logs. There is one.
type EventMark struct {
	Epoch uint64 `json:"epoch"`
	Index uint64 `json:"index"`
	Pos   uint32 `json:"pos"`
}

// Table names the table of the mark.
func (*EventMark) Table() string { return "eventmark" }

// Key is the same for the one there is.
func (*EventMark) Key() string { return EventMarkKey }

// Ranges: none.
func (*EventMark) Ranges() []string { return nil }

// Parent: none.
func (*EventMark) Parent() (table, key string) { return "", "" }

// EventMarkKey is the key of the one mark.
const EventMarkKey = "webhooks"

// DeliveryRecord is what is kept of one attempt in the log of a webhook.
type DeliveryRecord struct {
	ID      string `json:"id"`
	Kind    string `json:"kind"`
	Object  string `json:"object"`
	URL     string `json:"url"`              // without parameters
	Attempt int    `json:"attempt"`          // from 1
	Status  int    `json:"status,omitempty"` // of the answer; 0: there was none
	Error   string `json:"error,omitempty"`  // "": it was taken
	Took    int64  `json:"tookMs"`
	Next    string `json:"next,omitempty"` // when it is tried again; "": never
}

// DeliveryRun is the kind in the log of an attempt that somebody asked for, where of others it is the event's.
const DeliveryRun = "run"

// WebhookResult is what came of running a webhook (contract section 3.7).
type WebhookResult struct {
	ReturnCode int              `json:"returnCode"` // status of the last answer
	Properties []PropertyResult `json:"properties"` // in the order of the webhook's
}

// PropertyResult is a value that was taken out of an answer: null where there was none, a list where there were several.
type PropertyResult struct {
	Name  string `json:"name"`
	Value any    `json:"value"`
}
