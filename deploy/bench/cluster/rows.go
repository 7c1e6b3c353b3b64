package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// Each client has chain rows, and goes round: it reads the row that it put before, and puts the next with a count that
// is one higher. So the highest count of a client's rows is the number of its commits, and a commit that was
// acknowledged and is gone, or one that took effect twice, breaks the chain for good.
const chain = 32

// rowSize is the size of a row's value.
const rowSize = 1024

// tables are those of the rows of all sections.
func tables() []state.TableDef {
	return []state.TableDef{
		state.Define[benchRow](state.TableOptions[benchRow]{}),
		state.Define[sampleRow](state.TableOptions[sampleRow]{}),
	}
}

// benchRow is the row that is committed: a setting of 1 KiB as the product keeps it, here in three ranges. Its version
// counts the client's commits, with this one.
type benchRow struct{ model.SettingRow }

func newRow(client, place int, count int64, text string) *benchRow {
	n := namesOf(client, place)
	return &benchRow{model.SettingRow{ID: n.owner, Owner: model.Owner{Level: model.LevelHost, OrgID: n.place, ID: n.owner}, Name: n.kind,
		Version: int(count), Value: json.RawMessage(`"` + text + `"`)}}
}

// Table implements state.Row.
func (*benchRow) Table() string { return "bench" }

// Key implements state.Row.
func (r *benchRow) Key() string { return r.Owner.ID + "/" + r.Name }

// Ranges implements state.Row.
func (r *benchRow) Ranges() []string {
	return []string{"owner/" + r.Owner.ID, "place/" + r.Owner.OrgID, "type/" + r.Name}
}

// Parent implements state.Row.
func (*benchRow) Parent() (string, string) { return "", "" }

// rowNames are what a row is found by: who owns it, where it is, what it is.
type rowNames struct{ owner, place, kind string }

// namesOf sorts like the numbers.
func namesOf(client, place int) rowNames {
	return rowNames{fmt.Sprintf("client-%07d", client), fmt.Sprintf("environment-%03d", client%97), fmt.Sprintf("kind-%02d", place)}
}

func rowKey(client, place int) string {
	n := namesOf(client, place)
	return n.owner + "/" + n.kind
}

// value is the row's object as both sides store it.
func (r *benchRow) value() ([]byte, error) {
	if b, ok := r.AppendRow(nil); ok {
		return b, nil
	}
	return nil, fmt.Errorf("the row %s is not plain", r.Key())
}

// texts makes texts of words, so that they compress like what people write.
type texts struct {
	r     *rand.Rand
	words []string
}

func newTexts(seed uint64) *texts {
	t := &texts{r: rand.New(rand.NewPCG(seed, 1))}
	for range 4096 {
		word := make([]byte, 3+t.r.IntN(7))
		for i := range word {
			word[i] = byte('a' + t.r.IntN(26))
		}
		t.words = append(t.words, string(word))
	}
	return t
}

// next makes a text that fills a row's value up to rowSize.
func (t *texts) next() string {
	const rest = 160 // of the value beside the text, about
	var b strings.Builder
	for b.Len() < rowSize-rest {
		b.WriteString(t.words[t.r.IntN(len(t.words))])
		b.WriteByte(' ')
	}
	return b.String()[:rowSize-rest]
}
