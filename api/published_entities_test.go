package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/muster-hq/muster/api/client"
)

const (
	cloudPlatform = `{"name": "cloud", "description": "d", "driver": {"className": "com.guardis.cortex.server.driver.LibvirtDriver"},
		"settings": [{"key": "zone", "value": "a"}, {"key": "apiKey", "value": "s3cret-of-cloud", "schema": {"type": "string", "secret": true}}],
		"files": [{"name": "boot [1].ipxe", "delimiter": {"start": "##", "end": "##"}}],
		"parameters": [{"key": "size", "value": "small", "name": "The size", "description": "d"}]}`
	osDistribution = `{"name": "os", "description": "d", "settings": [{"key": "kickstartName", "value": "ks"}], "files": [{"name": "ks",
		"parameters": [{"key": "a", "value": "b", "name": "n", "description": ""}]}], "parameters": [{"key": "lang", "value": "en", "name": "Language"}]}`
	inAcme = "/organizations/acme"
)

// furnishMore gives acme a platform and a distribution, attached to web1, and one of each stored thing.
func (s *site) furnishMore() *site {
	s.t.Helper()
	s.play([]exchange{
		{"POST", inAcme + "/platforms/?default=true&test=true", cloudPlatform, 201, `"className":"com.guardis.cortex.server.driver.LibvirtDriver"`},
		{"POST", inAcme + "/distributions/", osDistribution, 201, `"locked":false`},
		{"POST", web1 + "/platform/", `{"platform": "cloud", "settings": [{"key": "size", "value": "big"}]}`, 201, `"platform":"cloud"`},
		{"POST", web1 + "/distribution/", `{"distribution": "os"}`, 201, `"distribution":"os"`},
		{"POST", inAcme + "/hostgroups/", `{"name": "all", "description": "", "hosts": [{"position": 0, "environment": "Dev", "host": "web1"}],
			"settings": [{"key": "ring", "value": 1}]}`, 201, `"canonicalName":"Dev/web1"`},
		{"POST", inAcme + "/orchestrations/", `{"name": "roll", "organization": "other", "applicationsOperations": [
			{"application": "web", "handler": null, "serviceAction": {"name": "nginx", "action": "STOP"}, "position": 0},
			{"application": "web", "handler": "reload", "serviceAction": null, "position": 1}],
			"orderedHostGroup": [{"position": 0, "hostGroup": {"name": "all"}}]}`, 201, `"organization":"acme"`},
		{"POST", inAcme + "/webhooks/", `{"name": "hook", "method": "PUT", "protocol": "HTTPS", "serverName": "example.org", "port": null, "path": "/x",
			"authenticationMethod": "BASIC_AUTH", "username": "u", "token": "s3cret-of-hook", "body": "{}", "headers": [{"name": "X-A", "value": "s3cret-header", "secret": true}],
			"parameters": [], "properties": [{"name": "n", "jsonPath": "$.name"}]}`, 201, `"serverName":"example.org"`},
		{"POST", inAcme + "/notifications/", `{"channel": "chat", "value": "{\"webHookUrl\":\"s3cret-of-chat\"}", "notifiableViews": [
			{"actionType": "compOk", "active": true, "description": "Host is compliant"}]}`, 201, `"name":"chat"`},
		{"POST", inAcme + "/applications/web/rpmmodules/", `{"name": "nodejs", "stream": "20", "profile": "common", "enabled": true}`, 201, `"stream":"20"`},
		{"POST", inAcme + "/applications/web/gits/", `{"name": "site", "endpoint": "https://example.org/site.git", "branch": "main", "username": "u",
			"token": "s3cret-of-git", "authenticationMethod": "HTTPS"}`, 201, `"branch":"main"`},
	})
	upload := client.Op{Name: "files.content.set", Level: "platform", Params: map[string]string{"org": "acme", "plat": "cloud", "file": "boot [1].ipxe"}}
	if err := s.admin.Upload(s.t.Context(), upload, "boot", []byte("##size## ##zone## ##_host.name## ${x}\n")); err != nil {
		s.t.Fatalf("upload: %v", err)
	}
	upload = client.Op{Name: "files.content.set", Level: "distribution", Params: map[string]string{"org": "acme", "dist": "os", "file": "ks"}}
	if err := s.admin.Upload(s.t.Context(), upload, "ks", []byte("lang ${lang} ${kickstartName}\n")); err != nil {
		s.t.Fatalf("upload: %v", err)
	}
	return s
}

