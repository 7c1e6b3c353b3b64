package orchestrate_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// ledger is what the settings are, kept by the test in the plainest way, to compare the resolution with.
type ledger struct {
	*world
	rnd    *rand.Rand
	owners []place
	props  map[string]map[string]string // by host
	set    map[string]map[string]model.Setting
}

// place is an owner with the places above it, nearest first, and its address.
type place struct {
	owner model.Owner
	path  string
	above []int
	host  string
}

// TestRandomSettings compares every effective value with the ledger's after each of many random changes, and that
// handlers run where the value of their key changed and nowhere else.
func TestRandomSettings(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			l := newLedger(t, rand.New(rand.NewPCG(seed, 3)))
			for range 120 {
				before := l.values()
				what := l.change()
				l.compare(what, before, l.values())
			}
		})
	}
}

func newLedger(t *testing.T, rnd *rand.Rand) *ledger {
	l := &ledger{world: newWorld(t), rnd: rnd, props: map[string]map[string]string{}, set: map[string]map[string]model.Setting{}}
	l.app(web)
	h1, h2 := l.host("h1", "web"), l.host("h2", "web")
	const env = "organizations/Demo/environments/Default"
	l.owners = []place{
		{l.owner(model.LevelOrganization, l.org), "organizations/Demo", []int{0}, ""},
		{l.owner(model.LevelEnvironment, l.env), env, []int{1, 0}, ""},
		{l.owner(model.LevelHost, h1), env + "/hosts/h1", []int{2, 1, 0}, h1},
		{l.owner(model.LevelHost, h2), env + "/hosts/h2", []int{3, 1, 0}, h2},
		{l.context(h1, "web"), env + "/hosts/h1/applications/web", []int{4, 2, 1, 0}, h1},
		{l.context(h2, "web"), env + "/hosts/h2/applications/web", []int{5, 3, 1, 0}, h2},
	}
	for _, p := range l.owners {
		l.set[p.path] = map[string]model.Setting{}
	}
	for _, h := range []string{h1, h2} {
		l.props[h] = map[string]string{"hostname": "h1"}
	}
	l.props[h2]["hostname"] = "h2"
	return l
}

func isFinal(s model.Setting) bool { return string(s.Schema) == `{"final":true}` }

// want resolves by the words of the contract. An empty text is no value.
func (l *ledger) want(at int, key string, seen map[string]bool) string {
	var found *model.Setting
	var from place
	for i := len(l.owners[at].above) - 1; i >= 0; i-- { // from far to near
		p := l.owners[l.owners[at].above[i]]
		s, ok := l.set[p.path][key]
		if !ok {
			continue
		}
		found, from = &s, p
		if isFinal(s) {
			break
		}
	}
	if found == nil {
		if key == "port" && at >= 4 {
			return "80" // the parameter's default
		}
		return ""
	}
	switch found.Kind() {
	case model.SettingProperty:
		v, ok := l.props[l.owners[at].host][found.Property]
		if !ok {
			return ""
		}
		text, _ := json.Marshal(v)
		return string(text)
	case model.SettingLink:
		id := from.path + " " + key
		if seen[id] {
			return string(found.Value)
		}
		next := map[string]bool{id: true}
		for k := range seen {
			next[k] = true
		}
		for i, p := range l.owners {
			for _, k := range []string{"port", "a", "b"} {
				if found.Link == p.path+"/settings/"+k {
					if v := l.want(i, k, next); v != "" {
						return v
					}
				}
			}
		}
	}
	return string(found.Value)
}

// values are the effective values of all keys at both applications.
func (l *ledger) values() map[string]string {
	out := map[string]string{}
	for at := 4; at <= 5; at++ {
		for _, key := range []string{"port", "a", "b"} {
			out[fmt.Sprint(at, key)] = l.want(at, key, nil)
		}
	}
	return out
}

