package auth_test

import (
	"context"
	"encoding/base64"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
)

func TestPasswordMatchesItsHashOnly(t *testing.T) {
	h := auth.HashPassword("correct horse")
	if strings.Contains(h, "correct") || !strings.HasPrefix(h, "$argon2id$") {
		t.Errorf("hash is %q", h)
	}
	if !auth.VerifyPassword(h, "correct horse") {
		t.Error("the right password does not match")
	}
	for _, wrong := range []string{"", "correct hors", "correct horse "} {
		if auth.VerifyPassword(h, wrong) {
			t.Errorf("%q matches", wrong)
		}
	}
	if h == auth.HashPassword("correct horse") {
		t.Error("two hashes of one password are equal: no salt")
	}
}

func TestDamagedHashMatchesNothing(t *testing.T) {
	good := auth.HashPassword("x")
	for _, h := range []string{
		"", "x", "$argon2id$v=19$m=19456,t=2,p=1$$", good[:len(good)-30], strings.Replace(good, "argon2id", "argon2i", 1),
		strings.Replace(good, "m=19456", "m=99999999", 1), strings.Replace(good, "t=2", "t=0", 1), good + "$x",
	} {
		if auth.VerifyPassword(h, "x") {
			t.Errorf("%q matches", h)
		}
	}
}

// bytesOf is how much memory f took in all. Argon2 is made to take much, so it tells whether a password was hashed, and
// at what cost, also on a machine that is busy.
func bytesOf(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestPasswordsRememberForAMinute(t *testing.T) {
	now := time.Unix(1000, 0)
	p := auth.NewPasswords(func() time.Time { return now })
	ctx, h := context.Background(), auth.HashPassword("secret")
	verify := func(user, hash, password string) (ok bool, cost uint64) {
		t.Helper()
		cost = bytesOf(func() {
			var err error
			if ok, err = p.Verify(ctx, user, hash, password); err != nil {
				t.Fatalf("verify: %v", err)
			}
		})
		return ok, cost
	}
	ok, dear := verify("anna", h, "secret")
	if !ok || dear < 1<<20 {
		t.Fatalf("the right password: %v, for %d bytes", ok, dear)
	}
	if ok, cost := verify("anna", h, "secret"); !ok || cost > dear/4 {
		t.Errorf("the second time cost %d bytes of %d, ok %v: it is not remembered", cost, dear, ok)
	}
	if ok, _ := verify("anna", auth.HashPassword("other"), "secret"); ok {
		t.Error("the old password is accepted after a change, because it was remembered")
	}
	if ok, _ := verify("ben", "", "secret"); ok {
		t.Error("an unknown user is accepted")
	}
	now = now.Add(2 * time.Minute)
	if ok, cost := verify("anna", h, "secret"); !ok || cost < dear/4 {
		t.Errorf("after two minutes it cost %d bytes of %d, ok %v: it is still remembered", cost, dear, ok)
	}
}

// A refusal costs as much for a user that exists as for one that does not: the work is that of Argon2, whose memory and
// rounds are the same.
func TestUnknownUserCostsAsMuch(t *testing.T) {
	p := auth.NewPasswords(nil)
	h := auth.HashPassword("secret")
	cost := func(hash string) uint64 {
		return bytesOf(func() {
			if ok, err := p.Verify(context.Background(), "u", hash, "wrong"); ok || err != nil {
				t.Fatalf("wrong password: %v, %v", ok, err)
			}
		})
	}
	known, unknown := cost(h), cost("")
	if known < 1<<20 || unknown < known*9/10 || known < unknown*9/10 {
		t.Errorf("a known user costs %d bytes, an unknown one %d", known, unknown)
	}
}

func TestVerifyEndsWithItsContext(t *testing.T) {
	p := auth.NewPasswords(nil)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for range 20 { // a free slot may be taken even so; not twenty times
		if _, err := p.Verify(ctx, "u", "", "x"); err != nil {
			return
		}
	}
	t.Error("verifying goes on after its context ended")
}

func header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

func basic(raw string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(raw)) }