// platforms and distributions: add, list, show, update, rename, clone, lock, settings, files, parameters, delete.
func TestPublishedPlatformsAndDistributions(t *testing.T) {
	s := newSite(t).furnish().furnishMore()
	flags := "?secret_only=False&no_secret=False&obfuscate=False"
	p, d := inAcme+"/platforms/cloud", inAcme+"/distributions/os"
	s.play([]exchange{
		{"GET", inAcme + "/platforms/", "", 200, `{"count":1,"items":[{`},
		{"GET", p + flags, "", 200, `"key":"zone","value":"a"`},
		{"PUT", p + "?force=False", `{"name": "cloud", "description": "new"}`, 200, `"version":3`},
		{"GET", p + "/images", "", 200, `"items":[]`},
		{"GET", p + "/driver/image_parameters", "", 200, `"items":[]`},
		{"PUT", p + "/_clone?name=copy%20%281%29", "", 200, `"name":"copy (1)"`},
		{"GET", inAcme + "/platforms/copy%20%281%29/files/boot%20%5B1%5D.ipxe/content", "", 200, "##size## ##zone## ##_host.name## ${x}\n"},
		{"GET", inAcme + "/platforms/copy%20%281%29/settings/zone", "", 200, `"value":"a"`},
		{"DELETE", inAcme + "/platforms/copy%20%281%29", "", 204, ""},
		{"GET", inAcme + "/platforms/copy%20%281%29", "", 404, ""},
		{"POST", inAcme + "/platforms/", `{"name": "x"}`, 400, `driver: className is missing`},
		{"POST", inAcme + "/platforms/", cloudPlatform, 409, `already`},
		{"DELETE", p, "", 409, `{"error":["platform \"cloud\" is that of 1 host(s): detach it there first","Dev/web1"]`},
		{"DELETE", d, "", 409, `"Dev/web1"]`},

		{"GET", inAcme + "/distributions/", "", 200, `{"count":1,"items":[{`},
		{"GET", d + flags, "", 200, `"delimiter":{"end":"}","start":"${"}`},
		{"POST", d + "/lock", "", 200, ""},
		{"PUT", d, `{"description": "x"}`, 409, `distribution \"os\" is locked`},
		{"PUT", d + "/files/ks", `{"name": "other"}`, 409, `is locked`},
		{"POST", d + "/unlock", "", 200, ""},
		{"PUT", d, `{"description": "x", "url": "http://u", "price": "0.00"}`, 200, `"price":"0.00"`},
		{"PUT", d + "/_clone?name=os2", "", 200, `"name":"os2"`},
		{"GET", inAcme + "/distributions/os2/files/ks/content", "", 200, "lang ${lang}"},
		{"GET", d + "/thumb", "", 404, ""},
		{"POST", inAcme + "/distributions/?flavor=fedora", `{"name": "f", "settings": [{"key": "mirror", "value": "mine"}]}`, 201, `"key":"vmlinuzPath","value":"/images/pxeboot/vmlinuz"`},
		{"GET", inAcme + "/distributions/f/settings/mirror", "", 200, `"value":"mine"`},
		{"POST", inAcme + "/distributions/?flavor=beos", `{"name": "g"}`, 400, `centos, debian, fedora, opensuse, ubuntu`},
		{"GET", "/flavors/", "", 200, `{"count":5,"items":[{`},
		{"GET", "/flavors/ubuntu" + flags, "", 200, `"name":"ubuntu"`},
		{"GET", "/flavors/beos", "", 404, ""},
	})
	for base, last := range map[string]string{p: "The%20size", d: "Language", inAcme + "/applications/web": "Key"} {
		s.play([]exchange{
			{"GET", base + "/files/", "", 200, `"count":1`},
			{"POST", base + "/files/", `{"name": "More (1)", "path": "/etc/more"}`, 201, `"version":1`},
			{"GET", base + "/files/More%20%281%29" + flags, "", 200, `"name":"More (1)"`},
			{"PUT", base + "/files/More%20%281%29?force=False", `{"name": "less", "path": "/etc/less"}`, 200, `"name":"less"`},
			{"GET", base + "/files/less/content", "", 200, ""},
			{"DELETE", base + "/files/less", "", 204, ""},
			{"DELETE", base + "/files/less", "", 404, ""},
			{"GET", base + "/parameters/", "", 200, `"count":`},
			{"POST", base + "/parameters/", `{"name": "My param", "key": "my.param", "value": [1]}`, 201, `"version":1`},
			{"GET", base + "/parameters/My%20param" + flags, "", 200, `"key":"my.param"`},
			{"PUT", base + "/parameters/My%20param?force=False", `{"name": "My param", "key": "my.param", "value": 2}`, 200, `"value":2`},
			{"DELETE", base + "/parameters/My%20param", "", 204, ""},
			{"DELETE", base + "/parameters/" + last, "", 204, ""},
		})
	}
	// Updates above the clones; the final slash is a rename, and what refers to the name follows.
	s.play([]exchange{
		{"PUT", p + "/", `{"name": "sky"}`, 200, `"name":"sky"`},
		{"PUT", d + "/", `{"name": "linux"}`, 200, `"name":"linux"`},
		{"GET", web1, "", 200, `"platform":"sky","distribution":"linux"`},
		{"GET", web1 + "/platform/", "", 200, `"platform":"sky"`},
		{"GET", inAcme + "/environments/Dev/hosts/", "", 200, `"platform":"sky"`},
		{"GET", p, "", 404, ""},
	})
}

