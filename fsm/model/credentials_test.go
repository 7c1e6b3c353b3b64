package model_test

import (
	"testing"

	"github.com/muster-hq/muster/fsm/model"
)

func TestCredentialNames(t *testing.T) {
	for name, want := range map[string]bool{
		"Authorization": true, "authorization": true, "Proxy-Authorization": true, "Cookie": true, "X-Api-Key": true, "x_api_key": true, "apikey": true,
		"X-Gitlab-Token": true, "X-Vault-Token": true, "client_secret": true, "PASSWORD": true, "passwd": true, "key": true, "X-Auth": true, "auth": true,
		"Content-Type": false, "Accept": false, "X-Request-Id": false, "monkey": false, "author": false, "keyboard": false, "": false, "X-Event": false,
	} {
		if got := model.CredentialName(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
		if got := (model.Pair{Name: name}).Hidden(); got != want {
			t.Errorf("a pair %q: %v", name, got)
		}
	}
	if !(model.Pair{Name: "Accept", Secret: true}).Hidden() {
		t.Error("a pair that is marked is shown")
	}
}

func TestMaskedAddresses(t *testing.T) {
	for text, want := range map[string]string{
		"https://u:p4ss@example.org/x":               "https://u:***@example.org/x",
		"https://:p4ss@example.org":                  "https://:***@example.org",
		"https://u@example.org:8080/a:b@c":           "https://u@example.org:8080/a:b@c",
		"https://example.org:8080/":                  "https://example.org:8080/",
		`["amqp://a:p4ss@b","redis://:p4@ss@c:1/0"]`: `["amqp://a:***@b","redis://:***@c:1/0"]`,
		"://":              "://",
		"a://u:@b ://x":    "a://u:@b ://x",
		"mail u:p@x.org":   "mail u:p@x.org",
		"":                 "",
		"a://b://c:p4ss@d": "a://b://c:***@d",
	} {
		if got := model.MaskedAddresses(text, "***"); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
		if again := model.MaskedAddresses(want, "***"); again != want {
			t.Errorf("masked again: %q", again)
		}
	}
}