func TestFromRequest(t *testing.T) {
	c, err := auth.FromRequest(header("X-Comodit-Appkey", "tok", "Authorization", basic("a:b")), "s")
	if err != nil || c.Token != "tok" || len(c.Users) != 0 {
		t.Errorf("an application key does not win: %+v, %v", c, err)
	}
	c, err = auth.FromRequest(header("Authorization", basic("anna:p:w")), "s")
	if err != nil || len(c.Users) != 1 || c.Users[0] != (auth.Login{User: "anna", Password: "p:w"}) {
		t.Errorf("Basic: %+v, %v", c, err)
	}
	// Latin-1, as the published client writes it.
	c, err = auth.FromRequest(header("Authorization", basic("ren\xe9:p")), "s")
	if err != nil || len(c.Users) != 1 || c.Users[0].User != "rené" {
		t.Errorf("Latin-1: %+v, %v", c, err)
	}
	// UTF-8 reads as Latin-1 too, so both are tried.
	c, err = auth.FromRequest(header("Authorization", basic("rené:p")), "s")
	if err != nil || len(c.Users) != 2 || c.Users[0].User != "rené" {
		t.Errorf("UTF-8: %+v, %v", c, err)
	}
	c, err = auth.FromRequest(header("X-ComodIT-JwtToken", "j", "Cookie", "s=k", "Authorization", basic("a:b")), "s")
	if err != nil || c.JWT != "j" || c.Cookie || len(c.Users) != 0 {
		t.Errorf("a JWT: %+v, %v", c, err)
	}
	c, err = auth.FromRequest(header("Cookie", "x=y; s=k"), "s")
	if err != nil || c.JWT != "k" || !c.Cookie {
		t.Errorf("a cookie: %+v, %v", c, err)
	}
	c, err = auth.FromRequest(header("Cookie", "s=k", "Authorization", basic("a:b")), "s")
	if err != nil || c.JWT != "" || len(c.Users) != 1 {
		t.Errorf("a cookie beside a password: %+v, %v", c, err)
	}
	for name, h := range map[string]http.Header{
		"none": header(), "bearer": header("Authorization", "Bearer x"), "not base64": header("Authorization", "Basic ***"),
		"no colon": header("Authorization", basic("anna")), "another cookie": header("Cookie", "x=y"),
		"huge": header("Authorization", basic(strings.Repeat("x", 5000)+":y")), "huge key": header("X-ComodIT-AppKey", strings.Repeat("x", 5000)),
	} {
		if _, err := auth.FromRequest(h, "s"); model.CodeOf(err) != model.Unauthenticated {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRoles(t *testing.T) {
	may := func(r auth.Role) string {
		s := ""
		for a, letter := range map[auth.Action]string{auth.Enter: "e", auth.Read: "r", auth.Design: "d", auth.Operate: "o", auth.ReadSecret: "s", auth.Manage: "m"} {
			if r.May(a) {
				s += letter
			}
		}
		return s
	}
	for _, c := range []struct {
		levels [][]string
		want   int // how many of the six actions
	}{
		{nil, 0},
		{[][]string{{}}, 0},
		{[][]string{{"unknown"}}, 0},
		{[][]string{{"readonly"}}, 2},
		{[][]string{{"architects"}}, 3},
		{[][]string{{"auditors"}}, 4},
		{[][]string{{"users"}}, 5},
		{[][]string{{"admin"}}, 6},
		{[][]string{{"users", "readonly"}}, 5},                  // the greatest of one level
		{[][]string{{"architects", "readonly"}}, 3},             //
		{[][]string{{"architects", "auditors"}}, 4},             //
		{[][]string{{"users", "no access"}}, 0},                 // but no access beats all
		{[][]string{{"users"}, {"readonly"}}, 2},                // the nearest level decides
		{[][]string{{"readonly"}, {}, {"users"}}, 5},            //
		{[][]string{{"architects"}, {"users"}}, 5},              //
		{[][]string{{"users"}, {"no access"}}, 0},               // hidden
		{[][]string{{"users"}, {"no access"}, {"admin"}}, 6},    // the host itself names the caller
		{[][]string{{"admin"}, {"no access"}, {"readonly"}}, 6}, // an organization's administrator stays one
	} {
		if got := may(auth.Resolve(c.levels...)); len(got) != c.want {
			t.Errorf("%v may %q, want %d actions", c.levels, got, c.want)
		}
	}
	if got := may(auth.PasserBy); got != "e" {
		t.Errorf("a passer-by may %q", got)
	}
}

func FuzzFromRequest(f *testing.F) {
	f.Add("Basic YTpi", "")
	f.Add("basic  ////", "x")
	f.Fuzz(func(t *testing.T, authorization, key string) {
		h := http.Header{"Authorization": {authorization}, http.CanonicalHeaderKey(spec.HeaderAppKey): {key}}
		c, err := auth.FromRequest(h, "s")
		if err == nil && c.Token == "" && c.JWT == "" && len(c.Users) == 0 {
			t.Fatal("accepted without credentials")
		}
		if err != nil && model.CodeOf(err) != model.Unauthenticated {
			t.Fatalf("error %v", err)
		}
	})
}