// settings at the levels of platforms, distributions, their contexts and host groups; secrets are seen by whom they may.
func TestPublishedSettingsOfContexts(t *testing.T) {
	s := newSite(t).furnish().furnishMore()
	for _, base := range []string{inAcme + "/platforms/cloud", inAcme + "/distributions/os", web1 + "/platform", web1 + "/distribution", inAcme + "/hostgroups/all"} {
		s.play([]exchange{
			{"POST", base + "/settings/?trigger_orchestration_handler=true&trigger_application_handler=true", `{"key": "a b", "value": {"x": [1]}}`, 201, `"value":{"x":[1]}`},
			{"POST", base + "/settings/", `{"key": "a b", "value": 1}`, 409, "update it instead"},
			{"GET", base + "/settings/a%20b", "", 200, `"version":1`},
			{"PUT", base + "/settings/a%20b?force=False", `{"key": "a b", "value": 2}`, 200, `"version":2`},
			{"GET", base + "/settings/?key=a%20b", "", 200, `{"count":1,`},
			{"PUT", base + "/settings/?no_delete=true", `{"newOrUpdatedSettings": [{"key": "c", "value": 3}]}`, 200, `"key":"c"`},
			{"DELETE", base + "/settings/a%20b?trigger_application_handler=false", "", 204, ""},
			{"GET", base + "/settings/a%20b", "", 404, ""},
			{"PUT", base + "/settings/?no_delete=false", `{"newOrUpdatedSettings": [{"key": "only", "value": 3}]}`, 200, `{"count":1,`},
		})
	}
	s.play([]exchange{
		{"GET", inAcme + "/tree/settings/", "", 200, `"platforms":[{"platform":"cloud","settings":[{`},
		{"GET", inAcme + "/tree/settings/", "", 200, `"distribution":{"distribution":"os","settings":[{`},
		{"GET", inAcme + "/application_properties/", "", 200, `{"count":0,"items":[]}`},
		{"GET", inAcme + "/hostgroups/all/application_properties/", "", 200, `{"count":0,"items":[]}`},
		{"GET", inAcme + "/hostgroups/none/application_properties/", "", 404, ""},
	})
	s.play([]exchange{{"PUT", inAcme + "/platforms/cloud/settings/", `{"newOrUpdatedSettings": [{"key": "k", "value": "s3cret-of-cloud", "schema": {"secret": true}}]}`, 200, ""}})
	s.user("rita", "readonly", "acme")
	s.user("arch", "architects", "acme")
	for _, path := range []string{"/platforms/", "/platforms/cloud", "/platforms/cloud/settings/", "/webhooks/", "/webhooks/hook", "/notifications/chat",
		"/applications/web/gits/site", "/applications/web/gits/", "/tree/settings/"} {
		for who, sees := range map[string]bool{"admin": true, "rita": false, "arch": false} {
			password := who + "-password"
			if who == "admin" {
				password = adminPassword
			}
			a := s.raw("GET", inAcme+path, "", "Authorization", basicAuth(who, password))
			if a.status != 200 || strings.Contains(a.body, "s3cret") != sees {
				t.Errorf("%s as %s: %d %s", path, who, a.status, a.body)
			}
		}
	}
	for _, c := range []struct {
		who, method, path, body string
		status                  int
	}{
		{"arch", "POST", "/platforms/cloud/settings/", `{"key": "mine", "value": 1}`, 201},
		{"arch", "POST", "/environments/Dev/hosts/web1/platform/settings/", `{"key": "mine", "value": 1}`, 403},
		{"arch", "PUT", "/distributions/os", `{"description": "by an architect"}`, 200},
		{"arch", "PUT", "/platforms/cloud/_clone?name=z", ``, 403},
		{"rita", "PUT", "/distributions/os", `{}`, 403},
		{"rita", "GET", "/environments/Dev/hosts/web1/platform/files/boot%20%5B1%5D.ipxe", ``, 403},
		{"rita", "GET", "/environments/Dev/hosts/web1/platform/files/boot%20%5B1%5D.ipxe/link", ``, 403},
	} {
		if a := s.raw(c.method, inAcme+c.path, c.body, "Authorization", basicAuth(c.who, c.who+"-password")); a.status != c.status {
			t.Errorf("%s %s as %s: %d %s, want %d", c.method, c.path, c.who, a.status, a.body, c.status)
		}
	}
}

