package freemarker_test

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/muster-hq/muster/internal/freemarker"
)

func TestRenderAndTime(t *testing.T) {
	e, err := freemarker.Start(context.Background())
	if errors.Is(err, freemarker.ErrAbsent) {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	const data = `{"l": ["a", "é", "\ud83d\ude00"], "n": 1.50, "b": false, "o": {}, "none": null}`
	got, err := e.Render("<#list l as x>${x}${n} </#list>", data)
	if err != nil || got.Failed || got.Text != "a1.5 é1.5 😀1.5 " {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err = e.Render("a\n${none}", data); err != nil || !got.Failed || got.Parse || got.Line != 2 {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err = e.Render("a\n\n${)", data); err != nil || !got.Failed || !got.Parse || got.Line != 3 {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, parse := range []bool{false, true} {
		if took, text, err := e.Time(3, parse, "${n}", data); err != nil || took <= 0 || text != "1.5" {
			t.Errorf("got %v, %q, %v", took, text, err)
		}
	}
	if _, _, err := e.Time(3, true, "${", data); err == nil {
		t.Error("a template that fails was measured")
	}
	if err := e.Close(); err != nil {
		t.Errorf("closing: %v", err)
	}
}
