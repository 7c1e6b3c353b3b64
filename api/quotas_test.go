package api_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

func (s *site) quota(body string) {
	s.t.Helper()
	if a := s.raw("PUT", "/quotas/acme", body); a.status != 200 {
		s.t.Fatalf("set the quota %s: %d %s", body, a.status, a.body)
	}
}

// What would be beyond a quota is refused by whichever way it comes, in dry runs too, and nothing is done.
func TestQuotasOfThings(t *testing.T) {
	s := newSite(t).furnish()
	hosts, apps := "/organizations/acme/environments/Dev/hosts/", "/organizations/acme/applications/"
	s.quota(`{"hosts": 2, "applications": 2}`)
	s.play([]exchange{
		{"POST", hosts, `{"name": "second"}`, 201, ""},
		{"POST", apps, `{"name": "second"}`, 201, ""},
	})
	before := s.db.Local().Index()
	s.play([]exchange{
		{"POST", hosts, `{"name": "third"}`, 403, "the quota hosts of the organization is 2, it has 2 and this would make 1 more"},
		{"POST", hosts + "?dry_run=true", `{"name": "third"}`, 403, "the quota hosts"},
		{"PUT", hosts + "second/_clone", "", 403, "the quota hosts"},
		{"PUT", "/organizations/acme/environments/Dev/_clone?name=Other", "", 403, "it has 2 and this would make 2 more"},
		{"POST", apps, `{"name": "third"}`, 403, "the quota applications of the organization is 2"},
		{"PUT", apps + "web/_clone?name=third", "", 403, "the quota applications"},
	})
	if now := s.db.Local().Index(); now != before {
		t.Errorf("refused requests moved the state from %d to %d", before, now)
	}
	s.play([]exchange{
		{"DELETE", hosts + "second", "", 204, ""},
		{"POST", hosts, `{"name": "third"}`, 201, ""},
	})
	s.quota(`{"changesInFlight": 0}`)
	s.play([]exchange{
		{"POST", web1 + "/applications/", `{"application": "web"}`, 403, "the quota changesInFlight of the organization is 0, it has 0"},
	})
	s.quota(`{"changesInFlight": 1}`)
	s.play([]exchange{
		{"POST", web1 + "/applications/", `{"application": "web"}`, 201, ""},
		{"PUT", web1 + "/applications/web/services/nginx/_restart", "", 403, "is 1, it has 1 and this would make 1 more"},
	})
	var use model.QuotaUse
	if err := json.Unmarshal([]byte(s.raw("GET", "/organizations/acme/quota", "").body), &use); err != nil || use.Default || use.Used.Bytes <= 0 || use.Used != (model.QuotaHas{Hosts: 2, Applications: 2, ChangesInFlight: 1, Bytes: use.Used.Bytes}) {
		t.Errorf("%+v %v", use, err)
	}
	s.play([]exchange{
		{"DELETE", "/quotas/acme", "", 204, ""},
		{"GET", "/quotas/acme", "", 200, `"hosts":20000`},
		{"PUT", web1 + "/applications/web/services/nginx/_restart", "", 200, ""},
	})
}

// TestQuotaOfBytes: what is stored is counted, contents too, and no more is taken; what is removed counts no more.
func TestQuotaOfBytes(t *testing.T) {
	s := newSite(t).furnish()
	count := func() int64 {
		var use model.QuotaUse
		if err := json.Unmarshal([]byte(s.raw("GET", "/organizations/acme/quota", "").body), &use); err != nil {
			t.Fatalf("%+v %v", use, err)
		}
		return use.Used.Bytes
	}
	before := count()
	setting := func(size int) string { return `{"key": "big", "value": "` + strings.Repeat("x", size) + `"}` }
	s.play([]exchange{{"POST", inAcme + "/settings/", setting(10_000), 201, ""}})
	with := count()
	if grown := with - before; grown < 10_000 || grown > 11_000 {
		t.Errorf("a setting of 10,000 bytes counts %d", grown)
	}
	s.quota(`{"bytes": ` + strconv.FormatInt(with+5_000, 10) + `}`)
	s.play([]exchange{
		{"PUT", inAcme + "/settings/big", setting(20_000), 403, "the quota bytes of the organization is"},
		{"PUT", inAcme + "/settings/big?dry_run=true", setting(20_000), 403, "the quota bytes"},
		{"PUT", inAcme + "/settings/big", setting(10_001), 200, ""},
		{"DELETE", inAcme + "/settings/big", "", 204, ""},
	})
	quota := s.raw("GET", "/quotas/acme", "")
	if after := count(); after != before && after > before+500 { // the quota itself is a row
		t.Errorf("after the deletion %d bytes, before %d: %s", after, before, quota.body)
	}
}

