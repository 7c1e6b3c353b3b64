package model_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/fsm/model"
)

// row is what fsm/state keeps.
type row interface {
	Table() string
	Key() string
	Ranges() []string
	Parent() (table, key string)
}

// rows are all kinds of rows, each with fields that name its place.
func rows(org, env, host, id, name string) []row {
	owner := model.Owner{Level: model.LevelHost, OrgID: org, ID: host}
	return []row{
		&model.OrganizationRow{ID: org, Name: name, AccessKey: "K" + id},
		&model.EnvironmentRow{ID: env, OrgID: org, Name: name},
		&model.HostRow{ID: host, OrgID: org, EnvID: env, Name: name},
		&model.InstanceRow{ID: id, OrgID: org, HostID: host},
		&model.ContextRow{ID: id, OrgID: org, HostID: host, AppID: "A" + id},
		&model.ApplicationRow{Kit: model.Kit{ID: id, OrgID: org, Name: name}},
		&model.PlatformRow{Kit: model.Kit{ID: id, OrgID: org, Name: name}},
		&model.DistributionRow{Kit: model.Kit{ID: id, OrgID: org, Name: name}},
		&model.PlatformContextRow{Attachment: model.Attachment{ID: id, OrgID: org, HostID: host, OfID: "P" + id}},
		&model.DistributionContextRow{Attachment: model.Attachment{ID: id, OrgID: org, HostID: host, OfID: "D" + id}},
		&model.FileLinkRow{Digest: "L" + id, OrgID: org, HostID: host, Owner: owner, File: name},
		&model.HostgroupRow{ID: id, OrgID: org, Name: name, Hosts: []string{host}},
		&model.OrchestrationRow{ID: id, OrgID: org, Name: name, Hostgroups: []string{"G" + id}, Operations: []model.OperationRow{{AppID: "A" + id}}},
		&model.WebhookRow{Definition: model.Definition{ID: id, OrgID: org, OwnerID: org, Name: name}},
		&model.NotificationRow{Definition: model.Definition{ID: id, OrgID: org, OwnerID: org, Name: name}},
		&model.RpmModuleRow{Definition: model.Definition{ID: id, OrgID: org, OwnerID: "A" + id, Name: name}},
		&model.GitRow{Definition: model.Definition{ID: id, OrgID: org, OwnerID: "A" + id, Name: name}},
		&model.SettingRow{ID: id, Owner: owner, Name: name},
		&model.GroupRow{Owner: owner, Name: name, Users: []string{"U" + id}},
		&model.UserRow{ID: id, Username: name},
		&model.InvitationRow{ID: id, Owner: owner, Group: "users", Username: name},
		&model.SessionRow{ID: id, UserID: "U" + id},
		&model.LastUseRow{ID: id},
		&model.RegistrationRow{ID: id, Username: name, TokenHash: "T" + id},
		&model.TOTPRow{UserID: "U" + id},
		&model.IdentityRow{ID: id, UserID: "U" + id},
		&model.ApplicationKeyRow{ID: id, OrgID: org, Name: name, TokenHash: "T" + id, AccessKey: "K" + id},
		&model.Change{ID: id, HostID: host, OrderNum: 3},
		&model.ChangeCounter{HostID: host},
		&model.ComplianceRow{OrgID: org, HostID: host, AppID: "A" + id, Type: "files", Name: name},
		&model.Agent{ID: id, OrgID: org, EnvID: env, HostID: host},
		&model.Lanes{AgentID: id},
		&model.Presence{AgentID: id},
		&model.AlertMark{AgentID: id, Resource: "R"},
		&model.EnrolToken{ID: id, OrgID: org, EnvID: env},
		&model.OrgKey{OrgID: org},
		&model.Order{ID: id, OrgID: org, HostID: host, AgentID: "G" + id},
	}
}