// hosts platform and distribution: show, set, delete, rendered files.
func TestPublishedContexts(t *testing.T) {
	s := newSite(t).furnish().furnishMore()
	s.play([]exchange{
		{"GET", web1 + "/platform/?secret_only=False", "", 200, `"key":"size","value":"big"`},
		{"GET", web1 + "/distribution/", "", 200, `"environment":"Dev","host":"web1"`},
		{"GET", web1 + "/platform/files/boot%20%5B1%5D.ipxe", "", 200, "big a web1 ${x}\n"},
		{"GET", web1 + "/distribution/files/ks", "", 200, "lang en ks\n"},
		{"GET", web1 + "/distribution/files/none", "", 404, `has no file \"none\"`},
		{"POST", web1 + "/platform/", `{"platform": "none"}`, 400, `platform \"none\" does not exist`},
		{"DELETE", web1 + "/platform/", "", 409, `has an instance`},
		{"PUT", web1 + "/_clone", "", 200, `"platform":"cloud","distribution":"os"`},
		{"PUT", web1 + "/instance/_forget", "", 202, ""},
		{"DELETE", web1 + "/platform/", "", 204, ""},
		{"GET", web1 + "/platform/", "", 404, ""},
		{"DELETE", web1 + "/distribution/", "", 204, ""},
		{"GET", web1, "", 200, `"platform":null,"distribution":null`},
		{"POST", inAcme + "/environments/Dev/hosts/", `{"name": "h 2", "platform": "cloud", "distribution": "os", "applications": ["web"]}`, 201, `"platform":"cloud"`},
		{"PUT", inAcme + "/environments/Dev/_clone?name=Copy", "", 200, `"hosts":["h 2","web1","web1-clone"]`},
		{"GET", inAcme + "/environments/Copy/hosts/h%202", "", 200, `"platform":"cloud","distribution":"os","applications":["web"]`},
		{"DELETE", inAcme + "/applications/web", "", 409, `"Copy/h 2","Dev/h 2"`},
		{"DELETE", inAcme + "/environments/Copy", "", 204, ""},
		{"GET", inAcme + "/environments/Copy", "", 404, ""},
	})
}

