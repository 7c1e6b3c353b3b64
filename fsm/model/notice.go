package model

import (
	"encoding/json"
	"fmt"
	"net/mail"
	"net/url"
	"strings"
)

// The action types of what channels are told (contract section 3.7). KILL_FREE_INSTANCE, which nothing here does, is the
// contract's, too.
const (
	NoticeCustom      = "triggerCustomAction" // somebody ran a handler
	NoticeCompliant   = "compOk"              // a resource is as it should be again
	NoticeDrift       = "compError"           // a resource is not as it should be
	NoticeProvisioned = "provisioned"         // the agent of a host's new machine is there
	NoticeExecute     = "execute"             // an action on an instance
	NoticeError       = "NOTIFY_ERROR"        // a job, a change or the work on a machine failed
	NoticeAgent       = "AGENT_MESSAGE"       // an agent came, went, or told something
	NoticeTest        = "test"                // somebody tries the channel; ours
)

// maxNoticeMails is how many addresses a channel may write to.
const maxNoticeMails = 20

// NoticeTo is where a channel leads: an address of HTTP, or addresses of mail.
type NoticeTo struct {
	URL  *url.URL // nil: by mail
	Mail []string
}

// To reads where the channel leads from its value: {"to": "ops@example.org"}, a list of such, or {"webHookUrl": "https://..."}.
// The error is Conflict, says what to write, and shows nothing of the value, which is secret.
func (n *NotificationChannel) To() (NoticeTo, error) {
	var v struct {
		To         json.RawMessage `json:"to"`
		WebHookURL string          `json:"webHookUrl"`
	}
	if json.Unmarshal([]byte(n.Value), &v) != nil || len(v.To) == 0 && v.WebHookURL == "" {
		return NoticeTo{}, Errorf(Conflict, `the value of channel %q says not where to: give {"to": "ops@example.org"} for mail, or {"webHookUrl": "https://..."}`, n.Name)
	}
	if v.WebHookURL != "" {
		u, err := url.Parse(v.WebHookURL)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil {
			return NoticeTo{}, Errorf(Conflict, "webHookUrl in the value of channel %q is no address that can be called: give one like https://chat.example.org/in/...", n.Name)
		}
		return NoticeTo{URL: u}, nil
	}
	var one string
	var to []string
	if json.Unmarshal(v.To, &one) == nil {
		to = []string{one}
	} else if json.Unmarshal(v.To, &to) != nil {
		to = nil
	}
	if len(to) == 0 || len(to) > maxNoticeMails {
		return NoticeTo{}, Errorf(Conflict, "to in the value of channel %q: give an address, or a list of up to %d", n.Name, maxNoticeMails)
	}
	for i, text := range to {
		if a, err := mail.ParseAddress(text); err != nil || a.Address != text || strings.ContainsAny(text, "\r\n") {
			return NoticeTo{}, Errorf(Conflict, "to in the value of channel %q: number %d is no address like ops@example.org", n.Name, i+1)
		}
	}
	return NoticeTo{Mail: to}, nil
}

// Shown is where it leads, without what may be secret.
func (t NoticeTo) Shown() string {
	if t.URL != nil {
		return t.URL.Scheme + "://" + t.URL.Host
	}
	return fmt.Sprintf("mail to %d address(es)", len(t.Mail))
}

// Wants says whether the channel is told of an action type.
func (n *NotificationChannel) Wants(action string) bool {
	for _, v := range n.NotifiableViews {
		if v.ActionType == action {
			return v.Active
		}
	}
	return false
}

// AllNotices is the range of all that channels are to be told.
const AllNotices = "notices"
