package api

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
)

// Lists of settings are written as encoding/json writes them, whatever is in them.
func TestListsOfSettingsAreWrittenAsByTheLibrary(t *testing.T) {
	rng, quick := rand.New(rand.NewPCG(1, 2)), 0
	texts := []string{"plain", "", "<&>", "\u2028", "\"", "é", "a b", strings.Repeat("x", 500)}
	values := []string{"", "1", `"text"`, `{"a": [1, 2]}`, `"<"`, "null", "[1,2]"}
	for range 500 {
		l := spec.List[model.Setting]{Items: []model.Setting{}}
		for range rng.IntN(4) {
			l.Items = append(l.Items, model.Setting{UUID: "U", Version: rng.IntN(3), Key: texts[rng.IntN(len(texts))], Link: texts[rng.IntN(2)],
				Value: json.RawMessage(values[rng.IntN(len(values))]), Schema: json.RawMessage(values[rng.IntN(2)])})
		}
		if l.Count = len(l.Items); rng.IntN(5) == 0 {
			l.Cursor = "next"
		}
		want, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		if b, ok := appendSettings(l); ok {
			if quick++; string(b) != string(want) {
				t.Fatalf("written %s, and by the library %s", b, want)
			}
		}
		got, err := encode(200, l)
		if err != nil || string(got.body) != fmt.Sprintf("%s\n", want) {
			t.Fatalf("answered %s, %v, and by the library %s", got.body, err, want)
		}
	}
	if quick == 0 {
		t.Error("none was written at once")
	}
}
