package api_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/muster-hq/muster/api"
	"github.com/muster-hq/muster/dispatch/webhook"
	"github.com/muster-hq/muster/fsm/model"
)

// TestWebhookRun runs webhooks by the API: what came of it is answered and listed, and stands in the audit log.
func TestWebhookRun(t *testing.T) {
	var body, signature string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		body, signature = string(b), r.Header.Get("webhook-signature")
		_, _ = io.WriteString(w, `{"state": "started"}`)
	}))
	defer server.Close()
	sender := webhook.NewSender([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})
	defer sender.Close()
	s := newSite(t, func(c *api.Config) { c.Hooks = sender })
	s.furnish()
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	hooks := inAcme + "/webhooks/"
	s.play([]exchange{
		{"POST", hooks, `{"name": "go", "protocol": "HTTP", "serverName": "127.0.0.1", "port": ` + u.Port() + `, "path": "/in", "body": "{\"a\": 1}",
			"parameters": [{"name": "k", "value": "s3cret-parameter", "secret": true}], "properties": [{"name": "state", "jsonPath": "$.state"}]}`, 201, ""},
		{"PUT", hooks + "go/_run?dry_run=true", "", 200, `"dryRun":true`},
	})
	if body != "" {
		t.Fatal("a dry run called the webhook")
	}
	s.play([]exchange{
		{"PUT", hooks + "go/_run", "", 200, `{"returnCode":200,"properties":[{"name":"state","value":"started"}]}`},
		{"GET", hooks + "go/deliveries/", "", 200, `"kind":"run"`},
		{"GET", inAcme + "/audit/?action=webhooks.run", "", 200, `"message":"run webhooks/go by`[:25]},
		{"PUT", hooks + "none/_run", "", 404, ""},
	})
	if body != `{"a": 1}` || !strings.HasPrefix(signature, "v1,") {
		t.Errorf("it was sent %q, signed %q", body, signature)
	}
	if a := s.raw("GET", hooks+"go/deliveries/", ""); strings.Contains(string(a.body), "s3cret-parameter") {
		t.Errorf("deliveries tell a secret: %s", a.body)
	}
	if a := s.raw("PUT", hooks+"go/_run", "", "Idempotency-Key", "3f1c7f0e-7d0b-4e0a-9d61-5a3b0a0e77aa"); a.status != 400 {
		t.Errorf("a run under a key: %d %s", a.status, a.body)
	}
	s.play([]exchange{
		{"PUT", hooks + "go", `{"properties": [{"name": "state", "jsonPath": "$[?(@.x)]"}]}`, 200, ""},
		{"PUT", hooks + "go/_run", "", 400, "filter"},
		{"PUT", hooks + "go", `{"properties": [], "serverName": "10.255.255.1"}`, 200, ""},
		{"PUT", hooks + "go/_run", "", 409, "not a public one"},
		{"GET", hooks + "go/deliveries/?order=newest&limit=1", "", 200, "webhook-allow"},
	})
}

// Headers that carry credentials by their names are masked for who sees no secret, whatever their marks say; the mask leaves them.
func TestCredentialsByName(t *testing.T) {
	s := newSite(t).furnish()
	s.user("ann", model.GroupReadonly, "acme")
	ann := basicAuth("ann", "ann-password")
	hook := inAcme + "/webhooks/h"
	s.play([]exchange{
		{"POST", inAcme + "/webhooks/", `{"name": "h", "protocol": "HTTPS", "serverName": "example.org", "headers": [{"name": "authorization", "value": "Bearer s3cret", "secret": false},
			{"name": "X-Kind", "value": "plain", "secret": false}], "parameters": [{"name": "access_token", "value": "s3cret"}]}`, 201, "Bearer s3cret"},
		{"POST", inAcme + "/applications/web/gits/", `{"name": "g", "endpoint": "https://u:s3cret@example.org/g"}`, 201, "s3cret"},
	})
	for _, path := range []string{hook, inAcme + "/webhooks/", inAcme + "/applications/web/gits/g"} {
		if a := s.raw("GET", path, "", "Authorization", ann); a.status != 200 || strings.Contains(a.body, "s3cret") || !strings.Contains(a.body, "********") {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	if a := s.raw("GET", hook, "", "Authorization", ann); !strings.Contains(a.body, "plain") {
		t.Errorf("what is no credential is masked: %s", a.body)
	}
	s.play([]exchange{
		{"PUT", hook, `{"headers": [{"name": "authorization", "value": "********", "secret": false}]}`, 200, `"value":"Bearer s3cret"`},
		{"PUT", inAcme + "/applications/web/gits/g", `{"endpoint": "https://u:********@example.org/g", "branch": "b"}`, 200, "https://u:s3cret@example.org/g"},
	})
}
