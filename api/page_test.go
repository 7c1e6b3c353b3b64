package api_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
)

type part struct {
	Count  int
	Cursor string
	Items  []struct{ Name, Key string }
}

// part reads a part of a list.
func (s *site) part(path string) part {
	s.t.Helper()
	a := s.raw("GET", path, "")
	var p part
	if err := json.Unmarshal([]byte(a.body), &p); err != nil || a.status != 200 || p.Count != len(p.Items) {
		s.t.Fatalf("GET %s: %d %s %v", path, a.status, a.body, err)
	}
	return p
}

// Parts of a list come in the order of identifiers, whatever is made and deleted between them: nothing twice, and nothing that
// stays is lost, also not from another node.
func TestListParts(t *testing.T) {
	s := newSite(t).furnish()
	hosts := "/organizations/acme/environments/Dev/hosts/"
	for i := range 20 {
		s.raw("POST", hosts, fmt.Sprintf(`{"name": "h %02d"}`, i))
	}
	var seen []string
	path := hosts + "?limit=3"
	for n := 0; ; n++ {
		p := s.part(path)
		for _, h := range p.Items {
			seen = append(seen, h.Name)
		}
		if p.Cursor == "" {
			break
		}
		if n > 20 {
			t.Fatal("it does not end")
		}
		s.raw("POST", hosts, fmt.Sprintf(`{"name": "a new one %d"}`, n)) // before the cursor
		s.raw("DELETE", hosts+"h%2001", "")                              // was given already
		s.raw("DELETE", hosts+"h%2019", "")                              // will not be given
		path = hosts + "?cursor=" + p.Cursor + "&limit=3"
	}
	var want []string
	for i := range 19 {
		want = append(want, fmt.Sprintf("h %02d", i))
	}
	if want = append(want, "web1"); !slices.Equal(seen, want) {
		t.Errorf("seen %q", seen)
	}
	if p := s.part(hosts); p.Cursor != "" || p.Count < 20 {
		t.Errorf("the whole list has %d and the cursor %q", p.Count, p.Cursor)
	}
	first := s.part(hosts + "?limit=2")
	here := s.url
	s.url = s.another()
	if p := s.part(hosts + "?limit=1&cursor=" + first.Cursor); len(p.Items) != 1 || p.Items[0].Name <= first.Items[1].Name {
		t.Errorf("another node goes on with %+v", p)
	}
	s.url = here
	if p := s.part("/flavors/?limit=1000"); p.Count != 5 || p.Cursor != "" {
		t.Errorf("a list shorter than the limit: %+v", p)
	}
}

func TestBadCursors(t *testing.T) {
	s := newSite(t).furnish()
	settings := "/organizations/acme/settings/"
	for _, k := range []string{"a", "b", "c"} {
		s.raw("POST", settings, `{"key": "`+k+`", "value": 1}`)
	}
	cursor := s.part(settings + "?limit=1").Cursor
	changed := "B" + cursor[1:]
	for _, c := range []struct {
		query, want string
		status      int
	}{
		{"limit=0", "limit: give a number from 1 to 1000", 400},
		{"limit=-1", "limit: give a number", 400},
		{"limit=1001", "limit: give a number", 400},
		{"limit=x", `not "x"`, 400},
		{"cursor=x", "cursor: it is none that an answer told", 400},
		{"cursor=" + changed, "cursor: it is none that an answer told", 400},
		{"cursor=" + cursor[:len(cursor)-2], "cursor: it is none that an answer told", 400},
		{"cursor=" + cursor + "&key=a", "cursor: it is of another list", 400},
	} {
		if a := s.raw("GET", settings+"?"+c.query, ""); a.status != c.status || !strings.Contains(a.errors(t), c.want) {
			t.Errorf("%s: %d %s", c.query, a.status, a.body)
		}
	}
	if a := s.raw("GET", "/organizations/acme/environments/?cursor="+url.QueryEscape(cursor), ""); a.status != 400 {
		t.Errorf("a cursor of another list: %d %s", a.status, a.body)
	}
	s.db.Restore(t, s.db.Save(t))
	if a := s.raw("GET", settings+"?cursor="+cursor, ""); a.status != 410 || !strings.Contains(a.errors(t), "of epoch 1, and the cluster, restored") {
		t.Errorf("a cursor of the epoch before: %d %s", a.status, a.body)
	}
}

// Changes are in the order of their numbers, not of their digits.
func TestPlacesOfNumbers(t *testing.T) {
	s := newSite(t).furnish()
	s.raw("POST", web1+"/applications/", `{"application": "web"}`)
	for range 11 {
		s.raw("PUT", web1+"/applications/web/services/nginx/_restart", "")
	}
	var got []int
	for path := web1 + "/changes/?limit=4"; path != ""; {
		var p struct {
			Cursor string
			Items  []struct{ OrderNum int }
		}
		a := s.raw("GET", path, "")
		if err := json.Unmarshal([]byte(a.body), &p); err != nil || a.status != 200 {
			t.Fatalf("%d %s %v", a.status, a.body, err)
		}
		for _, c := range p.Items {
			got = append(got, c.OrderNum)
		}
		path = ""
		if p.Cursor != "" {
			path = web1 + "/changes/?limit=4&cursor=" + p.Cursor
		}
	}
	if len(got) < 11 || !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
		t.Errorf("changes %v", got)
	}
}
