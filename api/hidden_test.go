package api_test

import (
	"strings"
	"testing"
)

// Whoever has no access to a part of an organization hears of it neither from events nor through a webhook or a channel of their own, or
// what these sent.
func TestWhatIsHiddenIsNotTold(t *testing.T) {
	s := newSite(t).furnish()
	s.play([]exchange{
		{"POST", inAcme + "/environments/", `{"name": "Open"}`, 201, ""},
		{"POST", inAcme + "/webhooks/", `{"name": "theirs", "method": "POST", "protocol": "HTTPS", "serverName": "example.org", "events": ["host.*"]}`, 201, ""},
		{"POST", inAcme + "/webhooks/", `{"name": "called", "method": "POST", "protocol": "HTTPS", "serverName": "example.org"}`, 201, ""},
		{"POST", inAcme + "/notifications/", `{"channel": "mail", "value": "{\"to\": \"ops@example.org\"}", "notifiableViews": [{"actionType": "compError", "active": true}]}`, 201, ""},
	})
	s.user("ann", "users", "acme")
	as := func(user string, e exchange) answer {
		return s.raw(e.method, e.path, e.body, "Authorization", basicAuth(user, user+"-password"))
	}
	asks := []exchange{
		{"GET", inAcme + "/events/", "", 200, ""},
		{"GET", inAcme + "/webhooks/theirs/deliveries/", "", 200, ""},
		{"GET", inAcme + "/notifications/mail/deliveries/", "", 200, ""},
		{"POST", inAcme + "/webhooks/?dry_run=true", `{"name": "tried", "method": "POST", "protocol": "HTTPS", "serverName": "example.org", "events": ["*"]}`, 200, ""},
		{"POST", inAcme + "/webhooks/", `{"name": "mine", "method": "POST", "protocol": "HTTPS", "serverName": "example.org", "events": ["*"]}`, 201, ""},
		{"PUT", inAcme + "/webhooks/called", `{"events": ["change.created"]}`, 200, ""},
		{"PUT", inAcme + "/webhooks/theirs", `{"path": "/elsewhere"}`, 200, ""},
		{"POST", inAcme + "/notifications/", `{"channel": "mine", "value": "{\"to\": \"ann@example.org\"}", "notifiableViews": [{"actionType": "compError", "active": true}]}`, 201, ""},
		{"PUT", inAcme + "/notifications/mail", `{"value": "{\"to\": \"ann@example.org\"}"}`, 200, ""},
	}
	s.join("ann", "no access", "acme/Dev")
	before := s.db.Local().Index()
	for _, e := range asks {
		if a := as("ann", e); a.status != 403 || !strings.Contains(a.body, "is hidden from you") {
			t.Errorf("%s %s with something hidden: %d %s", e.method, e.path, a.status, a.body)
		}
	}
	if now := s.db.Local().Index(); now != before {
		t.Errorf("something was written: index %d became %d", before, now)
	}
	// What tells nothing of hosts is theirs as before.
	for _, e := range []exchange{
		{"PUT", inAcme + "/webhooks/called", `{"path": "/other"}`, 200, ""},
		{"POST", inAcme + "/webhooks/", `{"name": "quiet", "method": "POST", "protocol": "HTTPS", "serverName": "example.org"}`, 201, ""},
		{"GET", inAcme + "/webhooks/theirs", "", 200, ""},
		{"DELETE", inAcme + "/webhooks/quiet", "", 204, ""},
	} {
		if a := as("ann", e); a.status != e.status {
			t.Errorf("%s %s with something hidden: %d %s", e.method, e.path, a.status, a.body)
		}
	}
	// Who sees all of it may, and so may an administrator, from whom nothing can be hidden.
	s.user("ben", "users", "acme")
	s.user("eva", "admin", "acme")
	s.join("eva", "no access", "acme/Dev")
	for _, e := range asks {
		if a := as("ben", e); a.status != e.status {
			t.Errorf("%s %s: %d %s", e.method, e.path, a.status, a.body)
		}
	}
	s.play([]exchange{{"DELETE", inAcme + "/webhooks/mine", "", 204, ""}, {"DELETE", inAcme + "/notifications/mine", "", 204, ""}})
	for _, e := range asks {
		if a := as("eva", e); a.status != e.status {
			t.Errorf("%s %s as an administrator: %d %s", e.method, e.path, a.status, a.body)
		}
	}
}
