package api_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestLinksInACircle has settings of every level link to one another: the write that would close the circle is refused,
// alone and in bulk, names it, and changes nothing.
func TestLinksInACircle(t *testing.T) {
	s := newSite(t).furnish().furnishMore()
	s.play([]exchange{{"POST", web1 + "/applications/", `{"application": "web"}`, 201, ""}})
	levels := []string{inAcme, inAcme + "/environments/Dev", web1, web1 + "/applications/web", web1 + "/platform", web1 + "/distribution", inAcme + "/platforms/cloud", inAcme + "/distributions/os"}
	n := len(levels)
	key := func(k, i int) string { return fmt.Sprintf("ring%dlevel%d", k, i%n) } // one of its own at each level: a key is inherited
	setting := func(k, i, to int) string {
		return fmt.Sprintf(`{"key": %q, "link": %q}`, key(k, i), strings.TrimPrefix(levels[to%n], "/")+"/settings/"+key(k, to))
	}
	for k := range levels { // a ring around all levels that begins at each of them
		for i := range n - 1 {
			s.play([]exchange{{"POST", levels[(k+i)%n] + "/settings/?trigger_application_handler=false", setting(k, k+i, k+i+1), 201, ""}})
		}
		before := s.db.Local().Index()
		at := levels[(k+n-1)%n] + "/settings/"
		closing := setting(k, k+n-1, k)
		self := setting(k, k+n-1, k+n-1)
		for name, e := range map[string]exchange{
			"alone":     {"POST", at, closing, 400, "leads in a circle"},
			"rehearsed": {"POST", at + "?dry_run=true", closing, 400, "leads in a circle"},
			"in bulk":   {"PUT", at + "?no_delete=true", `{"newOrUpdatedSettings": [{"key": "other", "value": 1}, ` + closing + `]}`, 400, "leads in a circle"},
			"to itself": {"POST", at, self, 400, "leads in a circle"},
		} {
			if a := s.raw(e.method, e.path, e.body); a.status != e.status || !strings.Contains(a.errors(t), e.want) || !strings.Contains(a.errors(t), fmt.Sprintf("settings/ring%dlevel", k)) {
				t.Errorf("%s at %s: %d %s", name, at, a.status, a.body)
			}
		}
		if now := s.db.Local().Index(); now != before {
			t.Errorf("refused links moved the state from %d to %d", before, now)
		}
	}
}

// TestTemplatesThatLoop renders, on each route that does, files that would never end or fill the memory: each is cut off
// with the line, while others are answered.
func TestTemplatesThatLoop(t *testing.T) {
	s := newSite(t).furnish()
	s.play([]exchange{{"POST", web1 + "/applications/", `{"application": "web"}`, 201, ""}})
	content := inAcme + "/applications/web/files/site.conf/content"
	for name, template := range map[string]string{
		"a loop":         "a\n<#list 1..2000000000 as x><#list 1..2000000000 as y></#list></#list>",
		"output":         "a\n<#list 1..2000000000 as x>xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx</#list>",
		"a text":         "a\n${'x'?left_pad(2000000000)}",
		"a doubling":     "a\n<#assign s = 'x'><#list 1..64 as i><#assign s = s + s></#list>",
		"a list":         "a\n${(1..2000000000)?reverse?size}",
		"recursion":      "<#macro m><@m/></#macro>\n<@m/>",
		"two recursions": "<#function f><#return g()></#function><#function g><#return f()></#function>\n${f()}",
		"interpreted":    "a\n<#assign t = r'<@t?interpret/>'><@t?interpret/>",
		"evaluated":      "a\n<#assign t = 't?eval'>${t?eval?eval?eval}<#list 1..1e9 as x>${'1'?eval}</#list>",
		"an expression":  "a\n${'a' + " + strings.Repeat("(", 300) + "1" + strings.Repeat(")", 300) + "}",
	} {
		before := s.db.Local().Index()
		doc, err := json.Marshal(map[string]string{"template": template})
		if err != nil {
			t.Fatal(err)
		}
		if a := s.raw("POST", web1+"/_preview", string(doc)); a.status != 400 || !strings.Contains(a.errors(t), "line ") {
			t.Errorf("%s, previewed: %d %.300s", name, a.status, a.body)
		}
		if now := s.db.Local().Index(); now != before {
			t.Errorf("%s: a preview moved the state", name)
		}
		if name != "a loop" && name != "a text" && name != "an expression" {
			continue // it is the same renderer, and rendering up to the limits takes its time
		}
		upload, kind := form("file", template)
		a := s.raw("POST", content, upload, "Content-Type", kind)
		if a.status == 400 { // it is seen when stored
			if !strings.Contains(a.errors(t), "line ") || s.db.Local().Index() != before {
				t.Errorf("%s, stored: %d %.300s", name, a.status, a.body)
			}
			continue
		}
		if a := s.raw("GET", web1+"/applications/web/files/site.conf", ""); a.status < 400 || a.status >= 500 || !strings.Contains(a.errors(t), "line ") {
			t.Errorf("%s, rendered for a host: %d %.300s", name, a.status, a.body)
		}
	}
	upload, kind := form("file", "fine")
	s.raw("POST", content, upload, "Content-Type", kind)
	if a := s.raw("GET", web1+"/applications/web/files/site.conf", ""); a.body != "fine" {
		t.Errorf("afterwards: %d %s", a.status, a.body)
	}
}

