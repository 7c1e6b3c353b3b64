package model_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/muster-hq/muster/fsm/model"
)

// checked is a document that says what is wrong with it.
type checked[T any] interface {
	*T
	Validate() error
}

// fuzzDocument decodes a document, validates it, and sees that what is written reads back the same.
func fuzzDocument[T any, P checked[T]](t *testing.T, data []byte, prepare func(P)) {
	doc, err := model.Decode[T](data)
	if err != nil {
		if model.CodeOf(err) != model.Invalid {
			t.Fatalf("code of %v", err)
		}
		return
	}
	if prepare != nil {
		prepare(&doc)
	}
	if err := P(&doc).Validate(); err != nil && model.CodeOf(err) != model.Invalid {
		t.Fatalf("code of %v", err)
	}
	text, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	again, err := model.Decode[T](text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if text2, err := json.Marshal(again); err != nil || !bytes.Equal(text, text2) {
		t.Fatalf("not stable:\n%s\n%s\n%v", text, text2, err)
	}
}

func FuzzPlatform(f *testing.F) {
	f.Add([]byte(`{"name":"p","driver":{"className":"c"},"files":[{"name":"f","delimiter":{"start":"#","end":"#"}}],"x":[1],"locked":null}`))
	f.Fuzz(func(t *testing.T, data []byte) { fuzzDocument(t, data, (*model.Platform).ClearServerFields) })
}

func FuzzDistribution(f *testing.F) {
	f.Add([]byte(`{"name":"d","price":"0.00","canPull":true,"parameters":[{"name":"n","key":"k","value":1}],"settings":[{"key":"k"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) { fuzzDocument(t, data, (*model.Distribution).ClearServerFields) })
}

func FuzzWebhook(f *testing.F) {
	f.Add([]byte(`{"name":"w","serverName":"h","port":1,"headers":[{"name":"a","value":"b","secret":true}],"properties":[{"name":"n","jsonPath":"$"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) { fuzzDocument(t, data, (*model.Webhook).Normalize) })
}

func FuzzNotificationChannel(f *testing.F) {
	f.Add([]byte(`{"channel":"c","value":"{}","notifiableViews":[{"actionType":"compOk","active":true}]}`))
	f.Fuzz(func(t *testing.T, data []byte) { fuzzDocument(t, data, (*model.NotificationChannel).Normalize) })
}

func FuzzRpmModule(f *testing.F) {
	f.Add([]byte(`{"name":"nodejs","stream":"20","profile":"common","enabled":true}`))
	f.Fuzz(func(t *testing.T, data []byte) { fuzzDocument[model.RpmModule](t, data, nil) })
}

func FuzzGit(f *testing.F) {
	f.Add([]byte(`{"name":"g","endpoint":"https://h/x.git","branch":"main","authenticationMethod":"SSH"}`))
	f.Fuzz(func(t *testing.T, data []byte) { fuzzDocument[model.Git](t, data, nil) })
}

// plainDocument has no rules of its own: the verbs check what it names.
type plainDocument[T any] struct{ Doc T }

func (*plainDocument[T]) Validate() error { return nil }

func (p *plainDocument[T]) UnmarshalJSON(data []byte) error { return json.Unmarshal(data, &p.Doc) }

func (p plainDocument[T]) MarshalJSON() ([]byte, error) { return json.Marshal(p.Doc) }

func FuzzHostgroup(f *testing.F) {
	f.Add([]byte(`{"name":"g","hosts":[{"position":1,"environment":"e","host":"h"}],"settings":[{"key":"k","value":1}]}`))
	f.Fuzz(func(t *testing.T, data []byte) { fuzzPlain[model.Hostgroup](t, data) })
}

func FuzzOrchestration(f *testing.F) {
	f.Add([]byte(`{"name":"o","applicationsOperations":[{"application":"a","handler":"h"}],"orderedHostGroup":[{"hostGroup":{"name":"g"}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) { fuzzPlain[model.Orchestration](t, data) })
}

// fuzzPlain decodes; what is refused is told as Invalid.
func fuzzPlain[T any](t *testing.T, data []byte) {
	if _, err := model.Decode[T](data); err != nil {
		if model.CodeOf(err) != model.Invalid {
			t.Fatalf("code of %v", err)
		}
		return
	}
	fuzzDocument[plainDocument[T]](t, data, nil)
}

// Links name settings at every level, and nothing else.
func TestLinksToEveryLevel(t *testing.T) {
	for link, want := range map[string]model.LinkTarget{
		"organizations/o/settings/k":                                     {Organization: "o", Key: "k"},
		"organizations/o/platforms/p/settings/k":                         {Organization: "o", Platform: "p", Key: "k"},
		"organizations/o/distributions/d/settings/k":                     {Organization: "o", Distribution: "d", Key: "k"},
		"organizations/o/hostgroups/g/settings/k":                        {Organization: "o", Hostgroup: "g", Key: "k"},
		"organizations/o/environments/e/hosts/h/platform/settings/k":     {Organization: "o", Environment: "e", Host: "h", Context: "platform", Key: "k"},
		"organizations/o/environments/e/hosts/h/distribution/settings/k": {Organization: "o", Environment: "e", Host: "h", Context: "distribution", Key: "k"},
		"organizations/settings/settings/settings":                       {Organization: "settings", Key: "settings"},
	} {
		if got, err := model.ParseLink(link); err != nil || got != want || got.String() != link {
			t.Errorf("%s: %+v %v", link, got, err)
		}
	}
	for _, link := range []string{
		"", "organizations", "organizations//settings/k", "organizations/o", "organizations/o/settings/", "organizations/o/settings", "settings/k",
		"organizations/o/environments/e/hosts//settings/k", "organizations/o/hosts/h/settings/k", "organizations/o/platforms/p/distributions/d/settings/k",
		"organizations/o/environments/e/platforms/p/settings/k", "organizations/o/environments/e/hosts/h/applications/a/platform/settings/k",
		"organizations/o/environments/e/platform/settings/k", "organizations/o/platforms//settings/k", "organizations/o/settings/a/b",
	} {
		if got, err := model.ParseLink(link); err == nil {
			t.Errorf("%q is read as %+v", link, got)
		}
	}
}

// Each fault of a stored definition is told.
func TestDefinitionsAreChecked(t *testing.T) {
	port := 0
	for want, err := range map[string]error{
		"method is \"DELETE\": use GET or POST or PUT": (&model.Webhook{Name: "w", Method: "DELETE", Protocol: "HTTP", AuthenticationMethod: "NO_AUTH", ServerName: "h"}).Validate(),
		"serverName is \"a/b\"":                        (&model.Webhook{Name: "w", Method: "GET", Protocol: "HTTP", AuthenticationMethod: "NO_AUTH", ServerName: "a/b"}).Validate(),
		"port is 0":                                    (&model.Webhook{Name: "w", Method: "GET", Protocol: "HTTP", AuthenticationMethod: "NO_AUTH", ServerName: "h", Port: &port}).Validate(),
		"no line ends":                                 (&model.Webhook{Name: "w", Method: "GET", Protocol: "HTTP", AuthenticationMethod: "NO_AUTH", ServerName: "h", Headers: []model.Pair{{Name: "a", Value: "b\r\nc"}}}).Validate(),
		"must begin with /":                            (&model.Webhook{Name: "w", Method: "GET", Protocol: "HTTP", AuthenticationMethod: "NO_AUTH", ServerName: "h", Path: "x"}).Validate(),
		"channel is missing":                           (&model.NotificationChannel{Name: "n"}).Validate(),
		"holds JSON":                                   (&model.NotificationChannel{Name: "n", Channel: "c", Value: "{"}).Validate(),
		"is there twice":                               (&model.NotificationChannel{Name: "n", Channel: "c", NotifiableViews: []model.NotifiableView{{ActionType: "a"}, {ActionType: "a"}}}).Validate(),
		"rpm module stream":                            (&model.RpmModule{Name: "m", Stream: "-x"}).Validate(),
		"branch is \"-x\"":                             (&model.Git{Name: "g", Endpoint: "e", Branch: "-x"}).Validate(),
		"use HTTPS or SSH":                             (&model.Git{Name: "g", Endpoint: "e", AuthenticationMethod: "FTP"}).Validate(),
	} {
		if model.CodeOf(err) != model.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// Flavors are what the contract names, with parameters, the same ids every time.
func TestFlavors(t *testing.T) {
	if got := model.FlavorNames(); got != "centos, debian, fedora, opensuse, ubuntu" {
		t.Errorf("flavors %s", got)
	}
	ids := map[string]bool{}
	for i, f := range model.Flavors() {
		if f.UUID != model.Flavors()[i].UUID || ids[f.UUID] || len(f.Parameters) == 0 {
			t.Errorf("flavor %+v", f)
		}
		ids[f.UUID] = true
		for _, p := range f.Parameters {
			if p.Validate() != nil || ids[p.UUID] || len(p.Value) == 0 {
				t.Errorf("parameter %+v of %s", p, f.Name)
			}
			ids[p.UUID] = true
		}
	}
}
