package webhook

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/muster-hq/muster/fsm/model"
)

// TestRun: a run sends what the webhook says, signed, and takes properties out of the answer.
func TestRun(t *testing.T) {
	var body string
	var got *http.Request
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		body, got = string(b), r
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, `{"job": {"id": 9007199254740993, "state": "on"}, "steps": [{"n": 1}, {"n": 2}]}`)
	}))
	defer server.Close()
	s := NewSender(local())
	defer s.Close()
	w := hookAt(t, server.URL)
	w.Method, w.Body = "PUT", `{"deploy": true}`
	w.Headers = []model.Pair{{Name: "Content-Type", Value: "application/vnd.x+json"}, {Name: "Webhook-Signature", Value: "forged"}}
	w.Parameters = []model.Pair{{Name: "k", Value: "s3cret", Secret: true}}
	w.Properties = []model.JSONProperty{{Name: "state", JSONPath: "$.job.state"}, {Name: "id", JSONPath: "$['job'].id"}, {Name: "steps", JSONPath: "$..n"}, {Name: "none", JSONPath: "$.no.such"}}
	res, records, err := s.Run(t.Context(), &w, "msg_r")
	if err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(res)
	want := `{"returnCode":418,"properties":[{"name":"state","value":"on"},{"name":"id","value":9007199254740993},{"name":"steps","value":[1,2]},{"name":"none","value":null}]}`
	if string(text) != want {
		t.Errorf("result %s, want %s", text, want)
	}
	key, _ := w.SigningKey()
	if got.Method != "PUT" || body != w.Body || got.URL.Query().Get("k") != "s3cret" || got.Header.Get("Content-Type") != "application/vnd.x+json" ||
		got.Header.Get("webhook-id") != "msg_r" || got.Header.Get("webhook-signature") != Sign(key, "msg_r", got.Header.Get("webhook-timestamp"), []byte(w.Body)) {
		t.Errorf("sent %s %s %v %q", got.Method, got.URL, got.Header, body)
	}
	if len(records) != 1 || records[0].Status != 418 || records[0].Error == "" || strings.Contains(records[0].URL, "s3cret") || records[0].Kind != model.DeliveryRun {
		t.Errorf("records %+v", records)
	}
	w.Method = "GET"
	if _, _, err := s.Run(t.Context(), &w, "msg_g"); err != nil || body != "" {
		t.Errorf("a GET sent the body %q: %v", body, err)
	}
}

// TestRunTriesAgain: what may pass is tried again under the same id; what may not is not.
func TestRunTriesAgain(t *testing.T) {
	var asked atomic.Int32
	ids := map[string]bool{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ids[r.Header.Get("webhook-id")] = true
		if asked.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	s := NewSender(local())
	defer s.Close()
	w := hookAt(t, server.URL)
	res, records, err := s.Run(t.Context(), &w, "msg_again")
	if err != nil || res.ReturnCode != 200 || len(records) != 2 || records[0].Next == "" || records[1].Attempt != 2 || len(ids) != 1 {
		t.Errorf("%+v %+v %v, under the ids %v", res, records, err, ids)
	}
	server.Close()
	if _, records, err = s.Run(t.Context(), &w, "msg_gone"); model.CodeOf(err) != model.Conflict || len(records) != 3 {
		t.Errorf("a server that is gone: %v, %d attempts", err, len(records))
	}
	if _, records, err = NewSender(nil).Run(t.Context(), &w, "msg_in"); model.CodeOf(err) != model.Conflict || len(records) != 1 || !strings.Contains(err.Error(), "webhook-allow") {
		t.Errorf("a private address: %v, %d attempts", err, len(records))
	}
}

func TestPathsRefused(t *testing.T) {
	for _, text := range []string{"", "$..a..b", "$[?(@.a == 1)]", "$['a','b']['c','d']", "$." + strings.Repeat("a", 300), "$[", "$.a[?@..x]"} {
		w := model.Webhook{Properties: []model.JSONProperty{{Name: "p", JSONPath: text}}}
		if err := NewSender(nil).Check(&w); model.CodeOf(err) != model.Invalid {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// FuzzPath: no path and no answer takes the server down, or finds more than the answer holds.
func FuzzPath(f *testing.F) {
	for _, text := range []string{"$.a", "$..a", "$[0:2]", "$['a','b']", "$[-1]", "@.x", "$.*", "$[?(@.a)]"} {
		f.Add(text, `{"a": [{"a": 1}, {"b": [2]}], "b": null}`)
	}
	f.Fuzz(func(t *testing.T, text, answer string) {
		e, err := parsePath(text)
		if err != nil {
			return
		}
		res := result([]path{{"p", e}}, &model.DeliveryRecord{}, []byte(answer))
		if _, err := json.Marshal(res); err != nil {
			t.Fatal(err)
		}
	})
}