// change does something to a setting or a property, and notes it when it was taken.
func (l *ledger) change() string {
	p := l.owners[l.rnd.IntN(len(l.owners))]
	key := []string{"port", "a", "b"}[l.rnd.IntN(3)]
	all := orchestrate.Trigger{Handlers: true}
	var s model.Setting
	switch l.rnd.IntN(8) {
	case 0, 1:
		err := l.try(func(tx *state.Tx) error { return orchestrate.DeleteSetting(tx, p.owner, key, all) })
		if _, had := l.set[p.path][key]; had != (err == nil) {
			l.t.Fatalf("delete %s of %s: had it %v, %v", key, p.path, had, err)
		}
		delete(l.set[p.path], key)
		return "delete " + p.path + " " + key
	case 2:
		if p.host == "" {
			p = l.owners[2]
		}
		v := fmt.Sprint("v", l.rnd.IntN(3))
		l.do(func(tx *state.Tx) error {
			return orchestrate.SetProperties(tx, p.host, []model.Property{{Key: "rack", Value: v}})
		})
		l.props[p.host]["rack"] = v
		return "property of " + p.path
	case 3, 4:
		to := l.owners[l.rnd.IntN(len(l.owners))]
		s = model.Setting{Key: key, Link: to.path + "/settings/" + []string{"port", "a", "b", "none"}[l.rnd.IntN(4)]}
		if l.rnd.IntN(2) == 0 {
			s.Value = value(`"fallback"`)
		}
	case 5:
		s = model.Setting{Key: key, Property: []string{"hostname", "rack", "none"}[l.rnd.IntN(3)]}
	case 6:
		s = model.Setting{Key: key, Value: value(fmt.Sprint(l.rnd.IntN(4))), Schema: value(`{"final":true}`)}
	default:
		s = model.Setting{Key: key, Value: value(fmt.Sprint(l.rnd.IntN(4)))}
	}
	err := l.try(func(tx *state.Tx) error { return orchestrate.BulkSettings(tx, p.owner, []model.Setting{s}, true, all) })
	final := false
	for _, i := range p.above[1:] {
		final = final || isFinal(l.set[l.owners[i].path][key])
	}
	if !final && l.circles(p.path, key, s) {
		if model.CodeOf(err) != model.Invalid || !strings.Contains(err.Error(), "circle") {
			l.t.Fatalf("set %+v at %s: a circle, and %v", s, p.path, err)
		}
		return "refused circle"
	}
	if (err == nil) == final || err != nil && model.CodeOf(err) != model.Conflict {
		l.t.Fatalf("set %+v at %s: final above is %v, %v", s, p.path, final, err)
	}
	if err == nil {
		l.set[p.path][key] = s
	}
	return fmt.Sprintf("set %s %s value %s link %q property %q", p.path, key, s.Value, s.Link, s.Property)
}

func (l *ledger) compare(what string, before, after map[string]string) {
	l.t.Helper()
	view := l.db.Local()
	for at := 4; at <= 5; at++ {
		p := l.owners[at]
		for _, key := range []string{"port", "a", "b"} {
			got, err := orchestrate.Origin(view, l.org, p.host, "web", key)
			want := after[fmt.Sprint(at, key)]
			if string(got.Value) != want || (err == nil) != (want != "") {
				l.t.Fatalf("after %s: %s at %s is %s (%v), want %q", what, key, p.path, got.Value, err, want)
			}
		}
		id := fmt.Sprint(at, "port")
		changed := before[id] != after[id]
		if ran := len(l.open(p.host)); changed && ran != 1 || !changed && ran != 0 {
			l.t.Fatalf("after %s: port at %s went from %q to %q, and %d changes are queued", what, p.path, before[id], after[id], ran)
		}
		l.finish(p.host)
	}
}

// circles says whether a setting would lead round and round.
func (l *ledger) circles(path, key string, s model.Setting) bool {
	first := key
	old, had := l.set[path][first]
	l.set[path][first] = s
	defer func() {
		if delete(l.set[path], first); had {
			l.set[path][first] = old
		}
	}()
	seen := map[string]bool{}
	for at, s := path, s; s.Kind() == model.SettingLink; {
		if seen[at+" "+key] {
			return true
		}
		seen[at+" "+key] = true
		next := -1
		for i, p := range l.owners {
			for _, k := range []string{"port", "a", "b"} {
				if s.Link == p.path+"/settings/"+k {
					next, key = i, k
				}
			}
		}
		if next < 0 {
			return false
		}
		found := false
		for i := len(l.owners[next].above) - 1; i >= 0; i-- { // from far to near
			p := l.owners[l.owners[next].above[i]]
			if o, ok := l.set[p.path][key]; ok {
				at, s, found = p.path, o, true
				if isFinal(o) {
					break
				}
			}
		}
		if !found {
			return false
		}
	}
	return false
}
