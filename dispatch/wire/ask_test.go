package wire

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

// testAsk is a question with the key that opens its answer.
func testAsk(t testing.TB, q Question) (Ask, *ecdh.PrivateKey) {
	t.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return Ask{ID: "Q1", Agent: AgentID(pubOf(testKey(1))), Question: q, Seal: key.PublicKey().Bytes()}, key
}

func TestAnswerRoundTrip(t *testing.T) {
	q, key := testAsk(t, Question{Subject: SubjectFile, Name: "/etc/motd", Limit: 16})
	for _, want := range []Answer{
		{Part: []byte("top secret"), Size: 10, End: true, Tag: "1-2"}, {End: true}, {Code: RefusedUnknown, Text: "no such file"},
	} {
		s, err := SealAnswer(q, want)
		if err != nil {
			t.Fatal(err)
		}
		message := mustSign(t, KindAnswer, testKey(1), s)
		if strings.Contains(string(s.Body), "secret") || strings.Contains(string(message), "secret") {
			t.Error("the message shows what it holds")
		}
		opened, err := OpenSealed(message, pubOf(testKey(1)))
		if err != nil || opened.Ask != q.ID {
			t.Fatalf("%+v, %v", opened, err)
		}
		if got, err := OpenAnswer(q, opened, key); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
		other := q
		other.ID = "Q2"
		if _, err := OpenAnswer(other, opened, key); !errors.Is(err, ErrMalformed) {
			t.Errorf("the answer to one question passes for that to another: %v", err)
		}
	}
}

func TestOpenAnswerRefuses(t *testing.T) {
	file, sensor := Question{Subject: SubjectFile, Limit: 4}, Question{Subject: SubjectSensor}
	for name, c := range map[string]struct {
		q Question
		a Answer
	}{
		"more than was asked for":     {file, Answer{Part: []byte("12345"), End: true}},
		"nothing, and no end":         {file, Answer{}},
		"no value":                    {sensor, Answer{}},
		"a value that is too large":   {sensor, Answer{Value: json.RawMessage(`"` + strings.Repeat("x", MaxValue) + `"`)}},
		"a refusal with a content":    {file, Answer{Code: RefusedForbidden, Part: []byte("1"), End: true}},
		"a text that is far too long": {file, Answer{Code: RefusedFailed, Text: strings.Repeat("x", maxAnswerText+1)}},
	} {
		q, key := testAsk(t, c.q)
		s, err := SealAnswer(q, c.a)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := OpenAnswer(q, s, key); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	q, _ := testAsk(t, file)
	q.Seal = []byte("no key")
	if _, err := SealAnswer(q, Answer{End: true}); err == nil {
		t.Error("sealed for a key that is none")
	}
	if _, err := OpenSealed(mustSign(t, KindAnswer, testKey(1), Sealed{Agent: "another", Ask: "Q1"}), pubOf(testKey(1))); !errors.Is(err, ErrMalformed) {
		t.Errorf("in another agent's name: %v", err)
	}
}

func FuzzOpenAnswer(f *testing.F) {
	q, key := testAsk(f, Question{Subject: SubjectFile, Limit: 16})
	s, err := SealAnswer(q, Answer{Part: []byte("x"), End: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(mustSign(f, KindAnswer, testKey(1), s))
	f.Add([]byte(`{"v":1,"kind":"answer"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := OpenSealed(data, pubOf(testKey(1)))
		if err != nil {
			return
		}
		if a, err := OpenAnswer(q, s, key); err == nil && len(a.Part) > q.Question.Limit {
			t.Errorf("%d bytes of %d", len(a.Part), q.Question.Limit)
		}
	})
}

// FuzzAnswerBody opens what an agent with its key could seal.
func FuzzAnswerBody(f *testing.F) {
	f.Add([]byte(`{"part":"eA==","end":true}`))
	f.Add([]byte(`{"code":"busy","text":"x"}`))
	q, key := testAsk(f, Question{Subject: SubjectFile, Limit: 16})
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := sealText(q, body)
		if err != nil {
			t.Fatal(err)
		}
		if a, err := OpenAnswer(q, s, key); err == nil && (len(a.Part) > 16 || a.Code != "" && a.Part != nil) {
			t.Errorf("%+v", a)
		}
	})
}
