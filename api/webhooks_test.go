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