// What is deleted takes its DEFINED hosts along, and is refused, with the list, while one has an instance.
func TestPublishedDeletions(t *testing.T) {
	s := newSite(t).furnish().furnishMore()
	s.play([]exchange{
		{"DELETE", inAcme + "/environments/Dev", "", 409, `1 host(s) with an instance: delete or forget the instances first","Dev/web1"]`},
		{"DELETE", inAcme, "", 409, `"Dev/web1"]`},
		{"DELETE", inAcme + "/hostgroups/all", "", 409, `is named by 1 orchestration(s): change them first","roll"]`},
		{"DELETE", inAcme + "/applications/web", "", 409, `is named by 1 orchestration(s)`},
	})
	// A host that the caller may not see is counted and not named.
	s.user("una", "users", "acme")
	s.join("una", "no access", "acme/Dev")
	a := s.raw("DELETE", inAcme+"/platforms/cloud", "", "Authorization", basicAuth("una", "una-password"))
	if a.status != http.StatusConflict || strings.Contains(a.body, "web1") || !strings.Contains(a.body, "1 host(s)") {
		t.Errorf("what hides in an environment: %d %s", a.status, a.body)
	}
	s.play([]exchange{
		{"PUT", web1 + "/instance/_forget", "", 202, ""},
		{"DELETE", inAcme + "/environments/Dev", "", 204, ""},
		{"GET", inAcme + "/hostgroups/all", "", 200, `"hosts":[]`},
		{"DELETE", inAcme, "", 204, ""},
		{"GET", inAcme, "", 404, ""},
	})
	if rows := s.rowsLeft(); len(rows) > 0 {
		t.Errorf("the deleted organization left rows of %v", rows)
	}
}

// populate=true makes what the public service documents (contract section 6).
func TestPublishedPopulate(t *testing.T) {
	s := newSite(t)
	s.play([]exchange{
		{"POST", "/organizations/?populate=true", `{"name": "new"}`, 201, `"environments":["Default"]`},
		{"GET", "/organizations/new/platforms/", "", 200, `"name":"Demo Platform"`},
		{"GET", "/organizations/new/platforms/Demo%20Platform", "", 200, `"className":"com.guardis.cortex.server.driver.FreeDriver"`},
		{"GET", "/organizations/new/distributions/Demo%20Distribution", "", 200, `"key":"kickstartName","value":"preseed.cfg"`},
		{"GET", "/organizations/new/applications/", "", 200, `"name":"Wordpress"`},
		{"POST", "/organizations/new/environments/Default/hosts/", `{"name": "h", "platform": "Demo Platform", "distribution": "Demo Distribution", "applications": ["Wordpress"]}`, 201, `"state":"DEFINED"`},
		{"GET", "/organizations/new/environments/Default/hosts/h/applications/Wordpress/files/wordpress.conf", "", 200, "<VirtualHost *:80>\n    ServerName blog.example.org\n"},
		{"POST", "/organizations/?populate=false", `{"name": "bare"}`, 201, `"environments":[]`},
	})
}