// TestLinksThatLeadFar: a chain of links ends where no more are followed, a link that would lead farther is refused, and
// a thousand of them hold nothing up.
func TestLinksThatLeadFar(t *testing.T) {
	s := newSite(t).furnish()
	s.play([]exchange{{"POST", web1 + "/applications/", `{"application": "web"}`, 201, ""}})
	const n = 1000
	for from := 0; from < n; from += 25 { // none leads far yet, so none is refused
		var list []string
		for i := range 25 {
			list = append(list, fmt.Sprintf(`{"key": "d%d", "value": "own %d", "link": "organizations/acme/settings/d%d"}`, from+i, from+i, from+i+1))
		}
		s.do("PUT", inAcme+"/settings/?no_delete=true", `{"newOrUpdatedSettings": [`+strings.Join(list, ",")+`]}`)
	}
	s.do("POST", inAcme+"/settings/", fmt.Sprintf(`{"key": "d%d", "value": "end"}`, n))
	origin := web1 + "/applications/web/origin-settings/"
	s.play([]exchange{
		{"GET", origin + "d968", "", 200, `"value":"end"`},     // 32 links
		{"GET", origin + "d967", "", 200, `"value":"own 999"`}, // one more
		{"GET", origin + "d0", "", 200, `"value":"own 32"`},    // far too many
		{"POST", web1 + "/_preview", `{"template": "${d0} ${d968}"}`, 200, "own 32 end"},
		{"GET", inAcme + "/settings/d0/explain", "", 200, "no more than 32 links are followed"},
		{"GET", inAcme + "/settings/d1000/impact", "", 200, `["organizations/acme/settings/d999",`},
		{"PUT", inAcme + "/settings/d968", `{"value": "changed"}`, 200, ""},
		{"PUT", inAcme + "/settings/d967", `{"value": "changed"}`, 400, `setting \"d967\": its link leads on over more than 32 links: let it link to where the value stands`},
		{"PUT", inAcme + "/settings/d1000", `{"value": "end", "link": "organizations/acme/settings/d0"}`, 400, "over more than 32 links"},
		{"PUT", inAcme + "/settings/d967", `{"value": "own", "link": "organizations/acme/settings/d1000"}`, 200, ""},
		{"GET", origin + "d967", "", 200, `"value":"end"`},
	})
}

