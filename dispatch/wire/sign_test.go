package wire

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

// testKey is a key that is the same in every run.
func testKey(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func pubOf(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

func mustSign(t testing.TB, kind Kind, key ed25519.PrivateKey, body any) []byte {
	t.Helper()
	data, err := Sign(kind, key, body)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// altered rewrites an envelope after it was signed.
func altered(t *testing.T, data []byte, change func(*envelope)) []byte {
	t.Helper()
	var env envelope
	if err := json.Unmarshal(data, &env); err != nil {
		t.Fatal(err)
	}
	change(&env)
	out, err := json.Marshal(env)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSignOpenRoundTrip(t *testing.T) {
	key := testKey(1)
	monitor := true
	want := Order{
		ID: "o1", Agent: "a1", Lane: LaneChanges, Epoch: 3, Term: 4, Sequence: 5,
		Issued: time.Date(2030, 1, 2, 3, 4, 5, 6, time.UTC), Expires: time.Date(2030, 1, 2, 4, 4, 5, 6, time.UTC),
		Steps: []Step{{Num: 1, Verb: VerbApply, Want: json.RawMessage(`{"a":"<&>\u2028"}`), Restart: []int{0}, Monitor: &monitor}},
	}
	data := mustSign(t, KindOrder, key, want)
	var got Order
	if err := Open(data, KindOrder, pubOf(key), &got); err != nil {
		t.Fatal(err)
	}
	var wantState, gotState any
	_ = json.Unmarshal(want.Steps[0].Want, &wantState)
	_ = json.Unmarshal(got.Steps[0].Want, &gotState)
	if !reflect.DeepEqual(wantState, gotState) {
		t.Errorf("want = %s, sent %s", got.Steps[0].Want, want.Steps[0].Want)
	}
	want.Steps[0].Want, got.Steps[0].Want = nil, nil
	if !reflect.DeepEqual(want, got) {
		t.Errorf("got %+v\nsent %+v", got, want)
	}
	if id, err := PeekKeyID(data); err != nil || id != KeyID(pubOf(key)) {
		t.Errorf("PeekKeyID = %q, %v", id, err)
	}
	if kind, err := PeekKind(data); err != nil || kind != KindOrder {
		t.Errorf("PeekKind = %q, %v", kind, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	key, other := testKey(1), testKey(2)
	good := mustSign(t, KindReply, key, Reply{Agent: "a", Sequence: 7})
	replaced := mustSign(t, KindReply, key, Reply{Agent: "a", Sequence: 8})
	var second envelope
	if err := json.Unmarshal(replaced, &second); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name string
		data []byte
		kind Kind
		pub  ed25519.PublicKey
		want error
	}{
		{"altered body", altered(t, good, func(e *envelope) { e.Body[len(e.Body)/2] ^= 1 }), KindReply, pubOf(key), ErrSignature},
		{"body of another message", altered(t, good, func(e *envelope) { e.Body = second.Body }), KindReply, pubOf(key), ErrSignature},
		{"altered signature", altered(t, good, func(e *envelope) { e.Sig[0] ^= 1 }), KindReply, pubOf(key), ErrSignature},
		{"no signature", altered(t, good, func(e *envelope) { e.Sig = nil }), KindReply, pubOf(key), ErrSignature},
		{"short signature", altered(t, good, func(e *envelope) { e.Sig = e.Sig[:63] }), KindReply, pubOf(key), ErrSignature},
		{"altered key id", altered(t, good, func(e *envelope) { e.Key = "f" + e.Key[1:] }), KindReply, pubOf(key), ErrSignature},
		{"other key", good, KindReply, pubOf(other), ErrSignature},
		{"other key under the right name", altered(t, mustSign(t, KindReply, other, Reply{}), func(e *envelope) { e.Key = KeyID(pubOf(key)) }), KindReply, pubOf(key), ErrSignature},
		{"no key", good, KindReply, nil, ErrSignature},
		{"other kind", good, KindOrder, pubOf(key), ErrKind},
		{"kind renamed", altered(t, good, func(e *envelope) { e.Kind = KindOrder }), KindOrder, pubOf(key), ErrSignature},
		{"newer version", altered(t, good, func(e *envelope) { e.Version = 2 }), KindReply, pubOf(key), ErrVersion},
		{"no version", altered(t, good, func(e *envelope) { e.Version = 0 }), KindReply, pubOf(key), ErrMalformed},
		{"truncated", good[:len(good)-1], KindReply, pubOf(key), ErrMalformed},
		{"more behind it", append(bytes.Clone(good), '{'), KindReply, pubOf(key), ErrMalformed},
		{"empty", nil, KindReply, pubOf(key), ErrMalformed},
		{"null", []byte("null"), KindReply, pubOf(key), ErrMalformed},
		{"too large", append(bytes.Clone(good), bytes.Repeat([]byte{' '}, MaxSize)...), KindReply, pubOf(key), ErrMalformed},
		{"signed body of another type", mustSign(t, KindReply, key, []int{1}), KindReply, pubOf(key), ErrMalformed},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var into Reply
			err := Open(c.data, c.kind, c.pub, &into)
			if !errors.Is(err, c.want) {
				t.Errorf("error = %v, want %v", err, c.want)
			}
			if !reflect.DeepEqual(into, Reply{}) {
				t.Errorf("something was read: %+v", into)
			}
		})
	}
}

func TestOpenToleratesUnknownFields(t *testing.T) {
	key := testKey(1)
	data := mustSign(t, KindPresence, key, map[string]any{"agent": "a", "later": 1})
	data = append(bytes.TrimSuffix(data, []byte("}")), `,"more":true}`...)
	var p Presence
	if err := Open(data, KindPresence, pubOf(key), &p); err != nil || p.Agent != "a" {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestSignRefuses(t *testing.T) {
	if _, err := Sign(KindReply, ed25519.PrivateKey{1}, Reply{}); err == nil {
		t.Error("a short key signed")
	}
	if _, err := Sign(KindReply, testKey(1), func() {}); err == nil {
		t.Error("a function was signed")
	}
	if _, err := Sign(KindReply, testKey(1), strings.Repeat("x", MaxSize)); err == nil {
		t.Error("a message above MaxSize was signed")
	}
}

func TestKeyID(t *testing.T) {
	a, b := AgentID(pubOf(testKey(1))), AgentID(pubOf(testKey(2)))
	if len(a) != 32 || a == b || strings.Trim(a, "0123456789abcdef") != "" {
		t.Errorf("ids %q, %q", a, b)
	}
}

func FuzzOpen(f *testing.F) {
	key := testKey(1)
	f.Add(mustSign(f, KindReply, key, Reply{Agent: "a"}))
	f.Add([]byte(`{"v":1,"kind":"reply","key":"","body":"e30=","sig":""}`))
	f.Add([]byte(`{"v":2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r Reply
		err := Open(data, KindReply, pubOf(key), &r)
		if err == nil {
			return // a rewriting of the seed that means the same
		}
		n := 0
		for _, e := range []error{ErrMalformed, ErrVersion, ErrKind, ErrSignature} {
			if errors.Is(err, e) {
				n++
			}
		}
		if n != 1 {
			t.Errorf("error of %d classes: %v", n, err)
		}
	})
}