// TestRowsHaveAPlace: each kind has a table of its own, a key, and a parent that is a table of ours.
func TestRowsHaveAPlace(t *testing.T) {
	all := rows("O", "E", "H", "I", "n")
	tables := map[string]bool{"organization": true}
	for _, r := range all {
		nilRow := reflect.Zero(reflect.TypeOf(r)).Interface().(row)
		if r.Table() == "" || nilRow.Table() != r.Table() || r.Key() == "" {
			t.Errorf("%T: table %q, key %q", r, r.Table(), r.Key())
		}
		if _, isOrg := r.(*model.OrganizationRow); tables[r.Table()] && !isOrg {
			t.Errorf("%T shares table %s", r, r.Table())
		}
		tables[r.Table()] = true
	}
	for _, r := range all {
		table, key := r.Parent()
		switch r.(type) {
		case *model.OrganizationRow, *model.UserRow, *model.LastUseRow, *model.RegistrationRow:
			if table != "" {
				t.Errorf("%T has a parent", r)
			}
		default:
			if !tables[table] || key == "" {
				t.Errorf("%T: parent %q %q", r, table, key)
			}
		}
		if slices.Contains(r.Ranges(), "") {
			t.Errorf("%T has a range without a name", r)
		}
	}
}

// TestRowsReadBack: what is written as JSON is read back the same, so a snapshot loses nothing.
func TestRowsReadBack(t *testing.T) {
	for _, r := range rows("O", "E", "H", "I", "n") {
		fill(reflect.ValueOf(r).Elem(), 0)
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatalf("%T: %v", r, err)
		}
		again := reflect.New(reflect.TypeOf(r).Elem()).Interface().(row)
		if err := json.Unmarshal(text, again); err != nil {
			t.Fatalf("%T: %v", r, err)
		}
		twice, err := json.Marshal(again)
		if err != nil || string(twice) != string(text) {
			t.Errorf("%T:\n%s\nbecame\n%s %v", r, text, twice, err)
		}
		if r.Key() != again.Key() || !slices.Equal(r.Ranges(), again.Ranges()) {
			t.Errorf("%T has another place after it was read back", r)
		}
	}
}

// fill gives each field that is empty a value.
func fill(v reflect.Value, depth int) {
	if depth > 6 || !v.CanSet() {
		return
	}
	switch v.Kind() {
	case reflect.String:
		if v.Len() == 0 {
			v.SetString(fmt.Sprintf("s%d", depth))
		}
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint64:
		v.SetUint(7)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), depth+1)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.Set(reflect.ValueOf([]byte(`{"a":1}`)).Convert(v.Type()))
			return
		}
		if v.Len() == 0 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		}
		fill(v.Index(0), depth+1)
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, depth+1)
		fill(value, depth+1)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), depth+1)
		}
	}
}

// TestRangesKeepTenantsApart: rows of two organizations with the same names share no range but those of the whole
// cluster, and no key.
func TestRangesKeepTenantsApart(t *testing.T) {
	whole := []string{model.AllAgents, model.AllUsers, model.OpenChanges, model.OpenOrders}
	a, b := rows("O1", "E1", "H1", "I1", "same"), rows("O2", "E2", "H2", "I2", "same")
	for i := range a {
		if a[i].Key() == b[i].Key() {
			t.Errorf("%T: both have the key %s", a[i], a[i].Key())
		}
		for _, r := range a[i].Ranges() {
			switch a[i].(type) {
			case *model.OrganizationRow, *model.UserRow, *model.LastUseRow, *model.RegistrationRow: // their names are the cluster's
				continue
			}
			if slices.Contains(b[i].Ranges(), r) && !slices.Contains(whole, r) {
				t.Errorf("%T: both are in the range %s", a[i], r)
			}
		}
	}
}

