package webhook

import (
	"encoding/json"
	"testing"

	"github.com/muster-hq/muster/fsm/model"
)

// FuzzAnswer reads what a webhook takes out of an answer: path and answer are both somebody else's.
func FuzzAnswer(f *testing.F) {
	f.Add("$.status", []byte(`{"status": "ok"}`))
	f.Add("$..a[*]", []byte(`{"a": [1, {"a": [2]}], "b": 1e999}`))
	f.Add("$[?(@.a > 1)]", []byte(`[]`))
	f.Add("$[0:9:-1]", []byte(`[1,2,3`))
	f.Fuzz(func(t *testing.T, text string, answer []byte) {
		paths, err := propertyPaths(&model.Webhook{Properties: []model.JSONProperty{{Name: "p", JSONPath: text}}})
		if err != nil {
			if model.CodeOf(err) != model.Invalid {
				t.Fatal(err)
			}
			return
		}
		res := result(paths, &model.DeliveryRecord{Status: 200}, answer)
		if _, err := json.Marshal(res); err != nil || len(res.Properties) != 1 {
			t.Fatalf("%+v: %v", res, err)
		}
	})
}
