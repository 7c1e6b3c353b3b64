package wire

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"
)

var loginTime = time.Date(2030, 5, 6, 7, 8, 9, 0, time.UTC)

func mustLogin(t testing.TB, user string, at time.Time, key ed25519.PrivateKey) string {
	t.Helper()
	text, err := SignLogin(user, 42, at, key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestLogin(t *testing.T) {
	key := testKey(1)
	user := "agent." + AgentID(pubOf(key))
	password := mustLogin(t, user, loginTime, key)
	if len(password) > 1024 || strings.Trim(password, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
		t.Errorf("password of %d bytes: %s", len(password), password)
	}
	login, err := VerifyLogin(user, password, pubOf(key), loginTime.Add(2*time.Hour), 2*time.Hour)
	if err != nil || login.User != user || login.Counter != 42 || !login.At.Equal(loginTime) {
		t.Errorf("%+v, %v", login, err)
	}
	if _, err := SignLogin(strings.Repeat("u", maxLogin), 1, loginTime, key); err == nil {
		t.Error("a statement that fits no frame was made")
	}
}

func TestVerifyLoginRefuses(t *testing.T) {
	key := testKey(1)
	good := mustLogin(t, "agent.a", loginTime, key)
	order := base64.RawURLEncoding.EncodeToString(mustSign(t, KindOrder, key, Login{User: "agent.a", At: loginTime}))
	cases := []struct {
		name, user, password string
		key                  ed25519.PrivateKey
		now                  time.Time
		want                 error
	}{
		{"other user", "agent.ab", good, key, loginTime, ErrUser},
		{"other key", "agent.a", good, testKey(2), loginTime, ErrSignature},
		{"too old", "agent.a", good, key, loginTime.Add(time.Hour + 1), ErrWindow},
		{"too new", "agent.a", good, key, loginTime.Add(-time.Hour - 1), ErrWindow},
		{"other kind", "agent.a", order, key, loginTime, ErrKind},
		{"a plain password", "agent.a", "secret!", key, loginTime, ErrMalformed},
		{"empty", "agent.a", "", key, loginTime, ErrMalformed},
		{"cut off", "agent.a", good[:len(good)-4], key, loginTime, ErrMalformed},
		{"long", "agent.a", good + strings.Repeat("A", maxLogin), key, loginTime, ErrMalformed},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			login, err := VerifyLogin(c.user, c.password, pubOf(c.key), c.now, time.Hour)
			if !errors.Is(err, c.want) || login != (Login{}) {
				t.Errorf("%+v, %v, want %v", login, err, c.want)
			}
		})
	}
}

func FuzzVerifyLogin(f *testing.F) {
	key := testKey(1)
	f.Add("agent.a", mustLogin(f, "agent.a", loginTime, key))
	f.Add("agent.a", "e30")
	f.Fuzz(func(t *testing.T, user, password string) {
		if login, err := VerifyLogin(user, password, pubOf(key), loginTime, time.Hour); err == nil && login.User != user {
			t.Errorf("%q logged in with the statement of %q", user, login.User)
		}
	})
}
