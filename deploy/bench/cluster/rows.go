package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"

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

// benchRow is the row that is committed: 1 KiB, in three ranges.
type benchRow struct {
	Client int    `json:"client"`
	Place  int    `json:"place"`
	Count  int64  `json:"count"` // the client's commits, with this one
	Text   string `json:"text"`
}

// Table implements state.Row.
func (*benchRow) Table() string { return "bench" }

// Key implements state.Row.
func (r *benchRow) Key() string { return rowKey(r.Client, r.Place) }

// Ranges implements state.Row.
func (r *benchRow) Ranges() []string {
	x := indexes(r.Client, r.Place)
	return x[:]
}

// Parent implements state.Row.
func (*benchRow) Parent() (string, string) { return "", "" }

// rowKey sorts like the numbers.
func rowKey(client, place int) string { return fmt.Sprintf("client-%07d/row-%03d", client, place) }

// indexes are the three values that a row is found by: who owns it, where it is, what it is.
func indexes(client, place int) [3]string {
	return [3]string{fmt.Sprintf("owner/client-%07d", client), fmt.Sprintf("place/environment-%03d", client%97), fmt.Sprintf("type/kind-%02d", place)}
}

// value is the row's object as both sides store it.
func (r *benchRow) value() ([]byte, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encoding a row: %w", err)
	}
	return b, nil
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
	const rest = 64 // of the value beside the text, about
	var b strings.Builder
	for b.Len() < rowSize-rest {
		b.WriteString(t.words[t.r.IntN(len(t.words))])
		b.WriteByte(' ')
	}
	return b.String()[:rowSize-rest]
}