// TestTwoClientsRename has two clients give the same thing two names at once, then two things the same name: one of them
// has its way, the other is told, and what refers to the thing has the name that it has.
func TestTwoClientsRename(t *testing.T) {
	s := newSite(t).furnish().furnishMore()
	s.play([]exchange{{"POST", web1 + "/applications/", `{"application": "web"}`, 201, ""}})
	both := func(first, second exchange) (int, int) {
		var wg sync.WaitGroup
		var got [2]answer
		for i, e := range []exchange{first, second} {
			wg.Go(func() { got[i] = s.raw(e.method, e.path, e.body) })
		}
		wg.Wait()
		for _, a := range got {
			if a.status >= 400 && len(a.errors(t)) < 10 {
				t.Errorf("%d %s", a.status, a.body)
			}
		}
		return got[0].status, got[1].status
	}
	for noun, c := range map[string]struct{ list, name, refers, field string }{
		"environment":  {inAcme + "/environments/", "Dev", "", ""},
		"host":         {inAcme + "/environments/%s/hosts/", "web1", inAcme + "/hostgroups/all", `"host":"%s"`},
		"application":  {inAcme + "/applications/", "web", "", ""},
		"platform":     {inAcme + "/platforms/", "cloud", "", ""},
		"distribution": {inAcme + "/distributions/", "os", "", ""},
		"host group":   {inAcme + "/hostgroups/", "all", inAcme + "/orchestrations/roll", `"name":"%s"`},
		"organization": {"/organizations/", "acme", "", ""},
	} {
		if noun == "organization" || noun == "environment" || noun == "host" {
			continue // those above others come last
		}
		s.renames(both, noun, c.list, c.name, c.refers, c.field)
	}
	env := s.renames(both, "environment", inAcme+"/environments/", "Dev", "", "")
	s.renames(both, "host", inAcme+"/environments/"+env+"/hosts/", "web1", "", "")
	s.renames(both, "organization", "/organizations/", "acme", "", "")
}

// renames lets two clients rename one thing many times, and gives the name that it has at the end.
func (s *site) renames(both func(a, b exchange) (int, int), noun, list, name, refers, field string) string {
	s.t.Helper()
	for i := range 5 {
		a, b := fmt.Sprintf("%s-a%d", noun[:2], i), fmt.Sprintf("%s-b%d", noun[:2], i)
		one, two := both(exchange{"PUT", list + name, `{"name": "` + a + `"}`, 0, ""}, exchange{"PUT", list + name, `{"name": "` + b + `"}`, 0, ""})
		there := func(n string) bool { return s.raw("GET", list+n, "").status == 200 }
		switch {
		case one == 200 && two == 404 && there(a) && !there(b) && !there(name):
			name = a
		case one == 404 && two == 200 && there(b) && !there(a) && !there(name):
			name = b
		default:
			s.t.Fatalf("two names for one %s: %d and %d; %s %v, %s %v", noun, one, two, a, there(a), b, there(b))
		}
		if refers != "" {
			if doc := s.raw("GET", refers, "").body; !strings.Contains(doc, fmt.Sprintf(field, name)) {
				s.t.Errorf("%s does not name %s: %s", refers, name, doc)
			}
		}
	}
	return name
}

// TestTwoClientsTakeAName has two clients create, and rename to, the same name at once: one has it, the other a 409.
func TestTwoClientsTakeAName(t *testing.T) {
	s := newSite(t).furnish().furnishMore()
	for noun, list := range map[string]string{"environment": inAcme + "/environments/", "application": inAcme + "/applications/", "platform": inAcme + "/platforms/",
		"distribution": inAcme + "/distributions/", "host": inAcme + "/environments/Dev/hosts/", "organization": "/organizations/", "host group": inAcme + "/hostgroups/"} {
		s.raw("POST", list, `{"name": "left", "driver": {"className": "x"}}`)
		s.raw("POST", list, `{"name": "right", "driver": {"className": "x"}}`)
		for what, ask := range map[string][2]exchange{
			"created": {{"POST", list, `{"name": "same", "driver": {"className": "x"}}`, 0, ""}, {"POST", list, `{"name": "same", "driver": {"className": "x"}}`, 0, ""}},
			"renamed": {{"PUT", list + "left", `{"name": "one"}`, 0, ""}, {"PUT", list + "right", `{"name": "one"}`, 0, ""}},
		} {
			var wg sync.WaitGroup
			var got [2]answer
			for i, e := range ask {
				wg.Go(func() { got[i] = s.raw(e.method, e.path, e.body) })
			}
			wg.Wait()
			won := 0
			for _, a := range got {
				if a.status < 300 {
					won++
				} else if a.status != 409 || !strings.Contains(a.errors(t), `"same"`) && !strings.Contains(a.errors(t), `"one"`) {
					t.Errorf("%s, %s: %d %s", noun, what, a.status, a.body)
				}
			}
			if won != 1 {
				t.Errorf("%s, %s by two: %d had their way", noun, what, won)
			}
		}
	}
}

