package orchestrate

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// TestAuditBeyondItsRoom compares records whose values are all made with those where it stops once they cannot fit: what is
// written is the same, byte for byte.
func TestAuditBeyondItsRoom(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	stopped := 0
	for range 300 {
		var changes []state.Change
		for i := range 1 + rnd.IntN(auditObjects) {
			row := func() []byte {
				doc := map[string]string{"name": "n" + string(rune('a'+i%26))}
				for f := range 1 + rnd.IntN(4) {
					doc["field"+string(rune('a'+f))] = strings.Repeat(string(rune('a'+rnd.IntN(26))), 1+rnd.IntN(1200))
				}
				b, err := json.Marshal(doc)
				if err != nil {
					t.Fatal(err)
				}
				return b
			}
			changes = append(changes, state.Change{Table: "hostgroup", Old: row(), New: row()})
		}
		encoded := func(room int) (string, bool) {
			a := auditor{room: room}
			rec := model.AuditRecord{Actor: "me", Action: "test", Object: "o"}
			for _, c := range changes {
				if change, ok := a.change(c); ok {
					rec.Changes = append(rec.Changes, change)
				}
			}
			return string(rec.Encode(auditBytes)), a.room < 0
		}
		all, _ := encoded(math.MaxInt)
		got, full := encoded(auditBytes)
		if got != all {
			t.Fatalf("the record is\n%s\nin place of\n%s", got, all)
		}
		if full {
			stopped++
		}
	}
	if stopped == 0 {
		t.Error("no record was full: nothing was tried")
	}
}

// TestShownValue tells how long values, addresses with passwords and cut characters look in a record.
func TestShownValue(t *testing.T) {
	long := strings.Repeat("x", 1000)
	cut := func(head string, n int) string {
		b, _ := json.Marshal(head + "... (" + strconv.Itoa(n) + " bytes)")
		return string(b)
	}
	for _, c := range []struct{ value, want string }{
		{`"short"`, `"short"`},
		{`""`, `""`},
		{`null`, `null`},
		{`"http://me:hidden@host/"`, `"http://me:********@host/"`},
		{`"` + long + `"`, cut(`"`+long[:255], 1002)},
		{`"` + strings.Repeat("ü", 400) + `"`, cut(`"`+strings.Repeat("ü", 127), 802)},
		// The password lies across the cut, or just before it: it is masked first.
		{`"` + long[:230] + `http://me:hiddenhiddenhidden@host/` + long + `"`, cut(`"`+long[:230]+`http://me:********@host/`+"x", 1000+230+26)},
		{`"` + long[:250] + `http://me:hiddenhiddenhidden@host/` + long + `"`, cut(`"`+long[:250]+`http:`, 1000+250+26)},
	} {
		if got := string(shownValue(json.RawMessage(c.value), false)); got != c.want {
			t.Errorf("%.60s is shown as %s in place of %s", c.value, got, c.want)
		}
		if got := string(shownValue(json.RawMessage(c.value), true)); len(c.value) > 4 && got != mask {
			t.Errorf("%.60s is shown as %s where it is secret", c.value, got)
		}
	}
}