// host groups, orchestrations, webhooks, notification channels, modules and repositories are stored as they were given.
func TestPublishedDefinitions(t *testing.T) {
	s := newSite(t).furnish().furnishMore()
	h := inAcme + "/orchestrations/roll/handlers/"
	s.play([]exchange{
		{"GET", inAcme + "/hostgroups/", "", 200, `"position":0,"organization":"acme","environment":"Dev","host":"web1"`},
		{"PUT", inAcme + "/hostgroups/all?force=False", `{"name": "every", "description": "d", "hosts": []}`, 200, `"hosts":[]`},
		{"PUT", inAcme + "/hostgroups/every", `{"hosts": [{"position": 3, "environment": "Dev", "host": "web1"}]}`, 200, `"canonicalName":"Dev/web1"`},
		{"PUT", inAcme + "/hostgroups/every", `{"hosts": [{"environment": "Dev", "host": "none"}]}`, 400, `hosts names \"none\"`},
		{"GET", inAcme + "/hostgroups/every", "", 200, `"description":"d"`},
		{"GET", inAcme + "/orchestrations/", "", 200, `"count":1`},
		{"GET", inAcme + "/orchestrations/roll", "", 200, `"orderedHostGroup":[{"position":0,"hostGroup":{"uuid":"`},
		{"GET", web1 + "/orchestrations", "", 200, `"name":"roll"`},
		{"PUT", inAcme + "/applications/web/", `{"name": "site"}`, 200, ""},
		{"GET", inAcme + "/orchestrations/roll", "", 200, `{"position":0,"application":"site","handler":null,"serviceAction":{"name":"nginx","action":"STOP"}}`},
		{"PUT", inAcme + "/orchestrations/roll", `{"description": "x"}`, 200, `"description":"x"`},
		{"PUT", inAcme + "/orchestrations/roll", `{"applicationsOperations": [{"application": "none", "handler": "h"}]}`, 400, `names the application \"none\"`},
		{"PUT", inAcme + "/orchestrations/roll", `{"applicationsOperations": [{"application": "site"}]}`, 400, `either handler or serviceAction`},
		{"PUT", inAcme + "/orchestrations/roll/_clone?name=roll%202", "", 200, `"name":"roll 2"`},
		{"POST", h, `{"name": "on port", "triggers": ["port"]}`, 201, `"triggers":["port"]`},
		{"POST", h, `{"name": "on port"}`, 409, ""},
		{"GET", h, "", 200, `"count":1`},
		{"GET", h + "on%20port", "", 200, `"version":1`},
		{"PUT", h + "on%20port", `{"triggers": ["a", "b"]}`, 200, `"version":2`},
		{"DELETE", h + "on%20port", "", 204, ""},
		{"GET", h + "on%20port", "", 404, ""},
		{"PUT", inAcme + "/orchestrations/roll/_run", "", 501, "orchestrations.run is not built yet"},
		{"DELETE", inAcme + "/orchestrations/roll%202", "", 204, ""},
		{"DELETE", inAcme + "/orchestrations/roll", "", 204, ""},
		{"DELETE", inAcme + "/hostgroups/every", "", 204, ""},

		{"GET", inAcme + "/webhooks/", "", 200, `"count":1`},
		{"GET", inAcme + "/webhooks/hook?obfuscate=True", "", 200, `"token":"********"`},
		{"PUT", inAcme + "/webhooks/hook", `{"token": "********", "headers": [{"name": "X-A", "value": "********", "secret": true}], "method": "GET"}`, 200, `"method":"GET"`},
		{"GET", inAcme + "/webhooks/hook", "", 200, `"token":"s3cret-of-hook","body":"{}","headers":[{"name":"X-A","value":"s3cret-header","secret":true}]`},
		{"PUT", inAcme + "/webhooks/hook", `{"port": 70000, "protocol": "FTP"}`, 400, `protocol is \"FTP\": use HTTP or HTTPS","port is 70000`},
		{"PUT", inAcme + "/webhooks/hook/_run", "", 503, "calls no webhooks"},
		{"DELETE", inAcme + "/webhooks/hook", "", 204, ""},
		{"GET", inAcme + "/notifications/", "", 200, `"count":1`},
		{"GET", inAcme + "/notifications/chat", "", 200, `"organization":"acme"`},
		{"PUT", inAcme + "/notifications/chat", `{"value": "no JSON"}`, 400, `must be a text that holds JSON`},
		{"PUT", inAcme + "/notifications/chat", `{"value": "{}"}`, 200, `"version":2`},
		{"PUT", inAcme + "/notifications/chat/_run", "", 409, "says not where to"},
		{"GET", inAcme + "/notifications/chat/deliveries/", "", 200, "says not where to"},
		{"PUT", inAcme + "/notifications/chat", `{"value": "{\"to\": \"ops@example.org\"}"}`, 200, ""},
		{"PUT", inAcme + "/notifications/chat/_run", "", 200, ""},
		{"GET", inAcme + "/notifications/chat/deliveries/", "", 200, `"waiting":1`},
		{"DELETE", inAcme + "/notifications/chat", "", 204, ""},
		{"GET", inAcme + "/applications/site/rpmmodules/", "", 200, `"count":1`},
		{"GET", inAcme + "/applications/site/rpmmodules/nodejs", "", 200, `"enabled":true`},
		{"PUT", inAcme + "/applications/site/rpmmodules/nodejs", `{"stream": "22"}`, 200, `"stream":"22"`},
		{"PUT", inAcme + "/applications/site/_clone?name=copy", "", 200, ""},
		{"GET", inAcme + "/applications/copy/rpmmodules/", "", 200, `"stream":"22"`},
		{"POST", inAcme + "/applications/copy/lock", "", 200, ""},
		{"DELETE", inAcme + "/applications/copy/rpmmodules/nodejs", "", 409, "is locked"},
		{"DELETE", inAcme + "/applications/site/rpmmodules/nodejs", "", 204, ""},
		{"GET", inAcme + "/applications/site/gits/", "", 200, `"count":1`},
		{"GET", inAcme + "/applications/site/gits/site", "", 200, `"endpoint":"https://example.org/site.git"`},
		{"PUT", inAcme + "/applications/site/gits/site", `{"endpoint": "-oProxyCommand=x"}`, 400, "endpoint"},
		{"PUT", inAcme + "/applications/site/gits/site", `{"branch": "next"}`, 200, `"branch":"next"`},
		{"DELETE", inAcme + "/applications/site/gits/site", "", 204, ""},
		{"GET", inAcme + "/applications/site/gits/site", "", 404, ""},
	})
}

