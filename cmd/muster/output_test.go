package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"
)

// TestListsAreTheSamePrintedOneByOne, and each item is out before the next one is made.
func TestListsAreTheSamePrintedOneByOne(t *testing.T) {
	for _, output := range []string{"json", "yaml"} {
		for n := range 3 {
			t.Run(fmt.Sprint(output, n), func(t *testing.T) {
				var items []json.RawMessage
				var whole, each bytes.Buffer
				p := listPrinter{w: &each, yaml: output == "yaml"}
				for i := range n {
					doc := json.RawMessage(fmt.Sprintf(`{"index":%d,"at":"10:00","list":[{"a":"b"},2],"none":{}}`, i))
					items = append(items, doc)
					before := each.Len()
					if err := p.add(doc); err != nil || each.Len() == before {
						t.Fatalf("item %d: %v, %d bytes", i, err, each.Len()-before)
					}
				}
				if err := p.end(); err != nil {
					t.Fatal(err)
				}
				if err := (&cli{output: output}).printList(&whole, items, nil); err != nil {
					t.Fatal(err)
				}
				if whole.String() != each.String() {
					t.Errorf("as a whole:\n%s\none by one:\n%s", &whole, &each)
				}
			})
		}
	}
}