// TestUniqueNamesAreWhole: a name that holds another's parts is not in its range.
func TestUniqueNamesAreWhole(t *testing.T) {
	for what, pair := range map[string][2]string{
		"host":        {model.HostNamed("E", "a"), model.HostNamed("E/a", "")},
		"environment": {model.EnvironmentNamed("O", "ab"), model.EnvironmentNamed("Oa", "b")},
		"application": {model.ApplicationNamed("O", "ab"), model.ApplicationNamed("Oa", "b")},
		"key":         {model.ApplicationKeyNamed("O", "ab"), model.ApplicationKeyNamed("Oa", "b")},
		"change":      {model.ChangeNumbered("H", 11), model.ChangeNumbered("H1", 1)},
		"setting":     {model.SettingKey("O", "ab"), model.SettingKey("Oa", "b")},
		"context":     {model.ContextOf("H", "ab"), model.ContextOf("Ha", "b")},
	} {
		if pair[0] == pair[1] {
			t.Errorf("%s: two names give the range %s", what, pair[0])
		}
	}
}

func TestOrderRanges(t *testing.T) {
	o := &model.Order{ID: "I", HostID: "H"}
	open := []string{model.OrdersOf("H"), model.OpenOrders, model.OpenOrderOf("H")}
	if got := o.Ranges(); !slices.Equal(got, open) {
		t.Errorf("open: %v", got)
	}
	o.Done = true
	if got := o.Ranges(); !slices.Equal(got, open[:1]) {
		t.Errorf("done: %v", got)
	}
}

func TestSettingRanges(t *testing.T) {
	for _, c := range []struct {
		s    model.SettingRow
		want []string
	}{
		{model.SettingRow{}, []string{"owner/H"}},
		{model.SettingRow{Link: "l"}, []string{"owner/H", "links/O"}},
		{model.SettingRow{Property: "p"}, []string{"owner/H", "properties/O"}},
		{model.SettingRow{Property: "p", Link: "l"}, []string{"owner/H"}},
	} {
		c.s.Owner = model.Owner{Level: model.LevelHost, OrgID: "O", ID: "H"}
		if got := c.s.Ranges(); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v", c.s, got)
		}
	}
}

func TestComplianceKeyWithoutApplication(t *testing.T) {
	known := &model.ComplianceRow{HostID: "H", AppID: "web", Type: "files", Name: "n"}
	unknown := &model.ComplianceRow{HostID: "H", Application: "web", Type: "files", Name: "n"}
	if known.Key() == unknown.Key() {
		t.Error("an application's id and a name that an agent told can be the same key")
	}
}

func TestInstanceProperties(t *testing.T) {
	i := &model.InstanceRow{Properties: []model.Property{{Key: "hostname", Value: "h"}, {Key: "empty"}}}
	for key, want := range map[string]string{"hostname": "h true", "empty": " true", "none": " false"} {
		v, ok := i.Property(key)
		if got := fmt.Sprint(v, " ", ok); got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
}

func TestResourceTypes(t *testing.T) {
	seen := map[string]bool{}
	for _, word := range []string{model.TypeServices, model.TypeFiles, model.TypePackages, model.TypeUsers, model.TypeGroups, model.TypeRepositories} {
		name := model.ResourceType(word)
		if seen[name] || !strings.HasSuffix(name, "Resource") || strings.HasPrefix(name, word+"R") {
			t.Errorf("%s is shown as %s", word, name)
		}
		seen[name] = true
	}
	if got := model.ResourceType(model.TypeDirectories); got != "fileResource" { // the contract has six types
		t.Errorf("a directory is shown as %s", got)
	}
	if got := model.ResourceType("cron"); got != "cronResource" {
		t.Errorf("a word of later: %s", got)
	}
}

func TestSecretsAreHashed(t *testing.T) {
	a, b := model.HashSecret("one"), model.HashSecret("two")
	if a == b || strings.Contains(a, "one") || a != model.HashSecret("one") {
		t.Errorf("hashes %s %s", a, b)
	}
}

func TestGroupIDs(t *testing.T) {
	seen := map[string]bool{}
	for _, owner := range []string{"O", "E", "H"} {
		for _, name := range model.GroupNames() {
			id := model.GroupUUID(owner, name)
			if seen[id] || len(id) != 32 || id != strings.ToUpper(id) {
				t.Errorf("group %s of %s: %s", name, owner, id)
			}
			seen[id] = true
		}
	}
}