// A one-time address works without credentials, once, and is in no log.
func TestPublishedLinks(t *testing.T) {
	s := newSite(t).furnish().furnishMore()
	s.play([]exchange{{"POST", web1 + "/applications/", `{"application": "web"}`, 201, ""}})
	var tokens []string
	for path, want := range map[string]string{
		web1 + "/applications/web/files/site.conf/link":               "listen 80;\n",
		web1 + "/applications/web/files/site.conf/link?short=True":    "listen 80;\n",
		web1 + "/platform/files/boot%20%5B1%5D.ipxe/link?short=False": "big a web1 ${x}\n",
		web1 + "/distribution/files/ks/link":                          "lang en ks\n",
	} {
		var doc struct{ URL, Expires string }
		if err := json.Unmarshal([]byte(s.raw("GET", path, "").body), &doc); err != nil || doc.Expires == "" {
			t.Fatalf("%s: %+v %v", path, doc, err)
		}
		at, ok := strings.CutPrefix(doc.URL, s.url)
		if !ok {
			t.Fatalf("the address %s is not of %s", doc.URL, s.url)
		}
		token, _, _ := strings.Cut(strings.TrimPrefix(at, "/links/"), "/")
		tokens = append(tokens, token)
		if a := s.raw("HEAD", at, "", "Authorization", ""); a.status != 200 {
			t.Errorf("HEAD %s: %d", at, a.status)
		}
		if a := s.raw("GET", at, "", "Authorization", ""); a.status != 200 || a.body != want {
			t.Errorf("GET %s: %d %q", at, a.status, a.body)
		}
		again, never := s.raw("GET", at, "", "Authorization", ""), s.raw("GET", "/links/NEVER", "", "Authorization", "")
		if again.status != 404 || never.status != 404 || again.errors(t) != never.errors(t) {
			t.Errorf("again: %d %s, one that never was: %d %s", again.status, again.body, never.status, never.body)
		}
		s.raw("POST", "//links//"+token, "{}", "Authorization", "")
	}
	s.play([]exchange{{"GET", web1 + "/applications/web/files/none/link", "", 404, ""}})
	for _, token := range tokens {
		if len(token) < 26 || strings.Contains(s.log.String(), token) {
			t.Errorf("the log holds %s, or it is short", token)
		}
	}
	if !strings.Contains(s.log.String(), "/api/links/...") {
		t.Error("the log does not tell that an address was used")
	}
}

// Of many who use a one-time address at once, one gets the file.
func TestLinkWorksOnce(t *testing.T) {
	s := newSite(t).furnish().furnishMore()
	var doc struct{ URL string }
	if err := json.Unmarshal([]byte(s.raw("GET", web1+"/distribution/files/ks/link", "").body), &doc); err != nil {
		t.Fatal(err)
	}
	at := strings.TrimPrefix(doc.URL, s.url)
	var wg sync.WaitGroup
	got := make(chan int, 16)
	for range cap(got) {
		wg.Go(func() { got <- s.raw("GET", at, "", "Authorization", "").status })
	}
	wg.Wait()
	close(got)
	count := map[int]int{}
	for status := range got {
		count[status]++
	}
	if count[200] != 1 || count[404] != cap(got)-1 {
		t.Errorf("statuses %v", count)
	}
}
