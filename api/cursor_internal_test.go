package api

import (
	"testing"

	"github.com/muster-hq/muster/fsm/model"
)

// What is read as a cursor is written the same way again, but for zeros in front.
func FuzzCursor(f *testing.F) {
	for _, seed := range []string{"1-2", "1-2-3", "now", "", "1-2-4294967295", "-1-2", "1--2", "01-2"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseCursor(text)
		if err != nil {
			return
		}
		again, err := parseCursor(c.String())
		if err != nil || again != c || c.epoch == 0 {
			t.Errorf("%q is %+v, written %q, read %+v, %v", text, c, c.String(), again, err)
		}
	})
}

// Whatever is sent as a cursor of a list is refused for its sender, or is one of ours, letter by letter.
func FuzzListCursor(f *testing.F) {
	f.Add("", uint64(0), "")
	f.Add(listCursor{epoch: 3, after: "Web 1\x00UUID\x00"}.String(), uint64(3), "Web 1")
	f.Fuzz(func(t *testing.T, text string, epoch uint64, after string) {
		if l, err := parseListCursor(text); err == nil && l.String() != text {
			t.Errorf("%q is read as %+v, which is written %q", text, l, l)
		} else if err != nil && model.CodeOf(err) != model.Invalid {
			t.Errorf("%q: %v", text, err)
		}
		l := listCursor{epoch: epoch, of: [8]byte{1, 2}, after: after}
		again, err := parseListCursor(l.String())
		if err != nil || again != l {
			t.Errorf("%+v came back as %+v, %v", l, again, err)
		}
		text = l.String()
		for i := range text { // one letter changed
			other := []byte(text)
			other[i] ^= 1
			if _, err := parseListCursor(string(other)); err == nil {
				t.Fatalf("%q is accepted in place of %q", other, text)
			}
		}
	})
}
