package auth_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/fsm/model"
)

func loginKey(id string) model.LoginKey {
	return model.LoginKey{ID: id, Secret: []byte(strings.Repeat(id, 32))}
}

func finder(keys ...model.LoginKey) auth.KeyFinder {
	return func(id string) (model.LoginKey, bool) {
		for _, k := range keys {
			if k.ID == id {
				return k, true
			}
		}
		return model.LoginKey{}, false
	}
}

func TestSessionToken(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	a, b := loginKey("a"), loginKey("b")
	token, err := auth.SessionToken(a, &model.SessionRow{ID: "S", UserID: "U", Created: now, Expires: now.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if id, key, err := auth.SessionOf(token, finder(b, a), now); err != nil || id != "S" || key != "a" {
		t.Errorf("%q of key %q: %v", id, key, err)
	}
	forged, err := auth.SessionToken(model.LoginKey{ID: "a", Secret: b.Secret}, &model.SessionRow{ID: "S", Expires: now.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	flow, err := auth.FlowToken(a, auth.Flow{State: "x"}, now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(token, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"a"}`)) + "." + parts[1] + "."
	rs := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS512","kid":"a"}`)) + "." + parts[1] + "." + parts[2]
	// The last letter of the signature carries two bits that mean nothing: it is not another way to write the same.
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := token[:len(token)-1] + string(letters[strings.IndexByte(letters, token[len(token)-1])+1])
	for name, c := range map[string]struct {
		token string
		find  auth.KeyFinder
		at    time.Time
	}{
		"with another last letter": {last, finder(a), now},
		"expired":                  {token, finder(a), now.Add(time.Hour)}, "of a key that is gone": {token, finder(b), now}, "signed by another": {forged, finder(a), now},
		"for another use": {flow, finder(a), now}, "without algorithm": {none, finder(a), now}, "of another algorithm": {rs, finder(a), now},
		"changed": {parts[0] + "." + parts[1] + "x." + parts[2], finder(a), now}, "empty": {"", finder(a), now}, "huge": {strings.Repeat("x", 1<<20), finder(a), now},
		"of an empty key": {token, finder(model.LoginKey{ID: "a"}), now},
	} {
		if id, _, err := auth.SessionOf(c.token, c.find, c.at); model.CodeOf(err) != model.Unauthenticated || id != "" {
			t.Errorf("a token %s: %q %v", name, id, err)
		}
	}
	if f, err := auth.FlowOf(flow, finder(a), now); err != nil || f.State != "x" {
		t.Errorf("flow %+v %v", f, err)
	}
	for _, bad := range []string{token, flow + "x"} {
		if _, err := auth.FlowOf(bad, finder(a), now); model.CodeOf(err) != model.Unauthenticated {
			t.Errorf("flow %q: %v", bad, err)
		}
	}
}

func FuzzSessionOf(f *testing.F) {
	now := time.Unix(1_800_000_000, 0)
	key := loginKey("a")
	good, err := auth.SessionToken(key, &model.SessionRow{ID: "S", UserID: "U", Created: now, Expires: now.Add(time.Hour)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add("eyJhbGciOiJub25lIn0.eyJqdGkiOiJ4In0.")
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		id, _, err := auth.SessionOf(token, finder(key), now)
		if err == nil && id != "S" {
			t.Fatalf("%q is taken for session %q", token, id)
		}
		if err != nil && model.CodeOf(err) != model.Unauthenticated {
			t.Fatalf("error %v", err)
		}
		if _, err := auth.FlowOf(token, finder(key), now); err == nil {
			t.Fatal("a session is taken for a flow")
		}
	})
}

// The values are those of RFC 6238, appendix B, cut to six digits.
func TestTOTP(t *testing.T) {
	secret := []byte("12345678901234567890")
	for at, code := range map[int64]string{59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037"} {
		for _, off := range []int64{-30, 0, 30} {
			if step, ok := auth.TOTPStep(secret, code, time.Unix(at+off, 0)); !ok || step != at/30 {
				t.Errorf("code %s at %d%+d: %d %v", code, at, off, step, ok)
			}
		}
		for _, off := range []int64{-90, 90} {
			if _, ok := auth.TOTPStep(secret, code, time.Unix(at+off, 0)); ok {
				t.Errorf("code %s is taken at %d%+d", code, at, off)
			}
		}
	}
	if s := auth.TOTPSecret(secret); s != "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" {
		t.Errorf("secret %s", s)
	}
	if u := auth.TOTPURI(secret, "an na"); u != "otpauth://totp/Muster:an%20na?issuer=Muster&secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" {
		t.Errorf("URI %s", u)
	}
}

func TestClientAddress(t *testing.T) {
	proxies, err := auth.ParseProxies([]string{"10.0.0.0/8", " 192.0.2.7", "", "fd00::/8"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ remote, forwarded, want string }{
		{"198.51.100.1:5", "", "198.51.100.1"},
		{"198.51.100.1:5", "203.0.113.9", "198.51.100.1"}, // not a proxy of ours: its word does not count
		{"10.0.0.1:5", "", "10.0.0.1"},
		{"10.0.0.1:5", "203.0.113.9", "203.0.113.9"},
		{"10.0.0.1:5", "1.1.1.1, 203.0.113.9", "203.0.113.9"}, // what the client wrote itself does not count
		{"10.0.0.1:5", "203.0.113.9, 192.0.2.7, 10.2.2.2", "203.0.113.9"},
		{"10.0.0.1:5", "1.1.1.1, nonsense", "10.0.0.1"},
		{"10.0.0.1:5", "[2001:db8::1]:443", "2001:db8::1"},
		{"[::ffff:10.0.0.1]:5", "203.0.113.9:80", "203.0.113.9"},
		{"[fd00::1%eth0]:5", "2001:db8::1", "2001:db8::1"},
		{"pipe", "203.0.113.9", "invalid IP"},
	} {
		r := &http.Request{RemoteAddr: c.remote, Header: http.Header{"X-Forwarded-For": {c.forwarded}}}
		if got := proxies.Client(r).String(); got != c.want {
			t.Errorf("from %s told %q: %s, want %s", c.remote, c.forwarded, got, c.want)
		}
	}
	if _, err := auth.ParseProxies([]string{"10.0.0.0/99"}); err == nil || !strings.Contains(err.Error(), "10.0.0.0/99") {
		t.Errorf("%v", err)
	}
}

func addr(n int) netip.Addr { return netip.AddrFrom4([4]byte{198, 51, byte(n >> 8), byte(n)}) }

// guess tries a wrong password and gives how long it took; late is true when it was not looked at.
func guess(t *testing.T, g *auth.Guard, account string, from netip.Addr) (took time.Duration, late bool) {
	t.Helper()
	start := time.Now()
	a, err := g.Enter(t.Context(), account, from)
	var delay *auth.DelayError
	if errors.As(err, &delay) {
		if delay.After <= 0 || delay.After > 30*time.Second {
			t.Errorf("told to wait %s", delay.After)
		}
		return 0, true
	}
	if err != nil {
		t.Fatal(err)
	}
	a.Done(false)
	return time.Since(start), false
}

func TestGuessingIsSlowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := auth.NewGuard()
		start, n := time.Now(), 0
		for time.Since(start) < time.Hour {
			took, late := guess(t, g, "anna", addr(n)) // each from another address
			if late {
				time.Sleep(time.Second)
				continue
			}
			if n++; n <= 5 && took > 0 || took > 10*time.Second {
				t.Fatalf("guess %d took %s", n, took)
			}
		}
		if n > 800 {
			t.Errorf("%d guesses at one account in an hour", n)
		}
		start, n = time.Now(), 0
		for time.Since(start) < time.Hour {
			if _, late := guess(t, g, "user"+strconv.Itoa(n), addr(60000)); late { // each at another account
				time.Sleep(time.Second)
				continue
			}
			n++
		}
		if n > 500 {
			t.Errorf("%d guesses from one address in an hour", n)
		}
	})
}

func TestGuessingAtOnceDoesNotHelp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := auth.NewGuard()
		for i := range 10 {
			guess(t, g, "anna", addr(i))
		}
		tried := make(chan bool, 1000)
		for i := range 1000 {
			go func() { _, late := guess(t, g, "anna", addr(i)); tried <- !late }()
		}
		n := 0
		for range 1000 {
			if <-tried {
				n++
			}
		}
		if n > 5 {
			t.Errorf("%d of 1000 guesses at once were looked at", n)
		}
	})
}

