package wire

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"testing"
)

func testToken() EnrolToken {
	return EnrolToken{
		ID: "0a1b", Seed: bytes.Repeat([]byte{9}, ed25519.SeedSize), CA: strings.Repeat("ab", 32),
		Key: pubOf(testKey(3)), Organization: "Acme", Environment: "Production",
	}
}

func TestEnrolTokenText(t *testing.T) {
	for _, ca := range []string{"", strings.Repeat("ab", 32)} {
		want := testToken()
		want.CA = ca
		got, err := ParseEnrolToken(" " + want.String() + "\n")
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v", got, err)
		}
	}
}

func TestParseEnrolTokenRefuses(t *testing.T) {
	with := func(change func(*EnrolToken)) string {
		tok := testToken()
		change(&tok)
		return tok.String()
	}
	text := testToken().String()
	cases := []struct {
		name, text string
		want       error
	}{
		{"empty", "", ErrMalformed},
		{"join token", "muster-join-1.e30", ErrMalformed},
		{"later version", strings.Replace(text, "-1.", "-2.", 1), ErrVersion},
		{"cut off", text[:len(text)/2], ErrMalformed},
		{"no base64", text + "!", ErrMalformed},
		{"no JSON", enrolPrefix + base64.RawURLEncoding.EncodeToString([]byte("x")), ErrMalformed},
		{"no id", with(func(e *EnrolToken) { e.ID = "" }), ErrMalformed},
		{"short seed", with(func(e *EnrolToken) { e.Seed = e.Seed[1:] }), ErrMalformed},
		{"short key", with(func(e *EnrolToken) { e.Key = e.Key[1:] }), ErrMalformed},
		{"bad CA", with(func(e *EnrolToken) { e.CA = "abcd" }), ErrMalformed},
		{"long", text + strings.Repeat("A", maxToken), ErrMalformed},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseEnrolToken(c.text)
			if !errors.Is(err, c.want) {
				t.Errorf("%+v, %v, want %v", got, err, c.want)
			}
			if len(c.text) > 30 && err != nil && strings.Contains(err.Error(), c.text[20:30]) {
				t.Errorf("the error shows the token: %v", err)
			}
		})
	}
}

func TestEnrolTokenIsNotLogged(t *testing.T) {
	var buf bytes.Buffer
	tok := testToken()
	slog.New(slog.NewTextHandler(&buf, nil)).Info("x", "token", tok)
	if strings.Contains(buf.String(), tok.String()[len(enrolPrefix):]) || !strings.Contains(buf.String(), tok.ID) {
		t.Errorf("log: %s", buf.String())
	}
}

func TestEnrol(t *testing.T) {
	tok, key := testToken(), testKey(4)
	data, err := SignEnrol(tok, key, Enrol{Name: "web1", Exchange: []byte{1, 2}, ReplyTo: "enrol.q"})
	if err != nil {
		t.Fatal(err)
	}
	if id, err := PeekEnrolToken(data); err != nil || id != tok.ID {
		t.Errorf("PeekEnrolToken = %q, %v", id, err)
	}
	e, err := OpenEnrol(data, pubOf(tok.PrivateKey()))
	if err != nil {
		t.Fatal(err)
	}
	if e.Name != "web1" || e.Token != tok.ID || e.Agent != AgentID(pubOf(key)) || !e.Key.Equal(pubOf(key)) || e.ReplyTo != "enrol.q" {
		t.Errorf("%+v", e)
	}
	if _, err := SignEnrol(EnrolToken{}, key, Enrol{}); !errors.Is(err, ErrMalformed) {
		t.Errorf("an empty token signed: %v", err)
	}
	if _, err := SignEnrol(tok, nil, Enrol{}); err == nil {
		t.Error("no key signed")
	}
}

func TestOpenEnrolRefuses(t *testing.T) {
	tok, key := testToken(), testKey(4)
	tokenKey := tok.PrivateKey()
	data, err := SignEnrol(tok, key, Enrol{Name: "web1", Exchange: []byte{1, 2}})
	if err != nil {
		t.Fatal(err)
	}
	good, err := OpenEnrol(data, pubOf(tokenKey))
	if err != nil {
		t.Fatal(err)
	}
	// Each case is an enrolment that another holder of the token makes out of the good one.
	with := func(change func(*Enrol)) []byte {
		e := good
		change(&e)
		return mustSign(t, KindEnrol, tokenKey, e)
	}
	cases := []struct {
		name string
		data []byte
		want error
	}{
		{"another sealing key", with(func(e *Enrol) { e.Exchange = []byte{3} }), ErrSignature},
		{"another token", with(func(e *Enrol) { e.Token = "other" }), ErrSignature},
		{"another agent's id", with(func(e *Enrol) { e.Agent = AgentID(pubOf(testKey(5))) }), ErrSignature},
		{"another agent's key", with(func(e *Enrol) { e.Key = pubOf(testKey(5)); e.Agent = AgentID(e.Key) }), ErrSignature},
		{"no key", with(func(e *Enrol) { e.Key = nil }), ErrMalformed},
		{"no proof", with(func(e *Enrol) { e.Proof = nil }), ErrSignature},
		{"not with the token's key", mustSign(t, KindEnrol, testKey(6), good), ErrSignature},
		{"other kind", mustSign(t, KindReply, tokenKey, good), ErrKind},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if e, err := OpenEnrol(c.data, pubOf(tokenKey)); !errors.Is(err, c.want) || e.Agent != "" {
				t.Errorf("%+v, %v, want %v", e, err, c.want)
			}
		})
	}
	if _, err := PeekEnrolToken(mustSign(t, KindReply, tokenKey, good)); !errors.Is(err, ErrKind) {
		t.Errorf("PeekEnrolToken of another kind: %v", err)
	}
	if _, err := PeekEnrolToken(mustSign(t, KindEnrol, tokenKey, 1)); !errors.Is(err, ErrMalformed) {
		t.Errorf("PeekEnrolToken of a number: %v", err)
	}
}

func FuzzOpenEnrol(f *testing.F) {
	tok := testToken()
	data, err := SignEnrol(tok, testKey(4), Enrol{Name: "a"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = PeekEnrolToken(data)
		if e, err := OpenEnrol(data, pubOf(tok.PrivateKey())); err == nil && e.Agent != AgentID(e.Key) {
			t.Errorf("accepted %+v", e)
		}
	})
}

func FuzzParseEnrolToken(f *testing.F) {
	f.Add(testToken().String())
	f.Add(enrolPrefix)
	f.Fuzz(func(t *testing.T, text string) {
		tok, err := ParseEnrolToken(text)
		if err != nil {
			return
		}
		again, err := ParseEnrolToken(tok.String())
		if err != nil || !reflect.DeepEqual(tok, again) {
			t.Errorf("%+v became %+v, %v", tok, again, err)
		}
		_ = tok.PrivateKey()
	})
}