// TestDeletingWhatIsInUse is refused with 409 and the list of what uses it, and changes nothing; so does its rehearsal.
func TestDeletingWhatIsInUse(t *testing.T) {
	s := newSite(t).furnish().furnishMore()
	s.play([]exchange{{"POST", web1 + "/applications/", `{"application": "web"}`, 201, ""}})
	before := s.db.Local().Index()
	for _, e := range []exchange{
		{"DELETE", inAcme, "", 409, "Dev/web1"},
		{"DELETE", inAcme + "/environments/Dev", "", 409, "Dev/web1"},
		{"DELETE", web1, "", 409, "instance"},
		{"DELETE", web1 + "/platform/", "", 409, "instance"},
		{"DELETE", inAcme + "/platforms/cloud", "", 409, "Dev/web1"},
		{"DELETE", inAcme + "/distributions/os", "", 409, "Dev/web1"},
		{"DELETE", inAcme + "/applications/web", "", 409, "Dev/web1"},
		{"DELETE", inAcme + "/hostgroups/all", "", 409, "roll"},
		{"DELETE", inAcme + "/applications/web/files/site.conf", "", 409, "names the file"},
		{"DELETE", "/users/admin", "", 409, "admin"},
		{"PUT", inAcme + "/groups/admin", `{"users": []}`, 409, "nobody could manage it"},
	} {
		for _, dry := range []string{"", "?dry_run=true"} {
			if a := s.raw(e.method, e.path+dry, e.body); a.status != e.status || !strings.Contains(a.body, e.want) {
				t.Errorf("%s %s%s: %d %s", e.method, e.path, dry, a.status, a.body)
			}
		}
	}
	if now := s.db.Local().Index(); now != before {
		t.Errorf("refused deletions moved the state from %d to %d", before, now)
	}
}

// TestAClockThatJumps lets the leader's clock jump forward, back, and forward again: time in the state never goes back,
// what has ended stays ended, what has not goes on, and each write is taken.
func TestAClockThatJumps(t *testing.T) {
	s := newSite(t).furnish()
	s.remembered()
	clock := s.clock()
	start := clock.read()
	session := func(user string) string {
		a := s.raw("POST", "/account/sessions/", "{}")
		var token struct{ Token string }
		if err := json.Unmarshal([]byte(a.body), &token); err != nil || token.Token == "" {
			t.Fatalf("a session: %d %s", a.status, a.body)
		}
		return token.Token
	}
	with := func(token string) int {
		return s.raw("GET", "/organizations/acme", "", "Authorization", "", "X-Comodit-Jwttoken", token).status
	}
	old := session("admin")
	if with(old) != 200 {
		t.Fatal("a new session is of no use")
	}
	last := s.db.Local().Now()
	for i, jump := range []time.Duration{time.Hour, -24 * time.Hour, 400 * 24 * time.Hour, -400 * 24 * time.Hour, 0} {
		clock.set(start.Add(jump))
		name := fmt.Sprintf("env%d", i)
		if a := s.raw("POST", inAcme+"/environments/", `{"name": "`+name+`"}`); a.status != 201 {
			t.Errorf("a write after a jump of %s: %d %s", jump, a.status, a.body)
		}
		if now := s.db.Local().Now(); now.Before(last) {
			t.Errorf("after a jump of %s the state's time went from %s back to %s", jump, last, now)
		} else {
			last = now
		}
		fresh := session("admin")
		if got := with(fresh); got != 200 {
			t.Errorf("a session made after a jump of %s: %d", jump, got)
		}
		var token struct{ Expires string }
		a := s.raw("POST", inAcme+"/environments/"+name+"/enroltokens/", `{"expires": "1h"}`)
		if err := json.Unmarshal([]byte(a.body), &token); err != nil || a.status != 201 {
			t.Errorf("a token after a jump of %s: %d %s", jump, a.status, a.body)
		}
		if ends, err := time.Parse("2006-01-02T15:04:05.000-0700", token.Expires); err != nil || !ends.After(last) {
			t.Errorf("a token made after a jump of %s ends at %s, and it is %s", jump, token.Expires, last)
		}
		if i >= 2 && with(old) == 200 {
			t.Errorf("after a jump of %s a session of more than a year ago is good again", jump)
		}
	}
}