// TestQuotaOfBytesIsExact: writes of settings and large contents are taken up to the last byte of the quota and no further, at once, not
// when somebody has counted.
func TestQuotaOfBytesIsExact(t *testing.T) {
	s := newSite(t).furnish()
	used := func() int64 {
		o, err := orchestrate.OrganizationByName(s.db.Local(), "acme")
		if err != nil {
			t.Fatal(err)
		}
		return state.StoredBytes(s.db.Local(), o.ID)
	}
	create := func(key string, size int) answer {
		return s.raw("POST", inAcme+"/settings/", `{"key": "`+key+`", "value": "`+strings.Repeat("x", size)+`"}`)
	}
	s.quota(`{"bytes": 1}`)
	s.quota(`{"bytes": ` + strconv.FormatInt(used()+20_000, 10) + `}`)
	limit := used() + 20_000
	taken := 0
	for ; create(fmt.Sprintf("k%03d", taken), 1000).status == 201; taken++ {
		if now := used(); now > limit {
			t.Fatalf("%d bytes are stored, of %d", now, limit)
		}
	}
	if taken < 12 || taken > 17 {
		t.Errorf("%d settings of 1000 bytes and their rows were taken into 20,000 bytes", taken)
	}
	if now := used(); limit-now > 1500 {
		t.Errorf("%d bytes were left", limit-now)
	}
	random := make([]byte, 600<<10) // goes ahead of its row, in parts
	_, _ = rand.Read(random)
	text := base64.StdEncoding.EncodeToString(random)
	upload := func() answer {
		return s.raw("POST", inAcme+"/applications/web/files/site.conf/content", "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n\r\n"+text+"\r\n--B--\r\n",
			"Content-Type", "multipart/form-data; boundary=B")
	}
	s.quota(`{"bytes": ` + strconv.FormatInt(used()+300_000, 10) + `}`)
	limit = used() + 300_000
	if a := upload(); a.status != 403 || !strings.Contains(a.body, "the quota bytes") {
		t.Errorf("a content that does not fit: %d %.300s", a.status, a.body)
	}
	if now := used(); now > limit+1000 {
		t.Errorf("%d bytes are stored, of %d", now, limit)
	}
	s.quota(`{"bytes": 100000000}`)
	before := used()
	if a := upload(); a.status != 200 {
		t.Errorf("a content that fits: %d %.300s", a.status, a.body)
	}
	if grown := used() - before; grown < int64(len(random)) || grown > int64(len(text))+5000 {
		t.Errorf("a content of %d random bytes as Base64 counts %d", len(random), grown)
	}
}

func TestQuotasAreTheSites(t *testing.T) {
	s := newSite(t).furnish()
	s.play([]exchange{
		{"GET", "/quotas/", "", 200, `"default":true`},
		{"GET", "/quotas/nope", "", 404, "nope"},
		{"PUT", "/quotas/acme", `{"hosts": -1}`, 400, "hosts: give a number from 0 to"},
		{"PUT", "/quotas/acme", `{"requestsPerSecond": 0}`, 400, "requestsPerSecond: give a number from 1"},
		{"PUT", "/quotas/acme", `{"hosts": 9007199254740993}`, 400, "hosts: give a number"},
		{"PUT", "/quotas/acme", `{"hosts": 1.5}`, 400, "hosts must be a whole number"},
		{"POST", "/users/", `{"username": "anna", "password": "long enough"}`, 201, ""},
		{"PUT", "/organizations/acme/groups/admin", `{"users": [{"username": "admin"}, {"username": "anna"}]}`, 200, "anna"},
	})
	for _, c := range [][2]string{{"GET", "/quotas/"}, {"GET", "/quotas/acme"}, {"PUT", "/quotas/acme"}, {"DELETE", "/quotas/acme"}} {
		if a := s.raw(c[0], c[1], "{}", "Authorization", basicAuth("anna", "long enough")); a.status != 403 {
			t.Errorf("%s %s by an administrator of the organization: %d", c[0], c[1], a.status)
		}
	}
	if a := s.raw("GET", "/organizations/acme/quota", "", "Authorization", basicAuth("anna", "long enough")); a.status != 200 {
		t.Errorf("one's own quota: %d %s", a.status, a.body)
	}
	s.quota(`{"hosts": 7}`)
	s.play([]exchange{
		{"PUT", web1 + "/instance/_forget", "", 202, ""},
		{"DELETE", "/organizations/acme", "", 204, ""},
		{"POST", "/organizations/", `{"name": "acme"}`, 201, ""},
		{"GET", "/quotas/acme", "", 200, `"hosts":20000`},
	})
}

// Who asks too often is told which quota and when to come again; other organizations, and who is a stranger, notice nothing.
func TestQuotasOfRates(t *testing.T) {
	s := newSite(t).furnish()
	s.raw("POST", "/organizations/", `{"name": "other"}`)
	s.quota(`{"requestsPerSecond": 1}`)
	refused := 0
	for tries := 0; tries < 1000 && refused < 3; tries++ { // a machine may be so busy that a second passes between two
		a := s.raw("GET", "/organizations/acme", "")
		if a.status != 429 {
			continue
		}
		refused++
		if n, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || n < 1 || !strings.Contains(a.errors(t), "the quota requestsPerSecond of the organization is 1") {
			t.Errorf("%v %s", a.header, a.body)
		}
		if b := s.raw("GET", "/organizations/other", ""); b.status != 200 {
			t.Errorf("another organization: %d %s", b.status, b.body)
		}
	}
	if refused == 0 {
		t.Error("requests at once at a quota of 1 a second: none was refused")
	}
	s.quota(`{"requestsPerSecond": 100000, "bytesPerSecond": 100}`)
	refused = 0
	for i := 0; i < 1000 && refused < 3; i++ {
		a := s.raw("POST", "/organizations/acme/settings/", fmt.Sprintf(`{"key": "k%d", "value": "%s"}`, i, strings.Repeat("x", 10_000)))
		if a.status == 429 && strings.Contains(a.errors(t), "the quota bytesPerSecond of the organization is 100") {
			refused++
		}
	}
	if refused == 0 {
		t.Error("requests of 10 kB at a quota of 100 bytes a second: none was refused")
	}
}
