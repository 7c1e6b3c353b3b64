package wire

import (
	"errors"
	"reflect"
	"testing"
	"time"
)

// testStanding is a standing of two orders that are over and one that is not.
func testStanding() Standing {
	s := Standing{Agent: "a1", Epoch: 7, Above: 3, Journal: "J1", Floor: 1, Highest: 6, Before: "00ff", Orders: []Held{
		{Order: "o4", Change: "c4", Num: 4, Epoch: 6, Term: 2, Sequence: 4, Issued: time.Unix(4, 0).UTC(), Over: true, Steps: "oc"},
		{Order: "o5", Change: "c5", Num: 5, Epoch: 6, Term: 2, Sequence: 5, Issued: time.Unix(5, 0).UTC(), Over: true, Steps: "ceis", Error: "no"},
		{Order: "o6", Change: "c6", Num: 6, Epoch: 6, Term: 3, Sequence: 6, Issued: time.Unix(6, 0).UTC(), Expires: time.Unix(7, 0).UTC(), Steps: "o."},
	}}
	s.Digest = Chain(Chain(s.Before, s.Orders[0]), s.Orders[1])
	return s
}

func TestStandingRoundTrip(t *testing.T) {
	key := testKey(1)
	want := testStanding()
	got, err := OpenStanding(mustSign(t, KindStanding, key, want), pubOf(key))
	if err != nil || !reflect.DeepEqual(got, want) || !got.Whole() {
		t.Errorf("%+v, %v", got, err)
	}
	for name, change := range map[string]func(*Standing){
		"an order is missing":    func(s *Standing) { s.Orders = s.Orders[1:] },
		"the order is another":   func(s *Standing) { s.Orders[0].Change = "c9" },
		"an outcome is another":  func(s *Standing) { s.Orders[1].Steps = "cois" },
		"the order is exchanged": func(s *Standing) { s.Orders[0], s.Orders[1] = s.Orders[1], s.Orders[0] },
		"it begins elsewhere":    func(s *Standing) { s.Before = "" },
	} {
		s := testStanding()
		if change(&s); s.Whole() {
			t.Errorf("%s: it passes for whole", name)
		}
	}
}

func TestOpenStandingRefuses(t *testing.T) {
	key := testKey(1)
	for name, change := range map[string]func(*Standing){
		"no journal":          func(s *Standing) { s.Journal = "" },
		"no epoch":            func(s *Standing) { s.Epoch = 0 },
		"no id":               func(s *Standing) { s.Orders[0].Order = "" },
		"no steps":            func(s *Standing) { s.Orders[0].Steps = "" },
		"an unknown outcome":  func(s *Standing) { s.Orders[0].Steps = "x" },
		"over and not over":   func(s *Standing) { s.Orders[0].Steps = "o." },
		"above the highest":   func(s *Standing) { s.Highest = 5 },
		"a negative number":   func(s *Standing) { s.Orders[0].Num = -1 },
		"too many orders":     func(s *Standing) { s.Orders = make([]Held, maxHeld+1) },
		"too many steps of o": func(s *Standing) { s.Orders[0].Steps = string(make([]byte, maxHeldSteps+1)) },
	} {
		s := testStanding()
		change(&s)
		if _, err := OpenStanding(mustSign(t, KindStanding, key, s), pubOf(key)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	data := mustSign(t, KindStanding, testKey(2), testStanding())
	if _, err := OpenStanding(data, pubOf(key)); !errors.Is(err, ErrSignature) {
		t.Errorf("another's signature: %v", err)
	}
	data = mustSign(t, KindReply, key, testStanding())
	if _, err := OpenStanding(data, pubOf(key)); !errors.Is(err, ErrKind) {
		t.Errorf("a reply: %v", err)
	}
}

func TestOutcomeOf(t *testing.T) {
	for want, r := range map[Outcome]Reply{
		OutcomeOK: {Status: StatusOK}, OutcomeChanged: {Status: StatusOK, Changed: true}, OutcomeSkipped: {Status: StatusSkipped},
		OutcomeInterrupted: {Status: StatusInterrupted, Changed: true}, OutcomeError: {Status: StatusError, Changed: true},
	} {
		if got := OutcomeOf(r); got != want {
			t.Errorf("%+v is %q, want %q", r, got, want)
		}
	}
}

// FuzzOpenStanding signs any body, since the fuzzer cannot: what opens keeps to the rules, and opens again as the same.
func FuzzOpenStanding(f *testing.F) {
	key := testKey(1)
	body, err := verify(mustSign(f, KindStanding, key, testStanding()), KindStanding, pubOf(key))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add([]byte(`{"journal":"j","epoch":1,"orders":[{"order":"o","steps":".","num":0}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		data, err := Sign(KindStanding, key, rawBody(body))
		if err != nil {
			return // no JSON
		}
		s, err := OpenStanding(data, pubOf(key))
		if err != nil {
			return
		}
		_ = s.Whole()
		for _, h := range s.Orders {
			if h.Sequence > s.Highest || h.Steps == "" || h.Order == "" {
				t.Errorf("opened: %+v", h)
			}
		}
		again, err := OpenStanding(mustSign(t, KindStanding, key, s), pubOf(key))
		if err != nil || again.Digest != s.Digest || len(again.Orders) != len(s.Orders) || again.Whole() != s.Whole() {
			t.Errorf("%+v opens again as %+v, %v", s, again, err)
		}
	})
}

// FuzzOpenResync: the question of any form opens or does not, and never breaks.
func FuzzOpenResync(f *testing.F) {
	key := testKey(1)
	f.Add([]byte(`{"agent":"a","epoch":3,"issued":"2030-01-02T03:04:05Z","above":7}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		data, err := Sign(KindResync, key, rawBody(body))
		if err != nil {
			return
		}
		var r, again Resync
		if Open(data, KindResync, pubOf(key), &r) != nil {
			return
		}
		if err := Open(mustSign(t, KindResync, key, r), KindResync, pubOf(key), &again); err != nil || again.Above != r.Above || again.Epoch != r.Epoch {
			t.Errorf("%+v opens again as %+v, %v", r, again, err)
		}
	})
}

// rawBody is JSON as it stands.
type rawBody []byte

// MarshalJSON implements json.Marshaler.
func (b rawBody) MarshalJSON() ([]byte, error) { return b, nil }