// Whoever logged in from an address before gets in at once, however much others guess.
func TestTheOwnerIsNotLockedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := auth.NewGuard()
		home := addr(1)
		login := func() time.Duration {
			start := time.Now()
			a, err := g.Enter(t.Context(), "anna", home)
			if err != nil {
				t.Fatalf("the owner is refused: %v", err)
			}
			a.Done(true)
			return time.Since(start)
		}
		login()
		for i := range 500 {
			guess(t, g, "anna", addr(100+i))
		}
		if took := login(); took != 0 {
			t.Errorf("the owner waits %s for what others did", took)
		}
		for range 20 { // a guest of the same house
			guess(t, g, "anna", home)
		}
		if took := login(); took > time.Second {
			t.Errorf("the owner waits %s for what was done at home", took)
		}
		if took := login(); took > time.Second {
			t.Errorf("after a right password: %s", took)
		}
		time.Sleep(time.Hour)
		if took, late := guess(t, g, "anna", addr(9999)); took != 0 || late {
			t.Errorf("an hour later a mistake costs %s, %v", took, late)
		}
	})
}

func TestCodesAreSlowedForEverybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := auth.NewGuard()
		start, n := time.Now(), 0
		for time.Since(start) < time.Hour {
			a, err := g.EnterCode(t.Context(), "U")
			if err != nil {
				time.Sleep(time.Second)
				continue
			}
			a.Done(false)
			n++
		}
		if n > 150 {
			t.Errorf("%d codes tried in an hour", n)
		}
	})
}

func TestTheGuardForgetsWhenFull(t *testing.T) {
	g := auth.NewGuard()
	for i := range 30_000 {
		a, err := g.Enter(context.Background(), "u"+strconv.Itoa(i), netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
		if err != nil {
			t.Fatal(err)
		}
		a.Done(i%2 == 0)
	}
	if n := g.Len(); n > 40_000 {
		t.Errorf("%d entries are remembered", n)
	}
}

func TestWaitingEndsWithTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := auth.NewGuard()
		for i := range 8 {
			guess(t, g, "anna", addr(i))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := g.Enter(ctx, "anna", addr(50)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
}
